//! Checks after a change of leader that a partition still has the records that were read from it.
//!
//! After an unclean election, or when a log was cut, the new leader may lack records of the old one, and gives their offsets to
//! other records. Each record carries the leader epoch in which it was written. Where the leader epoch changes between two
//! records, the earlier one is read again, and must still have its own leader epoch. The partition is not read on before the
//! answer; all other partitions are.
//!
//! 1. The records around that record are read as the leader has them, aborted ones included.
//! 2. Records were lost if another record has its offset, or if a record of a later leader epoch lies before it, or if the
//!    partition ends before it for more than a minute.
//! 3. A record of the new leader that lies after it shows that it is kept, or was removed by compaction or retention: neither is
//!    a loss. A deposed leader that does not know yet that it was deposed has no such record.
//!
//! The client has a check of its own (KIP-320). It skips partitions that are paused while their leader changes, and partitions
//! whose new leader is not connected yet when the client learns of the change.

use crate::connect::error;
use crate::connect::kafka::client::{assign, broken, number, unassign, unusable};
use crate::connect::kafka::context::Context;
use crate::connect::kafka::native::{Fetched, Reader, remind_of_brokers};
use headway_operators::record::{LastRead, Offset, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::VecDeque;
use std::ffi::CString;
use std::time::{Duration, Instant};

/// After how long without an answer a question is put again.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How many offsets before the record are looked at, too: at its own may be the marker of a transaction by now.
const BEFORE: i64 = 8;

/// How long a new leader may be without the latest offsets that consumers may read: it learns them from the others.
const SETTLED: Duration = Duration::from_secs(60);

/// How long a question may be open before it is worth a line in the log.
const OPEN_MAX: Duration = Duration::from_secs(30);

/// How long to wait for the broker's word on where a partition begins and ends.
const BOUNDS_MAX: Duration = Duration::from_millis(500);

/// Whether the leader epoch changes between a record and the one that follows it. Formats without one tell nothing.
pub(super) fn changes(last: LastRead, next: LastRead) -> bool {
    last.leader_epoch != next.leader_epoch && last.leader_epoch >= 0 && next.leader_epoch >= 0
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is there, or nothing says otherwise.
    Kept,
    /// Another one is there, or none.
    Lost(LastRead),
}

/// What is found where a record is looked for.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// A record.
    Record(LastRead),
    /// The end of what may be read.
    End(Offset),
    /// No such offset, in a partition that has these, if its leader could say.
    Refused(Option<(Offset, Offset)>),
}

/// Whether `read` is still there, before `next`.
#[derive(Clone, Copy, Debug)]
struct Question {
    partition: Partition,
    read: LastRead,
    next: LastRead,
    /// Where looking begins.
    from: Offset,
    /// When it was put first, and last; and when something was found.
    since: Instant,
    put: Instant,
    heard: Instant,
    /// It was said in the log that it is open.
    told: bool,
}

impl Question {
    /// What `found` means, in a look that began so long after the first; `None` if it means nothing yet.
    fn hear(&self, found: Found, waited: Duration) -> Option<Verdict> {
        let (read, next, lost) = (self.read, self.next, Verdict::Lost(self.read));
        let is_settled = waited > SETTLED;
        match found {
            Found::Record(record) if record.offset == read.offset => changes(read, record).then_some(lost),
            Found::Record(record) if record.offset < read.offset => {
                (changes(read, record) && record.leader_epoch > read.leader_epoch).then_some(lost)
            }
            Found::Record(record) if record.offset >= next.offset => {
                let is_new = !changes(next, record) || record.leader_epoch > next.leader_epoch;
                is_new.then_some(Verdict::Kept)
            }
            Found::Record(_) | Found::Refused(None) => None,
            Found::End(end) => is_settled.then_some(if end > read.offset { Verdict::Kept } else { lost }),
            Found::Refused(Some((first, _))) if first > read.offset => Some(Verdict::Kept),
            // One that does not know better may have said so, once.
            Found::Refused(Some((_, end))) => (end <= read.offset && waited >= ASK_AGAIN).then_some(lost),
        }
    }
}

/// Makes the client that looks.
pub(super) type Make = Box<dyn Fn() -> Result<BaseConsumer<Context>, error::Error>>;

/// Reads records again that were read before a change of leader.
pub(super) struct LeaderCheck {
    topic: String,
    make: Make,
    brokers: CString,
    /// Made with the first question.
    reader: Option<Reader<Context>>,
    open: Vec<Question>,
}

impl LeaderCheck {
    pub(super) fn new(topic: &str, brokers: CString, make: Make) -> LeaderCheck {
        LeaderCheck { topic: topic.to_string(), make, brokers, reader: None, open: Vec::new() }
    }

