//! Which partition holds windows open, and for how long at most.

use crate::cli::units::{Millis, age};
use crate::engine::format::manifest::{Input, PartitionEntry};
use headway_operators::time::EventTime;

/// When a partition that is quiet becomes idle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// After how long.
    pub(crate) idle_after_ms: Option<i64>,
    /// What time it is.
    pub(crate) now_ms: i64,
}

/// How far a partition may be behind before the end of a run says so, in milliseconds: some disorder there always is.
const NEAR_MS: i64 = 60_000;

/// The partition that holds the windows of `input` open while others are farther; `None` if none does. Where it is known
/// when it becomes idle, the answer says so.
pub(crate) fn holder(input: &Input, patience: Option<Patience>) -> Option<String> {
    let slowest = input.slowest()?;
    let ahead = input.partitions.iter().map(PartitionEntry::reached).max()?;
    if slowest.reached() >= ahead {
        return None;
    }
    let number = slowest.partition;
    let why = if slowest.own == EventTime::MIN {
        "which has had no record".to_string()
    } else {
        let behind = ahead.ms().saturating_sub(slowest.reached().ms());
        if patience.is_some() && behind < NEAR_MS {
            return None;
        }
        format!("{} of event time behind the farthest one", age(behind))
    };
    Some(format!("held open by partition {number}, {why}{}", until(slowest, patience)))
}

/// When `part` becomes idle, as far as that is known.
fn until(part: &PartitionEntry, patience: Option<Patience>) -> String {
    let Some(Patience { idle_after_ms, now_ms }) = patience else {
        return ": --idle-after says for how long it is waited for".to_string();
    };
    let Some(idle_after_ms) = idle_after_ms else {
        return ": with --idle-after never it is waited for without end".to_string();
    };
    let Some(since) = part.quiet_since_ms else { return String::new() };
    match since.saturating_add(idle_after_ms).saturating_sub(now_ms) {
        left @ 1.. => {
            format!("; idle in {} if it stays quiet", Millis(left.saturating_add(999) / 1_000 * 1_000))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::record::{Offset, Partition};
    use serde_json::json;

    /// An input of partitions with these watermarks of their own; `None` had no record.
    fn input(own: &[Option<i64>]) -> Input {
        let part = |(number, own): (u32, &Option<i64>)| PartitionEntry {
            own: own.map_or(EventTime::MIN, EventTime),
            quiet_since_ms: Some(1_000),
            ..PartitionEntry::new(Partition(number), "x", Offset(0))
        };
        let parts: Vec<PartitionEntry> = (0..).zip(own).map(part).collect();
        let input = json!({
            "name": "gate", "kind": "files", "topic": "t", "wm": null, "ended": false, "partitions": parts,
        });
        serde_json::from_value(input).expect("it is an input")
    }

    fn says(own: &[Option<i64>], idle_after_ms: Option<i64>, now_ms: i64) -> Option<String> {
        holder(&input(own), Some(Patience { idle_after_ms, now_ms }))
    }

    #[test]
    fn slowest_partition_is_named_with_the_time_until_it_is_idle() {
        assert_eq!(says(&[Some(5), Some(5)], Some(60_000), 2_000), None);
        assert_eq!(says(&[Some(5), Some(50_000)], Some(60_000), 2_000), None);
        assert_eq!(
            says(&[Some(5), None], Some(60_000), 18_000).as_deref(),
            Some("held open by partition 1, which has had no record; idle in 43s if it stays quiet")
        );
        assert_eq!(
            says(&[Some(5), Some(7_200_005)], Some(60_000), 70_000).as_deref(),
            Some("held open by partition 0, 2h of event time behind the farthest one"),
        );
        let never = says(&[None, Some(5)], None, 0).expect("it is held");
        assert!(never.contains("--idle-after never"), "{never}");
        let unknown = holder(&input(&[None, Some(5)]), None).expect("it is held");
        assert!(unknown.ends_with(": --idle-after says for how long it is waited for"), "{unknown}");
        let mut idle = input(&[None, Some(5)]);
        idle.partitions[0].idle = true;
        assert_eq!(holder(&idle, None), None, "what is idle holds nothing");
    }
}
