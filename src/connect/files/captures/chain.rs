//! Captures: the files of one partition, in the order of its offsets.
//!
//! 1. Files that hold offsets of one partition are read one after the other, the lowest first. Two that hold the same
//!    offsets are refused.
//! 2. What lies below the position of an earlier run was read by it, and is passed over, unless it lies where that run found
//!    a gap between two files, or before its first offset: such a file came too late, and is refused with its range.
//! 3. The last record that was read is known by a hash of its value: another one in its place is another capture.

use headway_operators::ack::{Content, OffsetRange};
use headway_operators::record::{Offset, Partition, Payload};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_128;

/// Of how many gaps a partition keeps note. One between files is rare.
const GAPS_MAX: usize = 64;

/// What a file holds of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::connect::files) struct Piece {
    /// The file, by its place in the list.
    pub(in crate::connect::files) file: usize,
    /// The first offset.
    pub(in crate::connect::files) first: Offset,
    /// The newest offset.
    pub(in crate::connect::files) newest: Offset,
}

impl Piece {
    fn is_in(&self, range: &OffsetRange) -> bool {
        self.newest >= range.from && self.first < range.to
    }
}

/// A captured partition, as a reader starts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::connect::files) struct CaptureStart {
    /// Its number.
    pub(in crate::connect::files) partition: Partition,
    /// The first offset that is given.
    pub(in crate::connect::files) next: Offset,
    /// One past the newest offset of its last file, which does not grow; `None` where the files are followed.
    pub(in crate::connect::files) end: Option<Offset>,
    /// What earlier runs knew of its records.
    pub(in crate::connect::files) known: Option<Content>,
}

/// A partition as an earlier run left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::connect::files) struct Capture {
    /// What it is called in manifests.
    pub(in crate::connect::files) identity: String,
    /// The next offset to read.
    pub(in crate::connect::files) next: Offset,
    /// What is known of its records; `None` where the run kept nothing of it.
    pub(in crate::connect::files) known: Option<Content>,
}

impl Capture {
    /// Takes in what an earlier run knew; `None` if `identity` is not that of a captured partition.
    pub(in crate::connect::files) fn parse(
        partition: Partition,
        identity: &str,
        next: Offset,
        known: Option<&Content>,
    ) -> Option<Capture> {
        let (_, number) = identity.rsplit_once('#')?;
        let is_capture = number.parse() == Ok(partition.0);
        is_capture.then(|| Capture { identity: identity.to_string(), next, known: known.cloned() })
    }

    /// True if it may be that all its files are gone.
    pub(in crate::connect::files) fn may_be_gone(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.at_end)
    }

    /// The offset and hash of the last record that was read.
    pub(in crate::connect::files) fn last(&self) -> Option<(Offset, u128)> {
        let hash = u128::from_str_radix(&self.known.as_ref()?.xxh3, 16).ok()?;
        Some((self.next + -1, hash))
    }

    /// The piece that holds offsets which no run has read, and that lie below the position.
    pub(in crate::connect::files) fn unread<'a>(&self, pieces: &'a [Piece]) -> Option<&'a Piece> {
        let known = self.known.as_ref()?;
        pieces.iter().find(|piece| known.gaps.iter().any(|gap| piece.is_in(gap)))
    }
}

/// The hash by which a record is known again.
pub(in crate::connect::files) fn record_hash(payload: Payload<'_>) -> u128 {
    match payload {
        Payload::Null | Payload::Header => 0,
        Payload::Bytes(bytes) => xxh3_128(bytes),
        Payload::TooLong { hash, .. } => hash,
    }
}

/// The pieces of each partition, lowest offsets first.
pub(in crate::connect::files) fn in_order(
    mut pieces: BTreeMap<Partition, Vec<Piece>>,
) -> BTreeMap<Partition, Vec<Piece>> {
    pieces.values_mut().for_each(|pieces| pieces.sort_by_key(|piece| piece.first));
    pieces
}

/// Two neighbours of `pieces`, which are in order, that hold the same offsets.
pub(in crate::connect::files) fn overlap(pieces: &[Piece]) -> Option<(Piece, Piece)> {
    let pairs = pieces.windows(2).map(|pair| (pair[0], pair[1]));
    pairs.into_iter().find(|(low, high)| low.newest >= high.first)
}

/// The files of `pieces`, which are in order, that a reader goes through from `next` on. Where nothing is left to read it
/// is the last one: its end is the partition's.
pub(in crate::connect::files) fn chain(pieces: &[Piece], next: Offset) -> Vec<usize> {
    let from = pieces.partition_point(|piece| piece.newest < next).min(pieces.len().saturating_sub(1));
    pieces[from..].iter().map(|piece| piece.file).collect()
}

/// Notes that nothing was found from `from` to before `to`, between two files or before the first.
pub(in crate::connect::files) fn note_gap(gaps: &mut Vec<OffsetRange>, from: Offset, to: Offset) {
    if from < to {
        gaps.push(OffsetRange { from, to });
        let more = gaps.len().saturating_sub(GAPS_MAX);
        gaps.drain(..more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(file: usize, first: i64, newest: i64) -> Piece {
        Piece { file, first: Offset(first), newest: Offset(newest) }
    }

    #[test]
    fn files_are_read_in_the_order_of_their_offsets_from_the_position_on() {
        let pieces =
            BTreeMap::from([(Partition(3), vec![piece(0, 200, 299), piece(1, 0, 99), piece(2, 100, 199)])]);
        let pieces = &in_order(pieces)[&Partition(3)];
        for (next, files) in [(0, &[1, 2, 0][..]), (99, &[1, 2, 0]), (100, &[2, 0]), (250, &[0]), (300, &[0])]
        {
            assert_eq!(chain(pieces, Offset(next)), files, "{next}");
        }
        assert_eq!(chain(&[], Offset(5)), Vec::<usize>::new());
        assert_eq!(overlap(pieces), None);
        let twice = [piece(0, 0, 100), piece(1, 100, 199)];
        assert_eq!(overlap(&twice), Some((twice[0], twice[1])));
    }

    #[test]
    fn file_that_lies_in_a_gap_came_too_late_and_others_were_read() {
        let mut gaps = Vec::new();
        note_gap(&mut gaps, Offset(0), Offset(50));
        note_gap(&mut gaps, Offset(100), Offset(100));
        note_gap(&mut gaps, Offset(100), Offset(200));
        let known = Content { bytes: 0, xxh3: "ff".into(), at_end: true, begins: String::new(), gaps };
        let capture = Capture::parse(Partition(7), "files:a#7", Offset(300), Some(&known)).unwrap();
        assert_eq!(capture.last(), Some((Offset(299), 255)));
        let unread = |first, newest| capture.unread(&[piece(0, first, newest)]).is_some();
        assert_eq!([unread(50, 99), unread(200, 299), unread(300, 399)], [false; 3]);
        assert_eq!([unread(0, 9), unread(40, 60), unread(120, 130), unread(199, 210)], [true; 4]);
        assert_eq!(Capture::parse(Partition(7), "files:a#8", Offset(0), None), None);
        assert_eq!(Capture::parse(Partition(7), "files:a.csv@12:00000000000000ff", Offset(0), None), None);
    }
}
