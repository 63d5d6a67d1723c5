//! Files as an input: a file, or the files of a folder, of lines or of `kcat -J` envelopes, plain or gzip, which is known
//! by its first two bytes.
//!
//! **Raw lines.** A file is a partition, a line a message without a time stamp, its number from 0 the offset. The
//! files of a folder are numbered in the order of their names; not those in folders below it, nor those whose name
//! begins with `.` or `_`. A last line without a newline counts. A file that begins otherwise than it did, or has
//! fewer lines than were read of it, is another one ([`super::identity`]). A header as its first line that is not
//! blank names the columns of the whole file ([`super::header`]).
//!
//! **Envelopes.** A file whose first line is a JSON object with `payload` and `offset` holds the partitions and
//! offsets that its envelopes name. A partition comes from one file, in rising offsets. Envelopes of another topic are
//! no part of the input: they are passed over, and counted in one line of the log.
//!
//! A file ends where it ended when it was first looked at. With [`Options::follow`] it never does: whole lines that
//! are appended are read, and so are new files, which take the next numbers.

use crate::connect::error::Error;
use crate::connect::files::identity::FileIdentity;
use crate::connect::files::place::{Place, list};
use crate::connect::files::reader::Reader;
use crate::connect::files::scan::{Extent, Scan, fewer_lines, first_line_is_envelope};
use crate::connect::{Connector, Earlier, Event, Heard, PartitionInfo, Polled, Source, Wake};
use headway_operators::record::{Offset, Partition};
use headway_operators::spec::{HeaderSpec, InputSpec};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// What to read.
#[derive(Clone, Debug)]
pub struct Options {
    /// A file or a folder.
    pub path: PathBuf,
    /// Waits for more lines and files. Compressed files cannot be followed.
    pub follow: bool,
    /// The topic whose envelopes are read; `None` reads those of all topics.
    pub topic: Option<String>,
    /// How header lines are known; `None` takes every line for a message.
    pub header: Option<HeaderSpec>,
}

impl Options {
    /// Reads the messages of `input` in `path` to their end.
    pub fn new(path: impl Into<PathBuf>, input: &InputSpec) -> Options {
        let (topic, header) = (Some(input.topic.to_string()), input.header);
        Options { path: path.into(), follow: false, topic, header }
    }
}

/// Files as an input.
pub struct Files {
    options: Options,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// What an earlier run knew of the files of raw lines, by name: number, identity, next offset.
    earlier: BTreeMap<String, (Partition, FileIdentity, Offset)>,
    /// The number of the next file that has none.
    next: Partition,
    files: Vec<Entry>,
    /// The log says that envelopes of other topics were passed over.
    said_others: bool,
}

/// A file that is known.
struct Entry {
    place: Place,
    holds: Holds,
}

enum Holds {
    /// Raw lines: it is one partition.
    Lines(PartitionInfo),
    /// Envelopes.
    Envelopes(Box<Scan>),
}

impl Files {
    /// The input that `options` describe. Nothing is read yet.
    pub fn new(options: Options) -> Files {
        Files { options, known: Arc::default() }
    }
}

