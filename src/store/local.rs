//! A folder of a local file system that honours fsync and link.
//!
//! Only one order survives a power cut, and every write here keeps it:
//!
//! ```text
//! create   write .tmp-… ─ fsync ─ link to the name ─ unlink .tmp-… ─ fsync the folder
//! stage    write ─ fsync ─ fsync the folder          publish   link to the final name; sync_folder: fsync
//! folder   mkdir ─ fsync its parent, and so on up to the root, before anything in it counts
//! ```
//!
//! Invariant: a file that counts has a durable name at every moment. So `publish` leaves the staged name where it is:
//! taking it away before the final name is durable could lose both.
//!
//! Invariant: after a sync has failed nothing is written any more. The kernel may have dropped the pages it could not
//! write, and would report success next time.

use crate::store::{Created, Error, Name, Published, Staged, Store};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Names of files that are not whole yet begin so. One that stays behind is litter of a crash; any may be removed.
pub const TEMPORARY: &str = ".tmp-";

/// How many bytes a staged file gathers before it writes.
const BUFFER_BYTES: usize = 256 << 10;

/// How many folders are remembered as durable. Beyond it all are forgotten, which costs a few syncs.
const FOLDERS_MAX: usize = 4096;

/// Files below one folder.
#[derive(Debug)]
pub struct Local {
    /// As it was given, for messages.
    shown: PathBuf,
    root: PathBuf,
    state: Arc<State>,
}

/// What a store and the files being staged in it share.
#[derive(Debug, Default)]
struct State {
    /// Folders whose names, and those of the folders above them, are durable.
    durable: Mutex<BTreeSet<PathBuf>>,
    /// A sync has failed.
    broken: AtomicBool,
}

impl Local {
    /// The folder `root`. It is made if it is not there, and its name is durable then.
    ///
    /// # Errors
    /// If it cannot be made, or is not a folder.
    pub fn new(root: &Path) -> Result<Local, Error> {
        let state = State::default();
        let absolute = std::path::absolute(root).map_err(failed("find", root))?;
        let missing: Vec<&Path> = absolute.ancestors().take_while(|at| !at.is_dir()).collect();
        for folder in missing.into_iter().rev() {
            state.make_folder(folder)?;
        }
        Local::existing(root)
    }

    /// The folder `root`, which must be there: for commands that only read.
    ///
    /// # Errors
    /// If it is not a folder that can be read.
    pub fn existing(root: &Path) -> Result<Local, Error> {
        let canonical = root.canonicalize().map_err(failed("open", root))?;
        drop(fs::read_dir(&canonical).map_err(failed("open", root))?);
        Ok(Local { shown: root.to_path_buf(), root: canonical, state: Arc::default() })
    }

    /// Checks what a job stands on, before it starts: that files can be written, synced and linked, and that all
    /// of `folders` (relative, there or not) are on the root's own file system. Leaves nothing behind.
    ///
    /// # Errors
    /// The first thing that does not hold; [`Error::OtherFileSystem`] or [`Error::Symlink`] name the folder.
    pub fn probe(&self, folders: &[&str]) -> Result<(), Error> {
        let probe = self.root.join(temporary());
        let written = self.write_temporary(&probe, b"headway");
        let checked = written.and_then(|()| self.state.sync_folder(&self.root)).and_then(|()| {
            folders.iter().try_for_each(|folder| {
                // A folder that is not there yet will be made below the nearest one that is.
                let mut at = self.path(folder)?;
                while !at.exists() && at.pop() {}
                self.check_link(&probe, &at)
            })
        });
        let removed = fs::remove_file(&probe).map_err(failed("delete", &probe));
        checked.and(removed)
    }

    /// Tries to link `file` into `folder`. Devices with equal numbers may still be two mounts, so nothing less tells.
    pub(super) fn check_link(&self, file: &Path, folder: &Path) -> Result<(), Error> {
        let link = folder.join(temporary());
        match fs::hard_link(file, &link) {
            // Who sweeps the folder may have taken it for litter.
            Ok(()) => found(fs::remove_file(&link)).map(drop).map_err(failed("delete", &link)),
            Err(error) if no_links(&error) => match rename_new(file, &link) {
                Ok(()) => rename_new(&link, file).map_err(failed("publish into", folder)),
                Err(error) => Err(self.not_linked(error, folder, "publish into")),
            },
            Err(error) => Err(self.not_linked(error, folder, "publish into")),
        }
    }

