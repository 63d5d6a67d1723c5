//! A store in memory for tests of the commit protocol: shared by simulated runs, watched for what the protocol forbids.

use crate::engine::commit::decide;
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names;
use crate::engine::format::names::{Seq, SeqRange};
use crate::store::faulty::Faulty;
use crate::store::memory::{Call, Content, Memory};
use crate::store::{Created, Error, Name, Published, Staged, Store};
use std::io;
use std::sync::{Arc, Mutex};

/// A create on its way: name and bytes.
type Late = (String, Arc<[u8]>);

/// The files of [`Memory`], with the faults of [`Faulty`] and one more. Clones share the files; each that
/// [`TestStore::faulty`] gives has its own faults.
#[derive(Clone)]
pub(crate) struct TestStore {
    memory: Memory,
    faulty: Faulty,
    /// Creates whose outcome was not reported, and that arrive later.
    late: Arc<Mutex<Vec<Late>>>,
    lateness: Arc<Mutex<Lateness>>,
    /// The calls that read: what was asked for, and of which file or folder.
    asked: Arc<Mutex<Vec<(Call, String)>>>,
    watched: bool,
}

/// How often a create arrives later.
#[derive(Default)]
struct Lateness {
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

impl Default for TestStore {
    fn default() -> TestStore {
        let memory = Memory::new();
        let faulty = Faulty::new(Arc::new(memory.clone()), 0);
        let (late, lateness, asked) = (Arc::default(), Arc::default(), Arc::default());
        TestStore { memory, faulty, late, lateness, asked, watched: false }
    }
}

impl TestStore {
    /// The same files, with faults in `per_mille` of all calls, drawn from `seed`.
    pub(crate) fn faulty(&self, per_mille: u64, seed: u64) -> TestStore {
        let faulty = Faulty::new(Arc::new(self.memory.clone()), seed).rate(per_mille);
        let lateness = Lateness { per_mille, dice: Dice::new(seed) };
        TestStore { faulty, lateness: Arc::new(Mutex::new(lateness)), ..self.clone() }
    }

    /// A store that panics at once where a publish or delete breaks the protocol's promise.
    pub(crate) fn watched() -> TestStore {
        TestStore { watched: true, ..TestStore::default() }
    }

    /// Makes the name of this file not durable, as if the run that created it had ended before the sync.
    pub(crate) fn unsync(&self, name: &str) {
        self.memory.unsync(name);
    }

    /// Lets a create whose outcome was not reported arrive, now and then.
    pub(crate) fn deliver_late(&self, dice: &mut Dice) {
        let mut late = self.late.lock().unwrap();
        if !late.is_empty() && dice.below(20) == 0 {
            let at = dice.below(late.len() as u64) as usize;
            let (name, bytes) = late.swap_remove(at);
            // A file that is there already stays as it is, and as durable as it is.
            if !self.files().contains_key(&name) {
                self.memory.create(&name, &bytes).expect("the name is plain");
                self.memory.unsync(&name);
            }
        }
    }

    /// The loose manifests as text, lowest first, without leftovers of runs that were suspended while they were folded.
    fn manifests(&self) -> Vec<String> {
        let files = self.files();
        let number = |name: &str| names::manifest_seq(name.rsplit('/').next()?);
        let folded = files.keys().filter_map(|name| names::segment_range(name.rsplit('/').next()?));
        let first = folded.map(|range| range.last.next()).max().unwrap_or(Seq(0));
        let loose =
            files.iter().filter(|(name, _)| name.contains("/manifest/") && number(name) >= Some(first));
        loose.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    fn watch_publish(&self, to: &str) {
        // A run that slept may publish a change file again that a later manifest has given up: the next sweep takes it. The
        // check at the end of a schedule looks at all that there are.
        if self.watched && !to.contains("/changes/") {
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
            let (seq, unsynced) = (names::manifest_seq(&last(name)), self.memory.unsynced());
            let has_it = |range: SeqRange| Some(range.first) <= seq && seq <= Some(range.last);
            let segment = unsynced.iter().find(|name| names::segment_range(&last(name)).is_some_and(has_it));
            assert_eq!(segment, None, "{name} goes, and a power cut may still take the segment that has it");
        }
    }

    pub(crate) fn files(&self) -> Content<'_> {
        self.memory.content()
    }

    /// Loses every name that was not made durable.
    pub(crate) fn power_cut(&self) {
        self.memory.power_cut();
    }

    /// The files that were read and the folders that were listed since this was called last, in their order.
    pub(crate) fn asked(&self) -> Vec<(Call, String)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn note(&self, call: Call, name: &str) {
        self.asked.lock().unwrap().push((call, name.to_string()));
    }

    /// The names of all files below `prefix`.
    pub(crate) fn below(&self, prefix: &str) -> Vec<String> {
        self.files().keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// True if a create is to arrive later: one of four faults of a create.
    fn is_late(&self) -> bool {
        let mut lateness = self.lateness.lock().unwrap();
        let per_mille = lateness.per_mille;
        per_mille > 0 && lateness.dice.below(4_000) < per_mille
    }
}

impl Store for TestStore {
    fn create(&self, name: Name<'_>, bytes: &[u8]) -> Result<Created, Error> {
        if self.is_late() {
            self.late.lock().unwrap().push((name.to_string(), bytes.into()));
            let source = io::Error::other("a fault of the test");
            return Err(Error::Unknown { name: name.to_string(), source });
        }
        let is_new = !self.files().contains_key(name);
        let created = self.faulty.create(name, bytes);
        if is_new && matches!(created, Err(Error::Unknown { .. })) && self.files().contains_key(name) {
            // It was made, and its maker was gone before the folder was synced.
            self.memory.unsync(name);
        }
        created
    }

    fn read(&self, name: Name<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.note(Call::Read, name);
        self.faulty.read(name, bytes_max)
    }

    fn read_range(&self, name: Name<'_>, from: u64, to: u64) -> Result<Option<Vec<u8>>, Error> {
        self.faulty.read_range(name, from, to)
    }

    fn open(&self, name: Name<'_>) -> Result<Option<Box<dyn io::Read + Send>>, Error> {
        self.faulty.open(name)
    }

    fn size(&self, name: Name<'_>) -> Result<Option<u64>, Error> {
        self.faulty.size(name)
    }

    fn list(&self, folder: Name<'_>) -> Result<Vec<String>, Error> {
        self.note(Call::List, folder);
        self.faulty.list(folder)
    }

    fn stage(&self, name: Name<'_>) -> Result<Box<dyn Staged>, Error> {
        self.faulty.stage(name)
    }

    fn publish(&self, from: Name<'_>, to: Name<'_>) -> Result<Published, Error> {
        let is_staged = self.files().contains_key(from);
        let is_taken = self.files().contains_key(to);
        if is_staged && !is_taken {
            self.watch_publish(to);
        }
        self.faulty.publish(from, to)
    }

    fn replace(&self, from: Name<'_>, to: Name<'_>) -> Result<(), Error> {
        self.faulty.replace(from, to)
    }

    fn sync_folder(&self, folder: Name<'_>) -> Result<(), Error> {
        self.faulty.sync_folder(folder)
    }

    fn delete(&self, name: Name<'_>) -> Result<(), Error> {
        self.watch_delete(name);
        self.faulty.delete(name)
    }

    fn describe(&self, name: Name<'_>) -> String {
        name.to_string()
    }
}
