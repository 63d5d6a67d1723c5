//! What a file holds, before it is read: raw lines, or the envelopes of which partitions.

use crate::connect::error::Error;
use crate::connect::files::captures::chain::record_hash;
use crate::connect::files::envelopes::envelope::Envelopes;
use crate::connect::files::identity::mark::Mark;
use crate::connect::files::lines::{Line, Lines};
use crate::connect::files::place::Place;
use crate::connect::files::reader::rises;
use crate::connect::files::unpack::Bytes;
use headway_operators::record::{Offset, Partition};
use std::collections::BTreeMap;

/// The partitions that a file of envelopes holds.
pub(super) struct Scan {
    /// By number.
    pub(super) partitions: BTreeMap<Partition, Extent>,
    /// Where the scan goes on when the file has grown.
    rest: Option<(Lines<Bytes>, Envelopes)>,
    /// The next line.
    line: u64,
    /// How many envelopes are of another topic.
    pub(super) others: u64,
    /// The last record that an earlier run read of each partition: its offset and hash.
    last: BTreeMap<Partition, (Offset, u128)>,
    /// Everything that was scanned of a file that is followed, up to the end of a line.
    pub(super) mark: Option<Mark>,
}

/// What a file of envelopes holds of a partition.
pub(super) struct Extent {
    /// The first offset.
    pub(super) first: Offset,
    /// The newest offset so far.
    pub(super) newest: Offset,
    /// The line that holds the first.
    pub(super) line: u64,
    /// The last record that an earlier run read is here; `Some(false)` if another one is in its place.
    pub(super) is_same: Option<bool>,
}

impl Scan {
    /// Of a file that nothing was read of.
    pub(super) fn new(place: &Place, topic: Option<&str>, last: BTreeMap<Partition, (Offset, u128)>) -> Scan {
        let lines = if place.bytes.is_none() { place.lines().hashed() } else { place.lines() };
        let rest = Some((lines, Envelopes::of(topic)));
        Scan { partitions: BTreeMap::new(), rest, line: 0, others: 0, last, mark: None }
    }

    /// Reads on to the end of the file as of now.
    pub(super) fn go_on(&mut self, place: &Place) -> Result<(), Error> {
        let Some((mut lines, mut envelopes)) = self.rest.take() else { return Ok(()) };
        while let Some(line) = lines.next().map_err(|source| place.unreadable(source))? {
            let refused = |malformed| place.unusable(self.line, malformed);
            let Some(head) = envelopes.take(line).map_err(refused)? else { continue };
            if !head.is_of_topic {
                (self.others, self.line) = (self.others + 1, self.line + 1);
                continue;
            }
            let (partition, offset) = (head.partition, head.offset);
            let is_same = match self.last.get(&partition).filter(|(last, _)| *last == offset) {
                None => None,
                Some((_, hash)) => Some(record_hash(envelopes.raw(&head).map_err(refused)?.payload) == *hash),
            };
            match self.partitions.get_mut(&partition) {
                None => {
                    let extent = Extent { first: offset, newest: offset, line: self.line, is_same };
                    self.partitions.insert(partition, extent);
                }
                Some(extent) => {
                    rises(Some(extent.newest), partition, offset).map_err(refused)?;
                    extent.newest = offset;
                    extent.is_same = extent.is_same.or(is_same);
                }
            }
            self.line += 1;
        }
        if lines.is_between() {
            self.mark = lines.mark();
        }
        self.rest = place.bytes.is_none().then_some((lines, envelopes));
        Ok(())
    }

    /// True if both hold an offset of the same partition.
    pub(super) fn overlaps(&self, other: &Scan) -> bool {
        self.partitions.iter().any(|(partition, here)| {
            let there = other.partitions.get(partition);
            there.is_some_and(|there| here.first <= there.newest && there.first <= here.newest)
        })
    }
}

/// How many lines a file has, if they are fewer than `lines`.
pub(super) fn fewer_lines(place: &Place, lines: Offset) -> Result<Option<Offset>, Error> {
    let (mut here, mut count) = (place.lines(), Offset(0));
    while count < lines {
        match here.next().map_err(|source| place.unreadable(source))? {
            None => return Ok(Some(count)),
            Some(Line::Piece(_)) => {}
            Some(Line::Whole(_) | Line::End) => count += 1,
        }
    }
    Ok(None)
}
