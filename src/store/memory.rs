//! Files in memory, for tests: the same answers as a local folder, nothing left to chance, and power cuts at will.

use crate::store::{Created, Error, Name, Published, Staged, Store};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a store can be asked, to count it or to make it fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// [`Store::create`].
    Create,
    /// [`Store::read`].
    Read,
    /// [`Store::open`].
    Open,
    /// [`Store::size`].
    Size,
    /// [`Store::list`].
    List,
    /// [`Store::stage`].
    Stage,
    /// A write to a staged file.
    Write,
    /// [`Staged::finish`].
    Finish,
    /// [`Store::publish`].
    Publish,
    /// [`Store::sync_folder`].
    SyncFolder,
    /// [`Store::delete`].
    Delete,
}

/// Files by name. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<String, Entry>,
    calls: BTreeMap<Call, u64>,
}

#[derive(Clone, Debug)]
struct Entry {
    bytes: Arc<[u8]>,
    /// The name and the bytes survive a power cut.
    durable: bool,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// How often it was asked `call`.
    pub fn calls(&self, call: Call) -> u64 {
        self.lock().calls.get(&call).copied().unwrap_or(0)
    }

    /// All files by name.
    pub fn files(&self) -> BTreeMap<String, Arc<[u8]>> {
        self.lock().files.iter().map(|(name, entry)| (name.clone(), Arc::clone(&entry.bytes))).collect()
    }

    /// Puts a durable file there, whatever was there before: to plant damage.
    pub fn put(&self, name: Name<'_>, bytes: &[u8]) {
        self.lock().files.insert(name.to_string(), Entry { bytes: bytes.into(), durable: true });
    }

    /// Loses every file that was not made durable. What was deleted stays away.
    pub fn power_cut(&self) {
        self.lock().files.retain(|_, entry| entry.durable);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no thread panicked with this lock held")
    }

    /// Counts `call` and checks `name`, as a local folder does.
    fn count(&self, call: Call, name: Name<'_>) -> Result<MutexGuard<'_, Inner>, Error> {
        let mut inner = self.lock();
        *inner.calls.entry(call).or_default() += 1;
        let whole = name.strip_suffix('/').unwrap_or(name);
        let takes_root = matches!(call, Call::List | Call::SyncFolder);
        let takes_folder = takes_root || call == Call::Delete;
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        let is_plain = whole.split('/').all(plain) && (takes_folder || whole == name);
        if is_plain || (takes_root && name.is_empty()) {
            return Ok(inner);
        }
        let source = io::Error::new(io::ErrorKind::InvalidInput, "the name is not a plain relative path");
        Err(Error::Failed { verb: "use", name: name.to_string(), source })
    }
}

/// The folder of `name`, with its final `/`; empty for the root.
fn folder(name: &str) -> &str {
    name.rfind('/').map_or("", |at| &name[..=at])
}

/// `name` as the start of the names in it.
fn prefix(name: &str) -> String {
    if name.is_empty() || name.ends_with('/') { name.to_string() } else { format!("{name}/") }
}

/// The bytes `from..to`, as far as there are some.
pub(crate) fn range(bytes: &[u8], from: u64, to: u64) -> Vec<u8> {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes[at(from)..at(to.max(from))].to_vec()
}

impl Store for Memory {
    fn create(&self, name: Name<'_>, bytes: &[u8]) -> Result<Created, Error> {
        let mut inner = self.count(Call::Create, name)?;
        if let Some(entry) = inner.files.get_mut(name) {
            entry.durable = true;
            return Ok(Created::Exists);
        }
        inner.files.insert(name.to_string(), Entry { bytes: bytes.into(), durable: true });
        Ok(Created::Yes)
    }

    fn read(&self, name: Name<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let inner = self.count(Call::Read, name)?;
        let Some(entry) = inner.files.get(name) else { return Ok(None) };
        let bytes = entry.bytes.len() as u64;
        if bytes > bytes_max {
            return Err(Error::TooLong { name: name.to_string(), bytes, bytes_max });
        }
        Ok(Some(entry.bytes.to_vec()))
    }

