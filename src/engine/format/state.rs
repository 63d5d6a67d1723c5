//! State files: framed, versioned, checksummed, a section a shard.
//!
//! ```text
//! "HWSTATE\0"  format u32  header length u32  header (postcard)  sections, one after the other  xxh3-128 of all
//! ```
//!
//! All numbers are little-endian. The checksum is looked at first; then lengths are compared with what is there before
//! anything is allocated for them, so a lying length costs nothing: reading a file takes its size twice, and a few
//! megabytes at most for its header. A file that does not decode stops the job: it is never taken as "no state".
//!
//! Sections are not compressed. Most of their bytes are hashes, which do not shrink: of the state files of the demo
//! deflate at level 1 leaves 66 %, and takes seven times as long as writing and syncing them whole.

use crate::engine::format::names::Generation;
use headway_operators::ack::StateFile;
use headway_operators::state::{SHARDS, Saved, SectionKind, Shard, StateChange};
use headway_operators::time::Epoch;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

const MAGIC: &[u8; 8] = b"HWSTATE\0";

/// The format this build writes; it reads this one and those before.
pub const FORMAT: u32 = 1;

/// Bytes before the header: magic, format, length of the header.
const PREFIX: usize = 16;

/// Bytes of the checksum at the end.
const TRAILER: usize = 16;

/// The longest file that is read, in bytes.
pub const BYTES_MAX: u64 = 8 << 30;

/// The most sections in a file: an operator gives a shard once, or in a few pieces.
const SECTIONS_MAX: usize = 8 * SHARDS as usize;

/// The longest header, in bytes.
const HEADER_MAX: usize = 256 << 10;

/// Who writes a state file, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author<'a> {
    /// The job.
    pub job: &'a str,
    /// The run.
    pub generation: Generation,
    /// The epoch whose close it belongs to.
    pub epoch: Epoch,
    /// The worker.
    pub worker: u32,
}

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

