//! Why a record can be refused, and why state cannot be restored.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Why a message became a dead letter: a name in kebab-case, which is part of the lake's format.
///
/// The engine and the pipelines share the names below; a pipeline adds names of its own.
///
/// ```
/// use headway_operators::error::Reason;
///
/// const BAD_CHECKSUM: Reason = Reason::of("bad-checksum");
/// assert_eq!(BAD_CHECKSUM.name(), "bad-checksum");
/// assert!(Reason::new("Bad checksum").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Reason(Cow<'static, str>);

/// A text that cannot be the name of a [`Reason`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{name}\" is not the name of a reason: lower-case words with hyphens between, at most {REASON_BYTES_MAX} bytes"
)]
pub struct NotAReason {
    /// The text.
    pub name: String,
}

/// How long the name of a reason may be, in bytes.
const REASON_BYTES_MAX: usize = 64;

/// How the reason of a record that breaks a rule begins; the name of the rule follows.
const RULE: &str = "rule:";

impl Reason {
    /// A tombstone.
    pub const NULL_VALUE: Reason = Reason::of("null-value");
    /// Longer than [`crate::record::VALUE_BYTES_MAX`].
    pub const TOO_LONG: Reason = Reason::of("too-long");
    /// Not UTF-8, or a JSON string with a lone surrogate.
    pub const NOT_UTF8: Reason = Reason::of("not-utf8");
    /// Nothing but blanks, or nothing but a header.
    pub const EMPTY: Reason = Reason::of("empty");
    /// A field that must not be empty is empty.
    pub const MISSING_FIELD: Reason = Reason::of("missing-field");
    /// Not a number of the expected form.
    pub const BAD_NUMBER: Reason = Reason::of("bad-number");
    /// Not a time, or a wall-clock time that does not exist in the zone.
    pub const BAD_TIMESTAMP: Reason = Reason::of("bad-timestamp");
    /// Further in the future than the input allows.
    pub const FUTURE_EVENT_TIME: Reason = Reason::of("future-event-time");
    /// Not JSON of the expected shape.
    pub const BAD_JSON: Reason = Reason::of("bad-json");

    /// The reason of this name, checked when the program is compiled.
    ///
    /// # Panics
    /// If `name` is not lower-case words with hyphens between.
    pub const fn of(name: &'static str) -> Reason {
        assert!(is_kebab_case(name.as_bytes()), "a reason is lower-case words with hyphens between");
        Reason(Cow::Borrowed(name))
    }

    /// The reason of this name.
    ///
    /// # Errors
    /// If `name` is not lower-case words with hyphens between.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Result<Reason, NotAReason> {
        let name = name.into();
        match is_kebab_case(name.as_bytes()) {
            true => Ok(Reason(name)),
            false => Err(NotAReason { name: name.into_owned() }),
        }
    }

    /// The reason of a record that breaks the rule of this name: `rule:NAME`. No pipeline has such a reason of its own.
    ///
    /// # Errors
    /// If `name` is not lower-case words with hyphens between.
    pub fn of_rule(name: &str) -> Result<Reason, NotAReason> {
        Reason::new(name.to_string()).map(|Reason(name)| Reason(Cow::Owned(format!("{RULE}{name}"))))
    }

    /// The name of the rule, if `reason` is that of a record that breaks one.
    pub fn rule_of(reason: &str) -> Option<&str> {
        reason.strip_prefix(RULE)
    }

    /// The name, as the lake stores it.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// True for words of lower-case letters and digits with one hyphen between.
const fn is_kebab_case(name: &[u8]) -> bool {
    let mut at = 0;
    let mut in_word = false;
    while at < name.len() {
        match name[at] {
            b'a'..=b'z' => in_word = true,
            b'0'..=b'9' if at > 0 => in_word = true,
            b'-' if in_word => in_word = false,
            _ => return false,
        }
        at += 1;
    }
    in_word && name.len() <= REASON_BYTES_MAX
}

impl TryFrom<String> for Reason {
    type Error = NotAReason;

    fn try_from(name: String) -> Result<Reason, NotAReason> {
        match Reason::rule_of(&name) {
            Some(rule) => Reason::of_rule(rule),
            None => Reason::new(name),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why saved state could not be taken back. Never skipped: the job stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Written by a later version of the operator.
    #[error("operator \"{operator}\" cannot read its state of version {found}, only up to {known}")]
    Newer {
        /// The operator's name.
        operator: String,
        /// The version found.
        found: u32,
        /// The newest version this build reads.
        known: u32,
    },
    /// Written by an earlier version, which the operator does not read any more.
    #[error("operator \"{operator}\" of version {known} does not read its state of version {found}")]
    NotMigrated {
        /// The operator's name.
        operator: String,
        /// The version found.
        found: u32,
        /// The version of this build.
        known: u32,
    },
    /// What came back is not what was held.
    #[error("operator \"{operator}\" held {held} entries, and {restored} came back")]
    Held {
        /// The operator's name.
        operator: String,
        /// Entries that it held, as the manifest says.
        held: u64,
        /// Entries that it holds with its state back.
        restored: u64,
    },
    /// The bytes are not what the operator writes.
    #[error("state of operator \"{operator}\" in shard {shard} does not decode: {what}")]
    Malformed {
        /// The operator's name.
        operator: String,
        /// The shard.
        shard: u16,
        /// What did not fit.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_reason_is_words_with_hyphens_between() {
        for good in ["a", "not-utf8", "bad-2nd-field", &"x".repeat(REASON_BYTES_MAX)] {
            let reason = Reason::new(good.to_string()).expect(good);
            let bytes = postcard::to_stdvec(&reason).expect("a name encodes");
            assert_eq!(Some(&bytes), postcard::to_stdvec(good).ok().as_ref(), "as text");
            assert_eq!(postcard::from_bytes::<Reason>(&bytes), Ok(reason));
        }
        let long = "x".repeat(REASON_BYTES_MAX + 1);
        for bad in ["", "-", "a-", "-a", "a--b", "A", "a b", "2nd", "größe", "a_b", "a\n", &long] {
            assert_eq!(Reason::new(bad.to_string()), Err(NotAReason { name: bad.to_string() }));
            let bytes = postcard::to_stdvec(bad).expect("text encodes");
            assert!(postcard::from_bytes::<Reason>(&bytes).is_err(), "{bad}");
        }
    }
}
