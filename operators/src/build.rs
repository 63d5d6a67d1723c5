//! Builds a pipeline's dataflow on one worker: inputs, keyed operators and outputs, wired to the engine's ports.
//!
//! A pipeline says what is its own: decoder, windows, keyed operators, row shapes. What every pipeline needs is
//! added here: watermarks, the side outputs for dead and late records, state, acks.

use crate::ack::{Ack, InputIx};
use crate::keyed::{self, Keyed, Resume};
use crate::port::Ports;
use crate::progress::{NewestEnded, Progress, Rules, SharedProgress, Tick};
use crate::record::Stamped;
use crate::row::{Row, Rows};
use crate::spec::{Format, InputSpec, OperatorSpec, OutputSpec};
use crate::state::StateChange;
use crate::stream::decode::{Decoder, Definition};
use crate::stream::ingest::{self, ingest};
use crate::stream::roll::{self, Roll};
use crate::stream::stage::stage;
use crate::stream::watermark::watermark;
use crate::stream::window::{Grid, Lateness};
use crate::time::{Epoch, Watermark};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::Filter;
use timely::dataflow::{Scope, StreamVec};

/// A dataflow under construction on one worker.
pub struct Build<'s> {
    scope: Scope<'s, Epoch>,
    ports: Box<dyn Ports>,
    pipeline: &'static str,
    inputs: Vec<InputSpec>,
    newest_ended: NewestEnded,
    acks: Vec<StreamVec<'s, Epoch, Ack>>,
    states: Vec<StreamVec<'s, Epoch, StateChange>>,
}

/// An input within a pipeline's dataflow. A clone is the same input again: two operators may read it.
#[derive(Clone)]
pub struct Input<'s, R: Clone + 'static, K: Clone + 'static> {
    index: InputIx,
    watermark: Watermark,
    /// Whether the source counts accepted records; an operator may do so in its place.
    counts_accepted: Rc<Cell<bool>>,
    /// Records with their stamps, on the worker that read them.
    pub records: StreamVec<'s, Epoch, Stamped<R>>,
    /// The keys of the records, by value.
    pub definitions: StreamVec<'s, Epoch, Definition<K>>,
    /// The input's watermark, on every worker.
    pub ticks: StreamVec<'s, Epoch, Tick>,
}