/// Writes the changes of one operator at the close of one epoch. The pieces go to `out` as they are, uncopied.
///
/// # Errors
/// What `out` answers.
///
/// # Panics
/// If there is no change, if they are not all of one operator, version and kind, or if there are more than eight
/// times as many as shards.
pub fn write(out: &mut dyn Write, author: Author<'_>, changes: &[StateChange]) -> io::Result<()> {
    let StateChange { operator, version, kind, .. } = changes.first().expect("there is a change");
    assert!(*kind != SectionKind::Merged, "format 1 has no merged changes");
    let alike = |c: &StateChange| (&c.operator, c.version, c.kind) == (operator, *version, *kind);
    assert!(changes.iter().all(alike), "changes of one operator go into one file");
    assert!(changes.len() <= SECTIONS_MAX, "an operator gives a shard in a few pieces at most");
    let header = Header {
        job: author.job.to_string(),
        generation: author.generation,
        epoch: author.epoch,
        worker: author.worker,
        operator: operator.clone(),
        version: *version,
        base: *kind == SectionKind::Base,
        sections: changes.iter().map(|c| (c.shard, c.bytes.len() as u64)).collect(),
    };
    let header = postcard::to_stdvec(&header).expect("a header of plain values encodes");
    assert!(header.len() <= HEADER_MAX, "names are short");
    let mut start = Vec::with_capacity(PREFIX + header.len());
    start.extend_from_slice(MAGIC);
    start.extend_from_slice(&FORMAT.to_le_bytes());
    start.extend_from_slice(&(header.len() as u32).to_le_bytes());
    start.extend_from_slice(&header);
    let mut hash = Xxh3::new();
    for part in std::iter::once(&start).chain(changes.iter().map(|change| &change.bytes)) {
        hash.update(part);
        out.write_all(part)?;
    }
    out.write_all(&hash.digest128().to_le_bytes())
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
    let header = content.get(PREFIX..PREFIX.saturating_add(length)).filter(|h| h.len() <= HEADER_MAX);
    let header = header.ok_or(FrameError::Header)?;
    let header: Header = postcard::from_bytes(header).map_err(|_| FrameError::Header)?;
    if header.sections.len() > SECTIONS_MAX {
        return Err(FrameError::Header);
    }
    let mut rest = &content[PREFIX + length..];
    let mut saved = Vec::with_capacity(header.sections.len());
    let (version, kind) = (header.version, if header.base { SectionKind::Base } else { SectionKind::Change });
    for (shard, length) in &header.sections {
        let length = usize::try_from(*length).ok().filter(|length| *length <= rest.len());
        let (bytes, more) = rest.split_at(length.ok_or(FrameError::Header)?);
        if shard.0 >= SHARDS {
            return Err(FrameError::Header);
        }
        saved.push(Saved { shard: *shard, version, kind, bytes: bytes.to_vec() });
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
    let same = (&header.operator, header.version, header.base, header.worker)
        == (&named.operator, named.version, named.base, named.worker);
    if same { Ok(saved) } else { Err(FrameError::Header) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change(shard: u16, bytes: &[u8]) -> StateChange {
        let bytes = bytes.to_vec();
        StateChange {
            operator: "Sum".into(),
            shard: Shard(shard),
            version: 3,
            kind: SectionKind::Base,
            bytes,
        }
    }

    fn encode(changes: &[StateChange]) -> Vec<u8> {
        let mut file = Vec::new();
        write(
            &mut file,
            Author { job: "gate", generation: Generation(2), epoch: Epoch(17), worker: 1 },
            changes,
        )
        .unwrap();
        file
    }

    fn file() -> Vec<u8> {
        encode(&[change(5, b"five"), change(1023, b""), change(7, &[9; 300])])
    }

    fn named(file: &[u8]) -> StateFile {
        StateFile {
            operator: "Sum".into(),
            version: 3,
            worker: 1,
            base: true,
            path: "x".into(),
            bytes: file.len() as u64,
            checksum: format!("{:032x}", xxh3_128(file)),
            shards: 3,
        }
    }

    /// `content` with the checksum that makes it a whole file again.
    fn sealed(content: &[u8]) -> Vec<u8> {
        [content, &xxh3_128(content).to_le_bytes()].concat()
    }

    #[test]
    fn what_was_written_is_read() {
        let (header, saved) = decode(&file()).unwrap();
        assert_eq!(
            (header.generation, header.epoch, header.worker, header.base),
            (Generation(2), Epoch(17), 1, true)
        );
        let shards: Vec<_> = saved.iter().map(|saved| (saved.shard.0, saved.bytes.len())).collect();
        assert_eq!(shards, [(5, 4), (1023, 0), (7, 300)]);
        assert_eq!(decode_named(&named(&file()), &file()).unwrap(), saved);
    }

    #[test]
    fn format_is_the_one_that_lakes_were_written_with() {
        let golden = "4857535441544500010000001600000004676174650211010353756d0301030504ff0700070261626309\
            09094ee343c792c77454c0ee9abf977d6f59";
        let written: String = encode(&[change(5, b"abc\t"), change(1023, b""), change(7, &[9; 2])])
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(written, golden);
    }

    #[test]
    fn a_later_format_is_refused_by_its_number() {
        let mut later = file();
        later.truncate(later.len() - TRAILER);
        later[8] = 2;
        assert_eq!(decode(&sealed(&later)), Err(FrameError::Newer { found: 2 }));
    }

    #[test]
    fn a_file_of_another_worker_operator_version_or_kind_is_refused() {
        let file = file();
        let others = [
            StateFile { worker: 0, ..named(&file) },
            StateFile { operator: "Roll".into(), ..named(&file) },
            StateFile { version: 4, ..named(&file) },
            StateFile { base: false, ..named(&file) },
        ];
        for other in others {
            assert_eq!(decode_named(&other, &file), Err(FrameError::Header), "{other:?}");
        }
        let other = StateFile { bytes: 1, ..named(&file) };
        assert_eq!(decode_named(&other, &file), Err(FrameError::Checksum));
    }

    #[test]
    fn a_table_longer_than_any_that_is_written_is_refused() {
        let header = Header {
            job: String::new(),
            generation: Generation(0),
            epoch: Epoch(0),
            worker: 0,
            operator: String::new(),
            version: 0,
            base: true,
            sections: vec![(Shard(0), 0); SECTIONS_MAX + 1],
        };
        let header = postcard::to_stdvec(&header).unwrap();
        let length = (header.len() as u32).to_le_bytes();
        let content = [MAGIC.as_slice(), &FORMAT.to_le_bytes(), &length, &header].concat();
        assert_eq!(decode(&sealed(&content)), Err(FrameError::Header));
    }

    /// What can happen to a file.
    #[derive(Clone, Debug)]
    enum Damage {
        Flip(prop::sample::Index, u8),
        Set(prop::sample::Index, u8),
        Cut(prop::sample::Index),
        Remove(prop::sample::Index, usize),
        Insert(prop::sample::Index, Vec<u8>),
        Repeat(prop::sample::Index, usize),
    }

    impl Damage {
        fn strike(&self, file: &mut Vec<u8>) {
            let whole = file.len();
            if whole == 0 {
                return;
            }
            let range = |at: &prop::sample::Index, length: usize| {
                at.index(whole)..whole.min(at.index(whole) + length)
            };
            match self {
                Damage::Flip(at, mask) => file[at.index(whole)] ^= mask,
                Damage::Set(at, byte) => file[at.index(whole)] = *byte,
                Damage::Cut(at) => file.truncate(at.index(whole)),
                Damage::Remove(at, length) => drop(file.drain(range(at, *length))),
                Damage::Insert(at, bytes) => {
                    drop(file.splice(at.index(whole)..at.index(whole), bytes.clone()))
                }
                Damage::Repeat(at, length) => {
                    let again = file[range(at, *length)].to_vec();
                    file.splice(at.index(whole)..at.index(whole), again);
                }
            }
        }
    }

    fn damage() -> impl Strategy<Value = Damage> {
        let at = any::<prop::sample::Index>;
        prop_oneof![
            (at(), 1u8..).prop_map(|(at, mask)| Damage::Flip(at, mask)),
            (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
            at().prop_map(Damage::Cut),
            (at(), 1usize..40).prop_map(|(at, length)| Damage::Remove(at, length)),
            (at(), prop::collection::vec(any::<u8>(), 1..40))
                .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
            (at(), 1usize..40).prop_map(|(at, length)| Damage::Repeat(at, length)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn no_damage_goes_unseen(damages in prop::collection::vec(damage(), 1..4)) {
            let (whole, mut broken) = (file(), file());
            damages.iter().for_each(|damage| damage.strike(&mut broken));
            prop_assume!(broken != whole);
            prop_assert!(decode(&broken).is_err());
            prop_assert!(decode_named(&named(&whole), &broken).is_err());
        }

        #[test]
        fn a_file_that_lies_under_a_right_checksum_costs_no_more_than_its_size(
            damages in prop::collection::vec(damage(), 1..4)
        ) {
            let (whole, mut lying) = (file(), file());
            lying.truncate(lying.len() - TRAILER);
            damages.iter().for_each(|damage| damage.strike(&mut lying));
            let lying = sealed(&lying);
            // It may decode to other values: only the manifest's checksum tells that. It never panics.
            if let Ok((_, saved)) = decode(&lying) {
                prop_assert!(saved.iter().map(|s| s.bytes.capacity()).sum::<usize>() < lying.len());
            }
            prop_assert!(lying == whole || decode_named(&named(&whole), &lying).is_err());
        }
    }
}
