//! How a job differs from what its lake was made with, in the words of the command line.

use headway_operators::duration;
use std::fmt;

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub what: What,
    /// What the manifest says.
    pub expected: String,
    /// What this run has.
    pub found: String,
}

/// What may differ between a job and its lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A setting that the pipeline declares, by its key in the fingerprint. Durations end in `_ms` there.
    Setting(String),
    /// The topic of the input of this name.
    Topic(String),
    /// The content of the table of this name, by its digest.
    Table(String),
    /// What no flag sets, in a few words.
    Other(String),
}

/// The value of a setting that one side does not have.
pub(super) const NONE: &str = "none";

/// The end of a setting's key whose value is a duration in milliseconds.
const DURATION: &str = "_ms";

impl Difference {
    /// The flag that sets it, if there is one.
    fn flag(&self) -> Option<String> {
        match &self.what {
            What::Setting(key) => {
                Some(format!("--{}", key.strip_suffix(DURATION).unwrap_or(key).replace('_', "-")))
            }
            What::Topic(_) => Some("--topic".to_string()),
            What::Table(_) | What::Other(_) => None,
        }
    }

    /// `value` as the flag takes it.
    fn value(&self, value: &str) -> String {
        match (&self.what, value.parse()) {
            (What::Setting(key), Ok(ms)) if key.ends_with(DURATION) => duration::show(ms),
            _ => value.to_string(),
        }
    }

    /// What would make it fit, as a person types it; `None` where no flag does. A setting that either side does not have
    /// came with another release of the pipeline.
    fn cure(&self) -> Option<String> {
        let flag = self.flag().filter(|_| self.expected != NONE && self.found != NONE)?;
        let is_switch =
            [&self.expected, &self.found].iter().all(|value| ["true", "false"].contains(&value.as_str()));
        let joint = if is_switch { '=' } else { ' ' };
        Some(format!("{flag}{joint}{}", self.value(&self.expected)))
    }
}

impl fmt::Display for Difference {
    /// `--lateness 5m, not 1m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = self.flag();
        let what = match &self.what {
            What::Other(what) => what,
            What::Table(name) => &format!("table \"{name}\""),
            What::Setting(what) | What::Topic(what) => flag.as_ref().unwrap_or(what),
        };
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
        None if differences.iter().all(|difference| matches!(difference.what, What::Table(_))) => {
            "Go on with the file as it was, or start a new job in another lake: rows of one lake never come from two tables."
                .to_string()
        }
        None => {
            "Go on with the pipeline, release and source that made it, or start a new job in another lake."
                .to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differs(what: What, expected: &str, found: &str) -> Difference {
        Difference { what, expected: expected.into(), found: found.into() }
    }

    fn setting(key: &str) -> What {
        What::Setting(key.into())
    }

    #[test]
    fn differences_are_told_as_flags() {
        let all = [
            differs(setting("gap_ms"), "300000", "60000"),
            differs(setting("max_delay_ms"), "5400000", "0"),
            differs(setting("csv_index"), "false", "true"),
            differs(setting("bound"), "10000", "7"),
            differs(What::Topic("t".into()), "a", "b"),
        ];
        assert_eq!(
            list(&all),
            "--gap 5m, not 1m; --max-delay 1h30m, not 0s; --csv-index false, not true; --bound 10000, not 7; \
             --topic a, not b"
        );
        assert_eq!(
            hint(&all),
            "Go on with --gap 5m --max-delay 1h30m --csv-index=false --bound 10000 --topic a, or start a new job in \
             another lake."
        );
    }

    #[test]
    fn another_table_is_named_with_both_digests() {
        let all = [differs(What::Table("s.ndjson".into()), "xxh3:1", "xxh3:2")];
        assert_eq!(list(&all), "table \"s.ndjson\" xxh3:1, not xxh3:2");
        assert!(hint(&all).starts_with("Go on with the file as it was"));
    }

    #[test]
    fn what_no_flag_sets_has_another_way_out() {
        let all = [
            differs(setting("gap_ms"), "300000", "60000"),
            differs(What::Other("pipeline".into()), "a", "b"),
        ];
        assert_eq!(list(&all), "--gap 5m, not 1m; pipeline a, not b");
        assert!(hint(&all).starts_with("Go on with the pipeline"));
        let gone = [differs(setting("gap_ms"), "300000", NONE)];
        assert!(hint(&gone).starts_with("Go on with the pipeline"));
    }
}
