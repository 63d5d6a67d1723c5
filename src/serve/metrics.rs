//! Every metric there is, in one table: name, kind, labels, what it says, and how it is read from a board and a manifest.
//!
//! README's list of metrics is made from this table, and the boards and alerts that come with Headway are checked against
//! it. Labels are names from the configuration, numbers of partitions and workers, and reasons from a fixed list: there are few.

use crate::engine::format::board::{Lag, OperatorUse, Snapshot, TargetLag, WorkerTime};
use crate::engine::format::manifest::{Expectation, Input, Manifest, PartitionEntry, Subject, View};
use headway_operators::time::EventTime;
use std::time::Duration;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows, while the run lasts or over the life of the job.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// What is read: a job at one moment.
#[derive(Clone, Debug)]
pub struct Moment<'a> {
    /// What is committed.
    pub head: &'a Manifest,
    /// What the run is doing; all zero where none runs.
    pub board: &'a Snapshot,
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The consumer group that is told committed offsets, for each input that has one.
    pub groups: &'a [Option<String>],
    /// Whether the job lives: one of [`STATES`].
    pub state: &'static str,
}

/// One value with its labels, in the order of the metric's names.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The labels' values.
    pub labels: Vec<String>,
    /// The value.
    pub value: f64,
}

/// One metric.
pub struct Metric {
    /// Its name; that of a counter gets `_total` at its end.
    pub name: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, with its unit.
    pub help: &'static str,
    read: fn(&Moment<'_>) -> Vec<Sample>,
}

impl Metric {
    /// Its values now.
    pub fn samples(&self, moment: &Moment<'_>) -> Vec<Sample> {
        (self.read)(moment)
    }

