//! The files of captures as they are known: which hold which offsets, and how they follow one another.
//!
//! 1. At a start, the files of a partition are put in the order of their offsets ([`super::chain`]).
//! 2. While they are followed, a new file goes on with the partitions whose offsets it continues: an hour after the other, or
//!    the file that is written after one was renamed. A partition leaves its file once that was read to its end.
//! 3. A new file that begins with everything that was read of another one is a copy of it. It is passed over while the other
//!    one is there, and takes its place when that is cut or goes away, as for lines ([`crate::connect::files::identity::copies`]).
//! 4. Any other new file with offsets that were met already is passed over: a start puts it in its order, or refuses it.

use crate::connect::PartitionInfo;
use crate::connect::error::Error;
use crate::connect::files::captures::chain::{Capture, CaptureStart, Piece, in_order, note_gap, overlap};
use crate::connect::files::folder::Found;
use crate::connect::files::growing::is_replaced;
use crate::connect::files::identity::copies::{Followed, Relation, relation};
use crate::connect::files::known::{File, Held, Known, Passed, is_away};
use crate::connect::files::place::Place;
use crate::connect::files::reader::{GoesOn, Leaving, Link, Reader};
use crate::connect::files::scan::{Extent, Scan};
use headway_operators::ack::Content;
use headway_operators::record::{Offset, Partition};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

impl Known {
    /// Scans what was added to the captures. One that was cut, written anew or deleted is away.
    ///
    /// # Errors
    /// If one cannot be read, or has a line that is no envelope.
    pub(in crate::connect::files) fn scan_on(&mut self) -> Result<(), Error> {
        let follow = self.options.follow;
        for file in self.files.iter_mut().filter(|file| !file.is_away) {
            let Held::Envelopes(scan) = &mut file.holds else { continue };
            match scan.go_on(&file.place) {
                Err(Error::Unreadable { source, .. }) if follow && is_replaced(&source) => {
                    file.place.spot.replace();
                    file.is_away = true;
                }
                Err(Error::Unreadable { source, .. }) if follow && source.kind() == ErrorKind::NotFound => {
                    file.is_away = true;
                }
                scanned => scanned?,
            }
        }
        Ok(())
    }

    /// What the new capture at `place` holds; `None` if it is passed over.
    pub(in crate::connect::files) fn scan(
        &mut self,
        found: &Found,
        place: &Place,
    ) -> Result<Option<Box<Scan>>, Error> {
        let last = |(partition, capture): (&Partition, &Capture)| Some((*partition, capture.last()?));
        let last = self.captures.iter().filter_map(last).collect();
        let mut scan = Box::new(Scan::new(place, self.options.topic.as_deref(), last));
        match scan.go_on(place) {
            Ok(()) => Ok(Some(scan)),
            Err(Error::Unusable { what, why, .. }) if self.looked => {
                self.note(found, format!("{what}: {why}"));
                Ok(None)
            }
            Err(error) => self.pass_over(found, error).map(|()| None),
        }
    }

    /// Adds a new capture, or lets a known one go on in it, or passes it over.
    pub(in crate::connect::files) fn meet_capture(
        &mut self,
        found: &Found,
        place: Place,
        scan: Box<Scan>,
        listing: &[Found],
    ) -> Result<(), Error> {
        match self.related(found, &place, &scan, listing) {
            Ok(None) => {}
            Ok(Some((at, Relation::Continues))) => {
                self.say_continued(at, found);
                // Its partitions leave it for the copy, wherever each of them was.
                self.files[at].is_away = true;
                self.add(place, scan);
                return Ok(());
            }
            Ok(Some((at, _))) if !self.looked && self.is_longer(at, &scan) => {
                return self.read_instead(at, place, scan);
            }
            Ok(Some((at, Relation::Copy | Relation::None))) => {
                self.note_copy(found, at);
                return Ok(());
            }
            Err(error) => return self.pass_over(found, error),
        }
        if let Some(why) = self.conflict(&scan) {
            self.note(found, why);
            return Ok(());
        }
        self.add(place, scan);
        Ok(())
    }

    fn add(&mut self, place: Place, scan: Box<Scan>) {
        let (name, holds) = (place.relative.clone(), Held::Envelopes(scan));
        self.files.push(File { name, place, holds, follow: Arc::default(), is_away: false });
        self.note_met();
    }

