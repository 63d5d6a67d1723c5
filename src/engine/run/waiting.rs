//! The part of the board that says what feeds, stages, store and sources wait for.

use crate::engine::format::waits::{FeedWait, PartWait, Silence, StageWait, StoreCall, StoreUse, Waits};
use headway_operators::record::Partition;
use headway_operators::time::Epoch;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many partitions of a feed are reported: the sign of life has all of them, and a folder may have tens of thousands.
const PARTS_MAX: usize = 200;

/// What a feed says of one of its partitions. Times are those of the run's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartState {
    /// Its number.
    pub partition: Partition,
    /// What it waits for.
    pub waits: Waits,
    /// Since when.
    pub since: Duration,
    /// Since when it has not been read to its end; `None` if it is.
    pub behind_since: Option<Duration>,
}

/// What a feed says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedState {
    /// Since when the oldest record has been read that is not committed.
    pub open_since: Option<Duration>,
    /// Its partitions.
    pub partitions: Vec<PartState>,
}

/// What there is to say now.
#[derive(Default)]
pub(super) struct Waiting {
    /// By input and worker.
    feeds: BTreeMap<(usize, usize), FeedState>,
    /// By worker.
    stages: BTreeMap<usize, Stage>,
    store: Store,
    /// By input: since when, and why.
    silent: BTreeMap<usize, (Duration, String)>,
    /// The steps of epochs that are not committed.
    epochs: BTreeMap<Epoch, EpochSteps>,
}

/// How many epochs are remembered. In a process that commits there are no more than sources may be ahead.
const EPOCHS_MAX: usize = 64;

/// When the steps of an epoch were done that come before its commit.
#[derive(Clone, Copy, Default)]
struct EpochSteps {
    /// A source of this process has ended it first.
    ended: Option<Duration>,
    /// An operator has handed over rows or state of it last.
    handed: Option<Duration>,
    /// What was handed over last is durable.
    durable: Option<Duration>,
}

#[derive(Default)]
struct Stage {
    busy: Duration,
    since: Option<Duration>,
    queued: usize,
}

#[derive(Default)]
struct Store {
    busy: Duration,
    next: u64,
    /// Calls that have not come back: since when, verb and name.
    open: BTreeMap<u64, (Duration, &'static str, String)>,
}

impl Waiting {
    pub(super) fn feed(&mut self, input: usize, worker: usize, state: FeedState) {
        self.feeds.insert((input, worker), state);
    }

    /// A stage begins a piece of work; `queued` more wait.
    pub(super) fn stage_begins(&mut self, worker: usize, queued: usize, now: Duration) {
        let stage = self.stages.entry(worker).or_default();
        (stage.since, stage.queued) = (Some(now), queued);
    }

    pub(super) fn stage_ends(&mut self, worker: usize, queued: usize, now: Duration) {
        let stage = self.stages.entry(worker).or_default();
        stage.busy += stage.since.take().map_or(Duration::ZERO, |since| now.saturating_sub(since));
        stage.queued = queued;
    }

    /// A call of the store begins; the number is for its end.
    pub(super) fn call_begins(&mut self, verb: &'static str, name: &str, now: Duration) -> u64 {
        self.store.next += 1;
        self.store.open.insert(self.store.next, (now, verb, name.to_string()));
        self.store.next
    }

    pub(super) fn call_ends(&mut self, call: u64, now: Duration) {
        if let Some((since, _, _)) = self.store.open.remove(&call) {
            self.store.busy += now.saturating_sub(since);
        }
    }

    /// A source was asked: `why` it did not answer, or `None` if it did.
    pub(super) fn asked(&mut self, input: usize, why: Option<String>, now: Duration) {
        match why {
            None => drop(self.silent.remove(&input)),
            Some(why) => self.silent.entry(input).or_insert((now, String::new())).1 = why,
        }
    }

    fn epoch(&mut self, epoch: Epoch) -> &mut EpochSteps {
        if self.epochs.len() >= EPOCHS_MAX && !self.epochs.contains_key(&epoch) {
            self.epochs.pop_first();
        }
        self.epochs.entry(epoch).or_default()
    }

    /// A source has ended `epoch`.
    pub(super) fn ended(&mut self, epoch: Epoch, now: Duration) {
        self.epoch(epoch).ended.get_or_insert(now);
    }

    /// An operator has handed over rows or state of `epoch`.
    pub(super) fn handed(&mut self, epoch: Epoch, now: Duration) {
        self.epoch(epoch).handed = Some(now);
    }

    /// Rows or state of `epoch` are durable.
    pub(super) fn durable(&mut self, epoch: Epoch, now: Duration) {
        self.epoch(epoch).durable = Some(now);
    }

    /// How long `epoch`, which is complete at `now`, took to close, and to be staged. Forgets it and those before it.
    pub(super) fn complete(&mut self, epoch: Epoch, now: Duration) -> (Duration, Duration) {
        let later = self.epochs.split_off(&Epoch(epoch.0 + 1));
        let EpochSteps { ended, handed, durable } = self.epochs.remove(&epoch).unwrap_or_default();
        self.epochs = later;
        let handed_at = handed.unwrap_or(now);
        let close = ended.map_or(Duration::ZERO, |ended| handed_at.saturating_sub(ended));
        (close, durable.map_or(Duration::ZERO, |durable| durable.saturating_sub(handed_at)))
    }

    pub(super) fn feeds(&self, now: Duration) -> Vec<FeedWait> {
        let part = |part: &PartState| PartWait {
            partition: part.partition,
            waits: part.waits,
            waits_for: now.saturating_sub(part.since),
            behind_for: part.behind_since.map(|since| now.saturating_sub(since)),
        };
        let feed = |(&(input, worker), state): (&(usize, usize), &FeedState)| FeedWait {
            input,
            worker,
            open_for: state.open_since.map(|since| now.saturating_sub(since)),
            partitions: reported(&state.partitions).into_iter().map(part).collect(),
        };
        self.feeds.iter().map(feed).collect()
    }