    /// Begins to look whether `read` is still there: the last record of `partition` before `next`.
    ///
    /// # Errors
    /// If there can be no client.
    pub(super) fn ask(
        &mut self,
        partition: Partition,
        read: LastRead,
        next: LastRead,
    ) -> Result<(), error::Error> {
        tracing::debug!(%partition, offset = %read.offset, "another leader: looking at the last record again");
        if self.reader.is_none() {
            let reader = Reader::new((self.make)()?);
            self.reader = Some(reader.map_err(|failed| unusable(&self.topic, &failed.reason))?);
        }
        let (now, from) = (Instant::now(), Offset((read.offset.0 - BEFORE).max(0)));
        self.open.push(Question {
            partition,
            read,
            next,
            from,
            since: now,
            put: now,
            heard: now,
            told: false,
        });
        self.look(partition, Some(from))
    }

    /// The answers there are now; each ends its question. Serves the client, too, where there is no question.
    ///
    /// # Errors
    /// If the client cannot go on.
    pub(super) fn answers(&mut self) -> Result<Vec<(Partition, Verdict)>, error::Error> {
        let (mut answers, mut may_wait) = (Vec::new(), true);
        while let Some((place, found)) = self.find(&mut may_wait)? {
            let question = &mut self.open[place];
            question.heard = Instant::now();
            let partition = question.partition;
            if let Found::Refused(Some((first, _))) = found
                && (question.from..question.read.offset).contains(&Offset(first.0 - 1))
            {
                question.from = first;
                self.look(partition, None)?;
                self.look(partition, Some(first))?;
                continue;
            }
            if let Some(verdict) = question.hear(found, question.put - question.since) {
                self.open.swap_remove(place);
                self.look(partition, None)?;
                answers.push((partition, verdict));
            }
        }
        self.ask_again()?;
        Ok(answers)
    }

    /// The next thing that was found, and the place of its question; `None` if there is nothing now. Nothing that the client
    /// gave is left behind: it would be taken for an answer to a later question. Waits for a broker once, while it `may_wait`.
    fn find(&mut self, may_wait: &mut bool) -> Result<Option<(usize, Found)>, error::Error> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        loop {
            let (partition, found) = match reader.next() {
                None => break,
                Some(Fetched::Message { partition, offset, leader_epoch, .. }) => {
                    (partition, Found::Record(LastRead { offset, leader_epoch }))
                }
                Some(Fetched::Event { code: Code::PartitionEOF, partition, offset, .. }) => {
                    (partition, Found::End(offset))
                }
                Some(Fetched::Event { code: Code::AutoOffsetReset, partition, .. }) => {
                    (partition, Found::Refused(None))
                }
                Some(Fetched::Event { code, partition, offset, reason }) => {
                    match broken(&self.topic, code, partition, offset, reason) {
                        Some(error) if !self.open.is_empty() => return Err(error),
                        _ => continue,
                    }
                }
            };
            let of = |question: &Question| number(question.partition) == partition;
            let Some(place) = self.open.iter().position(of) else { continue };
            if let Found::Refused(_) = found
                && std::mem::take(may_wait)
            {
                let bounds = reader.consumer().fetch_watermarks(&self.topic, partition, BOUNDS_MAX);
                return Ok(Some((
                    place,
                    Found::Refused(bounds.ok().map(|(low, high)| (Offset(low), Offset(high)))),
                )));
            }
            return Ok(Some((place, found)));
        }
        while reader.log() {}
        Ok(None)
    }

    /// Puts questions again that had no answer for long, and says so in the log.
    fn ask_again(&mut self) -> Result<(), error::Error> {
        for place in 0..self.open.len() {
            let question = &mut self.open[place];
            if question.heard.elapsed() < ASK_AGAIN {
                continue;
            }
            (question.put, question.heard) = (Instant::now(), Instant::now());
            let Question { partition, read, from, since, .. } = *question;
            if since.elapsed() > OPEN_MAX && !std::mem::replace(&mut question.told, true) {
                let (topic, offset) = (&self.topic, read.offset);
                tracing::warn!(
                    topic,
                    %partition,
                    %offset,
                    "waiting for the new leader, which has to show that it has the last record that was read"
                );
            }
            if let Some(reader) = &self.reader {
                remind_of_brokers(reader.consumer().client(), &self.brokers);
            }
            self.look(partition, None)?;
            self.look(partition, Some(from))?;
        }
        Ok(())
    }

    /// Reads `partition` from an offset on, or no more.
    fn look(&self, partition: Partition, from: Option<Offset>) -> Result<(), error::Error> {
        match (&self.reader, from) {
            (None, _) => Ok(()),
            (Some(reader), Some(from)) => assign(reader.consumer(), &self.topic, &[(partition, from)]),
            (Some(reader), None) => unassign(reader.consumer(), &self.topic, partition),
        }
    }
}