    /// Why `path` could not be given a name, where it is certain that it was not.
    fn not_linked(&self, source: io::Error, path: &Path, verb: &'static str) -> Error {
        let name = path.display().to_string();
        match Errno::from_io_error(&source) {
            Some(Errno::XDEV) => Error::OtherFileSystem { name, root: self.shown.display().to_string() },
            Some(errno) if is_definite(errno) => Error::Failed { verb, name, source },
            _ => Error::Unknown { name, source },
        }
    }

    /// Where the file or folder `name` is; a folder's may end in `/`, and the root's is empty.
    ///
    /// Refuses what could leave the root: `..`, absolute names, symbolic links on the way.
    fn path(&self, name: Name<'_>) -> Result<PathBuf, Error> {
        let mut path = self.root.clone();
        if name.is_empty() {
            return Ok(path);
        }
        let name = name.strip_suffix('/').unwrap_or(name);
        let mut may_be_there = true;
        for part in name.split('/') {
            if part.is_empty() || part == "." || part == ".." || part.contains('\0') {
                let source =
                    io::Error::new(io::ErrorKind::InvalidInput, "the name is not a plain relative path");
                return Err(Error::Failed { verb: "use", name: name.to_string(), source });
            }
            path.push(part);
            if may_be_there {
                match fs::symlink_metadata(&path) {
                    Ok(found) if found.is_symlink() => {
                        return Err(Error::Symlink { name: path.display().to_string() });
                    }
                    Ok(_) => {}
                    Err(_) => may_be_there = false,
                }
            }
        }
        Ok(path)
    }

    /// As [`Local::path`], of a file.
    fn file_path(&self, name: Name<'_>) -> Result<PathBuf, Error> {
        if name.is_empty() || name.ends_with('/') {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "the name is a folder's");
            return Err(Error::Failed { verb: "use", name: name.to_string(), source });
        }
        self.path(name)
    }

    /// Runs `make` in the durable folder `folder`; once more if it is not there, though it was: it was collected.
    fn in_folder<T>(&self, folder: &Path, make: impl Fn() -> io::Result<T>) -> Result<io::Result<T>, Error> {
        self.ensure_folder(folder)?;
        match make() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => {
                // Folders above it may be gone too.
                self.state.forget(&self.root);
                self.ensure_folder(folder)?;
                Ok(make())
            }
            result => Ok(result),
        }
    }

    /// Makes `folder` and those above it, so that their names survive a power cut.
    fn ensure_folder(&self, folder: &Path) -> Result<(), Error> {
        if folder == self.root || self.state.is_durable(folder) {
            return Ok(());
        }
        if let Some(parent) = folder.parent() {
            self.ensure_folder(parent)?;
        }
        self.state.make_folder(folder)
    }

    fn write_temporary(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut file = File::create_new(path).map_err(failed("create", path))?;
        file.write_all(bytes).map_err(failed("write", path))?;
        self.state.sync(&file, path)
    }

    /// Gives the file `from` the name `to` too, if nothing has it.
    fn give_name(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::hard_link(from, to) {
            Err(error) if no_links(&error) => rename_new(from, to),
            result => result,
        }
    }
}

impl State {
    fn is_durable(&self, folder: &Path) -> bool {
        self.durable.lock().expect("no thread panicked with this lock held").contains(folder)
    }

    fn remember(&self, folder: &Path) {
        let mut durable = self.durable.lock().expect("no thread panicked with this lock held");
        if durable.len() >= FOLDERS_MAX {
            durable.clear();
        }
        durable.insert(folder.to_path_buf());
    }

    /// Forgets `folder` and what is below it.
    fn forget(&self, folder: &Path) {
        let mut durable = self.durable.lock().expect("no thread panicked with this lock held");
        durable.retain(|known| !known.starts_with(folder));
    }

