//! A store in memory for tests of the commit protocol: shared by simulated runs, with faults of all four outcomes.

use crate::engine::commit::decide;
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names;
use crate::engine::format::names::Seq;
use crate::store::memory::range;
use crate::store::{Created, Error, Name, Published, Staged, Store};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// A create on its way: name and bytes.
type Late = (String, Arc<[u8]>);

/// Files by name. Clones share them; each clone has its own faults.
#[derive(Clone, Default)]
pub(crate) struct TestStore {
    files: Arc<Mutex<BTreeMap<String, Arc<[u8]>>>>,
    /// Files whose name a power cut may still take: nobody was told that they are there, and their folder was not synced.
    unsynced: Arc<Mutex<BTreeSet<String>>>,
    /// Creates that were not told of, and arrive later.
    late: Arc<Mutex<Vec<Late>>>,
    faults: Arc<Mutex<Faults>>,
    watched: bool,
}

#[derive(Default)]
struct Faults {
    per_mille: u64,
    dice: Dice,
}

/// A seeded source of numbers (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Default for Dice {
    fn default() -> Self {
        Dice::new(0)
    }
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.below(2);
        dice
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

/// What a call does: whether it is applied, and whether that is told.
enum Outcome {
    Works,
    Fails,
    Unknown {
        applied: bool,
    },
    /// Not applied yet.
    Late,
}

impl TestStore {
    /// The same files, with faults in `per_mille` of all calls, drawn from `seed`.
    pub(crate) fn faulty(&self, per_mille: u64, seed: u64) -> TestStore {
        let faults = Faults { per_mille, dice: Dice::new(seed) };
        let (files, late) = (Arc::clone(&self.files), Arc::clone(&self.late));
        let unsynced = Arc::clone(&self.unsynced);
        TestStore { files, unsynced, late, faults: Arc::new(Mutex::new(faults)), watched: self.watched }
    }

    /// A store that panics at once where a publish or delete breaks the protocol's promise.
    pub(crate) fn watched() -> TestStore {
        TestStore { watched: true, ..TestStore::default() }
    }

    /// Takes it that nobody has synced the name of this file: whoever made it ended too early.
    pub(crate) fn unsync(&self, name: &str) {
        self.unsynced().insert(name.to_string());
    }

    /// Lets a create that was not told of arrive, now and then.
    pub(crate) fn deliver_late(&self, dice: &mut Dice) {
        let mut late = self.late.lock().unwrap();
        if !late.is_empty() && dice.below(20) == 0 {
            let at = dice.below(late.len() as u64) as usize;
            let (name, bytes) = late.swap_remove(at);
            // What is there already stays as it is, and as durable as it is.
            if let Entry::Vacant(place) = self.files().entry(name) {
                self.unsynced().insert(place.key().clone());
                place.insert(bytes);
            }
        }
    }

    fn unsynced(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unsynced.lock().unwrap()
    }

