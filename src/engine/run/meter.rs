//! Measures the operators of a worker: how long each ran, and how many records it took in and gave out.
//!
//! Timely logs when an operator starts and stops, and each batch of records on a channel. The log is read here, on the worker's
//! own thread, after each of its steps, and only sums are kept. An operator costs two readings of the clock each time it runs,
//! a batch one where it is sent and one where it is received; a record costs nothing.
//!
//! 1. [`Log::open`] listens before the dataflow is built: timely reports each operator and each channel once, while it builds.
//! 2. [`Log::meter`] gives every operator of the dataflow its [`Use`] in a [`Meter`], which the board shares.
//! 3. From then on the log adds to the sums.
//!
//! Invariant: at each moment the time that passes belongs to the innermost operator that runs. So the times of all operators,
//! [`ENGINE`] included, add up to the time in which the worker did not wait.

use crate::engine::format::board::OperatorUse;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use timely::logging::{
    ChannelsEvent, OperatesEvent, ScheduleEvent, StartStop, TimelyEvent, TimelyEventBuilder,
};
use timely::worker::Worker;

/// The name under which timely logs what is measured here.
const TIMELY: &str = "timely";

/// What the dataflow itself takes: it tracks progress and decides which operator runs next.
pub const ENGINE: &str = "engine";

/// The small steps between operators with a name of their own, together.
pub const STEPS: &str = "steps";

/// How many names of operators are told apart; the operators after them count as [`STEPS`].
const NAMES_MAX: usize = 200;

/// Timely's own operators, of which a dataflow has many with the same name.
const SMALL: [&str; 15] = [
    "Branch",
    "Concatenate",
    "Delay",
    "Empty",
    "Exchange",
    "Feedback",
    "Filter",
    "FlatMap",
    "InspectBatch",
    "MapInPlace",
    "OkErr",
    "Partition",
    "Probe",
    "Shared",
    "ToStreamBuilder",
];

/// Operators that end a flow: what they give out are acks, not records.
const ENDS: [&str; 4] = ["Commit", "State", "Views", "Watermark"];

/// The sums of one worker. Written by its thread alone, read by others.
#[derive(Debug, Default)]
pub struct Meter(Vec<Use>);

/// The sums of the operators that have one name.
#[derive(Debug, Default)]
struct Use {
    name: String,
    busy_ns: AtomicU64,
    runs: AtomicU64,
    /// `None` if the operator has no input, as one that reads a source.
    records_in: Option<AtomicU64>,
    /// `None` if nothing takes records from the operator.
    records_out: Option<AtomicU64>,
}

impl Meter {
    /// What was measured so far, in the order in which the operators were built.
    pub fn read(&self) -> Vec<OperatorUse> {
        let read = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        let one = |of: &Use| OperatorUse {
            name: of.name.clone(),
            busy: Duration::from_nanos(read(&of.busy_ns)),
            runs: read(&of.runs),
            records_in: of.records_in.as_ref().map(read),
            records_out: of.records_out.as_ref().map(read),
        };
        self.0.iter().map(one).collect()
    }
}