    /// Makes one folder if it is not there, and its name durable: whoever made it may not have come that far.
    fn make_folder(&self, folder: &Path) -> Result<(), Error> {
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            result => result.map_err(failed("create", folder))?,
        }
        if let Some(parent) = folder.parent() {
            self.sync_folder(parent)?;
        }
        self.remember(folder);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), Error> {
        let opened = File::open(folder).map_err(failed("open", folder))?;
        self.sync(&opened, folder)
    }

    fn sync(&self, file: &File, path: &Path) -> Result<(), Error> {
        self.check(path)?;
        file.sync_all().map_err(|source| {
            self.broken.store(true, Ordering::SeqCst);
            Error::Sync { name: path.display().to_string(), source }
        })
    }

    /// Refuses to go on after a sync has failed.
    fn check(&self, path: &Path) -> Result<(), Error> {
        if self.broken.load(Ordering::SeqCst) {
            let source = io::Error::other("an earlier sync of this store failed");
            return Err(Error::Sync { name: path.display().to_string(), source });
        }
        Ok(())
    }
}

impl Store for Local {
    fn create(&self, name: Name<'_>, bytes: &[u8]) -> Result<Created, Error> {
        self.state.check(&self.shown)?;
        let path = self.file_path(name)?;
        let folder = path.parent().unwrap_or(&self.root);
        let draft = folder.join(temporary());
        // 1. The bytes, where nobody looks.
        let written = self.in_folder(folder, || File::create_new(&draft))?;
        let written = written.map_err(failed("create", &draft)).and_then(|mut file| {
            file.write_all(bytes).map_err(failed("write", &path))?;
            self.state.sync(&file, &path)
        });
        // 2. The name, which fails if it is taken.
        let named = written.and_then(|()| match self.give_name(&draft, &path) {
            Ok(()) => Ok(Created::Yes),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Exists),
            Err(error) => Err(self.not_linked(error, &path, "create")),
        });
        // What stays behind is litter with a name that says so.
        let _ = fs::remove_file(&draft);
        // 3. The folder; also if the name was there before: whoever reads it may rely on it.
        let created = named?;
        match self.state.sync_folder(folder) {
            Err(Error::Failed { source, .. }) => {
                Err(Error::Unknown { name: path.display().to_string(), source })
            }
            synced => synced.map(|()| created),
        }
    }

    fn read(&self, name: Name<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.file_path(name)?;
        let Some(file) = found(open_file(&path)).map_err(failed("read", &path))? else { return Ok(None) };
        let too_long = |bytes| Error::TooLong { name: path.display().to_string(), bytes, bytes_max };
        let size = file.metadata().map_err(failed("read", &path))?.len();
        if size > bytes_max {
            return Err(too_long(size));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).map_err(|_| too_long(size))?);
        // It may have grown since; a limit is a limit.
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read", &path))?;
        if bytes.len() as u64 > bytes_max {
            return Err(too_long(bytes.len() as u64));
        }
        Ok(Some(bytes))
    }

    fn read_range(&self, name: Name<'_>, from: u64, to: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.file_path(name)?;
        let Some(mut file) = found(open_file(&path)).map_err(failed("read", &path))? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let mut read = |file: &mut File| {
            file.seek(io::SeekFrom::Start(from))?;
            // Not more is allocated than there is.
            file.take(to.saturating_sub(from)).read_to_end(&mut bytes)
        };
        read(&mut file).map_err(failed("read", &path))?;
        Ok(Some(bytes))
    }

    fn open(&self, name: Name<'_>) -> Result<Option<Box<dyn Read + Send>>, Error> {
        let path = self.file_path(name)?;
        let file = found(open_file(&path)).map_err(failed("read", &path))?;
        Ok(file.map(|file| Box::new(file) as Box<dyn Read + Send>))
    }

    fn size(&self, name: Name<'_>) -> Result<Option<u64>, Error> {
        let path = self.file_path(name)?;
        match found(fs::metadata(&path)).map_err(failed("look at", &path))? {
            Some(metadata) if metadata.is_dir() => {
                Err(failed("look at", &path)(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")))
            }
            metadata => Ok(metadata.map(|metadata| metadata.len())),
        }
    }

    fn list(&self, folder: Name<'_>) -> Result<Vec<String>, Error> {
        let path = self.path(folder)?;
        let Some(entries) = found(fs::read_dir(&path)).map_err(failed("list", &path))? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("list", &path))?;
            // A name that is not text is none of ours.
            let Ok(mut name) = entry.file_name().into_string() else { continue };
            match found(entry.file_type()).map_err(failed("list", &path))? {
                Some(kind) if kind.is_dir() => name.push('/'),
                // A link is refused by its name where it is used.
                Some(kind) if kind.is_file() || kind.is_symlink() => {}
                // A pipe, a socket or a device is none of ours.
                Some(_) | None => continue,
            }
            names.push(name);
        }
        names.sort_unstable();
        Ok(names)
    }

    fn stage(&self, name: Name<'_>) -> Result<Box<dyn Staged>, Error> {
        self.state.check(&self.shown)?;
        let path = self.file_path(name)?;
        let folder = path.parent().unwrap_or(&self.root).to_path_buf();
        let created = self.in_folder(&folder, || match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Never truncated: litter that was published is the final file too.
                fs::remove_file(&path)?;
                File::create_new(&path)
            }
            result => result,
        })?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, created.map_err(failed("create", &path))?);
        Ok(Box::new(LocalStaged { file, path, folder, state: Arc::clone(&self.state) }))
    }

    fn publish(&self, from: Name<'_>, to: Name<'_>) -> Result<Published, Error> {
        self.state.check(&self.shown)?;
        let (from, path) = (self.file_path(from)?, self.file_path(to)?);
        let folder = path.parent().unwrap_or(&self.root);
        match self.in_folder(folder, || self.give_name(&from, &path))? {
            Ok(()) => Ok(Published::Yes),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Published::Exists),
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.exists() => {
                Ok(Published::Missing)
            }
            Err(error) => Err(self.not_linked(error, &path, "publish")),
        }
    }

    fn replace(&self, from: Name<'_>, to: Name<'_>) -> Result<(), Error> {
        self.state.check(&self.shown)?;
        let (from, path) = (self.file_path(from)?, self.file_path(to)?);
        let folder = path.parent().unwrap_or(&self.root);
        self.in_folder(folder, || fs::rename(&from, &path))?.map_err(failed("replace", &path))
    }

    fn sync_folder(&self, folder: Name<'_>) -> Result<(), Error> {
        let path = self.path(folder)?;
        if path.is_dir() {
            self.ensure_folder(&path)?;
        }
        self.state.sync_folder(&path)
    }

    fn delete(&self, name: Name<'_>) -> Result<(), Error> {
        let path = if name.is_empty() { self.file_path(name)? } else { self.path(name)? };
        let Some(metadata) = found(fs::symlink_metadata(&path)).map_err(failed("delete", &path))? else {
            return Ok(());
        };
        let removed = if metadata.is_dir() {
            self.state.forget(&path);
            fs::remove_dir(&path)
        } else {
            fs::remove_file(&path)
        };
        found(removed).map(|_| ()).map_err(failed("delete", &path))
    }

    fn describe(&self, name: Name<'_>) -> String {
        self.shown.join(name).display().to_string()
    }
}

