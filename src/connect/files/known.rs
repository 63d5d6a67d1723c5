//! The files of an input as they are known: which there are, what they hold, and what is passed over.

use crate::connect::error::Error;
use crate::connect::files::captures::{Capture, CaptureStart, Piece, chain, in_order, note_gap, overlap};
use crate::connect::files::content::{Holds, Refusal, holds};
use crate::connect::files::copies::{Followed, Relation, came_back, relation};
use crate::connect::files::descriptors::Descriptors;
use crate::connect::files::folder::{Found, Inode, PassedOver, Root};
use crate::connect::files::follow::Follow;
use crate::connect::files::identity::FileIdentity;
use crate::connect::files::mark::{Begins, Mark};
use crate::connect::files::options::Options;
use crate::connect::files::place::{Look, Place, refused};
use crate::connect::files::reader::{Reader, Readers};
use crate::connect::files::recall::{Before, recall};
use crate::connect::files::scan::{Scan, fewer_lines};
use crate::connect::source::names;
use crate::connect::{Earlier, Entry, PartitionInfo};
use headway_operators::ack::Content;
use headway_operators::record::{Offset, Partition};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

/// The files of an input.
pub(super) struct Known {
    options: Options,
    root: Root,
    descriptors: Descriptors,
    /// What an earlier run knew of the files of raw lines.
    earlier: Vec<Before>,
    /// Files that were read to their end and were gone at a start.
    finished: Vec<Before>,
    /// What an earlier run knew of captured partitions.
    captures: BTreeMap<Partition, Capture>,
    /// Earlier runs have read something: a folder may be empty now.
    has_earlier: bool,
    /// The names of all files of raw lines that were ever met, by their numbers.
    names: BTreeMap<Partition, String>,
    /// The number of the next file that has none.
    next: Partition,
    files: Vec<File>,
    /// Entries that are not read, by name.
    passed_over: BTreeMap<String, Passed>,
    /// How many files the first look has found: readers know the order of those.
    at_start: Option<usize>,
    /// The folder was looked at.
    looked: bool,
    /// The log says that envelopes of other topics were passed over.
    said_others: bool,
}

/// A file that is read.
struct File {
    /// What it is called now.
    name: String,
    place: Place,
    holds: Held,
    /// What its reader reports, and what the reader is given.
    follow: Arc<Follow>,
}

enum Held {
    /// Raw lines: it is one partition.
    Lines(PartitionInfo),
    /// Envelopes.
    Envelopes(Box<Scan>),
}

/// An entry that is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Passed {
    why: String,
    /// Which file it was, and how long, if its bytes say why: another one is looked at again.
    seen: Option<(Inode, u64)>,
    /// The file that it is a copy of, by its place in the list: when that is away, it is looked at again.
    copy_of: Option<usize>,
}

impl Known {
    /// The input that `options` describe. Nothing is looked at yet.
    pub(super) fn new(options: Options) -> Known {
        Known {
            root: Root::of(&options.path),
            options,
            descriptors: Descriptors::default(),
            earlier: Vec::new(),
            finished: Vec::new(),
            captures: BTreeMap::new(),
            has_earlier: false,
            names: BTreeMap::new(),
            next: Partition(0),
            files: Vec::new(),
            passed_over: BTreeMap::new(),
            at_start: None,
            looked: false,
            said_others: false,
        }
    }

    /// Takes in what an earlier run knew.
    pub(super) fn remember(&mut self, earlier: &[Earlier]) {
        for Earlier { partition, identity, next, content, finished, is_new, .. } in earlier {
            // The envelopes of a capture say which partition it is.
            if *is_new && Capture::parse(*partition, identity, *next, None).is_some() {
                self.next = self.next.max(after(*partition));
                continue;
            }
            if let Some(capture) = Capture::parse(*partition, identity, *next, content.as_ref()) {
                self.has_earlier = true;
                self.next = self.next.max(after(*partition));
                self.captures.insert(*partition, capture);
            } else if let Some(identity) = FileIdentity::parse(identity) {
                self.has_earlier = true;
                self.next = self.next.max(after(*partition));
                self.names.insert(*partition, identity.name.clone());
                let read = content.as_ref().and_then(Mark::parse);
                let at_end = content.as_ref().is_some_and(|content| content.at_end);
                let begins = content.as_ref().map(Begins::parse).unwrap_or_default();
                let before = Before { partition: *partition, identity, next: *next, read, at_end, begins };
                if *finished { self.finished.push(before) } else { self.earlier.push(before) }
            }
        }
    }