impl Connector for Files {
    fn kind(&self) -> &'static str {
        "files"
    }

    fn remember(&self, earlier: &[Earlier]) {
        let mut here = lock(&self.known);
        for Earlier { partition, identity, next, .. } in earlier {
            if let Some(identity) = FileIdentity::parse(identity) {
                here.earlier.insert(identity.name.clone(), (*partition, identity, *next));
                here.next = here.next.max(partition + 1);
            }
        }
    }

    fn partitions(&self) -> Result<Vec<PartitionInfo>, Error> {
        let mut known = lock(&self.known);
        known.look(&self.options)?;
        known.partitions()
    }

    fn open(&self, assigned: &[(Partition, Offset)], _wake: Wake) -> Result<Box<dyn Source>, Error> {
        let mut known = lock(&self.known);
        if known.files.is_empty() {
            known.look(&self.options)?;
        }
        let readers = known.readers(&self.options, assigned)?;
        let (known, options) = (Arc::clone(&self.known), self.options.clone());
        Ok(Box::new(FilesSource { options, known, readers, turn: 0 }))
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Known {
    /// Looks for files, the first time or where they are followed, and reads what envelopes they hold.
    fn look(&mut self, options: &Options) -> Result<(), Error> {
        if self.files.is_empty() || options.follow {
            for place in list(&options.path, options.follow)? {
                if self.files.iter().all(|entry| entry.place.relative != place.relative) {
                    self.meet(options, place)?;
                }
            }
        }
        if self.files.is_empty() && !options.follow {
            return Err(Error::Unusable {
                what: options.path.display().to_string(),
                why: "the folder holds no files".into(),
                hint: "Files in folders below it are not read, nor those whose name begins with . or _."
                    .into(),
            });
        }
        for entry in &mut self.files {
            if let Holds::Envelopes(scan) = &mut entry.holds {
                scan.go_on(&entry.place)?;
            }
        }
        self.say_others(options);
        Ok(())
    }

    /// Says in the log, once, how many envelopes of other topics there are.
    fn say_others(&mut self, options: &Options) {
        let others = |entry: &Entry| match &entry.holds {
            Holds::Envelopes(scan) => scan.others,
            Holds::Lines(_) => 0,
        };
        let envelopes: u64 = self.files.iter().map(others).sum();
        if envelopes > 0 && !std::mem::replace(&mut self.said_others, true) {
            let topic = options.topic.as_deref().unwrap_or_default();
            tracing::warn!(topic, envelopes, "envelopes of other topics are passed over");
        }
    }

    /// Numbers a new file. One that may grow is nothing yet until it has a line that tells what it holds.
    fn meet(&mut self, options: &Options, place: Place) -> Result<(), Error> {
        let is_envelope = match first_line_is_envelope(&place)? {
            None if place.bytes.is_none() => return Ok(()),
            first => first.unwrap_or(false),
        };
        let earlier = self.earlier.get(&place.relative);
        let (partition, read) = earlier.map_or((self.next, 0), |(number, _, next)| (*number, *next));
        self.next = self.next.max(partition + 1);
        let holds = if is_envelope {
            Holds::Envelopes(Box::new(Scan::new(&place, options.topic.as_deref())?))
        } else {
            let identity = FileIdentity::of(&place, earlier.map(|(_, identity, _)| identity))?.to_string();
            // An end is told only where it shows that the file is not the one that was read.
            let end = fewer_lines(&place, read)?;
            Holds::Lines(PartitionInfo { partition, identity, first: 0, end })
        };
        self.files.push(Entry { place, holds });
        Ok(())
    }

    fn partitions(&self) -> Result<Vec<PartitionInfo>, Error> {
        let mut found: BTreeMap<Partition, (PartitionInfo, &Entry)> = BTreeMap::new();
        for entry in &self.files {
            for info in entry.partitions() {
                let partition = info.partition;
                if let Some((_, other)) = found.insert(partition, (info, entry)) {
                    let why = format!("partition {partition} is in \"{}\" too", other.place.relative);
                    return Err(entry.place.unusable(entry.first_line(partition), why));
                }
            }
        }
        Ok(found.into_values().map(|(info, _)| info).collect())
    }

    /// A reader for each file that `assigned` are in.
    fn readers(&self, options: &Options, assigned: &[(Partition, Offset)]) -> Result<Vec<Reader>, Error> {
        let mut readers = Vec::new();
        let mut missing: Vec<(Partition, Offset)> = assigned.to_vec();
        for entry in &self.files {
            let here: Vec<_> = missing.extract_if(.., |(partition, _)| entry.has(*partition)).collect();
            let place = entry.place.clone();
            match (&entry.holds, here.first()) {
                (_, None) => {}
                (Holds::Lines(_), Some(start)) => readers.push(Reader::raw(place, *start, options.header)?),
                (Holds::Envelopes(_), _) => {
                    readers.push(Reader::envelopes(place, &here, options.topic.as_deref())?);
                }
            }
        }
        let Some((partition, _)) = missing.first().copied() else { return Ok(readers) };
        let (expected, found) = ("a file".to_string(), "nothing".to_string());
        Err(Error::OtherIdentity { input: "files".into(), partition, expected, found })
    }
}

impl Entry {
    fn has(&self, partition: Partition) -> bool {
        match &self.holds {
            Holds::Lines(info) => info.partition == partition,
            Holds::Envelopes(scan) => scan.partitions.contains_key(&partition),
        }
    }

    /// The first line of `partition`.
    fn first_line(&self, partition: Partition) -> u64 {
        match &self.holds {
            Holds::Lines(_) => 0,
            Holds::Envelopes(scan) => scan.partitions.get(&partition).map_or(0, |extent| extent.line),
        }
    }

    fn partitions(&self) -> Vec<PartitionInfo> {
        let relative = &self.place.relative;
        match &self.holds {
            Holds::Lines(info) => vec![info.clone()],
            Holds::Envelopes(scan) => {
                let info = |(partition, extent): (&Partition, &Extent)| PartitionInfo {
                    partition: *partition,
                    identity: format!("files:{relative}#{partition}"),
                    first: extent.first,
                    end: Some(extent.newest + 1),
                };
                scan.partitions.iter().map(info).collect()
            }
        }
    }
}

/// One worker's reader: its files take turns, a slice each.
struct FilesSource {
    options: Options,
    known: Arc<Mutex<Known>>,
    readers: Vec<Reader>,
    turn: usize,
}

impl Source for FilesSource {
    fn poll(&mut self, bytes_max: usize, each: &mut dyn FnMut(Event<'_>)) -> Result<Polled, Error> {
        for _ in 0..self.readers.len() {
            self.turn = (self.turn + 1) % self.readers.len();
            let reader = &mut self.readers[self.turn];
            if !reader.rests() && reader.read(bytes_max, each)? {
                return Ok(Polled::More);
            }
        }
        Ok(Polled::Nothing)
    }

    fn assign(&mut self, partition: Partition, next: Offset) -> Result<(), Error> {
        self.readers.extend(lock(&self.known).readers(&self.options, &[(partition, next)])?);
        Ok(())
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        self.readers.iter_mut().for_each(|reader| reader.pause(partition, paused));
    }

    fn heard(&self, _partition: Partition) -> Option<Heard> {
        // Each poll looks at the files.
        Some(Heard::ALWAYS)
    }
}
