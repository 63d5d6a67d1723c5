//! State files of format 1: one for each operator, worker and epoch, read only.
//!
//! ```text
//! "HWSTATE\0"  1 u32  header length u32  header (postcard)  sections, one after the other  xxh3-128 of all
//! ```

use crate::engine::format::names::Generation;
use crate::engine::format::state_frame::{CHECKSUM, FrameError, Header, PREFIX};
use headway_operators::state::{OperatorHead, SHARDS, SectionHead, SectionKind, Sections, Shard};
use headway_operators::time::Epoch;
use serde::Deserialize;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The most sections in a file: an operator gave a shard once, or in a few pieces.
const SECTIONS_MAX: usize = 8 * SHARDS as usize;

#[derive(Deserialize)]
struct HeaderV1 {
    job: String,
    generation: Generation,
    epoch: Epoch,
    worker: u32,
    operator: String,
    version: u32,
    base: bool,
    /// Shard and length in bytes of each section, in order.
    sections: Vec<(Shard, u64)>,
}

/// Decodes a file of format 1. The caller has looked at its first bytes.
///
/// # Errors
/// If any byte is not what was written.
pub(crate) fn decode(file: &[u8]) -> Result<(Header, Vec<&[u8]>), FrameError> {
    let at = file.len().checked_sub(CHECKSUM).filter(|at| *at >= PREFIX).ok_or(FrameError::NotAStateFile)?;
    let (content, checksum) = file.split_at(at);
    if xxh3_128(content).to_le_bytes() != checksum {
        return Err(FrameError::Checksum);
    }
    let length = u32::from_le_bytes([content[12], content[13], content[14], content[15]]) as usize;
    let header = content[PREFIX..].get(..length).ok_or(FrameError::Header)?;
    let mut rest = &content[PREFIX + length..];
    let old: HeaderV1 = postcard::from_bytes(header).map_err(|_| FrameError::Header)?;
    if old.sections.len() > SECTIONS_MAX {
        return Err(FrameError::Header);
    }
    let kind = if old.base { SectionKind::Base } else { SectionKind::Change };
    let mut sections = Sections {
        operators: vec![OperatorHead { name: old.operator, version: old.version }],
        list: Vec::new(),
    };
    let mut pieces = Vec::with_capacity(old.sections.len());
    for (shard, length) in old.sections {
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
        let (bytes, more) = rest.split_at(length.ok_or(FrameError::Header)?);
        if shard.0 >= SHARDS {
            return Err(FrameError::Shard { shard: shard.0 });
        }
        let (length, xxh3) = (bytes.len() as u64, xxh3_64(bytes));
        sections.list.push(SectionHead { operator: 0, shard, kind, bytes: length, xxh3 });
        pieces.push(bytes);
        rest = more;
    }
    if !rest.is_empty() {
        return Err(FrameError::Header);
    }
    let (job, generation, epoch, worker) = (old.job, old.generation, old.epoch, old.worker);
    Ok((Header { job, generation, epoch, worker, sections }, pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shard 5 with `abc\t`, shard 1023 with nothing, shard 7 with two bytes: as the last release wrote it.
    const GOLDEN: &str = "4857535441544500010000001600000004676174650211010353756d0301030504ff0700070261626309\
        09094ee343c792c77454c0ee9abf977d6f59";

    fn golden() -> Vec<u8> {
        let digits: Vec<char> = GOLDEN.chars().collect();
        let byte = |two: &[char]| u8::from_str_radix(&two.iter().collect::<String>(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// The golden file with its content changed, under a right checksum.
    fn sealed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut content = golden();
        content.truncate(content.len() - CHECKSUM);
        change(&mut content);
        let checksum = xxh3_128(&content).to_le_bytes();
        [content, checksum.to_vec()].concat()
    }

    #[test]
    fn file_is_read_as_the_last_release_wrote_it() {
        let file = golden();
        let (header, sections) = decode(&file).unwrap();
        assert_eq!(
            (header.job.as_str(), header.generation, header.epoch, header.worker),
            ("gate", Generation(2), Epoch(17), 1)
        );
        assert_eq!(header.sections.operators, [OperatorHead { name: "Sum".into(), version: 3 }]);
        let list: Vec<_> = header.sections.list.iter().map(|s| (s.shard.0, s.kind, s.bytes)).collect();
        assert_eq!(list, [(5, 4), (1023, 0), (7, 2)].map(|(shard, bytes)| (shard, SectionKind::Base, bytes)));
        assert_eq!(sections, [&b"abc\t"[..], b"", &[9, 9]]);
    }

    #[test]
    fn damage_and_lies_are_refused() {
        for at in 8..golden().len() {
            let mut broken = golden();
            broken[at] ^= 1;
            assert!(decode(&broken).is_err(), "byte {at}");
            assert!(decode(&golden()[..at]).is_err(), "cut at {at}");
        }
        // The second section's shard, in two bytes: 1024, one past the last.
        let past = sealed(|content| {
            let at = content.windows(2).position(|two| two == [0xff, 0x07]).unwrap();
            content[at..at + 2].copy_from_slice(&[0x80, 0x08]);
        });
        assert_eq!(decode(&past), Err(FrameError::Shard { shard: 1024 }));
        assert_eq!(decode(&sealed(|content| content.push(1))), Err(FrameError::Header));
        assert_eq!(decode(&sealed(|content| content.truncate(content.len() - 1))), Err(FrameError::Header));
    }
}
