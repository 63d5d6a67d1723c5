//! Files as an input: a file, or the files of a folder, of lines or of `kcat -J` envelopes, plain or packed.
//!
//! What a file is, its bytes say ([`super::content`]); which entries of a folder are files, [`super::folder`].
//!
//! **Raw lines.** A file is a partition, a line a message without a time stamp, its number from 0 the offset. The
//! files of a folder are numbered in the order of their names. A last line without a newline counts. A file that begins
//! otherwise than it did, or has fewer lines than were read of it, is another one ([`super::identity::file`]). A header as its first
//! line that is not blank names the columns of the whole file ([`super::header`]).
//!
//! **Envelopes.** A file whose first line is a JSON object with `payload` and `offset` holds the partitions and
//! offsets that its envelopes name, in rising offsets. Several files may hold one partition, each other offsets of it: they
//! are read in the order of these ([`super::captures::chain`]). Envelopes of another topic are no part of the input: they are passed
//! over, and counted in one line of the log.
//!
//! A file ends where it ended when it was first looked at. With [`Options::follow`] it never does: whole lines that
//! are appended are read, and so are new files, which take the next numbers.

use crate::connect::error::Error;
use crate::connect::files::known::Known;
use crate::connect::files::options::Options;
use crate::connect::files::reader::{Reader, Readers};
use crate::connect::{Connector, Earlier, Entry, Event, Heard, PartitionInfo, Polled, Source, Wake};
use headway_operators::ack::Content;
use headway_operators::record::{Offset, Partition};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Files as an input.
pub struct Files {
    known: Arc<Mutex<Known>>,
}

impl Files {
    /// The input that `options` describe. Nothing is read yet.
    pub fn new(options: Options) -> Files {
        Files { known: Arc::new(Mutex::new(Known::new(options))) }
    }
}

impl Connector for Files {
    fn kind(&self) -> &'static str {
        "files"
    }

    fn numbers_as_found(&self) -> bool {
        true
    }

    fn remember(&self, earlier: &[Earlier]) {
        lock(&self.known).remember(earlier);
    }

    fn partitions(&self) -> Result<Vec<PartitionInfo>, Error> {
        let mut known = lock(&self.known);
        known.look()?;
        known.partitions()
    }

    /// Compares followed files of lines with what was read of them, so that one that was written anew is noticed before a commit,
    /// also while its reader waits. Lines that were read before that are committed: the file had them.
    fn confirm(&self) -> Result<(), Error> {
        lock(&self.known).confirm();
        Ok(())
    }

    fn entries(&self) -> Vec<Entry> {
        lock(&self.known).entries()
    }

    fn open(&self, assigned: &[(Partition, Offset)], _wake: Wake) -> Result<Box<dyn Source>, Error> {
        let mut known = lock(&self.known);
        known.look_once()?;
        let Readers { readers, quiet } = known.readers(assigned)?;
        let (met, known) = (known.met(), Arc::clone(&self.known));
        let (turn, asked, has_seen, gone) = (0, 0, 0, Vec::new());
        Ok(Box::new(FilesSource { known, readers, quiet, gone, turn, asked, met, has_seen, waits: false }))
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().expect("no thread panicked with this lock held")
}

/// One worker's reader: its files take turns, a slice each.
struct FilesSource {
    known: Arc<Mutex<Known>>,
    readers: Vec<Reader>,
    /// Partitions that no file holds any more and that were not reported yet.
    quiet: Vec<(Partition, Offset)>,
    /// Partitions that were reported so: a later capture may go on with them.
    gone: Vec<(Partition, Offset)>,
    turn: usize,
    /// The reader that was asked for its content last.
    asked: usize,
    /// How many captures were met, or went on in a copy, since the start.
    met: Arc<AtomicU64>,
    /// How many of these this source has seen.
    has_seen: u64,
    /// Partitions go on in another file once the one that is read was read to its end.
    waits: bool,
}

/// How often a file that was read to its end is looked at for more.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long to wait for each file beyond that where there are many: a look may have to open the file.
const LOOK_AGAIN_EACH: Duration = Duration::from_micros(400);

impl FilesSource {
    /// Lets partitions of captures go on in the files that hold their next offsets. Asks again later while the folder is
    /// being looked at.
    ///
    /// # Errors
    /// If a file that goes on cannot be read.
    fn go_on(&mut self) -> Result<(), Error> {
        let met = self.met.load(Ordering::SeqCst);
        if met == self.has_seen && !self.waits {
            return Ok(());
        }
        let Ok(mut known) = self.known.try_lock() else { return Ok(()) };
        let is_there = |(partition, position): &(Partition, Offset)| known.has(*partition, *position);
        let (come, gone): (Vec<_>, Vec<_>) = self.gone.drain(..).partition(is_there);
        self.gone = gone;
        if !come.is_empty() {
            self.readers.extend(known.readers(&come)?.readers);
        }
        (self.has_seen, self.waits) = (met, false);
        let mut new = Vec::new();
        for reader in &mut self.readers {
            let (leaving, waits) =
                reader.leave(|partition, position, file| known.goes_on(partition, position, file));
            self.waits |= waits;
            let from = reader.file();
            new.extend(leaving.into_iter().map(|leaving| known.reader(leaving, from)));
        }
        if !new.is_empty() {
            self.readers.retain(|reader| !reader.is_idle());
            self.readers.extend(new);
            // The next file may be there already: two files can be found by one look.
            self.waits = true;
            (self.turn, self.asked) = (0, 0);
        }
        Ok(())
    }

    fn look_again(&self) -> Duration {
        let files = u32::try_from(self.readers.len()).unwrap_or(u32::MAX);
        LOOK_AGAIN.max(LOOK_AGAIN_EACH.saturating_mul(files))
    }
}

impl Source for FilesSource {
    fn poll(&mut self, bytes_max: usize, each: &mut dyn FnMut(Event<'_>)) -> Result<Polled, Error> {
        self.go_on()?;
        let look_again = self.look_again();
        self.quiet.iter().for_each(|(partition, next)| each(Event::CaughtUp(*partition, *next)));
        self.gone.append(&mut self.quiet);
        for _ in 0..self.readers.len() {
            self.turn = (self.turn + 1) % self.readers.len();
            let reader = &mut self.readers[self.turn];
            reader.change_file();
            if !reader.rests(look_again) && reader.read(bytes_max, each)? {
                return Ok(Polled::More);
            }
        }
        Ok(Polled::Nothing)
    }

    fn assign(&mut self, partition: Partition, next: Offset) -> Result<(), Error> {
        let Readers { readers, quiet } = lock(&self.known).readers(&[(partition, next)])?;
        self.readers.extend(readers);
        self.quiet.extend(quiet);
        Ok(())
    }

    fn content(&mut self, partition: Partition, next: Offset) -> Option<Content> {
        // Partitions are asked for in the order in which they were assigned, again and again.
        for _ in 0..self.readers.len() {
            self.asked = (self.asked + 1) % self.readers.len();
            if self.readers[self.asked].has(partition) {
                return self.readers[self.asked].content(partition, next);
            }
        }
        None
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        self.readers.iter_mut().for_each(|reader| reader.pause(partition, paused));
    }

    fn heard(&self, _partition: Partition) -> Option<Heard> {
        // Each file was looked at not longer ago than this.
        Some(Heard { last: self.look_again(), ..Heard::ALWAYS })
    }
}
