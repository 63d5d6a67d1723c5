//! What a person should know, once, of how a connector reads its settings or its input.

use std::collections::BTreeMap;

/// One such thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The setting, or the entry.
    pub name: String,
    /// What becomes of it. Quotes no value: that may be a secret.
    pub what: String,
    /// Whether somebody should change it.
    pub is_warning: bool,
}

/// One line for all names of which the same is to be said: "passed over, why: name, name". Warnings first.
pub fn lines(notices: &[Notice]) -> Vec<String> {
    let mut names = BTreeMap::<(bool, &str), Vec<&str>>::new();
    for notice in notices {
        names.entry((!notice.is_warning, &notice.what)).or_default().push(&notice.name);
    }
    let line = |((is_plain, what), names): (&(bool, &str), &Vec<&str>)| {
        let warning = if *is_plain { "" } else { "warning, " };
        format!("{warning}{what}: {}", names.join(", "))
    };
    names.iter().map(line).collect()
}

/// Writes `notices` to the log: a line for each warning, and one for all others.
pub fn log(input: &str, notices: &[Notice]) {
    for Notice { name, what, .. } in notices.iter().filter(|notice| notice.is_warning) {
        tracing::warn!(input, name, "{what}");
    }
    let others: Vec<Notice> = notices.iter().filter(|notice| !notice.is_warning).cloned().collect();
    if !others.is_empty() {
        tracing::info!(input, "not taken as they are: {}", lines(&others).join("; "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_which_the_same_is_said_share_a_line() {
        let notice =
            |name: &str, what: &str, is_warning| Notice { name: name.into(), what: what.into(), is_warning };
        let all = [
            notice("c", "passed over, x", false),
            notice("a", "is risky", true),
            notice("b", "passed over, x", false),
        ];
        assert_eq!(lines(&all), ["warning, is risky: a", "passed over, x: c, b"]);
        assert!(lines(&[]).is_empty());
    }
}