    /// True if `scan` has more than file `at`.
    fn is_longer(&self, at: usize, scan: &Scan) -> bool {
        let Held::Envelopes(known) = &self.files[at].holds else { return false };
        scan.mark.map(|mark| mark.bytes) > known.mark.map(|mark| mark.bytes)
    }

    /// Reads `place` instead of file `at`, of which nothing was read yet and which is the copy of its beginning.
    fn read_instead(&mut self, at: usize, place: Place, scan: Box<Scan>) -> Result<(), Error> {
        let file = &mut self.files[at];
        let Held::Envelopes(known) = std::mem::replace(&mut file.holds, Held::Envelopes(scan)) else {
            return Ok(());
        };
        let name = std::mem::replace(&mut file.name, place.relative.clone());
        let seen = known.mark.map(|mark| (file.place.spot.inode, mark.bytes));
        let why = format!("it is a copy of \"{}\", which is read", place.relative);
        file.place = place;
        self.passed_over.insert(name, Passed { why, seen, copy_of: Some(at) });
        Ok(())
    }

    /// The followed capture that `place` is a copy of, by its place in the list.
    fn related(
        &self,
        found: &Found,
        place: &Place,
        scan: &Scan,
        listing: &[Found],
    ) -> Result<Option<(usize, Relation)>, Error> {
        if !self.options.follow {
            return Ok(None);
        }
        for (at, file) in self.files.iter().enumerate() {
            let Held::Envelopes(known) = &file.holds else { continue };
            let Some(read) = known.mark.filter(|mark| mark.bytes > 0 && known.overlaps(scan)) else {
                continue;
            };
            let is_away = file.is_away || is_away(file, listing);
            let followed = Followed { identity: None, place: &file.place, read, is_away };
            match relation(place, found.bytes, &followed)? {
                Relation::None => {}
                related => return Ok(Some((at, related))),
            }
        }
        Ok(None)
    }

    /// Why a capture that was found while the job runs is passed over; `None` if it goes on where others end.
    fn conflict(&self, scan: &Scan) -> Option<String> {
        if !self.looked {
            return None;
        }
        scan.partitions.iter().find_map(|(partition, extent)| {
            let newest = self.newest(*partition).filter(|newest| extent.first <= *newest)?;
            let first = extent.first;
            Some(format!(
                "it begins with offset {first} of partition {partition}, and offset {newest} was found before it; only a start \
                 puts files in their order"
            ))
        })
    }

    /// The newest offset of `partition` that any run has met.
    fn newest(&self, partition: Partition) -> Option<Offset> {
        let here = self.files.iter().filter_map(|file| Some(extent(file, partition)?.newest)).max();
        let before = self.captures.get(&partition).map(|capture| capture.next + -1);
        here.max(before)
    }

    /// True if a file has an offset of `partition` from `position` on.
    pub(in crate::connect::files) fn has(&self, partition: Partition, position: Offset) -> bool {
        let there = self.files.iter().filter(|file| !file.is_away);
        there.filter_map(|file| extent(file, partition)).any(|extent| extent.newest >= position)
    }

    /// Where `partition`, which was read up to `position` in file `file`, goes on.
    pub(in crate::connect::files) fn goes_on(
        &self,
        partition: Partition,
        position: Offset,
        file: usize,
    ) -> Option<GoesOn> {
        let is_there = |at: usize| !self.files[at].is_away;
        let here = extent(&self.files[file], partition).filter(|_| is_there(file));
        let others = (0..self.files.len()).filter(|at| *at != file && is_there(*at));
        let after = others.filter_map(|at| Some((at, extent(&self.files[at], partition)?)));
        let after = after.filter(|(_, extent)| extent.newest >= position);
        let (next, _) = after.min_by_key(|(_, extent)| extent.first)?;
        Some(GoesOn { file: next, is_due: here.is_none_or(|here| here.newest < position) })
    }

    /// A reader of the partitions that have left another one.
    pub(in crate::connect::files) fn reader(&mut self, leaving: Leaving, from: usize) -> Reader {
        let to = leaving.file;
        for (partition, position) in leaving.positions() {
            let first = extent(&self.files[to], partition).map_or(position, |extent| extent.first);
            self.left.insert((from, partition), (position, first));
        }
        leaving.reader(self.link(to), self.options.topic.as_deref())
    }

