//! Plays a dataflow of views on the test kit, and notes every update of its table.

use headway_operators::ack::InputIx;
use headway_operators::build::Build;
use headway_operators::error::Reason;
use headway_operators::flow::Flow;
use headway_operators::kit::script::{Dataflow, Item, Play, PlayInput, Source, Unsealing};
use headway_operators::record::{Partition, Payload, Raw, Stamped};
use headway_operators::spec::InputSpec;
use headway_operators::stream::decode::{Context, Decoded, Decoder, Definition};
use headway_operators::stream::window::Closing;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::table::{Key, Update};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use timely::dataflow::operators::Inspect;

/// What goes in: epoch by epoch, records with their times. Record `n` of an epoch is of partition `n % partitions`.
#[derive(Clone, Debug)]
pub(crate) struct Script<T> {
    pub(crate) partitions: u32,
    pub(crate) lateness_ms: i64,
    pub(crate) epochs: Vec<Vec<(i64, T)>>,
}

/// The views under test.
pub(crate) type Job<T, D> = for<'s> fn(&mut Build<'s>, Flow<'s, Stamped<T>>) -> Flow<'s, Update<D>>;

/// What came out: rows with the epoch they left in, and how many copies came or went.
pub(crate) type Updates<D> = Vec<(Epoch, D, i64)>;

/// Runs the whole script.
pub(crate) fn run<T: Key + Sync, D: Key>(script: &Script<T>, job: Job<T, D>, workers: usize) -> Updates<D> {
    let (dataflow, updates) = noting(job);
    script.play().run(&dataflow, workers, 0);
    std::mem::take(&mut updates.lock().unwrap())
}

/// Runs the script, loses all that came after line `crash_after`, and goes on with another number of workers. Gives what the
/// second run emitted: from the committed epoch on.
pub(crate) fn run_again<T: Key + Sync, D: Key>(
    script: &Script<T>,
    job: Job<T, D>,
    workers: (usize, usize),
    crash_after: usize,
) -> Updates<D> {
    run_again_unsealing(script, job, workers, crash_after, None)
}

/// The same, but the second run is started with days unsealed.
pub(crate) fn run_again_unsealing<T: Key + Sync, D: Key>(
    script: &Script<T>,
    job: Job<T, D>,
    workers: (usize, usize),
    crash_after: usize,
    unsealing: Option<Unsealing>,
) -> Updates<D> {
    let (mut dataflow, updates) = noting(job);
    dataflow.unsealing = unsealing.map(Arc::new);
    let forgotten = Arc::clone(&updates);
    dataflow.forget_after = Arc::new(move |_| forgotten.lock().unwrap().clear());
    script.play().run_with_kills(&dataflow, &[workers.0, workers.1], &[crash_after]);
    std::mem::take(&mut updates.lock().unwrap())
}

/// The rows as of `epoch`, each with how many copies there are.
pub(crate) fn as_of<D: Ord + Clone>(updates: &Updates<D>, epoch: u64) -> BTreeMap<D, i64> {
    let mut rows = BTreeMap::new();
    for (_, row, diff) in updates.iter().filter(|(at, ..)| at.0 <= epoch) {
        *rows.entry(row.clone()).or_insert(0) += diff;
    }
    rows.retain(|_, copies| *copies != 0);
    rows
}

/// A dataflow, and the updates of its table.
fn noting<T: Key + Sync, D: Key>(job: Job<T, D>) -> (Dataflow, Arc<Mutex<Updates<D>>>) {
    let updates: Arc<Mutex<Updates<D>>> = Arc::default();
    let noted = Arc::clone(&updates);
    let dataflow = Dataflow::of(move |build| {
        let (records, noted) = (build.input("input", Encoded(PhantomData)), Arc::clone(&noted));
        job(build, records).records().inspect_time(move |epoch, (row, _, diff)| {
            noted.lock().unwrap().push((*epoch, row.clone(), *diff));
        });
    });
    (dataflow, updates)
}

impl<T: Key> Script<T> {
    /// The script for the test kit: line 0 is epoch 1. An empty line follows the last one, for a run that starts after it.
    fn play(&self) -> Play {
        let item = |(number, record): (u32, &(i64, T))| {
            let source = Source { input: InputIx(0), partition: Partition(number % self.partitions) };
            let value = Some(postcard::to_stdvec(record).unwrap());
            Item::Message { source, value, timestamp_ms: None }
        };
        let lines = self.epochs.iter().map(|line| (0..).zip(line).map(item).collect());
        let (lateness_ms, closing) = (self.lateness_ms, Closing::Horizon { ms: 0 });
        let spec = InputSpec { name: "input", topic: "input", lateness_ms, closing, header: None };
        let inputs = vec![PlayInput { spec, partitions: self.partitions }];
        Play { inputs, lines: lines.chain([Vec::new()]).collect(), flush_ms: None }
    }
}

/// A message is the encoding of a time and a record.
struct Encoded<T>(PhantomData<T>);

impl<T: Key> Decoder for Encoded<T> {
    type Out = T;
    type Key = ();

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        _definitions: &mut Vec<Definition<()>>,
    ) -> Result<Decoded<T>, Reason> {
        let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
        let (time, record): (i64, T) = postcard::from_bytes(value).map_err(|_| Reason::BAD_NUMBER)?;
        Ok(Decoded::Record(EventTime(time), record))
    }
}