/// A file being written.
struct LocalStaged {
    file: BufWriter<File>,
    path: PathBuf,
    folder: PathBuf,
    state: Arc<State>,
}

impl Write for LocalStaged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Staged for LocalStaged {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        let LocalStaged { mut file, path, folder, state } = *self;
        file.flush().map_err(failed("write", &path))?;
        state.sync(file.get_ref(), &path)?;
        state.sync_folder(&folder)
    }
}

/// A file name that no other call and no other process uses.
fn temporary() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{TEMPORARY}{}-{nanos:x}-{number}", std::process::id())
}

/// Gives `from` the name `to` instead of its own, if nothing has it: where a file system knows no links.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// True if the file system knows no links.
fn no_links(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS))
}

/// True if the kernel refused before it did anything. What is not known to be so may have happened.
fn is_definite(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ACCESS
            | Errno::PERM
            | Errno::NOENT
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::NOSPC
            | Errno::DQUOT
            | Errno::ROFS
            | Errno::MLINK
            | Errno::NAMETOOLONG
            | Errno::LOOP
            | Errno::OPNOTSUPP
            | Errno::NOSYS
            | Errno::INVAL
    )
}

/// Opens whatever is at `path` to be read. Never waits, not even for a pipe.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("flags of open are an int");
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Opens a file or folder to be read.
fn open_file(path: &Path) -> io::Result<File> {
    let file = open_at_once(path)?;
    let kind = file.metadata()?.file_type();
    // Whoever reads a folder as a file is told so by the read.
    match kind.is_file() || kind.is_dir() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file, but a pipe or a device")),
    }
}

/// `None` where nothing is there.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An error that says what was tried, and that it did not happen.
fn failed(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let name = path.display().to_string();
    move |source| Error::Failed { verb, name: name.clone(), source }
}
