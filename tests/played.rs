//! What holds a job up in the hands of a test: gates, and a topic, a store and a target that stand still at them.

use headway::connect::targets::target::{
    Applied, Error as TargetError, Origin, Standing, Step, Target, Whole,
};
use headway::connect::{Connector, End, Event, Heard, PartitionInfo, Polled, Source, Wake, error};
use headway::store::memory::Memory;
use headway::store::{Created, Error as StoreError, Name, Published, Staged, Store};
use headway_operators::record::{Offset, Partition, Payload, Raw};
use headway_operators::spec::ViewSpec;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// A gate at which threads wait while it is closed.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Passing>, Condvar)>);

#[derive(Default)]
struct Passing {
    is_closed: bool,
    waiting: usize,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Passing> {
        self.0.0.lock().expect("no thread panics at a gate")
    }

    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
    }

    pub(crate) fn open(&self) {
        self.lock().is_closed = false;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let mut passing = self.lock();
        passing.waiting += 1;
        while passing.is_closed {
            passing = self.0.1.wait(passing).expect("no thread panics at a gate");
        }
        passing.waiting -= 1;
    }

    pub(crate) fn is_waited_at(&self) -> bool {
        let passing = self.lock();
        passing.is_closed && passing.waiting > 0
    }
}

/// A topic of a broker that a test plays.
#[derive(Clone, Default)]
pub(crate) struct Topic {
    broker: Arc<Mutex<Broker>>,
    /// It does not answer questions.
    is_away: Arc<AtomicBool>,
}

#[derive(Default)]
pub(crate) struct Broker {
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Default)]
pub(crate) struct Part {
    pub(crate) messages: Vec<String>,
    /// How many of them are given; the others are there, and do not come.
    given: usize,
    /// What comes next is held by an open transaction.
    pub(crate) stalled: bool,
}

impl Topic {
    pub(crate) fn new(partitions: usize) -> Topic {
        let broker = Broker { parts: vec![Part::default(); partitions] };
        Topic { broker: Arc::new(Mutex::new(broker)), is_away: Arc::default() }
    }

    /// The same topic, as another process reaches it.
    pub(crate) fn elsewhere(&self) -> Topic {
        Topic { broker: Arc::clone(&self.broker), is_away: Arc::default() }
    }

    pub(crate) fn goes_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }

    pub(crate) fn answers_again(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().expect("no thread panics with the topic")
    }

    /// Writes `messages` to a partition, of which `given` come.
    pub(crate) fn write(&self, partition: usize, messages: impl IntoIterator<Item = String>, given: usize) {
        let part = &mut self.lock().parts[partition];
        part.messages.extend(messages);
        part.given += given;
    }

    fn answers(&self) -> Result<(), error::Error> {
        let (what, detail) = ("the broker of the test".to_string(), "it is away".to_string());
        if self.is_away.load(Ordering::SeqCst) {
            Err(error::Error::Unreachable { what, detail })
        } else {
            Ok(())
        }
    }
}

impl Connector for Topic {
    fn kind(&self) -> &'static str {
        "played"
    }

    fn partitions(&self) -> Result<Vec<PartitionInfo>, error::Error> {
        self.answers()?;
        let info = |number: usize| PartitionInfo {
            partition: Partition(u32::try_from(number).expect("it is small")),
            identity: format!("played:{number}"),
            first: Offset(0),
            end: None,
        };
        Ok((0..self.lock().parts.len()).map(info).collect())
    }

    fn open(&self, assigned: &[(Partition, Offset)], _wake: Wake) -> Result<Box<dyn Source>, error::Error> {
        let parts = assigned.iter().map(|(partition, next)| (*partition, *next, false)).collect();
        Ok(Box::new(Reader { topic: self.clone(), parts }))
    }

    fn confirm(&self) -> Result<(), error::Error> {
        self.answers()
    }

    fn ends(&self) -> Vec<End> {
        let end = |(number, part): (u32, &Part)| End {
            stalled: part.stalled,
            ..End::at(Partition(number), Offset(part.messages.len() as i64))
        };
        (0..).zip(&self.lock().parts).map(end).collect()
    }
}