/// The leader epochs of the records of a partition that were read last: the first record of each leader epoch.
#[derive(Debug, Default)]
pub(super) struct RecentReads(VecDeque<LastRead>);

impl RecentReads {
    /// Notes a record that was read.
    pub(super) fn read(&mut self, record: LastRead) {
        if self.0.back().is_none_or(|first| first.leader_epoch != record.leader_epoch) {
            self.0.push_back(record);
        }
    }

    /// The leader epoch of the record at `offset`, if that was noted. Forgets what is known of records before.
    pub(super) fn leader_epoch(&mut self, offset: Offset) -> Option<i32> {
        while self.0.get(1).is_some_and(|first| first.offset <= offset) {
            self.0.pop_front();
        }
        self.0.front().filter(|first| first.offset <= offset).map(|first| first.leader_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: Offset, leader_epoch: i32) -> LastRead {
        LastRead { offset, leader_epoch }
    }

    #[test]
    fn only_another_record_or_none_at_all_is_a_loss() {
        let (read, next, now) = (at(Offset(10), 3), at(Offset(12), 5), Instant::now());
        let question = Question {
            partition: Partition(0),
            read,
            next,
            from: Offset(2),
            since: now,
            put: now,
            heard: now,
            told: false,
        };
        let (kept, lost) = (Some(Verdict::Kept), Some(Verdict::Lost(read)));
        let record = |offset, leader_epoch| Found::Record(at(offset, leader_epoch));
        // What is found, and what it means at once, in a second look, and when the new leader has settled.
        let cases = [
            ("one before it", record(Offset(8), 2), [None, None, None]),
            ("one before it that a later leader has taken", record(Offset(9), 4), [lost, lost, lost]),
            ("itself: the leader may be a deposed one", record(Offset(10), 3), [None, None, None]),
            ("one of a later leader", record(Offset(10), 5), [lost, lost, lost]),
            ("one of an earlier leader", record(Offset(10), 2), [lost, lost, lost]),
            ("one of a format without leaders", record(Offset(10), -1), [None, None, None]),
            ("an aborted one between", record(Offset(11), 5), [None, None, None]),
            ("the next one", record(Offset(12), 5), [kept, kept, kept]),
            ("the next one, that a later leader has taken", record(Offset(12), 6), [kept, kept, kept]),
            ("one of a deposed leader, where the next one was", record(Offset(12), 3), [None, None, None]),
            ("one after it: the next was compacted away", record(Offset(15), 5), [kept, kept, kept]),
            ("an end behind the next: that was compacted away", Found::End(Offset(13)), [None, None, kept]),
            ("an end right behind it", Found::End(Offset(11)), [None, None, kept]),
            ("an end where it was", Found::End(Offset(10)), [None, None, lost]),
            ("an end before it", Found::End(Offset(4)), [None, None, lost]),
            ("refused, nobody knows why", Found::Refused(None), [None, None, None]),
            (
                "refused, though it is among what is there",
                Found::Refused(Some((Offset(0), Offset(11)))),
                [None, None, None],
            ),
            (
                "refused: retention took it",
                Found::Refused(Some((Offset(11), Offset(20)))),
                [kept, kept, kept],
            ),
            (
                "refused: the partition ends before it",
                Found::Refused(Some((Offset(0), Offset(10)))),
                [None, lost, lost],
            ),
            (
                "refused: the partition is empty",
                Found::Refused(Some((Offset(0), Offset(0)))),
                [None, lost, lost],
            ),
        ];
        for (what, found, expected) in cases {
            let waited = [Duration::ZERO, ASK_AGAIN, SETTLED + ASK_AGAIN];
            assert_eq!(waited.map(|waited| question.hear(found, waited)), expected, "{what}");
        }
    }

    #[test]
    fn leader_changes_only_where_both_records_tell_theirs() {
        let cases = [((3, 3), false), ((3, 4), true), ((4, 3), true), ((-1, 3), false), ((3, -1), false)];
        for ((last, next), expected) in cases {
            assert_eq!(changes(at(Offset(1), last), at(Offset(2), next)), expected, "from {last} to {next}");
        }
    }

    #[test]
    fn trail_tells_the_leader_epoch_of_what_was_read() {
        let mut recent = RecentReads::default();
        assert_eq!(recent.leader_epoch(Offset(7)), None);
        [4, 5, 8, 12].iter().for_each(|offset| recent.read(at(Offset(*offset), 1)));
        (20..31).for_each(|offset| recent.read(at(Offset(offset), 3)));
        assert_eq!(recent.0.len(), 2, "few are kept");
        for (offset, expected) in [(3, None), (4, Some(1)), (12, Some(1)), (20, Some(3)), (30, Some(3))] {
            assert_eq!(recent.leader_epoch(Offset(offset)), expected, "at {offset}");
        }
        assert_eq!(recent.leader_epoch(Offset(5)), None, "what lies before is forgotten");
    }
}
