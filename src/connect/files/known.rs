//! The files of an input as they are known: which there are, what they hold, and what is passed over.

use crate::connect::error::Error;
use crate::connect::files::captures::chain::{Capture, CaptureStart, chain};
use crate::connect::files::content::{Holds, Refusal, holds};
use crate::connect::files::descriptors::Descriptors;
use crate::connect::files::folder::{Found, Inode, PassedOver, Root};
use crate::connect::files::follow::Follow;
use crate::connect::files::identity::copies::{Followed, Relation, came_back, relation};
use crate::connect::files::identity::file::FileIdentity;
use crate::connect::files::identity::mark::{Begins, Mark};
use crate::connect::files::identity::recall::{Before, Recalled, partition, recall};
use crate::connect::files::options::Options;
use crate::connect::files::place::{Look, Place, refused};
use crate::connect::files::reader::{Reader, Readers};
use crate::connect::files::scan::Scan;
use crate::connect::source::names;
use crate::connect::{Earlier, Entry, PartitionInfo};
use headway_operators::record::{Offset, Partition};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The files of an input.
pub(super) struct Known {
    pub(super) options: Options,
    root: Root,
    descriptors: Descriptors,
    /// What an earlier run knew of the files of raw lines.
    earlier: Vec<Before>,
    /// Files that were read to their end and were gone at a start.
    finished: Vec<Before>,
    /// What an earlier run knew of captured partitions.
    pub(super) captures: BTreeMap<Partition, Capture>,
    /// Earlier runs have read something: a folder may be empty now.
    has_earlier: bool,
    /// The names of all files of raw lines that were ever met, by their numbers.
    names: BTreeMap<Partition, String>,
    /// The number of the next file that has none.
    next: Partition,
    pub(super) files: Vec<File>,
    /// Entries that are not read, by name.
    pub(super) passed_over: BTreeMap<String, Passed>,
    /// The folder was looked at.
    pub(super) looked: bool,
    /// Captured partitions as they were reported first, where files are followed.
    pub(super) reported: BTreeMap<Partition, PartitionInfo>,
    /// By file and partition, where a partition went on in another file: the offset up to which it was read in this file, and the
    /// first offset in the other one.
    pub(super) left: BTreeMap<(usize, Partition), (Offset, Offset)>,
    /// How many captures were met, or went on in a copy.
    met: Arc<AtomicU64>,
    /// The log says that envelopes of other topics were passed over.
    said_others: bool,
}

/// A file that is read.
pub(super) struct File {
    /// What it is called now.
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) holds: Held,
    /// What its reader reports, and what the reader is given.
    pub(super) follow: Arc<Follow>,
    /// Of a capture: it can no longer be read here.
    pub(super) is_away: bool,
}

pub(super) enum Held {
    /// Raw lines: it is one partition.
    Lines(PartitionInfo),
    /// Envelopes.
    Envelopes(Box<Scan>),
}

/// A new file, its place, and what was found in it if it holds envelopes.
type Met<'a> = (&'a Found, Place, Option<Box<Scan>>);

