//! State files: one for each worker and epoch, framed and checksummed, a section for each operator and shard.
//!
//! ```text
//! "HWSTATE\0"  format u32  header length u32  header (postcard)  xxh3-128 of all before  sections, one after the other
//! ```
//!
//! All numbers are little-endian. The header lists the sections with kind, length and checksum; a section begins where
//! the one before it ends. So a start reads a header first, then the sections that it needs, and the committer reads
//! headers only. Checksums are looked at first; then lengths are compared with what is there before anything is allocated
//! for them, so a lying length costs nothing. A file that does not decode stops the job: it is never taken as "no state".
//!
//! Sections are not compressed. Most of their bytes are hashes, which do not shrink: of the state files of the demo
//! deflate at level 1 leaves 66 %, and takes seven times as long as writing and syncing them whole.

use crate::engine::format::names::Generation;
use crate::engine::format::state_frame::{CHECKSUM, MAGIC, PREFIX};
use crate::engine::format::state_v1;
use headway_operators::state::{OperatorHead, SHARDS, SectionHead, Sections, StateChange};
use headway_operators::time::Epoch;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

pub use crate::engine::format::state_frame::{FORMAT, FrameError, Header};

/// The longest file that is read, in bytes.
pub const BYTES_MAX: u64 = 8 << 30;

/// The most sections in a file, by far.
const SECTIONS_MAX: usize = 1 << 20;

/// The most operators in a file, by far.
const OPERATORS_MAX: usize = 1 << 12;

/// The longest header, in bytes.
pub const HEADER_MAX: u64 = 48 << 20;

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

/// A state file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes before the first section.
    pub header_bytes: u64,
    /// Its sections.
    pub sections: Sections,
}

/// Writes the changes of one worker at the close of one epoch. The pieces go to `out` as they are, uncopied.
///
/// # Errors
/// What `out` answers.
///
/// # Panics
/// If an operator gives a shard twice or in two versions.
pub fn write(out: &mut dyn Write, author: Author<'_>, changes: &[StateChange]) -> io::Result<Written> {
    let sections = sections_of(changes);
    let header = Header {
        job: author.job.to_string(),
        generation: author.generation,
        epoch: author.epoch,
        worker: author.worker,
        sections,
    };
    let encoded = postcard::to_stdvec(&header).expect("a header of plain values encodes");
    let length = u32::try_from(encoded.len()).expect("a header is short");
    let mut start = Vec::with_capacity(PREFIX + encoded.len() + CHECKSUM);
    start.extend_from_slice(MAGIC);
    start.extend_from_slice(&FORMAT.to_le_bytes());
    start.extend_from_slice(&length.to_le_bytes());
    start.extend_from_slice(&encoded);
    start.extend_from_slice(&xxh3_128(&start).to_le_bytes());
    out.write_all(&start)?;
    changes.iter().try_for_each(|change| out.write_all(&change.bytes))?;
    Ok(Written { header_bytes: start.len() as u64, sections: header.sections })
}

/// The list of the sections that `changes` make, in their order.
fn sections_of(changes: &[StateChange]) -> Sections {
    let mut sections = Sections::default();
    let mut numbers: BTreeMap<&str, u16> = BTreeMap::new();
    let mut given = BTreeSet::new();
    for StateChange { operator, shard, version, kind, bytes } in changes {
        let number = *numbers.entry(operator).or_insert_with(|| {
            sections.operators.push(OperatorHead { name: operator.clone(), version: *version });
            u16::try_from(sections.operators.len() - 1).expect("operators are few")
        });
        let head = &sections.operators[usize::from(number)];
        assert_eq!(head.version, *version, "operator \"{operator}\" writes one version");
        assert!(given.insert((number, *shard)), "operator \"{operator}\" gave shard {} twice", shard.0);
        let (operator, shard, kind) = (number, *shard, *kind);
        let (length, xxh3) = (bytes.len() as u64, xxh3_64(bytes));
        sections.list.push(SectionHead { operator, shard, kind, bytes: length, xxh3 });
    }
    sections
}

/// How many bytes a header has whose file begins with `start`, checksum included.
///
/// # Errors
/// If it is no state file of this format or one before.
pub fn header_bytes(start: &[u8]) -> Result<u64, FrameError> {
    let length = u64::from(prefix(start)?.length);
    Ok((PREFIX + CHECKSUM) as u64 + length)
}

/// The header in `start`, the first [`header_bytes`] of a file of this format.
///
/// # Errors
/// If any byte is not what was written.
pub fn decode_header(start: &[u8]) -> Result<Header, FrameError> {
    let Prefix { format, length } = prefix(start)?;
    let at = start.len().checked_sub(CHECKSUM).ok_or(FrameError::NotAStateFile)?;
    if at != PREFIX + length as usize {
        return Err(FrameError::NotAStateFile);
    }
    let (content, checksum) = start.split_at(at);
    if xxh3_128(content).to_le_bytes() != checksum {
        return Err(FrameError::Checksum);
    }
    if format != FORMAT {
        return Err(FrameError::Header);
    }
    let header: Header = postcard::from_bytes(&content[PREFIX..]).map_err(|_| FrameError::Header)?;
    check_sections(&header.sections)?;
    Ok(header)
}

