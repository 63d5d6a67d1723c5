//! What state files of all formats have in common.

use crate::engine::format::names::Generation;
use headway_operators::state::{SHARDS, Sections};
use headway_operators::time::Epoch;
use serde::{Deserialize, Serialize};

/// What each file begins with.
pub(crate) const MAGIC: &[u8; 8] = b"HWSTATE\0";

/// The format this build writes; it reads this one and those before.
pub const FORMAT: u32 = 2;

/// Bytes before the header: magic, format, length of the header.
pub(crate) const PREFIX: usize = 16;

/// Bytes of a checksum of 128 bits.
pub(crate) const CHECKSUM: usize = 16;

/// What a state file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The job.
    pub job: String,
    /// The run that wrote it.
    pub generation: Generation,
    /// The epoch whose close it belongs to.
    pub epoch: Epoch,
    /// The worker that wrote it.
    pub worker: u32,
    /// Its sections.
    pub sections: Sections,
}

/// Why bytes are not a state file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is not one at all, or it was cut off.
    #[error("it is not a state file, or it was cut off")]
    NotAStateFile,
    /// Its bytes are not those that were written.
    #[error("its checksum does not match")]
    Checksum,
    /// A later release wrote it.
    #[error("it has format {found}, and this release reads formats up to {FORMAT}")]
    Newer {
        /// The format found.
        found: u32,
    },
    /// The checksum is right and the content is not.
    #[error("its header does not fit its content")]
    Header,
    /// A section is of a shard that does not exist.
    #[error("it has a section of shard {shard}, and the last shard is {}", SHARDS - 1)]
    Shard {
        /// The shard.
        shard: u16,
    },
}
