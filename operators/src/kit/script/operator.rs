//! Scripts for one operator: what comes in, and what must come out, on any number of workers.

use crate::ack::InputIx;
use crate::build::Build;
use crate::error::Reason;
use crate::keyed::Keyed;
use crate::kit::logic::Logic;
use crate::kit::per_key::{PerKey, encoded};
use crate::kit::record::Record;
use crate::kit::script::at::At;
use crate::kit::script::kept::{Fates, Refusal};
use crate::kit::script::lines::{Flags, Item, Line, Play, PlayInput, Source};
use crate::kit::script::play::{Dataflow, Stage};
use crate::kit::script::spoiler::Spoiler;
use crate::record::{Partition, Payload, Raw};
use crate::spec::InputSpec;
use crate::state::Saved;
use crate::stream::decode::{Context, Decoded, Decoder, Definition};
use crate::stream::window::Closing;
use crate::time::{Epoch, EventTime};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use timely::ExchangeData;
use timely::dataflow::operators::Inspect;

/// The names of a script's inputs.
const INPUTS: [&str; 4] = ["first", "second", "third", "fourth"];

/// The name of the operator under test.
const OPERATOR: &str = "Operator";

/// How long an idle partition of a script has been idle.
const IDLE_MS: u64 = 60_000;

/// In how many other ways a script is cut into epochs.
const CUTS: u64 = 6;

/// Starts a script for the operator that `make` makes: with one input of one partition, no lateness, and nothing that the
/// end of the input would have to wait for.
pub fn script<L: Logic>(make: impl Fn() -> L + Send + Sync + 'static) -> Script<L> {
    Script {
        make: Arc::new(make),
        lateness_ms: 0,
        flush_ms: None,
        closing: Closing::Horizon { ms: 0 },
        partitions: vec![1],
        current: Source::default(),
        lines: vec![Line::new()],
        resting: BTreeSet::new(),
        expected: Vec::new(),
        told: 0,
        spoiler: None,
    }
}

/// What happens to one operator, and what it must do. [`Script::check`] plays it.
#[must_use = "a script that is not checked tests nothing"]
pub struct Script<L: Logic> {
    make: Arc<dyn Fn() -> L + Send + Sync>,
    lateness_ms: i64,
    flush_ms: Option<u64>,
    closing: Closing,
    /// How many partitions each input has.
    partitions: Vec<u32>,
    current: Source,
    lines: Vec<Line>,
    /// The partitions that are idle or have ended.
    resting: BTreeSet<Source>,
    expected: Vec<Expected<L>>,
    /// How many lines the last `gives` has looked at.
    told: usize,
    spoiler: Option<Arc<dyn Spoiler>>,
}

/// What must hold after some line.
struct Expected<L: Logic> {
    from: usize,
    line: usize,
    what: What<L>,
}

enum What<L: Logic> {
    Gives(Vec<L::Out>),
    GivesAll(Vec<L::Out>),
    State(L::Key, L::State),
    Timers(L::Key, Vec<EventTime>),
    Late(u64),
    Dropped(String, u64),
}

/// What one run of a script led to.
struct Run<L: Logic> {
    /// In the order of (time, place).
    given: Vec<(Epoch, Record<L::Out>)>,
    refused: Vec<Refusal>,
    fates: Fates,
    dropped: BTreeMap<(String, String), u64>,
    held: Held<L>,
}

/// By the encoded key.
type Held<L> = BTreeMap<Vec<u8>, (Vec<EventTime>, <L as Logic>::State)>;

/// What the operator has given, noted as it is given.
type Captured<Out> = Arc<Mutex<Vec<(Epoch, Record<Out>)>>>;