/// Refuses sections that no worker writes.
fn check_sections(sections: &Sections) -> Result<(), FrameError> {
    let Sections { operators, list } = sections;
    let names: BTreeSet<&str> = operators.iter().map(|operator| operator.name.as_str()).collect();
    if operators.len() > OPERATORS_MAX || names.len() < operators.len() || list.len() > SECTIONS_MAX {
        return Err(FrameError::Header);
    }
    let mut given = BTreeSet::new();
    for section in list {
        if section.shard.0 >= SHARDS {
            return Err(FrameError::Shard { shard: section.shard.0 });
        }
        let known = usize::from(section.operator) < operators.len();
        if !known || section.bytes > BYTES_MAX || !given.insert((section.operator, section.shard)) {
            return Err(FrameError::Header);
        }
    }
    Ok(())
}

/// The bytes of each section of `header`, in its order. `content` is what follows the header in the file, whole.
///
/// # Errors
/// If any byte is not what was written, or there are more or less of them.
pub fn sections<'a>(header: &Header, content: &'a [u8]) -> Result<Vec<&'a [u8]>, FrameError> {
    let mut rest = content;
    let mut sections = Vec::with_capacity(header.sections.list.len());
    for section in &header.sections.list {
        let length = usize::try_from(section.bytes).ok().filter(|length| *length <= rest.len());
        let (bytes, more) = rest.split_at(length.ok_or(FrameError::NotAStateFile)?);
        if xxh3_64(bytes) != section.xxh3 {
            return Err(FrameError::Checksum);
        }
        sections.push(bytes);
        rest = more;
    }
    if rest.is_empty() { Ok(sections) } else { Err(FrameError::Header) }
}

/// Decodes a whole state file, of this format or one before.
///
/// # Errors
/// If any byte is not what was written.
pub fn decode(file: &[u8]) -> Result<(Header, Vec<&[u8]>), FrameError> {
    if prefix(file)?.format == 1 {
        return state_v1::decode(file);
    }
    let at = usize::try_from(header_bytes(file)?).ok().filter(|at| *at <= file.len());
    let (start, content) = file.split_at(at.ok_or(FrameError::NotAStateFile)?);
    let header = decode_header(start)?;
    let sections = sections(&header, content)?;
    Ok((header, sections))
}

/// What a file begins with.
struct Prefix {
    format: u32,
    /// Bytes of the header.
    length: u32,
}

