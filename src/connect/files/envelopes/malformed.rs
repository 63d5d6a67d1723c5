//! Why a line is not an envelope.

use headway_operators::record::{Offset, Partition};

/// Why a line is not an envelope.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::connect::files) struct Malformed(pub(in crate::connect::files) String);

impl Malformed {
    /// The offsets of a partition do not rise.
    pub(in crate::connect::files) fn falling(
        partition: Partition,
        before: Offset,
        offset: Offset,
    ) -> Malformed {
        Malformed(format!("partition {partition} has offset {offset} after {before}"))
    }
}