impl<L: Logic> Script<L>
where
    L::In: ExchangeData + Clone,
    L::Out: Send + PartialEq + Debug,
    L::State: Debug,
{
    /// How much disorder is waited for.
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.lateness_ms = i64::try_from(lateness.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// What the end of each input closes, and what is late in it.
    pub fn closing(mut self, closing: Closing) -> Self {
        self.closing = closing;
        self
    }

    /// How far what a record opens may reach: the end of the inputs closes that, too.
    pub fn horizon(self, horizon: Duration) -> Self {
        let ms = i64::try_from(horizon.as_millis()).unwrap_or(i64::MAX);
        self.closing(Closing::Horizon { ms })
    }

    /// After how long idleness of all partitions the windows of a [`Closing::Grid`] are flushed. A partition that becomes idle
    /// in a script has been idle for a minute.
    pub fn flush(mut self, after: Duration) -> Self {
        self.flush_ms = Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// The inputs, each with a number of partitions.
    ///
    /// # Panics
    /// If there are more than four, or if something has happened already.
    pub fn inputs(mut self, partitions: &[u32]) -> Self {
        assert!(partitions.len() <= INPUTS.len(), "a script has at most {} inputs", INPUTS.len());
        assert!(self.lines.iter().all(Vec::is_empty), "inputs are said before anything happens");
        self.partitions = partitions.to_vec();
        self
    }

    /// From now on, records come from this partition of this input.
    ///
    /// # Panics
    /// If the script has no such partition.
    pub fn from(mut self, input: u16, partition: u32) -> Self {
        let partitions = self.partitions.get(usize::from(input)).copied().unwrap_or(0);
        assert!(partition < partitions, "input {input} of the script has no partition {partition}");
        self.current = Source { input: InputIx(input), partition: Partition(partition) };
        self
    }

    /// A record. A partition that is idle wakes first, as in production.
    pub fn record(mut self, at: impl Into<At>, record: L::In) -> Self {
        self.message(self.current, at.into().0, Some(record));
        self
    }

    /// Moves the watermark of every partition that is not idle to `at`: by a record that the operator does not receive.
    pub fn watermark(mut self, at: impl Into<At>) -> Self {
        let at = at.into().0.plus_ms(self.lateness_ms);
        for source in self.sources() {
            if !self.resting.contains(&source) {
                self.message(source, at, None);
            }
        }
        self
    }

    /// Ends the epoch here. [`Script::check`] cuts the script in other places, too.
    pub fn epoch(mut self) -> Self {
        self.cut();
        self
    }

    /// The current partition becomes idle.
    pub fn idle(mut self) -> Self {
        let flags = Flags { idle_ms: Some(IDLE_MS), ..Flags::default() };
        self.flags([self.current], flags);
        self.resting.insert(self.current);
        self
    }

    /// The current partition ends.
    pub fn ended(mut self) -> Self {
        self.flags([self.current], Flags { ended: true, ..Flags::default() });
        self.resting.insert(self.current);
        self
    }

    /// All partitions of all inputs end.
    pub fn end(mut self) -> Self {
        let all = self.sources();
        self.resting.extend(all.iter().copied());
        self.flags(all, Flags { ended: true, ..Flags::default() });
        self
    }

    /// Since the last time this was asked, the operator has given this, in this order.
    pub fn gives(mut self, out: impl IntoIterator<Item = L::Out>) -> Self {
        self.expect(What::Gives(out.into_iter().collect()));
        self.told = self.lines.len() - 1;
        self
    }

    /// Since the last time this was asked, the operator has given this, in any order: what belongs to several keys at one
    /// instant has none.
    pub fn gives_in_any_order(mut self, out: impl IntoIterator<Item = L::Out>) -> Self {
        self.expect(What::GivesAll(out.into_iter().collect()));
        self.told = self.lines.len() - 1;
        self
    }

    /// This is what is remembered of `key`.
    pub fn state(mut self, key: L::Key, state: L::State) -> Self {
        self.expect(What::State(key, state));
        self
    }

    /// These are the timers of `key`, rising.
    pub fn timers<T: Into<At>>(mut self, key: L::Key, timers: impl IntoIterator<Item = T>) -> Self {
        self.expect(What::Timers(key, timers.into_iter().map(|at| at.into().0).collect()));
        self
    }

    /// So many records were late, in the whole script.
    pub fn late(mut self, records: u64) -> Self {
        self.expect(What::Late(records));
        self
    }

    /// The operator has left out so many records for this reason, in the whole script.
    pub fn dropped(mut self, reason: &str, records: u64) -> Self {
        self.expect(What::Dropped(reason.to_string(), records));
        self
    }

    /// Plays the script with the production driver, and compares what it says with what was expected, and each run with the
    /// others: on 1, 2 and 3 workers; cut into epochs in other places, with the partitions mixed; killed and rescaled after
    /// every epoch. No two runs have the same seeds of hash maps, and none takes place at the same time.
    ///
    /// # Panics
    /// If anything differs.
    pub fn check(mut self) {
        self.cut();
        self.lines.pop();
        let (play, captured) = (self.play(self.lines.clone()), Captured::default());
        let dataflow = self.dataflow(&captured);
        let last = play.last();
        // 1. As it is written, on one worker: what must hold.
        let mut stage = play.stage(&dataflow);
        stage.run(1, 0, last);
        let first = self.outcome(&stage, &captured);
        for expected in &self.expected {
            self.demand(expected, &stage, &first);
        }
        // 2. Again, on any number of workers.
        for workers in 1..=3 {
            let mut stage = play.stage(&dataflow);
            stage.run(workers, 1, last);
            self.same(&first, &self.outcome(&stage, &captured), Cut::Same, &format!("on {workers} workers"));
        }
        // 3. Killed and rescaled after every epoch.
        let kills: Vec<usize> = (1..self.lines.len()).collect();
        for workers in [[1, 2, 3], [3, 1, 2]] {
            let mut stage = play.stage(&dataflow);
            stage.run_with_kills(&workers, &kills);
            let how = format!("killed after every epoch, on {workers:?} workers in turn");
            self.same(&first, &self.outcome(&stage, &captured), Cut::Same, &how);
        }
        // 4. Cut in other places.
        for seed in 0..CUTS {
            let lines = recut(&self.lines, seed);
            let play = self.play(lines);
            let mut stage = play.stage(&dataflow);
            stage.run(1 + usize::try_from(seed % 3).unwrap_or(0), seed, play.last());
            let how = format!("cut into other epochs (seed {seed})");
            self.same(&first, &self.outcome(&stage, &captured), Cut::Other, &how);
        }
    }

    /// Plays the script once, on so many workers, and gives what the operator gives, in the order of event time. For measuring.
    pub fn play_once(mut self, workers: usize) -> Vec<L::Out> {
        self.cut();
        self.lines.pop();
        let (play, captured) = (self.play(self.lines.clone()), Captured::default());
        let dataflow = self.dataflow(&captured);
        let mut stage = play.stage(&dataflow);
        stage.run(workers, 0, play.last());
        self.outcome(&stage, &captured).given.into_iter().map(|(_, record)| record.data).collect()
    }

    /// Plays it on a driver with a bug.
    #[cfg(test)]
    pub(crate) fn spoiled(mut self, spoiler: impl Spoiler + 'static) -> Self {
        self.spoiler = Some(Arc::new(spoiler));
        self
    }

    fn sources(&self) -> Vec<Source> {
        let inputs = (0..).map(InputIx).zip(&self.partitions);
        let source = |(input, partitions): (InputIx, &u32)| {
            (0..*partitions).map(move |partition| Source { input, partition: Partition(partition) })
        };
        inputs.flat_map(source).collect()
    }

    fn message(&mut self, source: Source, at: EventTime, record: Option<L::In>) {
        if self.resting.remove(&source) {
            self.flags([source], Flags { joining: true, ..Flags::default() });
        }
        let (value, timestamp_ms) = (Some(encoded(&(at, record))), None);
        self.line().push(Item::Message { source, value, timestamp_ms });
    }

    /// What sources say of partitions has an epoch of its own.
    fn flags(&mut self, sources: impl IntoIterator<Item = Source>, flags: Flags) {
        self.cut();
        self.line().extend(sources.into_iter().map(|source| Item::Flags { source, flags }));
        self.cut();
    }

    fn line(&mut self) -> &mut Line {
        self.lines.last_mut().expect("there is an open line")
    }

    fn cut(&mut self) {
        if self.lines.last().is_some_and(|line| !line.is_empty()) {
            self.lines.push(Line::new());
        }
    }

    fn expect(&mut self, what: What<L>) {
        self.cut();
        self.expected.push(Expected { from: self.told, line: self.lines.len() - 1, what });
    }

    fn play(&self, lines: Vec<Line>) -> Play {
        let input = |(name, partitions): (&&'static str, &u32)| PlayInput {
            spec: InputSpec {
                name,
                topic: name,
                lateness_ms: self.lateness_ms,
                closing: self.closing,
                header: None,
            },
            partitions: *partitions,
        };
        Play {
            inputs: INPUTS.iter().zip(&self.partitions).map(input).collect(),
            lines,
            flush_ms: self.flush_ms,
        }
    }

    fn dataflow(&self, captured: &Captured<L::Out>) -> Dataflow {
        let (make, captured, kept) = (Arc::clone(&self.make), Arc::clone(captured), Arc::clone(captured));
        let inputs = self.partitions.len();
        let build = move |build: &mut Build<'_>| {
            let scripted = || Scripted::<L::In>(PhantomData);
            let all = INPUTS[..inputs].iter().map(|name| build.records(name, scripted()));
            let all = all.reduce(|one, other| one.and(other)).expect("a script has an input");
            let out = build.logic(OPERATOR, make(), all.filter_map_data(|record| record));
            let captured = Arc::clone(&captured);
            out.records().inspect_time(move |epoch, record| {
                let mut captured = captured.lock().expect("no worker has panicked");
                captured.push((*epoch, record.clone()));
            });
        };
        let forget_after = move |last: Epoch| {
            kept.lock().expect("no worker has panicked").retain(|(epoch, _)| *epoch <= last);
        };
        let spoiler = self.spoiler.clone();
        Dataflow {
            build: Arc::new(build),
            forget_after: Arc::new(forget_after),
            unsealing: None,
            files: Arc::default(),
            spoiler,
        }
    }

    fn outcome(&self, stage: &Stage<'_>, captured: &Captured<L::Out>) -> Run<L> {
        let mut given = std::mem::take(&mut *captured.lock().expect("no worker has panicked"));
        given.sort_by_key(|(_, record)| (record.time, record.place));
        let played = stage.played();
        let mut state = stage.state_at(Epoch(u64::MAX));
        let held = self.held(state.remove(OPERATOR).unwrap_or_default());
        Run { given, refused: played.refused, fates: played.fates, dropped: played.dropped, held }
    }

    /// What the operator holds of its keys, read back from sections.
    fn held(&self, saved: Vec<Saved>) -> Held<L> {
        let mut operator = PerKey::new(OPERATOR, (self.make)());
        for section in saved.iter().filter(|section| !section.bytes.is_empty()) {
            operator.restore(section).expect("the operator reads what it wrote");
        }
        operator.into_entries().map(|(key, timers, state)| (encoded(&key), (timers, state))).collect()
    }

    fn demand(&self, Expected { from, line, what }: &Expected<L>, stage: &Stage<'_>, run: &Run<L>) {
        let at = Epoch(*line as u64);
        let held = || {
            let saved = stage.state_at(at).remove(OPERATOR).unwrap_or_default();
            self.held(saved)
        };
        let given = || -> Vec<&L::Out> {
            let is_new = |epoch: &Epoch| *epoch > Epoch(*from as u64) && *epoch <= at;
            let given = run.given.iter().filter(|(epoch, _)| is_new(epoch));
            given.map(|(_, record)| &record.data).collect()
        };
        let place = format!("after line {line} of the script");
        match what {
            What::Gives(expected) => {
                assert_eq!(given(), expected.iter().collect::<Vec<_>>(), "what the operator gives {place}");
            }
            What::GivesAll(expected) => {
                let mut missing: Vec<&L::Out> = expected.iter().collect();
                let mut more = given();
                more.retain(|one| {
                    let at = missing.iter().position(|other| other == one);
                    at.map(|at| missing.swap_remove(at)).is_none()
                });
                let none: Vec<&L::Out> = Vec::new();
                assert_eq!(
                    (more, missing),
                    (none.clone(), none),
                    "given (left) and not given (right) {place}"
                );
            }
            What::State(key, expected) => {
                let held = held().remove(&encoded(key)).map(|(_, state)| state).unwrap_or_default();
                assert_eq!(held, *expected, "the state of {key:?} {place}");
            }
            What::Timers(key, expected) => {
                let held = held().remove(&encoded(key)).map(|(timers, _)| timers).unwrap_or_default();
                assert_eq!(held, *expected, "the timers of {key:?} {place}");
            }
            What::Late(expected) => assert_eq!(run.fates.late, *expected, "late records"),
            What::Dropped(reason, expected) => {
                let key = (OPERATOR.to_string(), reason.clone());
                let dropped = run.dropped.get(&key).copied().unwrap_or(0);
                assert_eq!(dropped, *expected, "records that were dropped as {reason}");
            }
        }
    }

    fn same(&self, first: &Run<L>, run: &Run<L>, cut: Cut, how: &str) {
        let given = |run: &Run<L>| -> Vec<(Option<Epoch>, EventTime, L::Out)> {
            let epoch = |epoch: Epoch| (cut == Cut::Same).then_some(epoch);
            run.given.iter().map(|(e, record)| (epoch(*e), record.time, record.data.clone())).collect()
        };
        assert_eq!(given(run), given(first), "{how}, the operator gives something else (left)");
        assert_eq!(run.refused, first.refused, "{how}, other messages are refused (left)");
        assert_eq!(run.fates, first.fates, "{how}, messages have other fates (left)");
        assert_eq!(run.dropped, first.dropped, "{how}, the operator drops something else (left)");
        assert_eq!(run.held, first.held, "{how}, the operator holds something else (left)");
    }
}

/// Whether a run was cut into the epochs of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Same,
    Other,
}

