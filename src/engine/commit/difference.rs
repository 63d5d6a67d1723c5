//! How a job differs from what its lake was made with, in the words of the command line.

use headway_operators::spec::Format;
use std::fmt;

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The name of the setting, as manifests have it: `window_ms`, `zone`, `pipeline`, …
    pub what: String,
    /// What the manifest says.
    pub expected: String,
    /// What this run has.
    pub found: String,
}

/// Settings of manifests, and the flags that set them.
const FLAGS: [(&str, &str); 7] = [
    ("window_ms", "--window"),
    ("slide_ms", "--slide"),
    ("lateness_ms", "--lateness"),
    ("zone", "--zone"),
    ("csv_index", "--csv-index"),
    ("csv_window_end_utc", "--csv-window-end-utc"),
    ("format", "--format"),
];

/// Units of time in falling order, with their length in milliseconds.
const UNITS: [(&str, i64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Difference {
    /// The flag that sets it, if there is one.
    fn flag(&self) -> Option<&'static str> {
        let known = FLAGS.iter().find(|(what, _)| *what == self.what).map(|(_, flag)| *flag);
        known.or_else(|| self.what.starts_with("topic of input").then_some("--topic"))
    }

    /// `value` as the flag takes it.
    fn value(&self, value: &str) -> String {
        match value.parse() {
            Ok(ms) if self.what.ends_with("_ms") => duration(ms),
            _ if value == "none" && self.what.starts_with("csv_") => "false".to_string(),
            _ if value == "none" && self.what == "format" => Format::CsvGz.name().to_string(),
            _ => value.to_string(),
        }
    }

    /// What would make it fit, as a person types it; `None` where no flag does.
    fn cure(&self) -> Option<String> {
        let flag = self.flag()?;
        let joint = if self.what.starts_with("csv_") { '=' } else { ' ' };
        Some(format!("{flag}{joint}{}", self.value(&self.expected)))
    }
}

impl fmt::Display for Difference {
    /// `--lateness 5m, not 1m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.flag().unwrap_or(&self.what);
        write!(f, "{what} {}, not {}", self.value(&self.expected), self.value(&self.found))
    }
}

/// All differences in one phrase.
pub fn list(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

/// The way out of `differences`.
pub fn hint(differences: &[Difference]) -> String {
    match differences.iter().map(Difference::cure).collect::<Option<Vec<String>>>() {
        Some(flags) => format!("Go on with {}, or start a new job in another lake.", flags.join(" ")),
        None => {
            "Go on with the pipeline, release and source that made it, or start a new job in another lake."
                .to_string()
        }
    }
}

/// A length of time as flags take it.
pub(super) fn duration(ms: i64) -> String {
    let mut text = String::new();
    let mut rest = ms;
    for (unit, length) in UNITS {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differs(what: &str, expected: &str, found: &str) -> Difference {
        Difference { what: what.into(), expected: expected.into(), found: found.into() }
    }

    #[test]
    fn differences_are_told_as_flags() {
        let all = [
            differs("window_ms", "300000", "60000"),
            differs("lateness_ms", "5400000", "0"),
            differs("csv_index", "none", "true"),
            differs("topic of input \"t\"", "a", "b"),
            differs("format", "none", "parquet"),
        ];
        assert_eq!(
            list(&all),
            "--window 5m, not 1m; --lateness 1h30m, not 0s; --csv-index false, not true; --topic a, not b; \
             --format csv.gz, not parquet"
        );
        assert_eq!(
            hint(&all),
            "Go on with --window 5m --lateness 1h30m --csv-index=false --topic a --format csv.gz, \
             or start a new job in another lake."
        );
    }

    #[test]
    fn what_no_flag_sets_has_another_way_out() {
        let all = [differs("window_ms", "300000", "60000"), differs("pipeline", "a", "b")];
        assert_eq!(list(&all), "--window 5m, not 1m; pipeline a, not b");
        assert!(hint(&all).starts_with("Go on with the pipeline"));
    }
}
