//! What the dashboard says of a job: five numbers with a judgement each, what partitions wait for, why it lags.
//!
//! The judgement is a pure function of the board, the newest commits and the clock ([`numbers`]).

use crate::engine::format::board::{Doing, Lag, OperatorTime, Snapshot};
use crate::engine::format::manifest::{Fates, Input, Manifest, PartitionEntry};
use crate::engine::format::waits::{PartWait, Waits};
use crate::serve::cause::limit;
use crate::serve::lag::{Cause, Diagnosis, diagnose};
use crate::serve::live::Live;
use crate::serve::views::known;
use headway_operators::time::EventTime;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

/// A commit that takes longer than this is reported as hung, not as slow.
const HANGS_MS: u128 = 15_000;

/// Event time that is further behind than this is not the present: old records are being read.
const PAST_MS: i64 = 24 * 3_600_000;

/// A partition that is paused for less is not reported as such.
const PAUSED: Duration = Duration::from_secs(1);

/// How good a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Judgement {
    /// It cannot be judged.
    None,
    /// As it should be.
    Ok,
    /// Look at it soon.
    Warn,
    /// Look at it now.
    Bad,
}

use Judgement::{Bad, None as Unjudged, Ok as Good, Warn};

/// One of the numbers that matter.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Number {
    name: &'static str,
    title: &'static str,
    /// In `unit`; `None` if it is not known.
    value: Option<f64>,
    unit: &'static str,
    judgement: Judgement,
    /// A few words about it.
    note: String,
}

/// What is looked at.
struct Look<'a> {
    head: &'a Manifest,
    board: &'a Snapshot,
    now_ms: i64,
    p99: Option<Duration>,
    /// Records of the newest commits, and dead letters among them.
    records: u64,
    dead: u64,
}

/// What a job does now, with the commits after `seq`, and the number of the last of these.
pub(crate) fn of(live: &Live, seq: Option<u64>) -> (Value, Option<u64>) {
    let board = live.board.snapshot();
    let Some(head) = live.board.committed_head() else {
        return (json!({ "state": "starting", "now_ms": live.clock.wall_ms() }), None);
    };
    let recent = live.recent();
    let (p99, (records, dead), commits) = (recent.p99(), recent.dead(), recent.after(seq));
    drop(recent);
    let look = Look { head: &head, board: &board, now_ms: live.clock.wall_ms(), p99, records, dead };
    let last = commits.last().and_then(|commit| commit["seq"].as_u64());
    let mut status = look.json(commits);
    status["views"] = views(live);
    (status, last)
}

/// The views and how many rows they have; nothing while that is not known.
fn views(live: &Live) -> Value {
    let Some(moment) = live.feed.newest() else { return json!([]) };
    let views = live.feed.specs.iter().zip(&moment.tables);
    views
        .map(|(spec, table)| json!({ "name": spec.name, "about": spec.about, "rows": table.rows.len() }))
        .collect()
}