    fn read_range(&self, name: Name<'_>, from: u64, to: u64) -> Result<Option<Vec<u8>>, Error> {
        let inner = self.count(Call::Read, name)?;
        Ok(inner.files.get(name).map(|entry| range(&entry.bytes, from, to)))
    }

    fn open(&self, name: Name<'_>) -> Result<Option<Box<dyn Read + Send>>, Error> {
        let inner = self.count(Call::Open, name)?;
        let entry = inner.files.get(name);
        Ok(entry.map(|entry| Box::new(io::Cursor::new(Arc::clone(&entry.bytes))) as Box<dyn Read + Send>))
    }

    fn size(&self, name: Name<'_>) -> Result<Option<u64>, Error> {
        let inner = self.count(Call::Size, name)?;
        Ok(inner.files.get(name).map(|entry| entry.bytes.len() as u64))
    }

    fn list(&self, folder: Name<'_>) -> Result<Vec<String>, Error> {
        let inner = self.count(Call::List, folder)?;
        let start = prefix(folder);
        let below = inner.files.range(start.clone()..).map_while(|(name, _)| name.strip_prefix(&start));
        let mut names: Vec<String> =
            below.map(|rest| rest.find('/').map_or(rest, |at| &rest[..=at]).to_string()).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn stage(&self, name: Name<'_>) -> Result<Box<dyn Staged>, Error> {
        let mut inner = self.count(Call::Stage, name)?;
        inner.files.insert(name.to_string(), Entry { bytes: Arc::default(), durable: false });
        Ok(Box::new(MemoryStaged { store: self.clone(), name: name.to_string(), bytes: Vec::new() }))
    }

    fn publish(&self, from: Name<'_>, to: Name<'_>) -> Result<Published, Error> {
        drop(self.count(Call::Publish, from)?);
        let mut inner = self.lock();
        let Some(entry) = inner.files.get(from).cloned() else { return Ok(Published::Missing) };
        if inner.files.contains_key(to) {
            return Ok(Published::Exists);
        }
        inner.files.insert(to.to_string(), Entry { durable: false, ..entry });
        Ok(Published::Yes)
    }

    fn replace(&self, from: Name<'_>, to: Name<'_>) -> Result<(), Error> {
        let mut inner = self.count(Call::Publish, from)?;
        let Some(entry) = inner.files.remove(from) else {
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(Error::Failed { verb: "replace", name: to.to_string(), source });
        };
        inner.files.insert(to.to_string(), Entry { durable: false, ..entry });
        Ok(())
    }

    fn sync_folder(&self, name: Name<'_>) -> Result<(), Error> {
        let mut inner = self.count(Call::SyncFolder, name)?;
        let synced = prefix(name);
        inner.files.iter_mut().filter(|(name, _)| folder(name) == synced).for_each(|(_, e)| e.durable = true);
        Ok(())
    }

    fn delete(&self, name: Name<'_>) -> Result<(), Error> {
        let mut inner = self.count(Call::Delete, name)?;
        if inner.files.remove(name).is_none() && inner.files.keys().any(|n| n.starts_with(&prefix(name))) {
            let source = io::Error::new(io::ErrorKind::DirectoryNotEmpty, "the folder is not empty");
            return Err(Error::Failed { verb: "delete", name: name.to_string(), source });
        }
        Ok(())
    }

    fn describe(&self, name: Name<'_>) -> String {
        name.to_string()
    }
}

struct MemoryStaged {
    store: Memory,
    name: String,
    bytes: Vec<u8>,
}

impl Write for MemoryStaged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.store.lock().calls.entry(Call::Write).or_default() += 1;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Staged for MemoryStaged {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        let mut inner = self.store.count(Call::Finish, &self.name)?;
        inner.files.insert(self.name, Entry { bytes: self.bytes.into(), durable: true });
        Ok(())
    }
}