    /// Looks for files, the first time or where they are followed, and reads what envelopes they hold.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if the folder was there before and is away, which may pass; else if there is nothing to
    /// read, or what there is cannot be an input.
    pub(super) fn look(&mut self) -> Result<(), Error> {
        if !self.looked || self.options.follow {
            self.list()?;
            self.at_start.get_or_insert(self.files.len());
        }
        if self.files.is_empty() && !self.options.follow && !self.has_earlier {
            return Err(self.nothing());
        }
        for file in &mut self.files {
            if let Held::Envelopes(scan) = &mut file.holds {
                scan.go_on(&file.place)?;
            }
        }
        self.say_others();
        Ok(())
    }

    /// Says in the log, once, how many envelopes of other topics there are.
    fn say_others(&mut self) {
        let others = |file: &File| match &file.holds {
            Held::Envelopes(scan) => scan.others,
            Held::Lines(_) => 0,
        };
        let envelopes: u64 = self.files.iter().map(others).sum();
        if envelopes > 0 && !std::mem::replace(&mut self.said_others, true) {
            let topic = self.options.topic.as_deref().unwrap_or_default();
            tracing::warn!(topic, envelopes, "envelopes of other topics are passed over");
        }
    }

    /// The same, unless it was done before.
    pub(super) fn look_once(&mut self) -> Result<(), Error> {
        if self.looked { Ok(()) } else { self.look() }
    }

    fn list(&mut self) -> Result<(), Error> {
        let listing = self.root.list().map_err(|error| match error {
            Error::Unreadable { path, source } if self.looked => {
                let what = format!("\"{}\"", path.display());
                Error::Unreachable { what, detail: format!("It was there before: {source}.") }
            }
            error => error,
        })?;
        let before = (self.files.len(), self.passed_over.clone());
        let is_there = |name: &String| listing.files.iter().any(|found| found.relative == *name);
        self.passed_over.retain(|name, passed| passed.seen.is_some() && is_there(name));
        for PassedOver { name, why } in listing.passed_over.clone() {
            self.passed_over.insert(name, Passed { why, seen: None, copy_of: None });
        }
        let mut new = Vec::new();
        for found in &listing.files {
            let seen = Some((found.inode, found.bytes));
            let is_as_before = self.passed_over.get(&found.relative).is_some_and(|passed| {
                let takes_place = |at: usize| is_away(&self.files[at], &listing.files);
                passed.seen == seen && !passed.copy_of.is_some_and(takes_place)
            });
            if !is_as_before && !self.is_known(found, &listing.files) {
                self.passed_over.remove(&found.relative);
                new.push(found.clone());
            }
        }
        self.meet(&new, &listing.files)?;
        self.log(before.0, &before.1);
        self.looked = true;
        Ok(())
    }

    /// True if `found` is a file that is read already, under this name or another one. A name that is still in `listing`
    /// for the same file was not changed: a file may have several.
    fn is_known(&mut self, found: &Found, listing: &[Found]) -> bool {
        if self.files.iter().any(|file| is(file, found) && file.name == found.relative) {
            return true;
        }
        let moved = |file: &&mut File| is(file, found) && is_away(file, listing);
        let Some(file) = self.files.iter_mut().find(moved) else {
            return false;
        };
        tracing::info!(event = "file-renamed", "\"{}\" is called \"{}\" now", file.name, found.relative);
        file.place.spot.moved(&found.path);
        file.name.clone_from(&found.relative);
        true
    }

    /// Numbers new files. `listing` is all that is there.
    fn meet(&mut self, found: &[Found], listing: &[Found]) -> Result<(), Error> {
        let mut met = Vec::new();
        for found in found {
            let Some((place, holds)) = self.look_into(found)? else { continue };
            if holds == Holds::Envelopes || !self.is_copy(found, &place, listing)? {
                met.push((found, place, holds));
            }
        }
        let lines = met.iter().filter(|(_, _, holds)| *holds == Holds::Lines);
        let places: Vec<Place> = lines.map(|(_, place, _)| place.clone()).collect();
        let earlier = std::mem::take(&mut self.earlier);
        let mut recalled = recall(&earlier, &places)?;
        let is_gone =
            |old: &Before| old.at_end && recalled.values().all(|found| found.partition != old.partition);
        self.finished.extend(earlier.into_iter().filter(is_gone));
        let mut raw = 0;
        for (found, place, holds) in met {
            let (name, number) = (place.relative.clone(), self.next);
            let holds = if holds == Holds::Envelopes {
                self.next = after(self.next);
                let last = |(partition, capture): (&Partition, &Capture)| Some((*partition, capture.last()?));
                let last = self.captures.iter().filter_map(last).collect();
                Held::Envelopes(Box::new(Scan::new(&place, self.options.topic.as_deref(), last)))
            } else {
                let old = recalled.remove(&raw);
                raw += 1;
                if old.is_none() {
                    if let Some(why) = came_back(&place, found.bytes, &self.finished)? {
                        self.note(found, why);
                        continue;
                    }
                    self.next = after(self.next);
                }
                let info = partition(&place, number, old)?;
                self.names.entry(info.partition).or_insert_with(|| name.clone());
                Held::Lines(info)
            };
            self.files.push(File { name, place, holds, follow: Arc::default() });
        }
        Ok(())
    }