    /// The loose manifests as text, lowest first, without the litter of runs that slept while they were folded.
    fn manifests(&self) -> Vec<String> {
        let files = self.files();
        let number = |name: &str| names::manifest_seq(name.rsplit('/').next()?);
        let folded = files.keys().filter_map(|name| names::segment_range(name.rsplit('/').next()?));
        let first = folded.map(|(_, last)| last.next()).max().unwrap_or(Seq(0));
        let loose =
            files.iter().filter(|(name, _)| name.contains("/manifest/") && number(name) >= Some(first));
        loose.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    fn watch_publish(&self, to: &str) {
        if self.watched {
            let (folder, name) = to.split_at(names::parent(to).len());
            let named = format!("\"folder\":\"{folder}\",\"name\":\"{name}\"");
            assert!(self.manifests().iter().any(|text| text.contains(&named)), "{to} is in no manifest");
        }
    }

    fn watch_delete(&self, name: &str) {
        if !self.watched || !self.files().contains_key(name) {
            return;
        }
        let manifests = self.manifests();
        if name.contains("/state/") {
            let head = manifests.last().expect("there is a head");
            let head = Manifest::decode(head.as_bytes()).expect("whole");
            assert!(!decide::state_paths(&head).contains(name), "the head needs {name}");
        }
        if name.contains("/stage/") {
            let named = format!("\"staged\":{{\"name\":\"{name}\"");
            for text in manifests.iter().filter(|text| text.contains(&named)) {
                let manifest = Manifest::decode(text.as_bytes()).expect("whole");
                let file = manifest.lake.iter().find(|file| file.staged.name == name).expect("it is named");
                assert!(self.files().contains_key(&file.path()), "{name} is not published yet");
            }
        }
        if name.contains("/manifest/") {
            assert!(self.manifests().len() >= 2, "the head goes away");
            let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_string();
            let (seq, unsynced) = (names::manifest_seq(&last(name)), self.unsynced());
            let has_it = |(from, to): (Seq, Seq)| Some(from) <= seq && seq <= Some(to);
            let segment = unsynced.iter().find(|name| names::segment_range(&last(name)).is_some_and(has_it));
            assert_eq!(segment, None, "{name} goes, and a power cut may still take the segment that has it");
        }
    }

    pub(crate) fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<[u8]>>> {
        self.files.lock().unwrap()
    }

    /// The names of all files below `prefix`.
    pub(crate) fn below(&self, prefix: &str) -> Vec<String> {
        self.files().keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    fn outcome(&self) -> Outcome {
        let mut faults = self.faults.lock().unwrap();
        if faults.per_mille == 0 || faults.dice.below(1_000) >= faults.per_mille {
            return Outcome::Works;
        }
        match faults.dice.below(4) {
            0 => Outcome::Fails,
            1 => Outcome::Late,
            applied => Outcome::Unknown { applied: applied == 2 },
        }
    }

    fn write<T>(
        &self,
        verb: &'static str,
        name: &str,
        late: &[u8],
        apply: impl FnOnce() -> T,
    ) -> Result<T, Error> {
        let source = || io::Error::other("a fault of the test");
        let unknown = || Error::Unknown { name: name.to_string(), source: source() };
        match self.outcome() {
            Outcome::Works => Ok(apply()),
            Outcome::Fails => Err(Error::Failed { verb, name: name.to_string(), source: source() }),
            Outcome::Late if !late.is_empty() => {
                self.late.lock().unwrap().push((name.to_string(), late.into()));
                Err(unknown())
            }
            Outcome::Late | Outcome::Unknown { applied: false } => Err(unknown()),
            Outcome::Unknown { applied: true } => {
                let is_new = !self.files().contains_key(name);
                apply();
                if verb == "create" && is_new {
                    self.unsynced().insert(name.to_string());
                }
                Err(unknown())
            }
        }
    }

    fn look<T>(&self, verb: &'static str, name: &str, look: impl FnOnce() -> T) -> Result<T, Error> {
        match self.outcome() {
            Outcome::Works => Ok(look()),
            _ => {
                let source = io::Error::other("a fault of the test");
                Err(Error::Failed { verb, name: name.to_string(), source })
            }
        }
    }
}

impl Store for TestStore {
    fn create(&self, name: Name<'_>, bytes: &[u8]) -> Result<Created, Error> {
        self.write("create", name, bytes, || {
            let mut files = self.files();
            if files.contains_key(name) {
                return Created::Exists;
            }
            files.insert(name.to_string(), bytes.into());
            Created::Yes
        })
    }

    fn read(&self, name: Name<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let found = self.look("read", name, || self.files().get(name).cloned())?;
        let Some(bytes) = found else { return Ok(None) };
        let (name, size) = (name.to_string(), bytes.len() as u64);
        if size > bytes_max {
            return Err(Error::TooLong { name, bytes: size, bytes_max });
        }
        Ok(Some(bytes.to_vec()))
    }

    fn read_range(&self, name: Name<'_>, from: u64, to: u64) -> Result<Option<Vec<u8>>, Error> {
        let found = self.look("read", name, || self.files().get(name).cloned())?;
        Ok(found.map(|bytes| range(&bytes, from, to)))
    }

    fn open(&self, name: Name<'_>) -> Result<Option<Box<dyn io::Read + Send>>, Error> {
        let found = self.look("open", name, || self.files().get(name).cloned())?;
        Ok(found.map(|bytes| Box::new(io::Cursor::new(bytes)) as Box<dyn io::Read + Send>))
    }

    fn size(&self, name: Name<'_>) -> Result<Option<u64>, Error> {
        self.look("look at", name, || self.files().get(name).map(|bytes| bytes.len() as u64))
    }

    fn list(&self, folder: Name<'_>) -> Result<Vec<String>, Error> {
        self.look("list", folder, || {
            let files = self.files();
            let mut names: Vec<String> = Vec::new();
            for name in files.range(folder.to_string()..).map(|(name, _)| name) {
                let Some(rest) = name.strip_prefix(folder) else { break };
                let first = rest.find('/').map_or(rest, |at| &rest[..=at]);
                if names.last().is_none_or(|last| last != first) {
                    names.push(first.to_string());
                }
            }
            names
        })
    }

    fn stage(&self, name: Name<'_>) -> Result<Box<dyn Staged>, Error> {
        Ok(Box::new(TestStaged { store: self.clone(), name: name.to_string(), bytes: Vec::new() }))
    }

    fn publish(&self, from: Name<'_>, to: Name<'_>) -> Result<Published, Error> {
        self.write("publish", to, &[], || {
            let staged = self.files().get(from).cloned();
            let taken = self.files().contains_key(to);
            match (staged, taken) {
                (None, _) => Published::Missing,
                (Some(_), true) => Published::Exists,
                (Some(bytes), false) => {
                    self.watch_publish(to);
                    self.files().insert(to.to_string(), bytes);
                    Published::Yes
                }
            }
        })
    }

    fn replace(&self, from: Name<'_>, to: Name<'_>) -> Result<(), Error> {
        self.look("replace", to, || {
            let mut files = self.files();
            if let Some(bytes) = files.remove(from) {
                files.insert(to.to_string(), bytes);
            }
        })
    }

    fn sync_folder(&self, folder: Name<'_>) -> Result<(), Error> {
        let folder = folder.trim_end_matches('/');
        self.unsynced().retain(|name| names::parent(name).trim_end_matches('/') != folder);
        Ok(())
    }

    fn delete(&self, name: Name<'_>) -> Result<(), Error> {
        self.write("delete", name, &[], || {
            self.watch_delete(name);
            drop(self.files().remove(name));
        })
    }

    fn describe(&self, name: Name<'_>) -> String {
        name.to_string()
    }
}

struct TestStaged {
    store: TestStore,
    name: String,
    bytes: Vec<u8>,
}

impl io::Write for TestStaged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Staged for TestStaged {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        self.store.files().insert(self.name.clone(), self.bytes.as_slice().into());
        Ok(())
    }
}
