//! A store that fails on purpose, for tests of how its callers react.
//!
//! Every write has four outcomes: applied or not, reported or not. A [`Fault`] is one of the three that are not success,
//! or a stop: a call after which no other is answered, as if the process had crashed.
//!
//! ```
//! use headway::store::{Error, Store, faulty::{Fault, Faulty}, memory::{Call, Memory}};
//! use std::sync::Arc;
//!
//! let files = Memory::new();
//! // The second create happens, and its outcome is not reported.
//! let store = Faulty::new(Arc::new(files.clone()), 7).at(Call::Create, 2, Fault::Unheard);
//! store.create("a", b"")?;
//! assert!(matches!(store.create("b", b""), Err(Error::Unknown { .. })));
//! assert!(files.files().contains_key("b"));
//! # Ok::<(), Error>(())
//! ```

use crate::store::memory::Call;
use crate::store::{Created, Error, Name, Published, Staged, Store};
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Write};
use std::sync::{Arc, Mutex};

/// How many bytes a staged file gathers before it writes.
const BUFFER_BYTES: usize = 64 << 10;

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The write is not applied, and reports that: [`Error::Failed`] with this kind, or [`Error::Sync`] of a sync.
    Refused(io::ErrorKind),
    /// The write is not applied, and its outcome is not reported: [`Error::Unknown`].
    Lost,
    /// The write is applied, and its outcome is not reported: [`Error::Unknown`].
    Unheard,
    /// Nothing is answered any more, and nothing is applied after this call, which may be the last.
    Stop {
        /// Whether this call is applied.
        applied: bool,
    },
}

/// A store with faults in front of another. Clones share the plan and its counts.
#[derive(Clone)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default)]
struct Plan {
    calls: BTreeMap<Call, u64>,
    at: BTreeMap<(Call, u64), Fault>,
    per_mille: u64,
    dice: u64,
    stopped: bool,
}

impl Faulty {
    /// A store that does not fail yet. `seed` chooses what [`Faulty::rate`] draws.
    pub fn new(inner: Arc<dyn Store>, seed: u64) -> Faulty {
        let dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Faulty { inner, plan: Arc::new(Mutex::new(Plan { dice, ..Plan::default() })) }
    }

    /// Fails `per_mille` of all calls: writes in each of the three ways equally often, reads with [`Fault::Refused`].
    /// Syncs are left alone, since one that fails ends a job: plan those with [`Faulty::at`].
    #[must_use]
    pub fn rate(self, per_mille: u64) -> Faulty {
        self.plan().per_mille = per_mille;
        self
    }

    /// Fails the `nth` call of a kind, counted from 1.
    #[must_use]
    pub fn at(self, call: Call, nth: u64, fault: Fault) -> Faulty {
        self.plan().at.insert((call, nth), fault);
        self
    }

    /// Answers no call from now on.
    pub fn stop(&self) {
        self.plan().stopped = true;
    }

    /// How often it was asked `call`.
    pub fn calls(&self, call: Call) -> u64 {
        self.plan().calls.get(&call).copied().unwrap_or(0)
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().expect("no thread panicked with this lock held")
    }

    /// Does `apply`, or what the plan has for this call.
    fn call<T>(
        &self,
        call: Call,
        name: Name<'_>,
        apply: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let fault = self.plan().next(call);
        let told = |fault| error(call, self.inner.describe(name), fault);
        match fault {
            None => apply(),
            Some(fault @ (Fault::Unheard | Fault::Stop { applied: true })) => {
                apply()?;
                Err(told(fault))
            }
            Some(fault) => Err(told(fault)),
        }
    }
}

impl Plan {
    fn next(&mut self, call: Call) -> Option<Fault> {
        let count = self.calls.entry(call).or_default();
        *count += 1;
        let nth = *count;
        if self.stopped {
            return Some(Fault::Stop { applied: false });
        }
        let fault = self.at.remove(&(call, nth)).or_else(|| self.draw(call));
        self.stopped = matches!(fault, Some(Fault::Stop { .. }));
        fault
    }

    fn draw(&mut self, call: Call) -> Option<Fault> {
        if matches!(call, Call::Finish | Call::SyncFolder) || self.below(1000) >= self.per_mille {
            return None;
        }
        Some(match (call, self.below(3)) {
            (Call::Create | Call::Publish | Call::Delete, 1) => Fault::Lost,
            (Call::Create | Call::Publish | Call::Delete, 2) => Fault::Unheard,
            _ => Fault::Refused(io::ErrorKind::Other),
        })
    }