    /// Its name as it is scraped.
    pub fn full_name(&self) -> String {
        match self.kind {
            MetricKind::Counter => format!("{}_total", self.name),
            MetricKind::Gauge => self.name.to_string(),
        }
    }
}

use MetricKind::{Counter, Gauge};

/// What a job may be, in one word.
pub const STATES: [&str; 4] = ["running", "stopped", "failed", "unresponsive"];

/// The labels of a partition.
const PARTITION: &[&str] = &["input", "topic", "partition"];

/// The labels that lag exporters for Kafka use.
const EXPORTER: &[&str] = &["consumergroup", "topic", "partition"];

/// The label of what one operator does.
const OPERATOR: &[&str] = &["operator"];

const OPERATOR_SECONDS: &str = "Time in which the operator ran, on all workers of this process; \"engine\" is timely itself, \"steps\" are the small steps between operators.";

/// All of them, except the histogram of commits, which is [`COMMIT_SECONDS`].
pub const METRICS: &[Metric] = &[
    of(
        "headway_build_info",
        Gauge,
        &["version", "pipeline"],
        "Always 1; the labels are version and pipeline.",
        |m| one(&[env!("CARGO_PKG_VERSION"), &m.head.pipeline], 1.0),
    ),
    of(
        "headway_job_state",
        Gauge,
        &["state"],
        "1 for what the job is, 0 for the others: running, stopped (ended as it was asked to), failed, unresponsive. A job that answers is running; `status -o prometheus` says what one is that may not.",
        |m| STATES.iter().map(|state| sample(&[state], f64::from(u8::from(*state == m.state)))).collect(),
    ),
    of("headway_running_seconds", Gauge, &[], "Time since this run began.", |m| {
        one(&[], seconds(m.board.running))
    }),
    of("headway_run_generation", Gauge, &[], "The number of the run: how often the job was started.", |m| {
        one(&[], m.head.generation.0 as f64)
    }),
    of(
        "headway_restarts",
        Counter,
        &["reason"],
        "Starts after a failed run, by the reason of the failure.",
        |m| m.head.restarts.iter().map(|(code, count)| sample(&[code], *count as f64)).collect(),
    ),
    of(
        "headway_source_offset",
        Gauge,
        PARTITION,
        "The committed position: the offset of the first record that is not committed.",
        |m| partitions(m, |part| Some(part.next.0 as f64)),
    ),
    of("headway_source_end_offset", Gauge, PARTITION, "The last known end of the partition.", |m| {
        lags(m, |lag| lag.end.0 as f64)
    }),
    of(
        "headway_source_lag_records",
        Gauge,
        PARTITION,
        "Offsets of the partition that are not committed.",
        |m| lags(m, |lag| lag.records as f64),
    ),
    of(
        "headway_source_lag_seconds",
        Gauge,
        PARTITION,
        "Age of the first record that is not committed, by its timestamp (until it is read: since it was first seen); 0 if there is none.",
        |m| lags(m, |lag| lag.age_ms(m.now_ms) as f64 / 1e3),
    ),
    of(
        "headway_source_transaction_open",
        Gauge,
        PARTITION,
        "1 while an open transaction holds back the records after it.",
        |m| lags(m, |lag| f64::from(u8::from(lag.stalled))),
    ),
    of(
        "headway_partition_idle",
        Gauge,
        PARTITION,
        "1 while the partition does not hold windows open.",
        |m| partitions(m, |part| Some(f64::from(u8::from(part.idle || part.ended)))),
    ),
    of(
        "headway_partition_watermark_timestamp_seconds",
        Gauge,
        PARTITION,
        "The partition's newest event time less lateness.",
        |m| partitions(m, |part| timestamp(part.reached())),
    ),
    of(
        "headway_watermark_timestamp_seconds",
        Gauge,
        &["input"],
        "The watermark: windows that end before it are closed.",
        |m| inputs(m, |input| timestamp(input.watermark)),
    ),
    of("headway_watermark_lag_seconds", Gauge, &["input"], "Now less the watermark.", |m| {
        inputs(m, |input| Some(m.now_ms as f64 / 1e3 - timestamp(input.watermark)?))
    }),
    of(
        "headway_records",
        Counter,
        &["input", "fate"],
        "Records of all runs by fate: accepted, duplicate, filtered, late, dead.",
        fates,
    ),
    of("headway_dead_records", Counter, &["input", "reason"], "Dead letters by reason.", |m| {
        let of_input = |input: &Input| {
            let dead = input.total().dead;
            dead.iter()
                .map(|(reason, count)| sample(&[&input.name, reason.name()], *count as f64))
                .collect::<Vec<_>>()
        };
        m.head.inputs.iter().flat_map(of_input).collect()
    }),
    of(
        "headway_records_dropped",
        Counter,
        &["operator", "reason"],
        "Accepted records that an operator of this run dropped, by reason.",
        |m| {
            let dropped = m.board.dropped.iter();
            dropped.map(|d| sample(&[&d.operator, &d.reason], d.records as f64)).collect()
        },
    ),
    of("headway_rows_written", Counter, &["output"], "Rows committed by all runs.", |m| {
        m.head.written.iter().map(|(output, rows)| sample(&[output], *rows as f64)).collect()
    }),
    of("headway_operator_held", Gauge, &["operator"], "Entries that the operator keeps.", |m| {
        let held = m.head.operators.iter().filter_map(|(name, operator)| Some((name, operator.held?)));
        held.map(|(name, held)| sample(&[name], held as f64)).collect()
    }),
    of("headway_state_bytes", Gauge, &[], "Size of the state files that a restart reads.", |m| {
        one(&[], m.head.state.iter().map(|entry| entry.bytes as f64).sum())
    }),
    of(
        "headway_target_behind_commits",
        Gauge,
        &["target"],
        "Commits with changes that the target does not have.",
        |m| targets(m, |target| target.commits as f64),
    ),
    of(
        "headway_target_behind_seconds",
        Gauge,
        &["target"],
        "Age of the oldest commit that the target does not have; 0 if it has all.",
        |m| targets(m, |target| target.for_ms as f64 / 1e3),
    ),
    of(
        "headway_expectation_failing_rows",
        Gauge,
        &["rule", "severity"],
        "Rows of views (days, for row_count_change) that break the expectation as of the last commit.",
        |m| expectations(m, |on| matches!(on, Subject::View(_))),
    ),
    of(
        "headway_expectation_failures",
        Counter,
        &["rule", "severity"],
        "Records of inputs that broke the expectation, of all runs that had it.",
        |m| expectations(m, |on| matches!(on, Subject::Input(_))),
    ),
    of("headway_commits", Counter, &[], "Commits of this run.", |m| one(&[], m.board.commits as f64)),
    of("headway_commit_epoch", Gauge, &[], "The last committed epoch.", |m| one(&[], m.head.epoch.0 as f64)),
    of("headway_commit_timestamp_seconds", Gauge, &[], "Time of the last commit.", |m| {
        one(&[], m.head.written_ms as f64 / 1e3)
    }),
    of(
        "headway_commit_slowest_seconds",
        Gauge,
        &["step", "epoch"],
        "The slowest commit of this run by step, and which epoch it committed.",
        |m| {
            let Some(epoch) = m.board.slowest_epoch else { return Vec::new() };
            let (steps, epoch) = (m.board.slowest.named(), epoch.to_string());
            steps.iter().map(|(step, time)| sample(&[step, &epoch], seconds(*time))).collect()
        },
    ),
    of(
        "headway_view_freshness_seconds",
        Gauge,
        &["view"],
        "For how long the table of the view in the lake has lacked committed changes, at most; 0 if it has all. Readers over HTTP have each commit at once.",
        freshness,
    ),
    of(
        "headway_worker_seconds",
        Counter,
        &["worker", "state"],
        "Time of a worker by state: busy on a processor, or waiting. The two add up to the time since the start.",
        |m| {
            let of_worker = |(index, time): (usize, &WorkerTime)| {
                let index = index.to_string();
                [
                    sample(&[&index, "busy"], seconds(time.busy)),
                    sample(&[&index, "waiting"], seconds(time.waiting)),
                ]
            };
            m.board.workers.iter().enumerate().flat_map(of_worker).collect()
        },
    ),
    of("headway_operator_seconds", Counter, OPERATOR, OPERATOR_SECONDS, |m| {
        operators(m, |used| Some(seconds(used.busy)))
    }),
    of("headway_operator_runs", Counter, OPERATOR, "How often the operator ran.", |m| {
        operators(m, |used| Some(used.runs as f64))
    }),
    of(
        "headway_operator_records_in",
        Counter,
        OPERATOR,
        "Records that the operator took in, restored ones included. For an operator without records: the marks or acks that it took in.",
        |m| operators(m, |used| Some(used.records_in? as f64)),
    ),
    of(
        "headway_operator_records_out",
        Counter,
        OPERATOR,
        "Records that the operator gave out, restored ones included.",
        |m| operators(m, |used| Some(used.records_out? as f64)),
    ),
    of(
        "kafka_consumergroup_current_offset",
        Gauge,
        EXPORTER,
        "The committed offset, under the name that Kafka's exporters use; only with --group.",
        |m| exporter(m, |lag| lag.end.0 as f64 - lag.records as f64),
    ),
    of(
        "kafka_consumergroup_lag",
        Gauge,
        EXPORTER,
        "Offsets that are not committed, under the name that Kafka's exporters use; only with --group.",
        |m| exporter(m, |lag| lag.records as f64),
    ),
];

/// What each process of a job tells of itself; process 0 tells the rest.
pub const OF_EACH_PROCESS: [&str; 8] = [
    "headway_build_info",
    "headway_running_seconds",
    "headway_run_generation",
    "headway_worker_seconds",
    "headway_operator_seconds",
    "headway_operator_runs",
    "headway_operator_records_in",
    "headway_operator_records_out",
];

/// The histogram of how long commits take, by step.
pub const COMMIT_SECONDS: (&str, &str) = (
    "headway_commit_duration_seconds",
    "How long commits take, by step: close (from the end of the epoch until the last operator is done with it), stage (until its files are durable), confirm, manifest, publish, clean, target (until the slowest target has the changes).",
);

const fn of(
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Moment<'_>) -> Vec<Sample>,
) -> Metric {
    Metric { name, kind, labels, help, read }
}

fn sample(labels: &[&str], value: f64) -> Sample {
    Sample { labels: labels.iter().map(ToString::to_string).collect(), value }
}

fn one(labels: &[&str], value: f64) -> Vec<Sample> {
    vec![sample(labels, value)]
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// An event time in seconds; `None` before there is any.
fn timestamp(time: EventTime) -> Option<f64> {
    (time > EventTime::MIN && time < EventTime::MAX).then(|| time.ms() as f64 / 1e3)
}

fn inputs(moment: &Moment<'_>, value: impl Fn(&Input) -> Option<f64>) -> Vec<Sample> {
    moment.head.inputs.iter().filter_map(|input| Some(sample(&[&input.name], value(input)?))).collect()
}

fn partitions(moment: &Moment<'_>, value: impl Fn(&PartitionEntry) -> Option<f64>) -> Vec<Sample> {
    let of_input = |input: &Input| {
        let labelled = |part: &PartitionEntry| {
            let number = part.partition.to_string();
            Some(sample(&[&input.name, &input.topic, &number], value(part)?))
        };
        input.partitions.iter().filter_map(labelled).collect::<Vec<_>>()
    };
    moment.head.inputs.iter().flat_map(of_input).collect()
}

fn lags(moment: &Moment<'_>, value: impl Fn(&Lag) -> f64) -> Vec<Sample> {
    let labelled = |lag: &Lag| {
        let input = moment.head.inputs.get(lag.input)?;
        Some(sample(&[&input.name, &input.topic, &lag.partition.to_string()], value(lag)))
    };
    moment.board.lags.iter().filter_map(labelled).collect()
}

fn targets(moment: &Moment<'_>, value: impl Fn(&TargetLag) -> f64) -> Vec<Sample> {
    moment.board.targets.iter().map(|target| sample(&[&target.name], value(target))).collect()
}

/// What is committed of the expectations whose subject is `wanted`.
fn expectations(moment: &Moment<'_>, wanted: fn(&Subject) -> bool) -> Vec<Sample> {
    let all = moment.head.expectations.iter().filter(|(_, found)| wanted(&found.on));
    let one = |(rule, found): (&String, &Expectation)| {
        Some(sample(&[rule, found.severity.word()], found.failures? as f64))
    };
    all.filter_map(one).collect()
}

fn exporter(moment: &Moment<'_>, value: impl Fn(&Lag) -> f64) -> Vec<Sample> {
    let labelled = |lag: &Lag| {
        let group = moment.groups.get(lag.input)?.as_ref()?;
        let input = moment.head.inputs.get(lag.input)?;
        Some(sample(&[group, &input.topic, &lag.partition.to_string()], value(lag)))
    };
    moment.board.lags.iter().filter_map(labelled).collect()
}

/// For how long each view has changes that its table in the lake does not have.
fn freshness(moment: &Moment<'_>) -> Vec<Sample> {
    let Some((seq, at_ms)) = moment.board.tables else { return Vec::new() };
    let one = |(name, view): (&String, &View)| {
        let lacks = view.changed.is_some_and(|changed| changed > seq);
        let age_ms = if lacks { moment.now_ms.saturating_sub(at_ms).max(0) } else { 0 };
        sample(&[name], age_ms as f64 / 1e3)
    };
    moment.head.views.iter().map(one).collect()
}

fn operators(moment: &Moment<'_>, value: impl Fn(&OperatorUse) -> Option<f64>) -> Vec<Sample> {
    let used = moment.board.operators.iter();
    used.filter_map(|used| Some(sample(&[&used.name], value(used)?))).collect()
}

fn fates(moment: &Moment<'_>) -> Vec<Sample> {
    let of_input = |input: &Input| {
        input.total().by_fate().map(|(fate, count)| sample(&[&input.name, fate], count as f64))
    };
    moment.head.inputs.iter().flat_map(of_input).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::board::Dropped;
    use crate::engine::format::manifest::tests::first;
    use crate::engine::format::names::Seq;
    use headway_operators::record::{Offset, Partition};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_have_the_form_that_is_usual() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let plain = metric.name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
            let ours = metric.name.starts_with("headway_") || metric.labels == EXPORTER;
            assert!(plain && ours && !metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn every_sample_has_a_value_for_each_label() {
        let mut head = first(2);
        head.restarts.insert("process-gone".into(), 2);
        head.inputs[0].watermark = EventTime(90_000);
        let lag = Lag {
            input: 0,
            partition: Partition(1),
            end: Offset(70),
            records: 30,
            for_ms: 2_500,
            stalled: true,
            first_ms: None,
        };
        let dropped = vec![Dropped { operator: "Trips".into(), reason: "no-start".into(), records: 7 }];
        let workers = vec![Default::default(); 2];
        let read = OperatorUse {
            name: "Ingest-trips".into(),
            runs: 3,
            records_out: Some(9),
            ..OperatorUse::default()
        };
        let busy = Duration::from_millis(1_500);
        let counted =
            OperatorUse { name: "Trips".into(), busy, records_in: Some(9), ..OperatorUse::default() };
        let operators = vec![read, counted];
        let other = Lag { input: 1, ..lag };
        let mut plain = head.inputs[0].clone();
        plain.name = "plain".into();
        head.inputs.push(plain);
        let groups = [Some("g".to_string()), None];
        let view = |changed| View { keeps: 1, shows: 1, changed: Some(Seq(changed)), from_epoch: None };
        head.views.extend([("fresh".into(), view(5)), ("stale".into(), view(6))]);
        let tables = Some((Seq(5), 40_000));
        let board =
            Snapshot { lags: vec![lag, other], tables, workers, dropped, operators, ..Snapshot::default() };
        let moment =
            Moment { head: &head, board: &board, now_ms: 100_000, groups: &groups, state: "running" };
        assert_eq!(moment.groups.len(), 2, "each input has a group of its own, or none");
        for metric in METRICS {
            for sample in metric.samples(&moment) {
                assert_eq!(sample.labels.len(), metric.labels.len(), "{}", metric.name);
            }
        }
        let read = |name: &str| {
            let metric = METRICS.iter().find(|metric| metric.full_name() == name).expect("it is there");
            metric.samples(&moment)
        };
        assert_eq!(read("headway_source_lag_seconds")[0].value, 2.5);
        assert_eq!(read("headway_watermark_lag_seconds")[0].value, 10.0);
        let exported = read("kafka_consumergroup_current_offset");
        assert_eq!((exported.len(), exported[0].value), (1, 40.0), "the other input has no group");
        assert_eq!(exported[0].labels[0], "g");
        assert_eq!(
            read("headway_view_freshness_seconds"),
            [sample(&["fresh"], 0.0), sample(&["stale"], 60.0)]
        );
        assert_eq!(
            read("headway_job_state").iter().map(|sample| sample.value).collect::<Vec<_>>(),
            [1.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(read("headway_restarts_total"), [sample(&["process-gone"], 2.0)]);
        assert_eq!(read("headway_records_dropped_total"), [sample(&["Trips", "no-start"], 7.0)]);
        assert_eq!(read("headway_worker_seconds_total").len(), 4);
        let of = |operator: &str, value| sample(&[operator], value);
        assert_eq!(read("headway_operator_seconds_total"), [of("Ingest-trips", 0.0), of("Trips", 1.5)]);
        assert_eq!(read("headway_operator_runs_total"), [of("Ingest-trips", 3.0), of("Trips", 0.0)]);
        assert_eq!(read("headway_operator_records_in_total"), [of("Trips", 9.0)], "a source has no input");
        assert_eq!(read("headway_operator_records_out_total"), [of("Ingest-trips", 9.0)]);
    }

    /// What stands in a file of rules or boards and looks like a metric of ours.
    fn named(text: &str) -> BTreeSet<String> {
        let words = text.split(|c: char| !(c == '_' || c.is_ascii_alphanumeric()));
        words.filter(|word| word.starts_with("headway_")).map(str::to_string).collect()
    }

    #[test]
    fn boards_and_alerts_name_only_metrics_that_exist() {
        let mut known: BTreeSet<String> = METRICS.iter().map(Metric::full_name).collect();
        known.extend(["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", COMMIT_SECONDS.0)));
        let files = ["alerts.yaml", "alerts_test.yaml", "grafana.json"];
        for file in files {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/deploy").join(file);
            let text = std::fs::read_to_string(&path).expect("it is there");
            let named = named(&text);
            assert!(named.len() > 5, "{file} names {named:?}");
            let strange: Vec<&String> = named.difference(&known).collect();
            assert!(strange.is_empty(), "{file} names {strange:?}, which no job has");
        }
        assert_eq!(
            named("rate(headway_gone_total{a=\"b\"}[5m])").difference(&known).count(),
            1,
            "it would be seen"
        );
    }
}