    /// Refuses offsets that were added to a file after its partition had gone on in another one.
    pub(in crate::connect::files) fn check_left(&self) -> Result<(), Error> {
        for ((at, partition), (position, next)) in &self.left {
            let file = &self.files[*at];
            let Some(extent) = extent(file, *partition).filter(|extent| extent.newest >= *position) else {
                continue;
            };
            if !file.is_away && *position < *next {
                let (path, partition, to) = (file.place.path(), *partition, extent.newest + 1);
                return Err(Error::BelowPosition { path, partition, from: *position, to, next: *next });
            }
        }
        Ok(())
    }

    /// File `at`, as a reader takes it.
    pub(in crate::connect::files) fn link(&self, at: usize) -> Link {
        Link { file: at, place: self.files[at].place.clone() }
    }

    /// What the captures hold of each partition, lowest offsets first.
    pub(in crate::connect::files) fn pieces(&self) -> BTreeMap<Partition, Vec<Piece>> {
        let mut pieces: BTreeMap<Partition, Vec<Piece>> = BTreeMap::new();
        for (at, file) in self.files.iter().enumerate() {
            let Held::Envelopes(scan) = &file.holds else { continue };
            if file.is_away {
                continue;
            }
            for (partition, extent) in &scan.partitions {
                let piece = Piece { file: at, first: extent.first, newest: extent.newest };
                pieces.entry(*partition).or_default().push(piece);
            }
        }
        in_order(pieces)
    }

    /// What a captured partition is, of which there are `pieces`; at least one.
    pub(in crate::connect::files) fn capture(
        &self,
        partition: Partition,
        pieces: &[Piece],
    ) -> Result<PartitionInfo, Error> {
        let file = |piece: &Piece| &self.files[piece.file];
        if let Some((low, high)) = overlap(pieces) {
            let other = &file(&low).place.relative;
            let why = format!("offset {} of partition {partition} is in \"{other}\" too", high.first);
            return Err(file(&high).place.unusable(file(&high).first_line(partition), why));
        }
        let (first, end) = (pieces[0].first, pieces.last().map(|last| last.newest + 1));
        let Some(capture) = self.captures.get(&partition) else {
            let identity = format!("files:{}#{partition}", file(&pieces[0]).place.relative);
            return Ok(PartitionInfo { partition, identity, first, end });
        };
        let next = capture.next;
        if let Some(piece) = capture.unread(pieces) {
            let (path, from, to) = (file(piece).place.path(), piece.first, piece.newest + 1);
            return Err(Error::BelowPosition { path, partition, from, to, next });
        }
        let mut identity = capture.identity.clone();
        let extents = pieces.iter().filter_map(|piece| match &file(piece).holds {
            Held::Envelopes(scan) => scan.partitions.get(&partition),
            Held::Lines(_) => None,
        });
        let is_same = extents.filter_map(|extent| extent.is_same).next();
        if is_same == Some(false) {
            identity = format!("{identity}, with another record at offset {}", next + -1);
        }
        // The file that was read last may be gone, if nothing of it is missing; the one of its name must have all of it.
        let named = |piece: &&Piece| format!("files:{}#{partition}", file(piece).place.relative) == identity;
        let is_short = |piece: &Piece| is_same.is_none() && pieces.len() == 1 && piece.newest < next;
        let is_gone = capture.may_be_gone() && !pieces.iter().find(named).is_some_and(is_short);
        let first = if is_gone { first.min(next) } else { first };
        let end = if is_gone { end.max(Some(next)) } else { end };
        Ok(PartitionInfo { partition, identity, first, end })
    }

    /// The start at `next` of a captured partition, of which there are `pieces`; at least one.
    pub(in crate::connect::files) fn start(
        &self,
        partition: Partition,
        next: Offset,
        pieces: &[Piece],
    ) -> CaptureStart {
        let known = match self.captures.get(&partition) {
            Some(capture) => capture.known.clone(),
            None => {
                let mut gaps = Vec::new();
                note_gap(&mut gaps, Offset(0), pieces[0].first);
                let (xxh3, begins) = (String::new(), String::new());
                Some(Content { bytes: 0, xxh3, at_end: false, begins, gaps })
            }
        };
        let end = pieces.last().map(|last| last.newest + 1).filter(|_| !self.options.follow);
        CaptureStart { partition, next, end, known }
    }
}

/// What `file` holds of `partition`.
fn extent(file: &File, partition: Partition) -> Option<&Extent> {
    match &file.holds {
        Held::Envelopes(scan) => scan.partitions.get(&partition),
        Held::Lines(_) => None,
    }
}