/// Adds to a sum that only this thread writes: no other addition can be lost between the two steps.
fn add(sum: &AtomicU64, more: u64) {
    sum.store(sum.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// The log of one worker.
pub struct Log(Rc<RefCell<Reader>>);

impl Log {
    /// Listens to what `worker` does from now on. Comes before its dataflow is built.
    pub fn open(worker: &Worker) -> Log {
        let reader = Rc::new(RefCell::new(Reader::default()));
        let shared = Rc::clone(&reader);
        let read = move |_: &Duration, events: &mut Option<Vec<(Duration, TimelyEvent)>>| {
            let mut reader = shared.borrow_mut();
            for (at, event) in events.iter_mut().flat_map(|events| events.drain(..)) {
                reader.read(at, event);
            }
        };
        if let Some(mut logs) = worker.log_register() {
            logs.insert::<TimelyEventBuilder, _>(TIMELY, read);
        }
        Log(reader)
    }

    /// The meter of the dataflow that was built, which measures from now on.
    pub fn meter(&self) -> Arc<Meter> {
        let mut reader = self.0.borrow_mut();
        let (operators, channels) =
            (std::mem::take(&mut reader.operators), std::mem::take(&mut reader.channels));
        reader.wires = Wires::of(operators, &channels);
        Arc::clone(&reader.wires.meter)
    }
}

/// Reads the log.
#[derive(Default)]
struct Reader {
    /// While the dataflow is built.
    operators: Vec<OperatesEvent>,
    channels: Vec<ChannelsEvent>,
    wires: Wires,
    /// The operators that run, each inside the one before it, by their place in the meter.
    running: Vec<Option<usize>>,
    /// Until when time was counted.
    counted: Duration,
}

/// Which operator of the meter an event belongs to. Timely's numbers of operators and channels are small.
#[derive(Default)]
struct Wires {
    meter: Arc<Meter>,
    /// By the number of the operator.
    operators: Vec<Option<usize>>,
    /// By the number of the channel: which operator takes records from it, and which gives records to it.
    taken: Vec<Option<usize>>,
    given: Vec<Option<usize>>,
}

impl Reader {
    fn read(&mut self, at: Duration, event: TimelyEvent) {
        match event {
            TimelyEvent::Schedule(ScheduleEvent { id, start_stop: StartStop::Start }) => {
                self.count_until(at);
                let operator = at_number(&self.wires.operators, id);
                self.running.push(operator);
                if let Some(of) = operator.and_then(|operator| self.wires.meter.0.get(operator)) {
                    add(&of.runs, 1);
                }
            }
            TimelyEvent::Schedule(ScheduleEvent { start_stop: StartStop::Stop, .. }) => {
                self.count_until(at);
                self.running.pop();
            }
            TimelyEvent::Messages(message) => {
                let (wires, records) = (&self.wires, u64::try_from(message.record_count).unwrap_or(0));
                let side = if message.is_send { &wires.given } else { &wires.taken };
                let of = at_number(side, message.channel).and_then(|operator| wires.meter.0.get(operator));
                let sum = of.and_then(|of| {
                    let sum = if message.is_send { &of.records_out } else { &of.records_in };
                    sum.as_ref()
                });
                if let Some(sum) = sum {
                    add(sum, records);
                }
            }
            TimelyEvent::Operates(operator) => self.operators.push(operator),
            TimelyEvent::Channels(channel) => self.channels.push(channel),
            TimelyEvent::PushProgress(_)
            | TimelyEvent::Shutdown(_)
            | TimelyEvent::CommChannels(_)
            | TimelyEvent::Park(_)
            | TimelyEvent::Text(_) => {}
        }
    }

    /// Counts the time until `at` for the innermost operator that runs.
    fn count_until(&mut self, at: Duration) {
        let passed = at.saturating_sub(self.counted);
        self.counted = at;
        let operator = self.running.last().copied().flatten();
        if let Some(of) = operator.and_then(|operator| self.wires.meter.0.get(operator)) {
            add(&of.busy_ns, u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

fn at_number(places: &[Option<usize>], number: usize) -> Option<usize> {
    places.get(number).copied().flatten()
}

fn put(places: &mut Vec<Option<usize>>, number: usize, place: usize) {
    if places.len() <= number {
        places.resize(number + 1, None);
    }
    places[number] = Some(place);
}

impl Wires {
    /// Gives each operator of the dataflow a place in a meter. Operators with one name share a place; what is inside an operator
    /// belongs to it.
    fn of(mut operators: Vec<OperatesEvent>, channels: &[ChannelsEvent]) -> Wires {
        // The address of the dataflow has one number, that of an operator two, that of a part of an operator more.
        operators.sort_by(|one, other| one.addr.cmp(&other.addr));
        let (mut wires, mut uses, mut by_address) = (Wires::default(), Vec::new(), BTreeMap::new());
        for operator in &operators {
            let place = match operator.addr.as_slice() {
                [_] => place_of(&mut uses, ENGINE),
                [_, index] => {
                    let place = place_of(&mut uses, name_of(operator));
                    by_address.insert(*index, place);
                    place
                }
                [_, index, ..] => {
                    by_address.get(index).copied().unwrap_or_else(|| place_of(&mut uses, STEPS))
                }
                [] => continue,
            };
            put(&mut wires.operators, operator.id, place);
        }
        // Records come by the first input and leave by the first output. Each channel of an output has all of its records.
        let mut has_output = BTreeSet::new();
        for channel in channels.iter().filter(|channel| channel.scope_addr.len() == 1) {
            if let (index, 0) = channel.target
                && let Some(place) = by_address.get(&index).copied()
                && uses[place].name != STEPS
            {
                uses[place].records_in = Some(AtomicU64::default());
                put(&mut wires.taken, channel.id, place);
            }
            if let (index, 0) = channel.source
                && let Some(place) = by_address.get(&index).copied()
                && uses[place].name != STEPS
                && has_output.insert(index)
                && !is_end(&uses[place].name)
            {
                uses[place].records_out = Some(AtomicU64::default());
                put(&mut wires.given, channel.id, place);
            }
        }
        wires.meter = Arc::new(Meter(uses));
        wires
    }
}

/// The name by which `operator` is told apart.
fn name_of(operator: &OperatesEvent) -> &str {
    if SMALL.contains(&operator.name.as_str()) { STEPS } else { &operator.name }
}

/// The place of `name`, which gets one if it is new and there are not too many.
fn place_of(uses: &mut Vec<Use>, name: &str) -> usize {
    if let Some(place) = uses.iter().position(|known| known.name == name) {
        return place;
    }
    // One place is left for the steps.
    if uses.len() + 1 >= NAMES_MAX && name != STEPS {
        return place_of(uses, STEPS);
    }
    uses.push(Use { name: name.to_string(), ..Use::default() });
    uses.len() - 1
}

fn is_end(name: &str) -> bool {
    name.starts_with("Output-") || ENDS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use timely::container::CapacityContainerBuilder;
    use timely::dataflow::channels::pact::Pipeline;
    use timely::dataflow::operators::generic::Operator;
    use timely::dataflow::operators::vec::Filter;
    use timely::dataflow::operators::{Exchange, Probe, ToStream};
    use timely::logging::MessagesEvent;

    fn operator(id: usize, addr: &[usize], name: &str) -> TimelyEvent {
        TimelyEvent::Operates(OperatesEvent { id, addr: addr.to_vec(), name: name.to_string() })
    }

    fn channel(id: usize, source: (usize, usize), target: (usize, usize)) -> TimelyEvent {
        TimelyEvent::Channels(ChannelsEvent { id, scope_addr: vec![0], source, target, typ: String::new() })
    }

    fn batch(is_send: bool, channel: usize, record_count: i64) -> TimelyEvent {
        let message = MessagesEvent { is_send, channel, source: 0, target: 0, seq_no: 0, record_count };
        TimelyEvent::Messages(message)
    }

    fn start(id: usize) -> TimelyEvent {
        TimelyEvent::Schedule(ScheduleEvent::start(id))
    }

    fn stop(id: usize) -> TimelyEvent {
        TimelyEvent::Schedule(ScheduleEvent::stop(id))
    }

    /// A log that has read how a dataflow is built, and its meter.
    fn built(events: Vec<TimelyEvent>) -> (Log, Arc<Meter>) {
        let mut reader = Reader::default();
        events.into_iter().for_each(|event| reader.read(Duration::ZERO, event));
        let log = Log(Rc::new(RefCell::new(reader)));
        let meter = log.meter();
        (log, meter)
    }

    /// The dataflow `Ingest-a ──► Sum ──► FlatMap ──► Output-a`, where `Sum` has a part, and takes marks by another input.
    fn dataflow() -> Vec<TimelyEvent> {
        vec![
            channel(9, (1, 1), (2, 1)),
            channel(10, (1, 0), (2, 0)),
            channel(11, (1, 0), (3, 0)),
            channel(12, (2, 0), (3, 0)),
            channel(13, (3, 0), (4, 0)),
            operator(3, &[0, 3], "FlatMap"),
            operator(1, &[0, 1], "Ingest-a"),
            operator(2, &[0, 2], "Sum"),
            operator(5, &[0, 2, 1], "Sum"),
            operator(4, &[0, 4], "Output-a"),
            operator(0, &[0], "Dataflow"),
        ]
    }

    fn named<T>(meter: &Meter, of: impl Fn(OperatorUse) -> T) -> Vec<(String, T)> {
        meter.read().into_iter().map(|used| (used.name.clone(), of(used))).collect()
    }

    #[test]
    fn time_belongs_to_the_innermost_operator_that_runs() {
        let (log, meter) = built(dataflow());
        // In milliseconds: 1 and 5 of the engine, 2 of what reads, 7 of the sum and 4 of its part, 3 of a step. The 90 between
        // two steps of the worker belong to nobody.
        let events = [
            (0, start(0)),
            (1, start(1)),
            (3, stop(1)),
            (3, start(2)),
            (8, start(5)),
            (12, stop(5)),
            (14, stop(2)),
            (14, start(3)),
            (17, stop(3)),
            (22, stop(0)),
            (112, start(0)),
            (112, stop(0)),
        ];
        let mut reader = log.0.borrow_mut();
        events.into_iter().for_each(|(at, event)| reader.read(Duration::from_millis(at), event));
        let busy = named(&meter, |used| (used.busy.as_millis(), used.runs));
        let expected = [
            ("engine", (6, 2)),
            ("Ingest-a", (2, 1)),
            ("Sum", (11, 2)),
            ("steps", (3, 1)),
            ("Output-a", (0, 0)),
        ];
        assert_eq!(busy, expected.map(|(name, used)| (name.to_string(), used)));
    }

    #[test]
    fn records_are_those_of_the_first_input_and_of_the_first_output_once() {
        let (log, meter) = built(dataflow());
        let sent = [(9, 1), (10, 100), (11, 100), (10, 50), (11, 50), (12, 7), (13, 7)];
        let mut reader = log.0.borrow_mut();
        for (channel, records) in sent {
            reader.read(Duration::ZERO, batch(true, channel, records));
            reader.read(Duration::ZERO, batch(false, channel, records));
        }
        let records = named(&meter, |used| (used.records_in, used.records_out));
        let expected = [
            ("engine", (None, None)),
            ("Ingest-a", (None, Some(150))),
            ("Sum", (Some(150), Some(7))),
            ("steps", (None, None)),
            ("Output-a", (Some(7), None)),
        ];
        assert_eq!(records, expected.map(|(name, used)| (name.to_string(), used)));
    }

    #[test]
    fn names_are_bounded_however_many_operators_there_are() {
        let many = (1..=5_000).map(|index| operator(index, &[0, index], &format!("Own{index}")));
        let (log, meter) = built(many.chain([operator(0, &[0], "Dataflow")]).collect());
        assert_eq!(meter.read().len(), NAMES_MAX);
        let last = log.0.borrow_mut().wires.operators.last().copied().flatten();
        assert_eq!(last.map(|place| meter.0[place].name.clone()), Some(STEPS.to_string()));
    }

    #[test]
    fn timely_logs_what_is_measured() {
        let used = timely::execute_directly(|worker| {
            let log = Log::open(worker);
            worker.dataflow::<u64, _, _>(|scope| {
                (0..1_000u64)
                    .to_stream(scope)
                    .container::<Vec<_>>()
                    .exchange(|number| *number)
                    .unary::<CapacityContainerBuilder<Vec<u64>>, _, _, _>(Pipeline, "Even", |_, _| {
                        |input, output| {
                            input.for_each(|cap, batch: &mut Vec<u64>| {
                                output
                                    .session(&cap)
                                    .give_iterator(batch.drain(..).filter(|number| number % 2 == 0));
                            });
                        }
                    })
                    .filter(|number| *number < 100)
                    .probe();
            });
            let meter = log.meter();
            while worker.step() {}
            meter.read()
        });
        let names: Vec<&str> = used.iter().map(|used| used.name.as_str()).collect();
        assert_eq!(names, [ENGINE, STEPS, "Even"]);
        assert_eq!((used[2].records_in, used[2].records_out), (Some(1_000), Some(500)));
        assert!(used[2].runs > 0 && used.iter().all(|used| used.busy > Duration::ZERO), "{used:?}");
    }
}