impl Look<'_> {
    fn json(&self, commits: Vec<Value>) -> Value {
        let (head, board) = (self.head, self.board);
        let why = diagnose(head, board);
        let numbers = self.numbers(&why);
        let worst = numbers.iter().map(|number| number.judgement).max().unwrap_or(Unjudged);
        json!({
            "schema_version": 1,
            "job": head.job,
            "pipeline": head.pipeline,
            "version": env!("CARGO_PKG_VERSION"),
            "state": if board.draining { "draining" } else { "running" },
            "judgement": worst.max(Good),
            "now_ms": self.now_ms,
            "running_ms": u64::try_from(board.running.as_millis()).unwrap_or(u64::MAX),
            "generation": head.generation,
            "workers": self.boards().flat_map(shares).collect::<Vec<_>>(),
            "seq": head.seq,
            "epoch": head.epoch,
            "watermark": known(watermark(head)),
            "numbers": numbers,
            "records_per_second": board.recent.records_per_second().unwrap_or_default(),
            "fates": fates(head),
            "why": {
                "cause": why.cause.name(),
                "healthy": why.cause.is_healthy(),
                "sentence": why.sentence,
                "evidence": why.evidence,
                "next": why.next,
            },
            "operators": self.operators(),
            "partitions": head.inputs.iter().enumerate().flat_map(|(at, input)| self.partitions(at, input)).collect::<Vec<_>>(),
            "commits": commits,
        })
    }

    /// The boards of all processes that have said something, process 0 first.
    fn boards(&self) -> impl Iterator<Item = &Snapshot> {
        self.board.all().map(|(_, board)| board)
    }

    fn numbers(&self, why: &Diagnosis) -> Vec<Number> {
        let mut numbers = vec![self.source_lag(), self.watermark_lag(why), self.commit(), self.dead_share()];
        numbers.extend(self.target_lag());
        numbers
    }

    fn source_lag(&self) -> Number {
        let behind = self.board.lags.iter().filter(|lag| lag.records > 0);
        let (oldest, records) = behind
            .fold((0, 0), |(oldest, all), lag| (lag.age_ms(self.now_ms).max(oldest), all + lag.records));
        let few = i64::try_from(limit(self.board.epoch).as_millis()).unwrap_or(i64::MAX);
        let is_known = !self.board.lags.is_empty();
        let judgement = match oldest {
            _ if !is_known => Unjudged,
            oldest if oldest <= few => Good,
            oldest if oldest <= few.saturating_add(60_000) => Warn,
            _ => Bad,
        };
        Number {
            name: "source-lag",
            title: "Source lag",
            value: is_known.then(|| oldest as f64 / 1e3),
            unit: "s",
            judgement,
            note: match records {
                _ if !is_known => "the source has no end".to_string(),
                0 => "no record waits".to_string(),
                1 => "1 record waits".to_string(),
                records => format!("{records} records wait"),
            },
        }
    }

    fn watermark_lag(&self, why: &Diagnosis) -> Number {
        let watermark = watermark(self.head);
        let lag = self.now_ms.saturating_sub(watermark.ms());
        let is_held = why.cause == Cause::PartitionHoldsWindows;
        let (judgement, note) = match lag {
            _ if watermark == EventTime::MIN => (Unjudged, "no record yet".to_string()),
            _ if is_held => (Warn, "a partition holds windows open".to_string()),
            lag if lag > PAST_MS => {
                (Unjudged, format!("reads the past: {}", known(watermark).unwrap_or_default()))
            }
            lag if lag <= 15 * 60_000 => (Good, "event time follows the clock".to_string()),
            lag if lag <= 3_600_000 => (Warn, "more than 15 minutes".to_string()),
            _ => (Bad, "more than an hour".to_string()),
        };
        let is_present = watermark > EventTime::MIN && lag <= PAST_MS;
        let value = is_present.then(|| lag.max(0) as f64 / 1e3);
        Number { name: "watermark-lag", title: "Watermark lag", value, unit: "s", judgement, note }
    }

    fn commit(&self) -> Number {
        let epoch = self.board.epoch.max(Duration::from_millis(250));
        let is_stuck = self.board.doing != Doing::Nothing && self.board.doing_for.as_millis() > HANGS_MS;
        let (judgement, note) = match self.p99 {
            _ if is_stuck => {
                let what = if self.board.doing == Doing::Confirming { "the source" } else { "the lake" };
                (Bad, format!("has waited for {what} for {} s", self.board.doing_for.as_secs()))
            }
            None => (Unjudged, "no commit yet".to_string()),
            Some(p99) if p99 <= epoch => (Good, "faster than an epoch".to_string()),
            Some(p99) if p99 <= epoch * 3 => (Warn, "slower than an epoch".to_string()),
            Some(_) => (Bad, "slower than three epochs".to_string()),
        };
        let value = self.p99.map(|p99| p99.as_secs_f64() * 1e3);
        Number { name: "commit-p99", title: "Commit p99", value, unit: "ms", judgement, note }
    }

    fn dead_share(&self) -> Number {
        let share = (self.records > 0).then(|| self.dead as f64 / self.records as f64);
        let judgement = match share {
            None => Unjudged,
            Some(share) if share <= 0.01 => Good,
            Some(share) if share <= 0.1 => Warn,
            Some(_) => Bad,
        };
        let note = format!("{} of {} recent records", self.dead, self.records);
        let value = share.map(|share| share * 100.0);
        Number { name: "dead-share", title: "Dead share", value, unit: "%", judgement, note }
    }

    /// For how long the slowest target has lacked a commit; `None` if there is no target.
    fn target_lag(&self) -> Option<Number> {
        let (name, target) = self.head.targets.iter().min_by_key(|(_, target)| target.acknowledged)?;
        let slowest = self.board.targets.iter().max_by_key(|lag| (lag.for_ms, lag.commits));
        let (judgement, note) = match slowest {
            _ if target.rebuild => (Bad, format!("{name} is rebuilt")),
            None => (Unjudged, format!("{name} has not said where it stands")),
            Some(lag) if lag.commits == 0 => (Good, format!("{} keeps up", lag.name)),
            Some(lag) => {
                let judgement = match lag.for_ms {
                    ..=10_000 => Good,
                    10_001..=60_000 => Warn,
                    _ => Bad,
                };
                (judgement, format!("{} lacks {} commits", lag.name, lag.commits))
            }
        };
        let value = slowest.map(|lag| lag.for_ms as f64 / 1e3);
        Some(Number { name: "target-lag", title: "Target lag", value, unit: "s", judgement, note })
    }

    /// What the operators on the workers of this process do, those that took the most of the last seconds first.
    fn operators(&self) -> Vec<Value> {
        let one = |(time, share): (&OperatorTime, f64)| {
            let used = self.board.operators.iter().find(|used| used.name == time.name)?;
            Some(json!({
                "operator": used.name,
                "share": share,
                "busy_ms": u64::try_from(used.busy.as_millis()).unwrap_or(u64::MAX),
                "records_in": used.records_in,
                "records_out": used.records_out,
            }))
        };
        self.board.recent.operator_shares().filter_map(one).collect()
    }

    fn partitions(&self, at: usize, input: &Input) -> Vec<Value> {
        let slowest = input.slowest().map(|part| part.partition);
        let one = |part: &PartitionEntry| {
            let lag = self.board.lags.iter().find(|lag| lag.input == at && lag.partition == part.partition);
            let is_slowest = input.partitions.len() > 1 && slowest == Some(part.partition);
            let feeds = self.boards().flat_map(|board| &board.feeds).filter(|feed| feed.input == at);
            let feed = feeds.flat_map(|feed| &feed.partitions).find(|wait| wait.partition == part.partition);
            let (judgement, waits) = waits(part, lag, feed, is_slowest);
            json!({
                "input": input.name,
                "topic": input.topic,
                "partition": part.partition,
                "next": part.next,
                "end": lag.map(|lag| lag.end),
                "lag": lag.map(|lag| lag.records),
                "for_ms": lag.map(|lag| lag.age_ms(self.now_ms)),
                "watermark": known(part.reached()),
                "waits": waits,
                "judgement": judgement,
            })
        };
        input.partitions.iter().map(one).collect()
    }
}

