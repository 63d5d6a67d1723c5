//! State files: framed, versioned, checksummed, a section a shard.
//!
//! ```text
//! "HWSTATE\0"  format u32  header length u32  header (postcard)  sections, one after the other  xxh3-128 of all
//! ```
//!
//! All numbers are little-endian. The checksum is looked at first; then lengths are compared with what is there before
//! anything is allocated for them, so a lying length costs nothing. A file that does not decode stops the job: it is
//! never taken as "no state".

use headway_operators::ack::StateFile;
use headway_operators::state::{SHARDS, Saved, Shard, StateChange};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

const MAGIC: &[u8; 8] = b"HWSTATE\0";

/// The format this build writes; it reads this one and those before.
pub const FORMAT: u32 = 1;

/// Bytes before the header: magic, format, length of the header.
const PREFIX: usize = 16;

/// Bytes of the checksum at the end.
const TRAILER: usize = 16;

/// The longest file that is read, in bytes.
pub const BYTES_MAX: u64 = 8 << 30;

/// What a state file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The job.
    pub job: String,
    /// The run that wrote it.
    pub generation: u64,
    /// The epoch whose close it belongs to.
    pub epoch: u64,
    /// The worker that wrote it.
    pub worker: u32,
    /// The operator.
    pub operator: String,
    /// The version of the operator's encoding.
    pub version: u32,
    /// Everything the worker holds, or what changed.
    pub base: bool,
    /// Shard and length in bytes of each section, in order.
    sections: Vec<(Shard, u64)>,
}

/// Why bytes are not a state file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
}

/// Encodes the changes of one operator at the close of one epoch.
///
/// # Panics
/// If the changes are not all of one operator, version and kind.
pub fn encode(job: &str, generation: u64, epoch: u64, worker: u32, changes: &[StateChange]) -> Vec<u8> {
    let StateChange { operator, version, base, .. } = changes.first().expect("there is a change");
    let alike = |c: &StateChange| (&c.operator, c.version, c.base) == (operator, *version, *base);
    assert!(changes.iter().all(alike), "changes of one operator go into one file");
    let header = Header {
        job: job.to_string(),
        generation,
        epoch,
        worker,
        operator: operator.clone(),
        version: *version,
        base: *base,
        sections: changes.iter().map(|c| (c.shard, c.bytes.len() as u64)).collect(),
    };
    let header = postcard::to_stdvec(&header).expect("a header of plain values encodes");
    let body: usize = changes.iter().map(|c| c.bytes.len()).sum();
    let mut file = Vec::with_capacity(PREFIX + header.len() + body + TRAILER);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&FORMAT.to_le_bytes());
    file.extend_from_slice(&u32::try_from(header.len()).expect("a header is short").to_le_bytes());
    file.extend_from_slice(&header);
    changes.iter().for_each(|c| file.extend_from_slice(&c.bytes));
    let checksum = xxh3_128(&file);
    file.extend_from_slice(&checksum.to_le_bytes());
    file
}

/// Decodes a state file.
///
/// # Errors
/// If any byte is not what was written.
pub fn decode(file: &[u8]) -> Result<(Header, Vec<Saved>), FrameError> {
    let at = file.len().checked_sub(TRAILER).filter(|at| *at >= PREFIX).ok_or(FrameError::NotAStateFile)?;
    let (content, checksum) = file.split_at(at);
    if &content[..8] != MAGIC {
        return Err(FrameError::NotAStateFile);
    }
    if xxh3_128(content).to_le_bytes() != checksum {
        return Err(FrameError::Checksum);
    }
    let number =
        |at: usize| u32::from_le_bytes([content[at], content[at + 1], content[at + 2], content[at + 3]]);
    let (found, length) = (number(8), number(12) as usize);
    if found > FORMAT {
        return Err(FrameError::Newer { found });
    }
    let header = content.get(PREFIX..PREFIX.saturating_add(length)).ok_or(FrameError::Header)?;
    let header: Header = postcard::from_bytes(header).map_err(|_| FrameError::Header)?;
    let mut rest = &content[PREFIX + length..];
    let mut saved = Vec::with_capacity(header.sections.len().min(usize::from(SHARDS)));
    for (shard, length) in &header.sections {
        let length = usize::try_from(*length).ok().filter(|length| *length <= rest.len());
        let (bytes, more) = rest.split_at(length.ok_or(FrameError::Header)?);
        if shard.0 >= SHARDS {
            return Err(FrameError::Header);
        }
        saved.push(Saved { shard: *shard, version: header.version, bytes: bytes.to_vec() });
        rest = more;
    }
    if rest.is_empty() { Ok((header, saved)) } else { Err(FrameError::Header) }
}

/// Decodes the file that a manifest names, and compares it with what the manifest says.
///
/// # Errors
/// If it is another file.
pub fn decode_named(named: &StateFile, file: &[u8]) -> Result<Vec<Saved>, FrameError> {
    if file.len() as u64 != named.bytes || format!("{:032x}", xxh3_128(file)) != named.checksum {
        return Err(FrameError::Checksum);
    }
    let (header, saved) = decode(file)?;
    let same =
        (&header.operator, header.version, header.base) == (&named.operator, named.version, named.base);
    if same { Ok(saved) } else { Err(FrameError::Header) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change(shard: u16, bytes: &[u8]) -> StateChange {
        StateChange {
            operator: "Sum".into(),
            shard: Shard(shard),
            version: 3,
            base: true,
            bytes: bytes.to_vec(),
        }
    }

    fn file() -> Vec<u8> {
        encode("mta", 2, 17, 1, &[change(5, b"five"), change(1023, b""), change(7, &[9; 300])])
    }

    #[test]
    fn what_was_written_is_read() {
        let (header, saved) = decode(&file()).unwrap();
        assert_eq!((header.generation, header.epoch, header.worker, header.base), (2, 17, 1, true));
        let shards: Vec<_> = saved.iter().map(|saved| (saved.shard.0, saved.bytes.len())).collect();
        assert_eq!(shards, [(5, 4), (1023, 0), (7, 300)]);
    }

    #[test]
    fn a_later_format_is_refused_by_its_number() {
        let mut later = file();
        later[8] = 2;
        let at = later.len() - TRAILER;
        let checksum = xxh3_128(&later[..at]);
        later[at..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(decode(&later), Err(FrameError::Newer { found: 2 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn no_change_of_a_byte_goes_unseen(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut broken = file();
            let at = at.index(broken.len());
            broken[at] ^= flip;
            prop_assert!(decode(&broken).is_err());
        }

        #[test]
        fn a_header_that_lies_is_an_error_even_under_a_right_checksum(
            at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let mut lying = file();
            let end = lying.len() - TRAILER;
            lying[8 + at.index(60)] = byte;
            let checksum = xxh3_128(&lying[..end]);
            lying[end..].copy_from_slice(&checksum.to_le_bytes());
            // It may decode to other values, but never panics, and never to more bytes than there are.
            if let Ok((_, saved)) = decode(&lying) {
                prop_assert!(saved.iter().map(|s| s.bytes.len()).sum::<usize>() < lying.len());
            }
        }

        #[test]
        fn a_cut_file_is_an_error(at in any::<prop::sample::Index>()) {
            let whole = file();
            prop_assert!(decode(&whole[..at.index(whole.len())]).is_err());
        }
    }
}
