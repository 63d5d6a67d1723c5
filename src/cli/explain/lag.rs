//! `headway explain lag` and `headway explain metrics`: why a job lags, and what can be scraped of it.

use crate::cli::lake::{self, At};
use crate::cli::status::life::Life;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::terminal::form::Form;
use crate::cli::terminal::table;
use crate::serve::lag::{Diagnosis, diagnose};
use crate::serve::metrics::{COMMIT_SECONDS, METRICS, Metric, MetricKind};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Says why the job lags.
///
/// # Errors
/// Exit 1, after the answer, if it lags, or its windows are held open, or it does not run; exits 2 to 5 as `status`.
pub(crate) fn lag(at: &At, output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    let job = at.open()?;
    let (head, sign) = (job.head()?, job.sign()?);
    let now_ms = lake::now_ms();
    let life = Life::look(sign.as_ref(), now_ms);
    let Some(board) = life.board(sign.as_ref()) else {
        let words = life.words(sign.as_ref(), now_ms);
        let failure = Failure::new(Code::Lags, format!("job \"{}\" does not run: {}", head.job, life.word()));
        return Err(failure.detail(format!("{words}.")));
    };
    let found = diagnose(&head, board);
    match output {
        Form::Text => text(&found, out)?,
        Form::Json => writeln!(out, "{}", answer(&found))?,
    }
    if found.cause.is_healthy() {
        return Ok(());
    }
    Err(Failure::new(Code::Lags, format!("job \"{}\" is held up: {}", head.job, found.cause.name()))
        .detail(found.sentence)
        .hint(found.next))
}

fn text(found: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", found.sentence)?;
    for evidence in &found.evidence {
        writeln!(out, "  seen  {evidence}")?;
    }
    writeln!(out, "  next  {}", found.next)
}

fn answer(found: &Diagnosis) -> Value {
    json!({
        "schema_version": 1,
        "cause": found.cause.name(),
        "healthy": found.cause.is_healthy(),
        "sentence": found.sentence,
        "evidence": found.evidence,
        "next": found.next,
    })
}

/// Lists every metric.
///
/// # Errors
/// If the list cannot be written.
pub(crate) fn metrics(output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    let rows = rows();
    match output {
        Form::Text => table::write(out, &["METRIC", "KIND", "LABELS", "MEANING"], &rows)?,
        Form::Json => {
            for row in rows {
                let [name, kind, labels, meaning] = row.as_slice() else { continue };
                writeln!(
                    out,
                    "{}",
                    json!({ "name": name, "kind": kind, "labels": labels, "meaning": meaning })
                )?;
            }
        }
    }
    Ok(())
}

/// Name, kind, labels and meaning of every metric.
fn rows() -> Vec<Vec<String>> {
    let kind = |metric: &Metric| match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
    };
    let row = |metric: &Metric| {
        [metric.full_name(), kind(metric).into(), metric.labels.join(", "), metric.help.into()]
    };
    let (name, help) = COMMIT_SECONDS;
    let histogram = [name, "histogram", "step", help].map(String::from);
    METRICS.iter().map(row).chain([histogram]).map(Vec::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- metrics: written by REWRITE=1 cargo test readme -->\n";
    const END: &str = "<!-- end of metrics -->";

    #[test]
    fn readme_lists_every_metric() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(path).expect("README.md is there");
        let (before, rest) = readme.split_once(BEGIN).expect("README.md has a place for the metrics");
        let (found, after) = rest.split_once(END).expect("the list in README.md has an end");
        let line = |row: &Vec<String>| format!("| `{}` | {} | {} | {} |\n", row[0], row[1], row[2], row[3]);
        let lines: String = rows().iter().map(line).collect();
        let made = format!("\n| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n{lines}\n");
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}{made}{END}{after}"))
                .expect("README.md can be written");
            return;
        }
        assert!(found == made, "the metrics in README.md are old; run REWRITE=1 cargo test readme");
    }
}