    pub(super) fn stages(&self, now: Duration) -> Vec<StageWait> {
        let stage = |(&worker, stage): (&usize, &Stage)| {
            let writing_for = stage.since.map(|since| now.saturating_sub(since));
            let busy = stage.busy + writing_for.unwrap_or_default();
            StageWait { worker, busy, writing_for, queued: stage.queued }
        };
        self.stages.iter().map(stage).collect()
    }

    pub(super) fn store(&self, now: Duration) -> StoreUse {
        let open = self.store.open.values().min_by_key(|(since, _, _)| *since);
        let running: Duration =
            self.store.open.values().map(|(since, _, _)| now.saturating_sub(*since)).sum();
        let call = |(since, verb, name): &(Duration, &'static str, String)| StoreCall {
            verb: (*verb).to_string(),
            name: name.clone(),
            for_: now.saturating_sub(*since),
        };
        StoreUse { busy: self.store.busy + running, open: open.map(call) }
    }

    pub(super) fn silent(&self, now: Duration) -> Vec<Silence> {
        let one = |(&input, (since, why)): (&usize, &(Duration, String))| Silence {
            input,
            for_: now.saturating_sub(*since),
            why: why.clone(),
        };
        self.silent.iter().map(one).collect()
    }
}

/// The partitions that are reported: none that is at its end, and those first that have not been read to theirs for the longest.
fn reported(all: &[PartState]) -> Vec<&PartState> {
    let mut found: Vec<&PartState> = all.iter().filter(|part| part.waits != Waits::End).collect();
    if found.len() > PARTS_MAX {
        found.sort_by_key(|part| part.behind_since.unwrap_or(Duration::MAX));
        found.truncate(PARTS_MAX);
        found.sort_by_key(|part| part.partition);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_counts_until_now() {
        let seconds = Duration::from_secs;
        let mut waiting = Waiting::default();
        waiting.stage_begins(1, 4, seconds(10));
        let stage = |waiting: &Waiting, now| waiting.stages(seconds(now))[0];
        let expected = StageWait { worker: 1, busy: seconds(5), writing_for: Some(seconds(5)), queued: 4 };
        assert_eq!(stage(&waiting, 15), expected);
        waiting.stage_ends(1, 3, seconds(16));
        let rests = StageWait { worker: 1, busy: seconds(6), writing_for: None, queued: 3 };
        assert_eq!(stage(&waiting, 30), rests);
        let first = waiting.call_begins("write", "a", seconds(10));
        let second = waiting.call_begins("list", "b/", seconds(12));
        let store = waiting.store(seconds(20));
        assert_eq!(
            (store.busy, store.open.map(|call| (call.verb, call.for_))),
            (seconds(18), Some(("write".into(), seconds(10))))
        );
        waiting.call_ends(first, seconds(20));
        let store = waiting.store(seconds(20));
        assert_eq!((store.busy, store.open.map(|call| call.name)), (seconds(18), Some("b/".into())));
        waiting.call_ends(second, seconds(20));
        assert_eq!(waiting.store(seconds(90)), StoreUse { busy: seconds(18), open: None });
    }

    #[test]
    fn partitions_that_have_waited_longest_are_reported_of_very_many() {
        let part = |number: u32| PartState {
            partition: Partition(number),
            waits: if number < 40_000 { Waits::End } else { Waits::Records },
            since: Duration::ZERO,
            behind_since: (number % 2 == 1).then(|| Duration::from_secs(u64::from(100_000 - number))),
        };
        let mut waiting = Waiting::default();
        waiting.feed(0, 0, FeedState { open_since: None, partitions: (0..50_000).map(part).collect() });
        let parts = waiting.feeds(Duration::from_secs(200_000)).remove(0).partitions;
        assert_eq!(parts.len(), PARTS_MAX);
        assert_eq!(parts.last().map(|part| part.partition), Some(Partition(49_999)));
        assert!(parts.iter().all(|part| part.behind_for.is_some()));
    }

    #[test]
    fn steps_before_a_commit_are_those_of_its_epoch() {
        let seconds = Duration::from_secs;
        let mut waiting = Waiting::default();
        for at in [3, 5] {
            waiting.ended(Epoch(7), seconds(at));
            waiting.handed(Epoch(7), seconds(at + 1));
            waiting.durable(Epoch(7), seconds(at + 9));
        }
        waiting.ended(Epoch(8), seconds(8));
        assert_eq!(waiting.complete(Epoch(7), seconds(20)), (seconds(3), seconds(8)));
        assert_eq!(waiting.complete(Epoch(8), seconds(20)), (seconds(12), seconds(0)), "nothing was written");
        assert_eq!(waiting.complete(Epoch(9), seconds(20)), (seconds(0), seconds(0)));
        (0..10_000).for_each(|epoch| waiting.ended(Epoch(epoch), seconds(1)));
        assert_eq!(waiting.epochs.len(), EPOCHS_MAX);
    }

    #[test]
    fn source_is_silent_since_the_first_question_without_an_answer() {
        let seconds = Duration::from_secs;
        let mut waiting = Waiting::default();
        waiting.asked(0, Some("refused".into()), seconds(5));
        waiting.asked(0, Some("timed out".into()), seconds(9));
        let silence = Silence { input: 0, for_: seconds(7), why: "timed out".into() };
        assert_eq!(waiting.silent(seconds(12)), [silence]);
        waiting.asked(0, None, seconds(13));
        assert_eq!(waiting.silent(seconds(14)), []);
    }
}
