//! Open files: at most so many at once, however many are read.
//!
//! A [`Handle`] opens its file when it reads, and the file that was read longest ago is closed for it. Every read says
//! where it reads, so an open file has no position that could be lost. A file that was opened again must be the same:
//! by its inode here, by what it holds where it is known what that was.

use crate::connect::files::folder::Inode;
use crate::store::local::open_at_once;
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// How many files a source holds open: far below the limit of 256 of the smallest systems, for a job opens others too.
const OPEN_MAX: usize = 64;

/// Opens a file to be read. Does not wait for a pipe that has taken its place.
///
/// # Errors
/// If it cannot be opened, or is no file.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = open_at_once(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is no file any more")),
    }
}

/// The open files of a source. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Descriptors {
    open: Arc<Mutex<Open>>,
    most: usize,
}

#[derive(Debug, Default)]
struct Open {
    /// Open files by when they were used, and whose they are.
    by_use: BTreeMap<u64, (u64, File)>,
    /// When a handle's file was used.
    used: HashMap<u64, u64>,
    /// The next use.
    now: u64,
    /// The next handle.
    next: u64,
}

impl Default for Descriptors {
    fn default() -> Descriptors {
        Descriptors::new(OPEN_MAX)
    }
}

impl Descriptors {
    /// At most `most` open files.
    pub(super) fn new(most: usize) -> Descriptors {
        Descriptors { open: Arc::default(), most }
    }

    /// A handle on the file at `spot`, which is opened when it is read.
    pub(super) fn handle(&self, spot: &Arc<Spot>) -> Handle {
        let mut open = self.lock();
        open.next += 1;
        Handle { descriptors: self.clone(), number: open.next, spot: Arc::clone(spot), at: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no thread panicked with this lock held")
    }

    /// Takes the open file of a handle, if it is still open.
    fn take(&self, handle: u64) -> Option<File> {
        let mut open = self.lock();
        let used = open.used.remove(&handle)?;
        open.by_use.remove(&used).map(|(_, file)| file)
    }

    /// Gives the open file of a handle back; closes another one where there are too many.
    fn put(&self, handle: u64, file: File) {
        let mut open = self.lock();
        open.now += 1;
        let now = open.now;
        open.by_use.insert(now, (handle, file));
        open.used.insert(handle, now);
        while open.by_use.len() > self.most {
            let Some(victim) = open.victim(2 * self.most) else { return };
            if let Some((handle, _)) = open.by_use.remove(&victim) {
                open.used.remove(&handle);
            }
        }
    }
}

impl Open {
    /// The use of the file that is closed next. A file without a name cannot be opened again: it stays open while
    /// there are no more than `most`.
    fn victim(&self, most: usize) -> Option<u64> {
        let has_name = |file: &File| file.metadata().is_ok_and(|file| file.nlink() > 0);
        let named = self.by_use.iter().find(|(_, (_, file))| has_name(file)).map(|(used, _)| *used);
        let oldest = || self.by_use.keys().next().copied().filter(|_| self.by_use.len() > most);
        named.or_else(oldest)
    }
}

/// Where a file is now. It may be renamed while it is read.
#[derive(Debug)]
pub(super) struct Spot {
    path: Mutex<PathBuf>,
    /// Which file it is.
    pub(super) inode: Inode,
    /// What was read of it is no longer there: its inode is another file now.
    replaced: AtomicBool,
}

impl Spot {
    /// The file `inode`, at `path` now.
    pub(super) fn new(path: &Path, inode: Inode) -> Arc<Spot> {
        Arc::new(Spot { path: Mutex::new(path.to_path_buf()), inode, replaced: AtomicBool::new(false) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> PathBuf {
        self.path.lock().expect("no thread panicked with this lock held").clone()
    }

    /// Notes that what was read of it is no longer there.
    pub(super) fn replace(&self) {
        self.replaced.store(true, Ordering::SeqCst);
    }

    /// True if what was read of it is no longer there.
    pub(super) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::SeqCst)
    }

    /// Notes that it was renamed.
    pub(super) fn moved(&self, path: &Path) {
        *self.path.lock().expect("no thread panicked with this lock held") = path.to_path_buf();
    }
}

/// The size and the times of a file: while all are the same, nobody has written to it, as far as its times can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    /// Its size in bytes.
    pub(super) bytes: u64,
    /// When it was written last, in seconds and nanoseconds.
    written: (i64, i64),
    /// When it was changed last in any way: nobody can set this time back.
    changed: (i64, i64),
}

impl Version {
    /// Of the file that `metadata` is about.
    pub(super) fn of(metadata: &Metadata) -> Version {
        let written = (metadata.mtime(), metadata.mtime_nsec());
        Version { bytes: metadata.len(), written, changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }
}

/// True if `file` has `bytes` at `at`.
///
/// # Errors
/// If it cannot be read.
pub(super) fn has(file: &File, bytes: &[u8], at: u64) -> io::Result<bool> {
    let mut found = vec![0; bytes.len()];
    let mut read = 0;
    while read < found.len() {
        match file.read_at(&mut found[read..], at + read as u64)? {
            0 => return Ok(false),
            more => read += more,
        }
    }
    Ok(found == bytes)
}

/// Reads a file from its beginning on.
#[derive(Debug)]
pub(super) struct Handle {
    descriptors: Descriptors,
    number: u64,
    spot: Arc<Spot>,
    at: u64,
}

impl Handle {
    /// How much was read.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// True if what was read of the file is no longer there.
    pub(super) fn is_replaced(&self) -> bool {
        self.spot.is_replaced()
    }

