//! Breaks a share of the messages, in the ways in which messages are broken.

use crate::draws::Draws;
use crate::music::topic::Topic;
use headway_operators::generate::Options;
use headway_operators::record::{Offset, Partition};

/// Kept apart from the draws of users.
const SPOILING: u64 = 0x5b0d_11ed_0000_0000;

/// The value of the message at `offset`, or what is left of it; `None` is a tombstone. All that is spoiled is a dead letter.
pub(super) fn spoiled(
    options: &Options,
    topic: Topic,
    partition: Partition,
    offset: Offset,
    mut value: Vec<u8>,
) -> Option<Vec<u8>> {
    if options.bad <= 0.0 {
        return Some(value);
    }
    let stream = (u64::from(partition.0) << 2) | topic as u64;
    let mut draws = Draws::new((options.seed ^ SPOILING).wrapping_add(stream), offset.0.unsigned_abs());
    if !draws.chance(options.bad) {
        return Some(value);
    }
    match draws.below(7) {
        0 => return None,
        1 => value.clear(),
        2 => value.truncate(value.len() / 2),
        3 => value = [b"[", &value[..], b"]"].concat(),
        // Without a time, or with one that is none.
        4 => value = b"{\"level\":\"free\"}\n".to_vec(),
        5 => value = b"{\"ts\":\"yesterday\",\"level\":\"free\"}\n".to_vec(),
        _ => value[1] = 0xff,
    }
    Some(value)
}
