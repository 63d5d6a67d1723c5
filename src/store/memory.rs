//! Files in memory, for tests: the same answers as a local folder, deterministic, with power cuts on demand.

use crate::store::{Created, Error, Name, Published, Staged, Store};
use std::collections::BTreeMap;
#[cfg(test)]
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};

/// The calls of a store, to count them or to make them fail.
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
    files: BTreeMap<String, Arc<[u8]>>,
    /// Names whose newest content is not durable, with the content that a power cut brings back, if there was one.
    unsynced: BTreeMap<String, Option<Arc<[u8]>>>,
    calls: BTreeMap<Call, u64>,
}

/// The files themselves, for a test that looks at many or plants something. What is put there is durable.
#[cfg(test)]
pub(crate) struct Content<'a>(MutexGuard<'a, Inner>);

#[cfg(test)]
impl std::ops::Deref for Content<'_> {
    type Target = BTreeMap<String, Arc<[u8]>>;

    fn deref(&self) -> &Self::Target {
        &self.0.files
    }
}

#[cfg(test)]
impl std::ops::DerefMut for Content<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0.files
    }
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
        self.lock().files.clone()
    }

    /// All files, while nobody else can reach them.
    #[cfg(test)]
    pub(crate) fn content(&self) -> Content<'_> {
        Content(self.lock())
    }

    /// Puts a durable file there, whatever was there before: to plant damage.
    pub fn put(&self, name: Name<'_>, bytes: &[u8]) {
        self.lock().insert(name, bytes.into(), true);
    }

    /// Loses everything that was not made durable: a file that was replaced is the old one again. What was deleted stays away.
    pub fn power_cut(&self) {
        let mut inner = self.lock();
        for (name, before) in std::mem::take(&mut inner.unsynced) {
            match before {
                Some(bytes) => inner.files.insert(name, bytes),
                None => inner.files.remove(&name),
            };
        }
    }

    /// Takes the durability of a file away, as if its folder had never been synced.
    #[cfg(test)]
    pub(crate) fn unsync(&self, name: Name<'_>) {
        self.lock().unsynced.insert(name.to_string(), None);
    }

    /// The names that a power cut may take.
    #[cfg(test)]
    pub(crate) fn unsynced(&self) -> BTreeSet<String> {
        self.lock().unsynced.keys().cloned().collect()
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

impl Inner {
    fn insert(&mut self, name: Name<'_>, bytes: Arc<[u8]>, is_durable: bool) {
        let before = self.files.insert(name.to_string(), bytes);
        if is_durable {
            self.unsynced.remove(name);
        } else {
            self.unsynced.entry(name.to_string()).or_insert(before);
        }
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
        if inner.files.contains_key(name) {
            inner.unsynced.remove(name);
            return Ok(Created::Exists);
        }
        inner.insert(name, bytes.into(), true);
        Ok(Created::Yes)
    }

    fn read(&self, name: Name<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let inner = self.count(Call::Read, name)?;
        let Some(found) = inner.files.get(name) else { return Ok(None) };
        let bytes = found.len() as u64;
        if bytes > bytes_max {
            return Err(Error::TooLong { name: name.to_string(), bytes, bytes_max });
        }
        Ok(Some(found.to_vec()))
    }

    fn read_range(&self, name: Name<'_>, from: u64, to: u64) -> Result<Option<Vec<u8>>, Error> {
        let inner = self.count(Call::Read, name)?;
        Ok(inner.files.get(name).map(|bytes| range(bytes, from, to)))
    }

    fn open(&self, name: Name<'_>) -> Result<Option<Box<dyn Read + Send>>, Error> {
        let inner = self.count(Call::Open, name)?;
        let found = inner.files.get(name).cloned();
        Ok(found.map(|bytes| Box::new(io::Cursor::new(bytes)) as Box<dyn Read + Send>))
    }

    fn size(&self, name: Name<'_>) -> Result<Option<u64>, Error> {
        let inner = self.count(Call::Size, name)?;
        Ok(inner.files.get(name).map(|bytes| bytes.len() as u64))
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
        inner.insert(name, Arc::default(), false);
        Ok(Box::new(MemoryStaged { store: self.clone(), name: name.to_string(), bytes: Vec::new() }))
    }

    fn publish(&self, from: Name<'_>, to: Name<'_>) -> Result<Published, Error> {
        drop(self.count(Call::Publish, from)?);
        let mut inner = self.lock();
        let Some(bytes) = inner.files.get(from).cloned() else { return Ok(Published::Missing) };
        if inner.files.contains_key(to) {
            return Ok(Published::Exists);
        }
        inner.insert(to, bytes, false);
        Ok(Published::Yes)
    }

    fn replace(&self, from: Name<'_>, to: Name<'_>) -> Result<(), Error> {
        let mut inner = self.count(Call::Publish, from)?;
        let Some(bytes) = inner.files.remove(from) else {
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(Error::Failed { verb: "replace", name: to.to_string(), source });
        };
        inner.unsynced.remove(from);
        inner.insert(to, bytes, false);
        Ok(())
    }

    fn sync_folder(&self, name: Name<'_>) -> Result<(), Error> {
        let mut inner = self.count(Call::SyncFolder, name)?;
        let synced = prefix(name);
        inner.unsynced.retain(|name, _| folder(name) != synced);
        Ok(())
    }

    fn delete(&self, name: Name<'_>) -> Result<(), Error> {
        let mut inner = self.count(Call::Delete, name)?;
        inner.unsynced.remove(name);
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
        inner.insert(&self.name, self.bytes.into(), true);
        Ok(())
    }
}