    /// A number below `limit` (xorshift64*).
    fn below(&mut self, limit: u64) -> u64 {
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        (self.dice.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

/// The error that a caller gets for a fault.
fn error(call: Call, name: String, fault: Fault) -> Error {
    let source = match fault {
        Fault::Refused(kind) => io::Error::from(kind),
        _ => io::Error::new(io::ErrorKind::TimedOut, "a fault of the test"),
    };
    match (call, fault) {
        (Call::Finish | Call::SyncFolder, _) => Error::Sync { name, source },
        (Call::Create | Call::Publish | Call::Delete, Fault::Lost | Fault::Unheard | Fault::Stop { .. }) => {
            Error::Unknown { name, source }
        }
        _ => Error::Failed { verb: "reach", name, source },
    }
}

impl Store for Faulty {
    fn create(&self, name: Name<'_>, bytes: &[u8]) -> Result<Created, Error> {
        self.call(Call::Create, name, || self.inner.create(name, bytes))
    }

    fn read(&self, name: Name<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.call(Call::Read, name, || self.inner.read(name, bytes_max))
    }

    fn read_range(&self, name: Name<'_>, from: u64, to: u64) -> Result<Option<Vec<u8>>, Error> {
        self.call(Call::Read, name, || self.inner.read_range(name, from, to))
    }

    fn open(&self, name: Name<'_>) -> Result<Option<Box<dyn Read + Send>>, Error> {
        self.call(Call::Open, name, || self.inner.open(name))
    }

    fn size(&self, name: Name<'_>) -> Result<Option<u64>, Error> {
        self.call(Call::Size, name, || self.inner.size(name))
    }

    fn list(&self, folder: Name<'_>) -> Result<Vec<String>, Error> {
        self.call(Call::List, folder, || self.inner.list(folder))
    }

    fn stage(&self, name: Name<'_>) -> Result<Box<dyn Staged>, Error> {
        let inner = self.call(Call::Stage, name, || self.inner.stage(name))?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, FaultyWrite { inner, store: self.clone() });
        Ok(Box::new(FaultyStaged { file, name: name.to_string() }))
    }

    fn publish(&self, from: Name<'_>, to: Name<'_>) -> Result<Published, Error> {
        self.call(Call::Publish, to, || self.inner.publish(from, to))
    }

    fn replace(&self, from: Name<'_>, to: Name<'_>) -> Result<(), Error> {
        self.call(Call::Publish, to, || self.inner.replace(from, to))
    }

    fn sync_folder(&self, folder: Name<'_>) -> Result<(), Error> {
        self.call(Call::SyncFolder, folder, || self.inner.sync_folder(folder))
    }

    fn delete(&self, name: Name<'_>) -> Result<(), Error> {
        self.call(Call::Delete, name, || self.inner.delete(name))
    }

    fn describe(&self, name: Name<'_>) -> String {
        self.inner.describe(name)
    }
}

/// A staged file that gathers what is written, as a store does: a fault strikes a write of many bytes.
struct FaultyStaged {
    file: BufWriter<FaultyWrite>,
    name: String,
}

struct FaultyWrite {
    inner: Box<dyn Staged>,
    store: Faulty,
}

impl Write for FaultyWrite {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fault = self.store.plan().next(Call::Write);
        match fault {
            None => self.inner.write(bytes),
            Some(Fault::Refused(kind)) => Err(kind.into()),
            Some(fault) => {
                if matches!(fault, Fault::Unheard | Fault::Stop { applied: true }) {
                    self.inner.write_all(bytes)?;
                }
                Err(io::Error::new(io::ErrorKind::TimedOut, "a fault of the test"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Write for FaultyStaged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Staged for FaultyStaged {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        let FaultyStaged { mut file, name } = *self;
        if let Err(source) = file.flush() {
            return Err(Error::Failed {
                verb: "write",
                name: file.get_ref().store.inner.describe(&name),
                source,
            });
        }
        let (FaultyWrite { inner, store }, _flushed) = file.into_parts();
        store.call(Call::Finish, &name, || inner.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    /// What became of create: (there afterwards, what the caller was told).
    fn create(fault: Option<Fault>) -> (bool, &'static str) {
        let files = Memory::new();
        let store = Faulty::new(Arc::new(files.clone()), 1);
        let store = fault.into_iter().fold(store, |store, fault| store.at(Call::Create, 1, fault));
        let told = match store.create("a", b"x") {
            Ok(_) => "ok",
            Err(Error::Unknown { .. }) => "unknown",
            Err(_) => "failed",
        };
        (files.files().contains_key("a"), told)
    }

    #[test]
    fn write_has_four_outcomes() {
        assert_eq!(create(None), (true, "ok"));
        assert_eq!(create(Some(Fault::Refused(io::ErrorKind::StorageFull))), (false, "failed"));
        assert_eq!(create(Some(Fault::Lost)), (false, "unknown"));
        assert_eq!(create(Some(Fault::Unheard)), (true, "unknown"));
        assert_eq!(create(Some(Fault::Stop { applied: true })), (true, "unknown"));
        assert_eq!(create(Some(Fault::Stop { applied: false })), (false, "unknown"));
    }

    #[test]
    fn after_the_end_of_the_world_nothing_happens() {
        let files = Memory::new();
        let end = Fault::Stop { applied: true };
        let store = Faulty::new(Arc::new(files.clone()), 1).at(Call::Publish, 1, end);
        store.stage("s").unwrap().finish().unwrap();
        assert!(store.publish("s", "a").is_err());
        assert!(store.publish("s", "b").is_err() && store.delete("s").is_err() && store.list("").is_err());
        assert!(store.stage("t").is_err() && store.create("c", b"").is_err());
        assert_eq!(files.files().into_keys().collect::<Vec<_>>(), ["a", "s"]);
        assert_eq!(store.calls(Call::Publish), 2);
    }

    #[test]
    fn a_sync_fails_only_where_it_was_planned_and_as_one() {
        let store = Faulty::new(Arc::new(Memory::new()), 1).rate(1000);
        store.sync_folder("a/").unwrap();
        let store = store.rate(0).at(Call::Finish, 1, Fault::Refused(io::ErrorKind::Other));
        assert!(matches!(store.stage("s").unwrap().finish(), Err(Error::Sync { .. })));
    }

    #[test]
    fn equal_seeds_fail_alike_and_about_as_often_as_asked() {
        let run = |seed| {
            let store = Faulty::new(Arc::new(Memory::new()), seed).rate(50);
            (0..10_000).map(|n| store.create(&format!("f{n}"), b"").is_err()).collect::<Vec<_>>()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        let failed = run(3).into_iter().filter(|failed| *failed).count();
        assert!((400..600).contains(&failed), "{failed} of 10,000 at 5 %");
    }
}