    /// Its size and times now.
    pub(super) fn version(&self) -> io::Result<Version> {
        self.with(|file| Ok(Version::of(&file.metadata()?)))
    }

    /// What `what` makes of the open file. Where the handle reads on stays the same.
    pub(super) fn with<T>(&self, what: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        let file = match self.descriptors.take(self.number) {
            Some(file) => file,
            None => self.open()?,
        };
        let result = what(&file);
        self.descriptors.put(self.number, file);
        result
    }

    fn open(&self) -> io::Result<File> {
        let file = open(&self.spot.path())?;
        match Inode::of(&file.metadata()?) == self.spot.inode {
            true => Ok(file),
            false => Err(io::Error::new(ErrorKind::NotFound, "another file has taken its place")),
        }
    }
}

impl Read for Handle {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.with(|file| file.read_at(out, self.at))?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A thread that panics gives nothing back: a second panic, for the poisoned lock, would abort the process.
        if !std::thread::panicking() {
            drop(self.descriptors.take(self.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn spot(path: &Path) -> Arc<Spot> {
        Spot::new(path, Inode::of(&fs::metadata(path).unwrap()))
    }

    #[test]
    fn many_files_are_read_in_turns_through_few_descriptors() {
        let folder = tempfile::tempdir().unwrap();
        let descriptors = Descriptors::new(3);
        let mut handles = Vec::new();
        for n in 0..20 {
            let path = folder.path().join(n.to_string());
            fs::write(&path, format!("file {n:02}")).unwrap();
            handles.push(descriptors.handle(&spot(&path)));
        }
        let mut texts = vec![Vec::new(); 20];
        for _ in 0..4 {
            for (handle, text) in handles.iter_mut().zip(&mut texts) {
                let mut bytes = [0; 2];
                let read = handle.read(&mut bytes).unwrap();
                text.extend_from_slice(&bytes[..read]);
                assert!(descriptors.lock().by_use.len() <= 3);
            }
        }
        for (n, text) in texts.iter().enumerate() {
            assert_eq!(text, format!("file {n:02}").as_bytes());
        }
        drop(handles);
        let open = descriptors.lock();
        assert!(open.by_use.is_empty() && open.used.is_empty());
    }

    #[test]
    fn file_is_read_on_where_it_was_renamed_and_another_one_in_its_place_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::write(&old, "abcd").unwrap();
        // No descriptor stays open: each read opens the file.
        let descriptors = Descriptors::new(0);
        let spot = spot(&old);
        let mut handle = descriptors.handle(&spot);
        let read = |handle: &mut Handle| {
            let mut byte = [0];
            handle.read(&mut byte).map(|_| byte[0])
        };
        assert_eq!(read(&mut handle).unwrap(), b'a');
        fs::rename(&old, &new).unwrap();
        assert_eq!(read(&mut handle).unwrap_err().kind(), ErrorKind::NotFound);
        fs::write(&old, "wxyz").unwrap();
        assert_eq!(read(&mut handle).unwrap_err().kind(), ErrorKind::NotFound);
        spot.moved(&new);
        assert_eq!(read(&mut handle).unwrap(), b'b');
    }

    #[test]
    fn file_that_was_deleted_stays_open_while_others_are_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |n: u32| folder.path().join(n.to_string());
        let descriptors = Descriptors::new(2);
        let mut handles: Vec<Handle> = (0..6)
            .map(|n| {
                fs::write(path(n), "ab").unwrap();
                descriptors.handle(&spot(&path(n)))
            })
            .collect();
        let mut byte = [0];
        handles[0].read_exact(&mut byte).unwrap();
        fs::remove_file(path(0)).unwrap();
        for handle in &mut handles[1..] {
            handle.read_exact(&mut byte).unwrap();
        }
        handles[0].read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"b");
    }

    #[test]
    fn pipe_is_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        crate::connect::files::folder::tests::pipe(&pipe);
        assert_eq!(open(&pipe).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