struct Reader {
    topic: Topic,
    /// Partition, next offset, whether it is paused.
    parts: Vec<(Partition, Offset, bool)>,
}

impl Source for Reader {
    fn poll(&mut self, _: usize, each: &mut dyn FnMut(Event<'_>)) -> Result<Polled, error::Error> {
        let broker = self.topic.lock();
        for (partition, next, _) in self.parts.iter_mut().filter(|(_, _, is_paused)| !is_paused) {
            let part = &broker.parts[partition.index()];
            let at = usize::try_from(next.0).expect("offsets are positions");
            // One at a time: what is paused after it stays where it is.
            if let Some(message) = part.messages[..part.given].get(at) {
                each(Event::Message(
                    Raw::of(*partition, *next, Payload::Bytes(message.as_bytes())),
                    message.len(),
                ));
                *next += 1;
            } else if part.stalled {
                each(Event::Stalled(*partition, *next));
            } else if at == part.messages.len() {
                each(Event::CaughtUp(*partition, *next));
            }
        }
        Ok(Polled::Nothing)
    }

    fn assign(&mut self, partition: Partition, next: Offset) -> Result<(), error::Error> {
        self.parts.push((partition, next, false));
        Ok(())
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        let of = |(own, _, _): &&mut (Partition, Offset, bool)| *own == partition;
        self.parts.iter_mut().filter(of).for_each(|(_, _, is_paused)| *is_paused = paused);
    }

    fn heard(&self, _: Partition) -> Option<Heard> {
        Some(Heard::ALWAYS)
    }
}

/// A store that stands still at a gate before it writes files of a folder, or before it makes names true.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) files: Memory,
    pub(crate) staging: Gate,
    pub(crate) manifests: Gate,
}

impl Disk {
    /// The same files, as another process reaches them.
    pub(crate) fn elsewhere(&self) -> Disk {
        Disk { files: self.files.clone(), ..Disk::default() }
    }
}

impl Store for Disk {
    fn create(&self, name: Name<'_>, bytes: &[u8]) -> Result<Created, StoreError> {
        if name.contains("/manifest/") {
            self.manifests.pass();
        }
        self.files.create(name, bytes)
    }

    fn read(&self, name: Name<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.files.read(name, bytes_max)
    }

    fn read_range(&self, name: Name<'_>, from: u64, to: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.files.read_range(name, from, to)
    }

    fn open(&self, name: Name<'_>) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        self.files.open(name)
    }

    fn size(&self, name: Name<'_>) -> Result<Option<u64>, StoreError> {
        self.files.size(name)
    }

    fn list(&self, folder: Name<'_>) -> Result<Vec<String>, StoreError> {
        self.files.list(folder)
    }

    fn stage(&self, name: Name<'_>) -> Result<Box<dyn Staged>, StoreError> {
        self.staging.pass();
        self.files.stage(name)
    }

    fn publish(&self, from: Name<'_>, to: Name<'_>) -> Result<Published, StoreError> {
        self.files.publish(from, to)
    }

    fn replace(&self, from: Name<'_>, to: Name<'_>) -> Result<(), StoreError> {
        self.files.replace(from, to)
    }

    fn sync_folder(&self, folder: Name<'_>) -> Result<(), StoreError> {
        self.files.sync_folder(folder)
    }

    fn delete(&self, name: Name<'_>) -> Result<(), StoreError> {
        self.files.delete(name)
    }

    fn describe(&self, name: Name<'_>) -> String {
        self.files.describe(name)
    }
}

/// A target that takes changes through a gate.
pub(crate) struct Warehouse(pub(crate) Gate);

impl Target for Warehouse {
    fn name(&self) -> &'static str {
        "warehouse"
    }

    fn stand(&mut self, _: &Origin, _: &[ViewSpec]) -> Result<Standing, TargetError> {
        Ok(Standing::Unfit("it is new"))
    }

    fn apply(&mut self, _: &Origin, _: Step<'_>, _: &dyn Fn()) -> Result<Applied, TargetError> {
        self.0.pass();
        Ok(Applied::Yes)
    }

    fn rebuild(&mut self, _: &Origin, _: Whole<'_>, _: &dyn Fn()) -> Result<bool, TargetError> {
        Ok(true)
    }
}