    /// True if `place` is a copy of a followed file; then it is passed over, or takes the place of one that is away.
    fn is_copy(&mut self, found: &Found, place: &Place, listing: &[Found]) -> Result<bool, Error> {
        for at in 0..self.files.len() {
            let file = &self.files[at];
            let (Held::Lines(info), Some(read)) = (&file.holds, file.follow.read()) else { continue };
            let Some(identity) = FileIdentity::parse(&info.identity) else { continue };
            let followed = Followed { identity, place: &file.place, read, is_away: is_away(file, listing) };
            match relation(place, found.bytes, &followed)? {
                Relation::None => continue,
                Relation::Copy => {
                    let why = format!("it is a copy of \"{}\", which is read", file.name);
                    self.note(found, why);
                    if let Some(passed) = self.passed_over.get_mut(&found.relative) {
                        passed.copy_of = Some(at);
                    }
                }
                Relation::Continues => {
                    let file = &mut self.files[at];
                    tracing::info!(
                        event = "file-continued",
                        "what was read as \"{}\" goes on in \"{}\", a copy of it",
                        file.name,
                        found.relative
                    );
                    file.place = place.clone();
                    file.name.clone_from(&found.relative);
                    file.follow.go_on(place.clone());
                }
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Looks into a new file: what it holds. One that may grow is nothing yet until it has a line that tells.
    fn look_into(&mut self, found: &Found) -> Result<Option<(Place, Holds)>, Error> {
        let place = match Place::look(found, self.options.follow, &self.descriptors) {
            Ok(Look::Place(place)) => place,
            Ok(Look::Refused(refusal)) => return self.refuse(found, &refusal).map(|()| None),
            Err(error) => return self.pass_over(found, error).map(|()| None),
        };
        match holds(&mut place.lines()) {
            Ok(Ok(None)) if place.bytes.is_none() => Ok(None),
            Ok(Ok(holds)) => Ok(Some((place, holds.unwrap_or(Holds::Lines)))),
            Ok(Err(refusal)) => self.refuse(found, &refusal).map(|()| None),
            Err(source) => self.pass_over(found, place.unreadable(source)).map(|()| None),
        }
    }

    /// Passes over a file that cannot be an input: where it is one of several, and was not read before.
    fn refuse(&mut self, found: &Found, refusal: &Refusal) -> Result<(), Error> {
        if !self.may_pass_over(found) {
            return Err(refused(&found.path, refusal));
        }
        let line = refusal.line.map_or(String::new(), |line| format!("line {}: ", line + 1));
        let why = format!("{line}{}. {}", refusal.why, refusal.hint);
        self.note(found, why);
        Ok(())
    }

    /// The same for a file that cannot be read. One that has vanished was never there.
    fn pass_over(&mut self, found: &Found, error: Error) -> Result<(), Error> {
        match error {
            Error::Unreadable { source, .. } if self.may_pass_over(found) => {
                if source.kind() != ErrorKind::NotFound {
                    self.note(found, format!("it cannot be read: {source}"));
                }
                Ok(())
            }
            error => Err(error),
        }
    }

    fn may_pass_over(&self, found: &Found) -> bool {
        let may_be_gone = |old: &Before| old.at_end || old.identity.name != found.relative;
        self.root.is_folder() && self.earlier.iter().all(may_be_gone)
    }

    fn note(&mut self, found: &Found, why: String) {
        let seen = Some((found.inode, found.bytes));
        self.passed_over.insert(found.relative.clone(), Passed { why, seen, copy_of: None });
    }

    /// The error for a folder without a file that can be read.
    fn nothing(&self) -> Error {
        let what = self.root.describe();
        let mut hint =
            String::from("Hidden and unfinished files are not read, nor those in folders below it");
        let passed: Vec<String> =
            self.passed_over.iter().map(|(name, passed)| format!("{name}: {}", passed.why)).collect();
        match passed.len() {
            0 => hint.push('.'),
            _ => hint = format!("Passed over: {}", names(&passed)),
        }
        Error::Unusable { what, why: "the folder holds no files".into(), hint }
    }

    /// Says what is new since the look before: `files` are those that were known, `passed_over` what was passed over.
    fn log(&self, files: usize, passed_over: &BTreeMap<String, Passed>) {
        if !self.looked {
            // At a start the log lists the files once the job has started.
            return;
        }
        let read: Vec<String> = self.files[files..].iter().map(|file| file.place.relative.clone()).collect();
        let is_new = |(name, passed): &(&String, &Passed)| passed_over.get(*name) != Some(passed);
        let passed: Vec<String> = self
            .passed_over
            .iter()
            .filter(is_new)
            .map(|(name, passed)| format!("{name}: {}", passed.why))
            .collect();
        if !read.is_empty() {
            tracing::info!(event = "files-found", count = read.len(), "reads {}", names(&read));
        }
        if !passed.is_empty() {
            tracing::warn!(
                event = "files-passed-over",
                count = passed.len(),
                "passes over {}",
                names(&passed)
            );
        }
    }

    /// What becomes of each entry.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let read = self.files.iter().map(|file| Entry {
            name: file.place.relative.clone(),
            read: true,
            what: file.describe(),
        });
        let passed = self.passed_over.iter().map(|(name, passed)| Entry {
            name: name.clone(),
            read: false,
            what: passed.why.clone(),
        });
        let mut entries: Vec<Entry> = read.chain(passed).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// The partitions, by number.
    ///
    /// # Errors
    /// If two files hold the same offsets, or one holds what came too late.
    pub(super) fn partitions(&self) -> Result<Vec<PartitionInfo>, Error> {
        let mut found: BTreeMap<Partition, PartitionInfo> = BTreeMap::new();
        for (partition, pieces) in self.pieces() {
            found.insert(partition, self.capture(partition, &pieces)?);
        }
        for file in &self.files {
            let Held::Lines(info) = &file.holds else { continue };
            if found.insert(info.partition, info.clone()).is_some() {
                let why = format!("partition {} is in a capture too", info.partition);
                return Err(file.place.unusable(0, why));
            }
        }
        // All that was captured of it was read, and the files are gone; later ones may come.
        for (partition, capture) in self.captures.iter().filter(|(_, capture)| capture.may_be_gone()) {
            let (identity, next) = (capture.identity.clone(), capture.next);
            let gone = PartitionInfo { partition: *partition, identity, first: next, end: Some(next) };
            found.entry(*partition).or_insert(gone);
        }
        Ok(found.into_values().collect())
    }

    /// How many files were met before file `number` that had its name.
    fn earlier_of(&self, number: Partition) -> u32 {
        let Some(name) = self.names.get(&number) else { return 0 };
        let same = self.names.range(..number).filter(|(_, other)| *other == name);
        u32::try_from(same.count()).unwrap_or(u32::MAX)
    }

    /// What the captures hold of each partition, lowest offsets first.
    fn pieces(&self) -> BTreeMap<Partition, Vec<Piece>> {
        let mut pieces: BTreeMap<Partition, Vec<Piece>> = BTreeMap::new();
        for (at, file) in self.files.iter().enumerate() {
            let Held::Envelopes(scan) = &file.holds else { continue };
            for (partition, extent) in &scan.partitions {
                let piece = Piece { file: at, first: extent.first, newest: extent.newest };
                pieces.entry(*partition).or_default().push(piece);
            }
        }
        in_order(pieces)
    }

    /// What a captured partition is, of which there are `pieces`; at least one.
    fn capture(&self, partition: Partition, pieces: &[Piece]) -> Result<PartitionInfo, Error> {
        let file = |piece: &Piece| &self.files[piece.file];
        if let Some((low, high)) = overlap(pieces) {
            let other = &file(&low).place.relative;
            let why = format!("offset {} of partition {partition} is in \"{other}\" too", high.first);
            return Err(file(&high).place.unusable(file(&high).first_line(partition), why));
        }
        let is_new = |piece: &&Piece| self.at_start.is_some_and(|count| piece.file >= count);
        let is_known = pieces.len() > 1 || self.captures.contains_key(&partition);
        if let Some(new) = pieces.iter().find(is_new).filter(|_| is_known) {
            let why =
                format!("it goes on with partition {partition}, which the next start reads in its order");
            return Err(file(new).place.unusable(file(new).first_line(partition), why));
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

    /// A reader for each file that `assigned` are in, and for each row of files of a capture.
    ///
    /// # Errors
    /// If one is in none.
    pub(super) fn readers(&self, assigned: &[(Partition, Offset)]) -> Result<Readers, Error> {
        let mut found = Readers::default();
        let (pieces, mut chains) = (self.pieces(), BTreeMap::<Vec<usize>, Vec<CaptureStart>>::new());
        for (partition, next) in assigned {
            if let Some(pieces) = pieces.get(partition) {
                chains.entry(chain(pieces, *next)).or_default().push(self.start(*partition, *next, pieces));
                continue;
            }
            let is_it =
                |file: &&File| matches!(&file.holds, Held::Lines(info) if info.partition == *partition);
            if let Some(file) = self.files.iter().find(is_it) {
                let reader = Reader::raw(
                    file.place.clone(),
                    (*partition, *next),
                    self.options.header,
                    self.earlier_of(*partition),
                );
                found.readers.push(reader.following(&file.follow));
            } else if self.captures.get(partition).is_some_and(Capture::may_be_gone) {
                found.quiet.push((*partition, *next));
            } else {
                let (input, partition) = ("files".to_string(), *partition);
                let (expected, found) = ("a file".to_string(), "nothing".to_string());
                return Err(Error::OtherIdentity { input, partition, expected, found });
            }
        }
        for (files, starts) in chains {
            let places = files.iter().map(|at| self.files[*at].place.clone()).collect();
            let topic = self.options.topic.as_deref();
            found.readers.extend(Reader::envelopes(places, &starts, topic));
        }
        Ok(found)
    }

    /// The start at `next` of a captured partition, of which there are `pieces`; at least one.
    fn start(&self, partition: Partition, next: Offset, pieces: &[Piece]) -> CaptureStart {
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

/// True if `found` is `file`, whatever it is called.
fn is(file: &File, found: &Found) -> bool {
    file.place.spot.inode == found.inode && !file.place.spot.is_replaced()
}

/// True if `file` is no longer where it was.
fn is_away(file: &File, listing: &[Found]) -> bool {
    !listing.iter().any(|found| is(file, found) && file.name == found.relative)
}

/// The partition that a file of raw lines is: number `number`, unless it continues an `old` one.
fn partition(place: &Place, number: Partition, old: Option<Before>) -> Result<PartitionInfo, Error> {
    let Some(old) = old else {
        let identity = FileIdentity::of(place, None)?.to_string();
        return Ok(PartitionInfo { partition: number, identity, first: Offset(0), end: None });
    };
    let partition = old.partition;
    if old.read.is_some() {
        // It is what was read, whatever it is called now.
        let identity = old.identity.to_string();
        return Ok(PartitionInfo { partition, identity, first: Offset(0), end: None });
    }
    let mut identity = FileIdentity::of(place, Some(&old.identity))?.to_string();
    // An end is reported only if it shows that the file is not the one that was read.
    let end = fewer_lines(place, old.next)?;
    if end.is_none() && identity == old.identity.to_string() && old.begins != Begins::default() {
        identity.push_str(", changed in what was read of it");
    }
    Ok(PartitionInfo { partition, identity, first: Offset(0), end })
}

impl File {
    /// The first line of `partition`.
    fn first_line(&self, partition: Partition) -> u64 {
        match &self.holds {
            Held::Lines(_) => 0,
            Held::Envelopes(scan) => scan.partitions.get(&partition).map_or(0, |extent| extent.line),
        }
    }

    /// What it holds, in a few words.
    fn describe(&self) -> String {
        let holds = match &self.holds {
            Held::Lines(_) => "lines".to_string(),
            Held::Envelopes(scan) => {
                let numbers: Vec<String> = scan.partitions.keys().map(ToString::to_string).collect();
                let word = if numbers.len() == 1 { "partition" } else { "partitions" };
                format!("envelopes of {word} {}", names(&numbers))
            }
        };
        match self.place.packing.name() {
            None => holds,
            Some(packing) => format!("{holds}, {packing}"),
        }
    }
}

/// The number after `partition`'s.
fn after(partition: Partition) -> Partition {
    Partition(partition.0.saturating_add(1))
}
