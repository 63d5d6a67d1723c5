//! Files as an input: a file, or the files of a folder, of lines or of `kcat -J` envelopes, plain or packed.
//!
//! What a file is, its bytes say ([`super::content`]); which entries of a folder are files, [`super::folder`].
//!
//! **Raw lines.** A file is a partition, a line a message without a time stamp, its number from 0 the offset. The
//! files of a folder are numbered in the order of their names. A last line without a newline counts. A file that begins
//! otherwise than it did, or has fewer lines than were read of it, is another one ([`super::identity`]). A header as its first
//! line that is not blank names the columns of the whole file ([`super::header`]).
//!
//! **Envelopes.** A file whose first line is a JSON object with `payload` and `offset` holds the partitions and
//! offsets that its envelopes name, in rising offsets. Several files may hold one partition, each other offsets of it: they
//! are read in the order of these ([`super::captures`]). Envelopes of another topic are no part of the input: they are passed
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

    fn entries(&self) -> Vec<Entry> {
        lock(&self.known).entries()
    }

    fn open(&self, assigned: &[(Partition, Offset)], _wake: Wake) -> Result<Box<dyn Source>, Error> {
        let mut known = lock(&self.known);
        known.look_once()?;
        let Readers { readers, quiet } = known.readers(assigned)?;
        let known = Arc::clone(&self.known);
        Ok(Box::new(FilesSource { known, readers, quiet, turn: 0, asked: 0 }))
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
    turn: usize,
    /// The reader that was asked for its content last.
    asked: usize,
}

/// How often a file that was read to its end is looked at for more.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long to wait for each file beyond that where there are many: a look may have to open the file.
const LOOK_AGAIN_EACH: Duration = Duration::from_micros(400);

impl FilesSource {
    fn look_again(&self) -> Duration {
        let files = u32::try_from(self.readers.len()).unwrap_or(u32::MAX);
        LOOK_AGAIN.max(LOOK_AGAIN_EACH.saturating_mul(files))
    }
}

impl Source for FilesSource {
    fn poll(&mut self, bytes_max: usize, each: &mut dyn FnMut(Event<'_>)) -> Result<Polled, Error> {
        let look_again = self.look_again();
        self.quiet.drain(..).for_each(|(partition, next)| each(Event::CaughtUp(partition, next)));
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