/// The shares of the last seconds in which the workers of a process were busy.
fn shares(board: &Snapshot) -> impl Iterator<Item = f64> {
    board.recent.workers.iter().map(|time| board.recent.share(time.busy))
}

/// What a partition waits for, or others wait for.
fn waits(
    part: &PartitionEntry,
    lag: Option<&Lag>,
    feed: Option<&PartWait>,
    is_slowest: bool,
) -> (Judgement, &'static str) {
    let behind = lag.map_or(0, |lag| lag.records);
    let is_paused = |waits: Waits| feed.is_some_and(|feed| feed.waits == waits && feed.waits_for > PAUSED);
    match lag {
        _ if part.ended => (Unjudged, "ended"),
        Some(lag) if lag.stalled && lag.records > 0 => (Bad, "an open transaction"),
        _ if part.joining => (Good, "joins"),
        _ if is_paused(Waits::Memory) => (Bad, "memory: its source is paused"),
        _ if is_paused(Waits::Slowest) => (Warn, "partitions that are behind in event time"),
        _ if part.idle => (Unjudged, "idle: holds nothing back"),
        Some(lag) if behind > 0 && lag.for_ms > 60_000 => (Bad, "its records wait to be read"),
        Some(lag) if behind > 0 && lag.for_ms > 5_000 => (Warn, "its records wait to be read"),
        _ if is_slowest => (Good, "slowest: windows wait for it"),
        _ if behind > 0 => (Good, "reads"),
        _ => (Good, "the next record"),
    }
}

