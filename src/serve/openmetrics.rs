//! The metrics of a job in the text format of OpenMetrics, which Prometheus and its kin scrape.

use crate::engine::format::board::Steps;
use crate::serve::metrics::{COMMIT_SECONDS, METRICS, MetricKind, Moment, OF_EACH_PROCESS};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::fmt;
use std::time::Duration;

/// Upper bounds of the buckets of commits, in seconds: from a page cache to a store far away.
const BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The label of a step of commits: its name and its value.
type Step = [(&'static str, &'static str); 1];

/// How long commits took.
pub(crate) struct Commits {
    registry: Registry,
    seconds: Family<Step, Histogram, fn() -> Histogram>,
}

impl Default for Commits {
    fn default() -> Commits {
        let seconds: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let mut registry = Registry::default();
        let (name, help) = COMMIT_SECONDS;
        registry.register(name, help.trim_end_matches('.'), seconds.clone());
        Commits { registry, seconds }
    }
}

impl Commits {
    /// Notes one.
    pub(crate) fn observe(&self, steps: &Steps) {
        // With most commits nothing was delivered since the last one, or there is no target.
        let is_taken = |(step, time): &(&str, Duration)| *step != "target" || !time.is_zero();
        for (step, time) in steps.named().into_iter().filter(is_taken) {
            self.seconds.get_or_create(&[("step", step)]).observe(time.as_secs_f64());
        }
    }
}

/// All metrics at `moment`.
///
/// # Errors
/// If the encoder fails, which it does not on a string.
pub(crate) fn text(commits: &Commits, moment: &Moment<'_>) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Read(read(moment))));
    encode_registry(&mut text, &registry)?;
    encode_registry(&mut text, &commits.registry)?;
    encode_eof(&mut text)?;
    Ok(text)
}

/// The metrics at `moment` that each process of a job has of its own.
///
/// # Errors
/// As [`text`].
pub(crate) fn text_of_process(moment: &Moment<'_>) -> Result<String, fmt::Error> {
    let (mut text, mut registry) = (String::new(), Registry::default());
    let mut samples = read(moment);
    for (metric, samples) in METRICS.iter().zip(&mut samples) {
        if !OF_EACH_PROCESS.contains(&metric.name) {
            samples.clear();
        }
    }
    registry.register_collector(Box::new(Read(samples)));
    encode_registry(&mut text, &registry)?;
    encode_eof(&mut text)?;
    Ok(text)
}

/// Labels of a sample: names and values.
type Labels = Vec<(&'static str, String)>;

/// The values of each metric of the table, in its order.
fn read(moment: &Moment<'_>) -> Vec<Vec<(Labels, f64)>> {
    let of = |metric: &crate::serve::metrics::Metric| {
        let samples = metric.samples(moment).into_iter();
        samples
            .map(|sample| (metric.labels.iter().copied().zip(sample.labels).collect(), sample.value))
            .collect()
    };
    METRICS.iter().map(of).collect()
}

#[derive(Debug)]
struct Read(Vec<Vec<(Labels, f64)>>);

impl prometheus_client::collector::Collector for Read {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (metric, samples) in METRICS.iter().zip(&self.0).filter(|(_, samples)| !samples.is_empty()) {
            let kind = match metric.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
            };
            let mut family = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            if let [(labels, value)] = samples.as_slice()
                && labels.is_empty()
            {
                encode_one(metric.kind, *value, family)?;
                continue;
            }
            for (labels, value) in samples {
                encode_one(metric.kind, *value, family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

fn encode_one(kind: MetricKind, value: f64, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
    match kind {
        MetricKind::Counter => ConstCounter::new(value).encode(encoder),
        MetricKind::Gauge => ConstGauge::new(value).encode(encoder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::board::Snapshot;
    use crate::engine::format::manifest::tests::first;

    #[test]
    fn text_has_every_metric_once_and_an_end() {
        let commits = Commits::default();
        let ms = Duration::from_millis;
        commits.observe(&Steps { publish: ms(3), ..Steps::default() });
        commits.observe(&Steps { target: ms(30), close: ms(7), ..Steps::default() });
        let head = first(2);
        let board = Snapshot { commits: 7, ..Snapshot::default() };
        let moment = Moment { head: &head, board: &board, now_ms: 5_000, groups: &[], state: "running" };
        let text = text(&commits, &moment).unwrap();
        assert!(text.contains("# TYPE headway_commits counter\nheadway_commits_total 7.0\n"), "{text}");
        assert!(
            text.contains("headway_commit_duration_seconds_bucket{le=\"0.005\",step=\"publish\"} 2"),
            "{text}"
        );
        for (step, count) in
            [("close", 2), ("stage", 2), ("confirm", 2), ("manifest", 2), ("clean", 2), ("target", 1)]
        {
            let line = format!("headway_commit_duration_seconds_count{{step=\"{step}\"}} {count}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.contains("headway_source_offset{input=\""), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
        let own = text_of_process(&moment).unwrap();
        for name in OF_EACH_PROCESS {
            let has_samples = !name.starts_with("headway_worker_") && !name.starts_with("headway_operator_");
            assert_eq!(own.contains(&format!("# TYPE {name} ")), has_samples, "{name}: {own}");
        }
        assert!(!own.contains("headway_commits") && own.ends_with("# EOF\n"), "{own}");
        let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let mut distinct = types.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), types.len(), "{text}");
    }
}