impl<'s> Build<'s> {
    /// Starts the dataflow of the pipeline called `pipeline`, with `inputs`, in `scope`.
    pub fn new(
        scope: Scope<'s, Epoch>,
        ports: Box<dyn Ports>,
        pipeline: &'static str,
        inputs: Vec<InputSpec>,
    ) -> Build<'s> {
        let newest_ended = NewestEnded::default();
        Build { scope, ports, pipeline, inputs, newest_ended, acks: Vec::new(), states: Vec::new() }
    }

    /// Reads input number `index`. What is dead or late leaves by the side outputs.
    ///
    /// # Panics
    /// If the pipeline has no such input.
    pub fn input<D: Decoder, L: Lateness>(
        &mut self,
        index: InputIx,
        decoder: D,
        lateness: L,
    ) -> Input<'s, D::Out, D::Key> {
        let spec = self.inputs[usize::from(index)].clone();
        let start = self.ports.start(index);
        let rules = Rules {
            grid: Grid::sliding(spec.window_ms, spec.slide_ms),
            lateness_ms: spec.lateness_ms,
            idle_flush_ms: start.idle_flush_ms,
        };
        let progress = Progress::new(rules, start.watermark, start.partitions.clone());
        let progress: SharedProgress = Rc::new(RefCell::new(progress.sharing(&self.newest_ended)));
        let counts_accepted = Rc::new(Cell::new(true));
        let options = ingest::Options {
            input: index,
            counts_accepted: Rc::clone(&counts_accepted),
            topic: start.topic.clone(),
            lateness_ms: spec.lateness_ms,
            max_ahead_ms: start.max_ahead_ms,
            not_after: start.not_after,
        };
        let (ports, shared) = (&mut self.ports, Rc::clone(&progress));
        let ingested =
            ingest(self.scope, options, (decoder, lateness), |wake| ports.feed(index, &spec, shared, wake));
        let (ticks, acks) = watermark(index, ingested.marks, progress);
        self.acks.extend([ingested.acks, acks]);
        let dead = ingested.refused.clone().filter(|refused| refused.reason.is_some());
        let late = ingested.refused.filter(|refused| refused.reason.is_none());
        for (side, rows) in [("dead", dead), ("late", late)] {
            let roll = Roll::new(&roll_name(&spec, side));
            let definitions = empty(self.scope);
            let inputs = keyed::Inputs { records: rows, definitions, ticks: ticks.clone() };
            let rolled = self.drive(roll, None, inputs, start.watermark);
            self.output(side_output(self.pipeline, &self.inputs, usize::from(index), side), rolled);
        }
        let (records, definitions) = (ingested.records, ingested.definitions);
        Input { index, watermark: start.watermark, counts_accepted, records, definitions, ticks }
    }

    /// Runs a keyed operator on the records of `input`.
    pub fn keyed<R, K>(&mut self, operator: K, input: Input<'s, R, K::Key>) -> StreamVec<'s, Epoch, K::Out>
    where
        R: Clone + 'static,
        K: Keyed<In = Stamped<R>>,
    {
        let Input { watermark, records, definitions, ticks, .. } = input;
        self.drive(operator, None, keyed::Inputs { records, definitions, ticks }, watermark)
    }

    /// Runs a keyed operator that finds repeats on the records of `input`: it counts, in place of the source, which of
    /// them are accepted and which are duplicates.
    ///
    /// # Panics
    /// If another operator counts the records of `input` already.
    pub fn counting<R, K>(&mut self, operator: K, input: Input<'s, R, K::Key>) -> StreamVec<'s, Epoch, K::Out>
    where
        R: Clone + 'static,
        K: Keyed<In = Stamped<R>>,
    {
        let Input { index, watermark, counts_accepted, records, definitions, ticks } = input;
        let first = counts_accepted.replace(false);
        assert!(first, "operator \"{}\" is the second to count the records of an input", operator.name());
        self.drive(operator, Some(index), keyed::Inputs { records, definitions, ticks }, watermark)
    }

    fn drive<K: Keyed>(
        &mut self,
        mut operator: K,
        input: Option<InputIx>,
        inputs: keyed::Inputs<'s, K::In, K::Key>,
        watermark: Watermark,
    ) -> StreamVec<'s, Epoch, K::Out> {
        let resume = Resume { saved: self.ports.saved(operator.name()), watermark };
        let saved = resume.into_operator(&mut operator).unwrap_or_else(|error| {
            self.ports.refuse(error);
            BTreeSet::new()
        });
        let driven = keyed::drive((operator, saved), input, inputs);
        self.states.push(driven.state);
        self.acks.push(driven.acks);
        driven.out
    }

    /// Writes `rows` to the lake, in the epoch they leave.
    pub fn output<R: Row>(&mut self, spec: OutputSpec, rows: StreamVec<'s, Epoch, R>) {
        let name = format!("Output-{}", spec.name);
        let ports = &mut self.ports;
        let pack = |epoch: Epoch, rows: Vec<R>| {
            let since = rows.iter().map(|row| row.since(epoch)).min().unwrap_or(epoch);
            (since, Box::new(rows) as Box<dyn Rows>)
        };
        let acks = stage(&name, rows, |wake| ports.rows(&spec, wake), pack, Ack::Lake);
        self.acks.push(acks);
    }

    /// Ends the construction: all acks of the dataflow, on the worker that gave them.
    pub fn finish(self) -> StreamVec<'s, Epoch, Ack> {
        let Build { scope, mut ports, mut acks, states, .. } = self;
        let states = scope.concatenate(states);
        let pack = |epoch, changes: Vec<StateChange>| (epoch, changes);
        acks.push(stage("State", states, |wake| ports.state(wake), pack, Ack::State));
        scope.concatenate(acks)
    }
}

/// The outputs that the inputs of `pipeline` have beside its rows: dead letters and late records of each.
pub fn side_outputs(pipeline: &str, inputs: &[InputSpec]) -> Vec<OutputSpec> {
    let sides = (0..inputs.len()).flat_map(|index| ["dead", "late"].map(|side| (index, side)));
    sides.map(|(index, side)| side_output(pipeline, inputs, index, side)).collect()
}

/// The keyed operators that every input has: the open rolls of its side outputs.
pub fn side_operators(input: &InputSpec) -> [OperatorSpec; 2] {
    ["dead", "late"].map(|side| OperatorSpec::of::<Roll>(&roll_name(input, side)))
}

fn roll_name(input: &InputSpec, side: &str) -> String {
    format!("Roll-{side}-{}", input.name)
}

/// The output of the refused records of input `index`. Its files have the input's name if there are several inputs: all
/// of them lie in one folder.
fn side_output(pipeline: &str, inputs: &[InputSpec], index: usize, side: &'static str) -> OutputSpec {
    let name = format!("{side}-{}", inputs[index].name);
    OutputSpec {
        stem: if inputs.len() > 1 { name.clone().into() } else { side.into() },
        name,
        prefix: format!("_{side}/{pipeline}"),
        format: Format::NdjsonGz,
        columns: roll::columns(side == "late"),
    }
}
