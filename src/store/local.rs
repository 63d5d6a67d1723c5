//! A folder of a local file system that honours fsync and link.
//!
//! The order that survives a power cut, and no other does: write, fsync of the file, link to the final name, fsync of
//! the folder; and of each new folder its parent too.

use crate::store::{Created, Error, Name, Published, Staged, Store};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes a staged file gathers before it writes.
const BUFFER_BYTES: usize = 64 << 10;

/// Files below one folder.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    /// Folders that this store has made or found, and whose names are durable.
    synced: Mutex<BTreeSet<PathBuf>>,
    temporary: AtomicU64,
}

impl Local {
    /// The folder `root`, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(root: &Path) -> Result<Local, Error> {
        fs::create_dir_all(root).map_err(failed("create", root))?;
        let root = root.canonicalize().map_err(failed("open", root))?;
        Ok(Local { root, synced: Mutex::default(), temporary: AtomicU64::new(0) })
    }

    /// The folder `root`, which must be there: for commands that only read.
    ///
    /// # Errors
    /// If it is not a folder.
    pub fn existing(root: &Path) -> Result<Local, Error> {
        let root = root.canonicalize().map_err(failed("open", root))?;
        fs::read_dir(&root).map_err(failed("open", &root))?;
        Ok(Local { root, synced: Mutex::default(), temporary: AtomicU64::new(0) })
    }

    /// Checks that files can be made, synced and linked, and that `folders` are on the root's own file system.
    ///
    /// # Errors
    /// The first thing that does not hold, naming the folder.
    pub fn probe(&self, folders: &[&str]) -> Result<(), Error> {
        let name = format!("_headway/.probe-{}", std::process::id());
        let to = format!("{name}-linked");
        let mut staged = self.stage(&name)?;
        staged.write_all(b"headway").map_err(failed("write", &self.path(&name)?))?;
        staged.finish()?;
        let linked = self.publish(&name, &to);
        self.delete(&name)?;
        self.delete(&to)?;
        linked?;
        let device = fs::metadata(&self.root).map_err(failed("open", &self.root))?.dev();
        for folder in folders {
            let path = self.path(folder)?;
            match fs::metadata(&path) {
                Ok(found) if found.dev() != device => {
                    let why = "it is on another file system than the lake, so files cannot be linked into it";
                    return Err(failed("use", &path)(io::Error::new(io::ErrorKind::CrossesDevices, why)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where `name` is. Refuses what would leave the root.
    fn path(&self, name: Name<'_>) -> Result<PathBuf, Error> {
        let relative = Path::new(name);
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if name.is_empty() || !relative.components().all(plain) {
            let why = io::Error::new(io::ErrorKind::InvalidInput, "the name leaves the lake");
            return Err(failed("use", relative)(why));
        }
        let path = self.root.join(relative);
        // A symbolic link on the way would lead out of the root.
        let mut at = self.root.clone();
        for part in relative.components() {
            at.push(part);
            match fs::symlink_metadata(&at) {
                Ok(found) if found.is_symlink() => {
                    let why = io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link");
                    return Err(failed("use", &at)(why));
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Ok(path)
    }

    /// Makes the folder at `path`, and those above it, so that their names survive a power cut.
    fn make_folder(&self, path: &Path) -> Result<(), Error> {
        let mut synced = self.synced.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if synced.contains(path) && path.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(path).map_err(failed("create", path))?;
        let mut at = path;
        while at != self.root {
            let Some(parent) = at.parent() else { break };
            sync(parent)?;
            synced.insert(at.to_path_buf());
            at = parent;
        }
        Ok(())
    }
}

/// An error that says what was tried, and that it did not happen.
fn failed(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let name = path.display().to_string();
    move |source| Error::Failed { verb, name: name.clone(), source }
}

/// Makes a file, or the names in a folder, durable.
fn sync(path: &Path) -> Result<(), Error> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| Error::Sync { name: path.display().to_string(), source })
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("a file in the store is below its root")
}

impl Store for Local {
    fn create(&self, name: Name<'_>, bytes: &[u8]) -> Result<Created, Error> {
        let path = self.path(name)?;
        if path.symlink_metadata().is_ok() {
            return Ok(Created::Exists);
        }
        let folder = parent(&path);
        self.make_folder(folder)?;
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!(".tmp-{}-{number}", std::process::id()));
        let write = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
            file.write_all(bytes)?;
            Ok(file)
        };
        let linked = write().map_err(failed("create", &path)).and_then(|file| {
            let name = || temporary.display().to_string();
            file.sync_all().map_err(|source| Error::Sync { name: name(), source })?;
            match fs::hard_link(&temporary, &path) {
                Ok(()) => Ok(Created::Yes),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Exists),
                Err(error) => Err(failed("create", &path)(error)),
            }
        });
        // Litter at worst: the name of the file is the other link.
        let removed = fs::remove_file(&temporary);
        let created = linked?;
        if removed.is_err() {
            tracing::debug!(path = %temporary.display(), "left a temporary file behind");
        }
        if created == Created::Yes {
            sync(folder)?;
        }
        Ok(created)
    }

    fn read(&self, name: Name<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let bytes = self.size(name)?.unwrap_or(0);
        let path = self.path(name)?;
        let too_long = |bytes| Error::TooLong { name: path.display().to_string(), bytes, bytes_max };
        if bytes > bytes_max {
            return Err(too_long(bytes));
        }
        let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        file.take(bytes_max + 1).read_to_end(&mut content).map_err(failed("read", &path))?;
        if content.len() as u64 > bytes_max {
            return Err(too_long(content.len() as u64));
        }
        Ok(Some(content))
    }

    fn open(&self, name: Name<'_>) -> Result<Option<Box<dyn Read + Send>>, Error> {
        let path = self.path(name)?;
        match File::open(&path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    fn size(&self, name: Name<'_>) -> Result<Option<u64>, Error> {
        let path = self.path(name)?;
        match fs::metadata(&path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    fn list(&self, folder: Name<'_>) -> Result<Vec<String>, Error> {
        let path = self.path(folder)?;
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &path)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("list", &path))?;
            let kind = entry.file_type().map_err(failed("list", &path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            names.push(if kind.is_dir() { name + "/" } else { name });
        }
        names.sort();
        Ok(names)
    }

    fn stage(&self, name: Name<'_>) -> Result<Box<dyn Staged>, Error> {
        let path = self.path(name)?;
        self.make_folder(parent(&path))?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("replace", &path)(error));
            }
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(failed("create", &path))?;
        Ok(Box::new(StagedLocal { file: BufWriter::with_capacity(BUFFER_BYTES, file), path }))
    }

    fn publish(&self, from: Name<'_>, to: Name<'_>) -> Result<Published, Error> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        self.make_folder(parent(&to))?;
        match fs::hard_link(&from, &to) {
            Ok(()) => Ok(Published::Yes),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Published::Exists),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Published::Missing),
            Err(error) => Err(failed("publish", &to)(error)),
        }
    }

    fn sync_folder(&self, folder: Name<'_>) -> Result<(), Error> {
        let path = self.path(folder)?;
        self.make_folder(&path)?;
        sync(&path)
    }

    fn delete(&self, name: Name<'_>) -> Result<(), Error> {
        let path = self.path(name)?;
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        if !is_folder {
            return gone(fs::remove_file(&path)).map_err(failed("delete", &path));
        }
        self.synced.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&path);
        gone(fs::remove_dir(&path)).map_err(failed("delete", &path))
    }

    fn describe(&self, name: Name<'_>) -> String {
        self.root.join(name).display().to_string()
    }
}

struct StagedLocal {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Write for StagedLocal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Staged for StagedLocal {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        let path = self.path;
        let file = self.file.into_inner().map_err(|error| failed("write", &path)(error.into_error()))?;
        file.sync_all().map_err(|source| Error::Sync { name: path.display().to_string(), source })?;
        drop(file);
        sync(parent(&path))
    }
}