/// The least watermark of the inputs.
fn watermark(head: &Manifest) -> EventTime {
    head.inputs.iter().map(|input| input.watermark).min().unwrap_or(EventTime::MIN)
}

/// What became of all records since the job's start.
fn fates(head: &Manifest) -> Value {
    let mut all = Fates::default();
    head.inputs.iter().for_each(|input| all.add(&input.total()));
    json!(all.counts())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::board::{Elsewhere, OperatorUse, TargetLag};
    use crate::engine::format::manifest::Target;
    use crate::engine::format::manifest::tests::first;
    use crate::engine::format::names::Seq;
    use crate::engine::format::waits::FeedWait;
    use headway_operators::record::{Offset, Partition};

    fn number(name: &str, change: impl Fn(&mut Manifest, &mut Snapshot)) -> (Option<f64>, Judgement) {
        let (mut head, mut board) = (first(1), Snapshot::default());
        board.epoch = Duration::from_secs(1);
        head.inputs[0].watermark = EventTime(1_541_462_400_000);
        change(&mut head, &mut board);
        let p99 = Some(Duration::from_millis(20));
        let look =
            Look { head: &head, board: &board, now_ms: 1_541_462_460_000, p99, records: 1_000, dead: 5 };
        let number = look
            .numbers(&diagnose(&head, &board))
            .into_iter()
            .find(|number| number.name == name)
            .expect("it is there");
        (number.value, number.judgement)
    }

    fn lag(records: i64, for_ms: i64) -> Lag {
        Lag {
            input: 0,
            partition: Partition(0),
            end: Offset(records),
            records,
            for_ms,
            stalled: false,
            first_ms: None,
        }
    }

    #[test]
    fn operators_have_their_share_of_the_last_seconds() {
        let used =
            |name: &str, records_in| OperatorUse { name: name.into(), records_in, ..OperatorUse::default() };
        let time = |name: &str, ms| OperatorTime { name: name.into(), busy: Duration::from_millis(ms) };
        let mut board =
            Snapshot { operators: vec![used("Ingest-a", None), used("Sum", Some(7))], ..Snapshot::default() };
        board.recent.operators = vec![time("Sum", 3_000), time("Ingest-a", 1_000)];
        let head = first(1);
        let look = Look { head: &head, board: &board, now_ms: 0, p99: None, records: 0, dead: 0 };
        let shown = look.operators();
        let read = |at: usize, key: &str| shown[at][key].clone();
        assert_eq!(
            (read(0, "operator"), read(0, "share"), read(0, "records_in")),
            ("Sum".into(), 0.75.into(), 7.into())
        );
        assert_eq!(
            (read(1, "operator"), read(1, "share"), read(1, "records_in")),
            ("Ingest-a".into(), 0.25.into(), Value::Null)
        );
    }

    #[test]
    fn partition_that_another_process_has_paused_waits_for_what_that_says() {
        let head = first(1);
        let shown = |waits: Waits, seconds: u64| {
            let waits_for = Duration::from_secs(seconds);
            let part = PartWait { partition: Partition(0), waits, waits_for, behind_for: Some(waits_for) };
            let feed = FeedWait { input: 0, worker: 1, open_for: None, partitions: vec![part] };
            let other = Snapshot { feeds: vec![feed], ..Snapshot::default() };
            let elsewhere = vec![Elsewhere { process: 1, board: other, ..Elsewhere::default() }];
            let board = Snapshot { elsewhere, ..Snapshot::default() };
            let look = Look { head: &head, board: &board, now_ms: 0, p99: None, records: 0, dead: 0 };
            let shown = &look.partitions(0, &head.inputs[0])[0];
            (shown["waits"].clone(), shown["judgement"].clone())
        };
        assert_eq!(shown(Waits::Memory, 30), ("memory: its source is paused".into(), "bad".into()));
        assert_eq!(shown(Waits::Slowest, 30).1, "warn");
        assert_eq!(shown(Waits::Memory, 1).1, "ok", "it comes and goes");
        assert_eq!(shown(Waits::Records, 30).1, "ok");
    }

    #[test]
    fn numbers_are_judged_by_what_people_wait_for() {
        assert_eq!(number("source-lag", |_, _| ()), (None, Unjudged));
        assert_eq!(number("source-lag", |_, board| board.lags = vec![lag(0, 0)]), (Some(0.0), Good));
        assert_eq!(number("source-lag", |_, board| board.lags = vec![lag(9, 4_000)]), (Some(4.0), Good));
        assert_eq!(number("source-lag", |_, board| board.lags = vec![lag(9, 9_000)]), (Some(9.0), Warn));
        assert_eq!(number("source-lag", |_, board| board.lags = vec![lag(9, 90_000)]), (Some(90.0), Bad));
        let old = |_: &mut Manifest, board: &mut Snapshot| {
            board.lags = vec![Lag { first_ms: Some(1_541_462_340_000), ..lag(9, 1_000) }];
        };
        assert_eq!(number("source-lag", old), (Some(120.0), Bad), "as /metrics and status have it");
        let target = |for_ms: i64, commits: u64| {
            move |head: &mut Manifest, board: &mut Snapshot| {
                let (acknowledged, name) = (Seq(3), "postgres".to_string());
                head.targets.insert(name.clone(), Target { acknowledged, rebuild: false });
                board.targets = vec![TargetLag { name, for_ms, commits, ..TargetLag::default() }];
            }
        };
        assert_eq!(number("target-lag", target(0, 0)), (Some(0.0), Good));
        assert_eq!(number("target-lag", target(4_000, 2)), (Some(4.0), Good));
        assert_eq!(number("target-lag", target(40_000, 2)), (Some(40.0), Warn));
        assert_eq!(number("target-lag", target(90_000, 70)), (Some(90.0), Bad));
        assert_eq!(number("watermark-lag", |_, _| ()), (Some(60.0), Good));
        let at =
            |ms: i64| move |head: &mut Manifest, _: &mut Snapshot| head.inputs[0].watermark = EventTime(ms);
        assert_eq!(number("watermark-lag", at(1_541_460_000_000)), (Some(2_460.0), Warn));
        assert_eq!(number("watermark-lag", at(1_541_450_000_000)), (Some(12_460.0), Bad));
        assert_eq!(number("watermark-lag", at(1_441_450_000_000)), (None, Unjudged), "old records");
        assert_eq!(number("watermark-lag", at(i64::MIN)), (None, Unjudged), "no record yet");
        assert_eq!(number("commit-p99", |_, _| ()), (Some(20.0), Good));
        let hangs = |_: &mut Manifest, board: &mut Snapshot| {
            (board.doing, board.doing_for) = (Doing::Committing, Duration::from_secs(16));
        };
        assert_eq!(
            number("commit-p99", hangs),
            (Some(20.0), Bad),
            "the commit at work counts, not those before it"
        );
        assert_eq!(number("dead-share", |_, _| ()), (Some(0.5), Good));
    }
}