fn prefix(file: &[u8]) -> Result<Prefix, FrameError> {
    let (magic, rest) = file.split_at_checked(MAGIC.len()).ok_or(FrameError::NotAStateFile)?;
    let ([format, length], _) = rest.split_at_checked(8).ok_or(FrameError::NotAStateFile)?.0.as_chunks()
    else {
        return Err(FrameError::NotAStateFile);
    };
    if magic != MAGIC {
        return Err(FrameError::NotAStateFile);
    }
    let (format, length) = (u32::from_le_bytes(*format), u32::from_le_bytes(*length));
    match format {
        0 => Err(FrameError::NotAStateFile),
        1..=FORMAT if u64::from(length) <= HEADER_MAX => Ok(Prefix { format, length }),
        1..=FORMAT => Err(FrameError::Header),
        found => Err(FrameError::Newer { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::state::{SectionKind, Shard};
    use proptest::prelude::*;

    fn change(operator: &str, shard: u16, kind: SectionKind, bytes: &[u8]) -> StateChange {
        let bytes = bytes.to_vec();
        StateChange { operator: operator.into(), shard: Shard(shard), version: 3, kind, bytes }
    }

    fn changes() -> Vec<StateChange> {
        vec![
            change("Sum", 5, SectionKind::Base, b"five"),
            change("Roll", 5, SectionKind::Change, &[7; 9]),
            change("Sum", 1023, SectionKind::Base, b""),
            change("Sum", 7, SectionKind::Merged, &[9; 300]),
        ]
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

    /// The file with another header, under checksums that are right again.
    fn lying(change: impl FnOnce(&mut Header)) -> Vec<u8> {
        let file = encode(&changes());
        let at = header_bytes(&file).unwrap() as usize;
        let mut header = decode_header(&file[..at]).unwrap();
        change(&mut header);
        let header = postcard::to_stdvec(&header).unwrap();
        let length = (header.len() as u32).to_le_bytes();
        sealed(&[MAGIC.as_slice(), &FORMAT.to_le_bytes(), &length, &header].concat(), &file[at..])
    }

    /// A file whose first part is `start`, with the checksum that makes it whole.
    fn sealed(start: &[u8], sections: &[u8]) -> Vec<u8> {
        [start, &xxh3_128(start).to_le_bytes(), sections].concat()
    }

    #[test]
    fn what_was_written_is_read() {
        let file = encode(&changes());
        let (header, sections) = decode(&file).unwrap();
        assert_eq!((header.generation, header.epoch, header.worker), (Generation(2), Epoch(17), 1));
        assert_eq!(sections, changes().iter().map(|change| &change.bytes[..]).collect::<Vec<_>>());
        for (head, change) in header.sections.list.iter().zip(changes()) {
            let operator = &header.sections.operators[usize::from(head.operator)];
            assert_eq!((&operator.name, operator.version), (&change.operator, 3));
            assert_eq!((head.shard, head.kind), (change.shard, change.kind));
        }
        // The header alone says the same.
        let at = header_bytes(&file).unwrap() as usize;
        assert_eq!(decode_header(&file[..at]), Ok(header));
    }

    #[test]
    fn format_is_the_one_that_lakes_were_written_with() {
        let golden = concat!(
            "4857535441544500020000003e0000000467617465021101020353756d0304526f6c6c030300050004eafbdbc9",
            "ba8be38c1c0105020989bfa1e3f49cd5f39a0100ff070000c2a9cec6d380a0832d6c8b6c75cdc4ad7b5d69ddeb",
            "1f53d53b66697665070707070707070707",
        );
        let written: String = encode(&changes()[..3]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, golden);
    }

    #[test]
    fn a_later_format_is_refused_by_its_number() {
        let mut later = encode(&changes());
        later[8] = 3;
        assert_eq!(decode(&later), Err(FrameError::Newer { found: 3 }));
    }

    #[test]
    #[should_panic(expected = "gave shard 5 twice")]
    fn shard_that_is_given_twice_is_a_bug() {
        encode(&[change("Sum", 5, SectionKind::Base, b""), change("Sum", 5, SectionKind::Change, b"")]);
    }

    #[test]
    fn header_that_lies_is_refused_under_a_right_checksum() {
        type Lie = fn(&mut Header);
        let cases: [(&str, Lie, FrameError); 9] = [
            (
                "shard one past the last",
                |h| h.sections.list[0].shard = Shard(1024),
                FrameError::Shard { shard: 1024 },
            ),
            (
                "any shard there is not",
                |h| h.sections.list[3].shard = Shard(9999),
                FrameError::Shard { shard: 9999 },
            ),
            ("an operator that is not there", |h| h.sections.list[0].operator = 2, FrameError::Header),
            (
                "two operators of one name",
                |h| h.sections.operators[1].name = "Sum".into(),
                FrameError::Header,
            ),
            ("a shard twice", |h| h.sections.list[0].shard = Shard(7), FrameError::Header),
            ("too long a section", |h| h.sections.list[3].bytes = u64::MAX, FrameError::Header),
            ("a section longer than the file", |h| h.sections.list[3].bytes = 301, FrameError::NotAStateFile),
            ("bytes that belong to no section", |h| h.sections.list.truncate(3), FrameError::Header),
            ("another checksum", |h| h.sections.list[1].xxh3 += 1, FrameError::Checksum),
        ];
        assert_eq!(decode(&lying(|_| ())).map(|(_, sections)| sections.len()), Ok(4));
        for (name, lie, error) in cases {
            assert_eq!(decode(&lying(lie)), Err(error), "{name}");
        }
    }

    #[test]
    fn lists_longer_than_any_that_are_written_are_refused() {
        let many = |h: &mut Header| {
            let section = h.sections.list[0];
            h.sections.list = vec![section; SECTIONS_MAX + 1];
        };
        assert_eq!(decode(&lying(many)), Err(FrameError::Header));
        let operators = |h: &mut Header| {
            let name = |n| OperatorHead { name: format!("{n}"), version: 1 };
            h.sections.operators = (0..=OPERATORS_MAX).map(name).collect();
        };
        assert_eq!(decode(&lying(operators)), Err(FrameError::Header));
        let mut long = encode(&changes());
        long[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&long), Err(FrameError::Header), "a header that cannot be as long as it says");
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
            let (whole, mut broken) = (encode(&changes()), encode(&changes()));
            damages.iter().for_each(|damage| damage.strike(&mut broken));
            prop_assume!(broken != whole);
            prop_assert!(decode(&broken).is_err());
        }

        #[test]
        fn a_file_that_lies_under_right_checksums_costs_no_more_than_its_size(
            damages in prop::collection::vec(damage(), 1..4)
        ) {
            let whole = encode(&changes());
            let at = header_bytes(&whole).unwrap() as usize;
            let mut start = whole[..at - CHECKSUM].to_vec();
            damages.iter().for_each(|damage| damage.strike(&mut start));
            let lying = sealed(&start, &whole[at..]);
            // It may decode to other values: only the manifest's checksum finds that. It never panics.
            if let Ok((header, sections)) = decode(&lying) {
                prop_assert!(sections.iter().map(|s| s.len()).sum::<usize>() <= lying.len());
                prop_assert!(header.sections.list.iter().all(|section| section.shard.0 < SHARDS));
            }
        }
    }
}
