//! Windows that an earlier run closed for good, over an input that has more to read.
//!
//! A run that reads files to their end closes every window. What such an input still holds, or gets later, and lies
//! before the closing time is late: somebody should know that before it happens.

use crate::connect::PartitionInfo;
use crate::engine::format::manifest::{Input, Kind, Manifest};
use headway_operators::time::EventTime;

/// An input whose windows were closed although there is more to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The input.
    pub input: String,
    /// The closing time: records before it are late.
    pub until: EventTime,
}

/// The inputs of `head` whose windows an earlier run closed, and that hold records that were not read.
pub fn closed(head: &Manifest, partitions: &[Vec<PartitionInfo>]) -> Vec<Closed> {
    let inputs = head.inputs.iter().zip(partitions);
    let found = inputs.filter(|(input, seen)| is_closed(head.kind, input) && has_more(input, seen));
    found.map(|(input, _)| Closed { input: input.name.clone(), until: input.watermark }).collect()
}

/// True if every window was closed. A claim does not say so any more, but its watermark lies beyond what was read.
fn is_closed(kind: Kind, input: &Input) -> bool {
    let newest = input.partitions.iter().map(|part| part.own).max().unwrap_or(EventTime::MIN);
    input.ended || kind == Kind::Claim && input.watermark > newest
}

fn has_more(input: &Input, seen: &[PartitionInfo]) -> bool {
    let is_more = |seen: &PartitionInfo| {
        let known = input.partitions.iter().find(|part| part.partition == seen.partition);
        let next = known.map_or(seen.first, |part| part.next);
        // A source knows the end of what it holds no more of.
        seen.end.is_none_or(|end| end > next)
    };
    seen.iter().any(is_more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::first;
    use headway_operators::record::{Offset, Partition};

    #[test]
    fn closed_windows_matter_where_there_is_more_to_read() {
        let seen =
            |partition, end| PartitionInfo { partition, identity: String::new(), first: Offset(0), end };
        let mut head = first(1);
        head.inputs[0].watermark = EventTime(5_000);
        head.inputs[0].partitions[0].next = Offset(10);
        let found = |head: &Manifest, seen: &[PartitionInfo]| closed(head, &[seen.to_vec()]).len();
        head.kind = Kind::Commit;
        assert_eq!(found(&head, &[seen(Partition(0), Some(Offset(20)))]), 0, "its windows are open");
        head.inputs[0].ended = true;
        assert_eq!(found(&head, &[seen(Partition(0), Some(Offset(20)))]), 1);
        assert_eq!(found(&head, &[seen(Partition(0), Some(Offset(10)))]), 0);
        assert_eq!(found(&head, &[seen(Partition(0), Some(Offset(10))), seen(Partition(1), None)]), 1);
        assert_eq!(found(&head, &[seen(Partition(0), None)]), 1, "there may be more");
        (head.inputs[0].ended, head.kind) = (false, Kind::Claim);
        head.inputs[0].partitions[0].own = EventTime(4_000);
        assert_eq!(found(&head, &[seen(Partition(0), Some(Offset(20)))]), 1, "a claim in between");
        head.inputs[0].partitions[0].own = EventTime(5_000);
        assert_eq!(
            found(&head, &[seen(Partition(0), Some(Offset(20)))]),
            0,
            "the records themselves moved the watermark"
        );
    }
}
