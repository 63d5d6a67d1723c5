//! Whether a job lives, by what its last run said of itself.

use crate::cli::units::{When, age};
use crate::engine::commit::alive::{self, Alive};
use crate::engine::commit::process_id::Found;
use crate::engine::format::board::Snapshot;
use serde_json::{Value, json};

/// After how long without a sign a run that cannot be seen from here counts as unresponsive, in milliseconds: three signs.
const SILENT_MS: i64 = 15_000;

/// Whether a job lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It gives signs.
    Running,
    /// It ended as it was asked to, or said nothing of its end as earlier releases did.
    Stopped,
    /// It ended otherwise, with this code.
    Failed(String),
    /// It has not said that it ended, and gives no signs.
    Unresponsive,
}

impl Life {
    /// What the last `sign` says at `now_ms`; its process is looked for.
    pub(crate) fn look(sign: Option<&Alive>, now_ms: i64) -> Life {
        Life::of(sign, sign.map_or(Found::Elsewhere, |sign| sign.process.find()), now_ms)
    }

    /// What the last `sign` says at `now_ms`, if of its process `found` is known.
    fn of(sign: Option<&Alive>, found: Found, now_ms: i64) -> Life {
        let Some(sign) = sign else { return Life::Stopped };
        match (&sign.ending, found) {
            (Some(ending), _) => ending.code.clone().map_or(Life::Stopped, Life::Failed),
            (None, Found::Gone) => Life::Failed(alive::GONE.to_string()),
            // The clock of another host may go a little ahead.
            (None, _) if now_ms.saturating_sub(sign.time_ms) <= SILENT_MS => Life::Running,
            (None, _) => Life::Unresponsive,
        }
    }

    /// The board in the last `sign`, if the run lives.
    pub(crate) fn board<'a>(&self, sign: Option<&'a Alive>) -> Option<&'a Snapshot> {
        sign?.board.as_ref().filter(|_| *self == Life::Running)
    }

    /// One word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Life::Running => "running",
            Life::Stopped => "stopped",
            Life::Failed(_) => "failed",
            Life::Unresponsive => "unresponsive",
        }
    }

    /// True if nobody has to look after it.
    pub(crate) fn is_well(&self) -> bool {
        matches!(self, Life::Running | Life::Stopped)
    }

    /// What there is to say beside the word.
    pub(crate) fn words(&self, sign: Option<&Alive>, now_ms: i64) -> String {
        let Some(sign) = sign else { return "no run has said anything of itself".to_string() };
        let Alive { generation, process, host, time_ms, ending, .. } = sign;
        let ago = age(now_ms.saturating_sub(*time_ms).max(0));
        let who = format!("run {generation}, process {} on \"{host}\"", process.pid);
        let why = ending.as_ref().and_then(|ending| ending.why.as_deref());
        match self {
            Life::Running => format!("{who}, sign of life {ago} ago"),
            Life::Unresponsive => format!("{who}, no sign of life for {ago}"),
            Life::Stopped => format!("run {generation} ended at {}, {ago} ago", When(*time_ms)),
            Life::Failed(code) if code == alive::GONE => {
                format!(
                    "run {generation} with {code}: process {} has not said that it ended, and is gone; its last sign was {ago} ago",
                    process.pid
                )
            }
            Life::Failed(code) => {
                format!(
                    "run {generation} with {code} at {}: {}",
                    When(*time_ms),
                    why.unwrap_or("no reason is known")
                )
            }
        }
    }

    /// The same for programs.
    pub(crate) fn answer(&self, sign: Option<&Alive>) -> Value {
        let code = match self {
            Life::Failed(code) => Some(code),
            Life::Running | Life::Stopped | Life::Unresponsive => None,
        };
        json!({
            "state": self.word(),
            "code": code,
            "why": sign.and_then(|sign| sign.ending.as_ref()?.why.clone()),
            "run": sign.map(|sign| sign.generation),
            "pid": sign.map(|sign| sign.process.pid),
            "host": sign.map(|sign| sign.host.clone()),
            "sign_ms": sign.map(|sign| sign.time_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(ending: Option<(Option<&str>, Option<&str>)>) -> Alive {
        let mut sign = json!({ "generation": 5, "pid": 77, "host": "h", "time_ms": 100_000 });
        if let Some((code, why)) = ending {
            sign["ending"] = json!({ "code": code, "why": why });
        }
        serde_json::from_value(sign).expect("it is a sign")
    }

    #[test]
    fn life_follows_from_sign_process_and_clock() {
        let failed = |code: &str| Life::Failed(code.to_string());
        let ended = Some((None, None));
        let broke = Some((Some("store-failed"), Some("the disk is gone")));
        let cases = [
            (None, Found::Lives, 100_000, Life::Running),
            (None, Found::Own, 115_000, Life::Running),
            (None, Found::Lives, 115_001, Life::Unresponsive),
            (None, Found::Elsewhere, 100_500, Life::Running),
            (None, Found::Elsewhere, 90_000, Life::Running),
            (None, Found::Elsewhere, 200_000, Life::Unresponsive),
            (None, Found::Gone, 100_001, failed("process-gone")),
            (ended, Found::Gone, 900_000, Life::Stopped),
            (ended, Found::Lives, 100_000, Life::Stopped),
            (broke, Found::Gone, 100_000, failed("store-failed")),
        ];
        for (ending, found, now_ms, expected) in cases {
            let sign = sign(ending);
            let life = Life::of(Some(&sign), found, now_ms);
            assert_eq!(life, expected, "{ending:?} {found:?} {now_ms}");
            assert!(!life.words(Some(&sign), now_ms).is_empty());
        }
        assert_eq!(Life::of(None, Found::Elsewhere, 0), Life::Stopped, "as earlier releases ended");
    }

    #[test]
    fn words_name_process_code_and_reason() {
        let broke = sign(Some((Some("store-failed"), Some("the disk is gone"))));
        let words = Life::of(Some(&broke), Found::Gone, 103_000).words(Some(&broke), 103_000);
        assert_eq!(words, "run 5 with store-failed at 1970-01-01T00:01:40Z: the disk is gone");
        let alive = sign(None);
        let words = Life::Running.words(Some(&alive), 103_000);
        assert_eq!(words, "run 5, process 77 on \"h\", sign of life 3s ago");
    }
}