/// The messages of `lines` cut into epochs in other places, and the partitions mixed in another way; each partition keeps its
/// order. What sources say of partitions stays where it is: it decides who waits for whom.
fn recut(lines: &[Line], seed: u64) -> Vec<Line> {
    let mut random = Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let is_message = |item: &Item| matches!(item, Item::Message { .. });
    let mut cut = Vec::new();
    for part in lines.chunk_by(|a, b| a.iter().all(is_message) && b.iter().all(is_message)) {
        if !part.iter().flatten().all(is_message) {
            cut.extend_from_slice(part);
            continue;
        }
        let mut queues: BTreeMap<Source, std::collections::VecDeque<Item>> = BTreeMap::new();
        for item in part.iter().flatten() {
            queues.entry(item.source()).or_default().push_back(item.clone());
        }
        let mut line = Line::new();
        while !queues.is_empty() {
            let at = random.below(queues.len());
            let source = *queues.keys().nth(at).expect("it is below the number of queues");
            let queue = queues.get_mut(&source).expect("it is there");
            line.extend(queue.pop_front());
            if queue.is_empty() {
                queues.remove(&source);
            }
            if random.below(4) == 0 {
                cut.push(std::mem::take(&mut line));
            }
        }
        if !line.is_empty() {
            cut.push(line);
        }
    }
    cut
}

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }
}

/// Reads the messages of a script: event time, and the record if the operator receives one.
struct Scripted<R>(PhantomData<R>);

impl<R: ExchangeData + Clone> Decoder for Scripted<R> {
    type Out = Option<R>;
    type Key = ();

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        _definitions: &mut Vec<Definition<()>>,
    ) -> Result<Decoded<Option<R>>, Reason> {
        let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
        let (time, record) = postcard::from_bytes(value).map_err(|_| Reason::of("not-of-the-script"))?;
        Ok(Decoded::Record(time, record))
    }
}
