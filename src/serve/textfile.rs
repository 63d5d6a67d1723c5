//! The metrics of a job in Prometheus' text format, for collectors that read files.
//!
//! It differs from what [`/metrics`](crate::serve) answers in what carries the type of a counter: here the name with `_total`.
//! What a file cannot have is the histogram of commits, which the process of the job keeps.

use crate::serve::metrics::{METRICS, Metric, MetricKind, Moment, Sample};
use std::fmt::Write;

/// All metrics at `moment`.
pub fn text(moment: &Moment<'_>) -> String {
    let mut text = String::new();
    for metric in METRICS {
        let samples = metric.samples(moment);
        if !samples.is_empty() {
            family(metric, &samples, &mut text);
        }
    }
    text
}

fn family(metric: &Metric, samples: &[Sample], text: &mut String) {
    let name = metric.full_name();
    let kind = match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
    };
    let help = metric.help.replace('\\', r"\\").replace('\n', r"\n");
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for Sample { labels, value } in samples {
        let label = |(name, value): (&&str, &String)| format!("{name}=\"{}\"", escaped(value));
        let labels: Vec<String> = metric.labels.iter().zip(labels).map(label).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

/// A label's value as it stands between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::board::Snapshot;
    use crate::engine::format::manifest::tests::first;

    #[test]
    fn each_metric_has_its_help_its_type_and_its_samples() {
        let mut head = first(2);
        head.restarts.insert("a\"b\\c\nd".into(), 2);
        let board = Snapshot { commits: 7, ..Snapshot::default() };
        let moment = Moment { head: &head, board: &board, now_ms: 5_000, groups: &[], state: "failed" };
        let text = text(&moment);
        assert!(text.contains("# TYPE headway_commits_total counter\nheadway_commits_total 7\n"), "{text}");
        assert!(text.contains("headway_restarts_total{reason=\"a\\\"b\\\\c\\nd\"} 2\n"), "{text}");
        assert!(text.contains("headway_job_state{state=\"failed\"} 1\n"), "{text}");
        assert!(text.contains("headway_job_state{state=\"running\"} 0\n"), "{text}");
        let mut family = "";
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => family = rest.split(' ').next().expect("a name"),
                None if line.starts_with("# HELP ") => {}
                None => {
                    let (name, value) = line.rsplit_once(' ').expect("a name and a value");
                    assert_eq!(name.split('{').next(), Some(family), "{line}");
                    assert!(value.parse::<f64>().is_ok(), "{line}");
                }
            }
        }
        let has_samples = |metric: &&Metric| !metric.samples(&moment).is_empty();
        let families = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!(families, METRICS.iter().filter(has_samples).count(), "{text}");
    }
}