/// An entry that is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) why: String,
    /// Which file it was, and how long, if its bytes say why: another one is looked at again.
    pub(super) seen: Option<(Inode, u64)>,
    /// The file that it is a copy of, by its place in the list: when that is away, it is looked at again.
    pub(super) copy_of: Option<usize>,
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
            looked: false,
            reported: BTreeMap::new(),
            left: BTreeMap::new(),
            met: Arc::default(),
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
        }
        if self.files.is_empty() && !self.options.follow && !self.has_earlier {
            return Err(self.nothing());
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
        self.scan_on()?;
        self.meet(&new, &listing.files)?;
        self.log(before.0, &before.1);
        self.looked = true;
        Ok(())
    }

    /// Compares the followed files that are read with what was read of them.
    pub(super) fn confirm(&self) {
        self.files.iter().for_each(|file| file.follow.confirm(&file.place.spot));
    }

    /// How many captures were met, or went on in a copy, as long as the job runs.
    pub(super) fn met(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.met)
    }

    /// Lets sources look for partitions that go on in another file.
    pub(super) fn note_met(&self) {
        if self.options.follow {
            self.met.fetch_add(1, Ordering::SeqCst);
        }
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
        let mut new = Vec::new();
        for found in found {
            new.extend(self.look_into(found)?.map(|(place, holds)| (found, place, holds)));
        }
        self.take_in(new, listing)
    }

    /// Numbers files that were looked into. Each may have vanished since, and was never there then.
    pub(super) fn take_in(
        &mut self,
        new: Vec<(&Found, Place, Holds)>,
        listing: &[Found],
    ) -> Result<(), Error> {
        let mut met = Vec::new();
        for (found, place, holds) in new {
            if holds == Holds::Envelopes {
                if let Some(scan) = self.scan(found, &place)? {
                    met.push((found, place, Some(scan)));
                }
                continue;
            }
            match self.is_copy(found, &place, listing) {
                Ok(true) => {}
                Ok(false) => met.push((found, place, None)),
                Err(error) => self.pass_over(found, error)?,
            }
        }
        let mut recalled = self.recall(&mut met)?;
        let mut raw = 0;
        for (found, place, scan) in met {
            if let Some(scan) = scan {
                self.next = after(self.next);
                self.meet_capture(found, place, scan, listing)?;
                continue;
            }
            let old = recalled.remove(&raw);
            raw += 1;
            if let Err(error) = self.meet_lines(found, place, old) {
                self.pass_over(found, error)?;
            }
        }
        Ok(())
    }

    /// Which of the files of lines in `met`, by their number, continue partitions of an earlier run. Those that have vanished
    /// meanwhile are taken out.
    fn recall(&mut self, met: &mut Vec<Met<'_>>) -> Result<BTreeMap<usize, Recalled>, Error> {
        let earlier = std::mem::take(&mut self.earlier);
        let recalled = loop {
            let lines = met.iter().filter(|(_, _, scan)| scan.is_none());
            let places: Vec<Place> = lines.map(|(_, place, _)| place.clone()).collect();
            match recall(&earlier, &places) {
                Ok(recalled) => break recalled,
                Err(error) => {
                    let is_it = |(_, place, _): &Met<'_>| error.is_about(&place.path());
                    let at = met.iter().position(is_it).filter(|_| self.has_vanished(&error));
                    drop(met.remove(at.ok_or(error)?));
                }
            }
        };
        let is_there = |old: &Before| recalled.values().any(|found| found.before.partition == old.partition);
        let is_gone = |old: &Before| old.at_end && !is_there(old);
        self.finished.extend(earlier.into_iter().filter(is_gone));
        Ok(recalled)
    }

    /// Numbers a new file of lines, unless it continues an `old` one or has come back.
    fn meet_lines(&mut self, found: &Found, place: Place, old: Option<Recalled>) -> Result<(), Error> {
        let (name, is_new) = (place.relative.clone(), old.is_none());
        if is_new {
            place.check_packing()?;
            if let Some(why) = came_back(&place, found.bytes, &self.finished)? {
                self.note(found, why);
                return Ok(());
            }
        }
        let info = partition(&place, self.next, old)?;
        if is_new {
            self.next = after(self.next);
        }
        self.names.entry(info.partition).or_insert_with(|| name.clone());
        let holds = Held::Lines(info);
        self.files.push(File { name, place, holds, follow: Arc::default(), is_away: false });
        Ok(())
    }

    /// True if `place` is a copy of a followed file; then it is passed over, or takes the place of one that is away.
    fn is_copy(&mut self, found: &Found, place: &Place, listing: &[Found]) -> Result<bool, Error> {
        for at in 0..self.files.len() {
            let file = &self.files[at];
            let (Held::Lines(info), Some(read)) = (&file.holds, file.follow.read()) else { continue };
            let Some(identity) = FileIdentity::parse(&info.identity) else { continue };
            let (identity, is_away) = (Some(identity), is_away(file, listing));
            let followed = Followed { identity, place: &file.place, read, is_away };
            match relation(place, found.bytes, &followed)? {
                Relation::None => continue,
                Relation::Copy => self.note_copy(found, at),
                Relation::Continues => {
                    self.say_continued(at, found);
                    let file = &mut self.files[at];
                    file.place = place.clone();
                    file.name.clone_from(&found.relative);
                    file.follow.go_on(place.clone());
                }
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Passes over `found`, which is a copy of file `at`, as long as that one is there.
    pub(super) fn note_copy(&mut self, found: &Found, at: usize) {
        let why = format!("it is a copy of \"{}\", which is read", self.files[at].name);
        let seen = Some((found.inode, found.bytes));
        self.passed_over.insert(found.relative.clone(), Passed { why, seen, copy_of: Some(at) });
    }

    /// Says that what was read of file `at` goes on in `found`, a copy of it.
    pub(super) fn say_continued(&self, at: usize, found: &Found) {
        tracing::info!(
            event = "file-continued",
            "what was read as \"{}\" goes on in \"{}\", a copy of it",
            self.files[at].name,
            found.relative
        );
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

    /// Passes over a file that cannot be an input, if it is one of several and was not read before.
    fn refuse(&mut self, found: &Found, refusal: &Refusal) -> Result<(), Error> {
        if !self.may_pass_over(found) {
            return Err(refused(&found.path, refusal));
        }
        let line = refusal.line.map_or(String::new(), |line| format!("line {}: ", line + 1));
        let why = format!("{line}{}. {}", refusal.why, refusal.hint);
        self.note(found, why);
        Ok(())
    }

    /// Passes over a file that cannot be read because of `error`, where it is one of several and was not read before. A file of a folder
    /// that has vanished meanwhile is ignored.
    pub(super) fn pass_over(&mut self, found: &Found, error: Error) -> Result<(), Error> {
        match error {
            error if self.has_vanished(&error) => Ok(()),
            Error::Unreadable { source, .. } if self.may_pass_over(found) => {
                self.note(found, format!("it cannot be read: {source}"));
                Ok(())
            }
            error => Err(error),
        }
    }

    /// True if `error` says that an entry of the folder is no longer there.
    fn has_vanished(&self, error: &Error) -> bool {
        let is_gone = |source: &std::io::Error| source.kind() == ErrorKind::NotFound;
        matches!(error, Error::Unreadable { source, .. } if is_gone(source)) && self.root.is_folder()
    }

    fn may_pass_over(&self, found: &Found) -> bool {
        let may_be_gone = |old: &Before| old.at_end || old.identity.name != found.relative;
        self.root.is_folder() && self.earlier.iter().all(may_be_gone)
    }

    pub(super) fn note(&mut self, found: &Found, why: String) {
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
    pub(super) fn partitions(&mut self) -> Result<Vec<PartitionInfo>, Error> {
        let mut found: BTreeMap<Partition, PartitionInfo> = BTreeMap::new();
        self.check_left()?;
        for (partition, pieces) in self.pieces() {
            let info = match self.reported.get(&partition) {
                Some(info) => {
                    PartitionInfo { end: pieces.last().map(|last| last.newest + 1), ..info.clone() }
                }
                None => self.capture(partition, &pieces)?,
            };
            found.insert(partition, info);
        }
        if self.options.follow {
            // It stays what it was reported as, whichever files hold it now.
            self.reported.append(&mut found);
            found.clone_from(&self.reported);
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
                let (place, header) = (file.place.clone(), self.options.header);
                let reader = Reader::raw(place, *partition, *next, header, self.earlier_of(*partition));
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
            let links = files.iter().map(|at| self.link(*at)).collect();
            let topic = self.options.topic.as_deref();
            found.readers.extend(Reader::envelopes(links, &starts, topic));
        }
        Ok(found)
    }
}

/// True if `found` is `file`, whatever it is called.
fn is(file: &File, found: &Found) -> bool {
    file.place.spot.inode == found.inode && !file.place.spot.is_replaced()
}

/// True if `file` is no longer where it was.
pub(super) fn is_away(file: &File, listing: &[Found]) -> bool {
    !listing.iter().any(|found| is(file, found) && file.name == found.relative)
}

impl File {
    /// The first line of `partition`.
    pub(super) fn first_line(&self, partition: Partition) -> u64 {
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
