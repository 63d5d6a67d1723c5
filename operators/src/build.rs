//! Builds a pipeline's dataflow on one worker: inputs, keyed operators and outputs, wired to the engine's ports.
//!
//! A pipeline says what is its own: decoders, keyed operators, row shapes. What every pipeline needs is added here:
//! watermarks, the side outputs for dead and late records, state, acks. What the pipeline builds is noted on the way
//! ([`Shape`]), and so is what is wrong with it: nothing has to be declared a second time.
//!
//! ```text
//! inputs ──records──► keyed operators, one after another, side by side ──► outputs ──┐
//!    │  └─refused───► rolls ──────────────────────────────────────────► side outputs ┤ acks
//!    └─marks─► watermark ─moments─► every keyed operator ──state──► state files ─────┘
//! ```

use crate::ack::{Ack, InputIx};
use crate::error::Reason;
use crate::flow::{Either, Flow};
use crate::keyed::{self, Driver, Keyed, Resume, Writes};
use crate::pace::{InputPace, Moment, Pace, SetIx, SharedPace};
use crate::port::{InputStart, Ports, RestoredRows};
use crate::progress::{Mark, Progress, Rules};
use crate::record::Stamped;
use crate::row::{Row, Rows};
use crate::shape::{Notes, Problem, Seals, Shape};
use crate::snapshots::{self, SharedSnapshots, Snapshots};
use crate::spec::{Format, InputSpec, OperatorSpec, OutputSpec, ViewSpec, roll_of};
use crate::state::StateChange;
use crate::stream::decode::Decoder;
use crate::stream::each::each;
use crate::stream::ingest::{self, Ingested, ingest};
use crate::stream::pick::pick;
use crate::stream::roll::{self, Cells, Roll};
use crate::stream::stage::{self, stage};
use crate::stream::watermark::watermark;
use crate::time::Epoch;
use crate::view::keep::{Fold, Keep};
use crate::view::refill::{self, CommittedRow, Refill};
use crate::view::rollup::{Occurring, Rollup, Sums};
use crate::view::row::{FIRST_DAY_FILES, ViewRow, ViewUpdate};
use crate::view::scd2::{self, Event, Fact, Scd2, Version};
use crate::view::seal::{self, Parted, Sealed, Sealing};
use crate::view::table::{Key, Table, Update, shard_of};
use differential_dataflow::consolidation::consolidate;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::vec::Drain;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::core::feedback::Handle;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::{Concatenate, ConnectLoop, Exchange, Feedback};
use timely::dataflow::{Scope, StreamVec};

/// A dataflow under construction on one worker.
pub struct Build<'s> {
    scope: Scope<'s, Epoch>,
    ports: Box<dyn Ports>,
    pipeline: &'static str,
    inputs: Vec<Input>,
    pace: SharedPace,
    /// Where the marks of all inputs go, once all are there.
    marks_handle: Handle<'s, Epoch, Vec<(InputIx, Mark)>>,
    marks: Vec<StreamVec<'s, Epoch, (InputIx, Mark)>>,
    moments: StreamVec<'s, Epoch, Rc<Moment>>,
    acks: Vec<StreamVec<'s, Epoch, Ack>>,
    states: Vec<StreamVec<'s, Epoch, StateChange>>,
    views: Vec<StreamVec<'s, Epoch, ViewUpdate>>,
    notes: Notes,
    snapshots: SharedSnapshots,
    /// Which days are sealed as of the committed epoch, and the inputs by whose watermark they are, if [`Build::seal`] was called.
    sealed: Option<(Sealed, SetIx)>,
}

/// An input of the pipeline, and whether its source or an operator counts its accepted records.
struct Input {
    spec: InputSpec,
    start: InputStart,
    counts_accepted: Rc<Cell<bool>>,
}

/// The versions of each key as a table, and each fact with the version it found.
pub type Histories<'s, K, V, F> = (Table<'s, Version<K, V>>, Flow<'s, Fact<K, V, F>>);

impl<'s> Build<'s> {
    /// Starts the dataflow of the pipeline called `pipeline`, with `inputs`, in `scope`.
    pub fn new(
        scope: Scope<'s, Epoch>,
        mut ports: Box<dyn Ports>,
        pipeline: &'static str,
        inputs: Vec<InputSpec>,
    ) -> Build<'s> {
        let notes = Notes::new(&inputs);
        let input = |(index, spec): (InputIx, InputSpec)| Input {
            start: ports.start(index),
            counts_accepted: Rc::new(Cell::new(true)),
            spec,
        };
        let inputs: Vec<Input> = (0..).map(InputIx).zip(inputs).map(input).collect();
        let progress = |Input { spec, start, .. }: &Input| {
            let (closing, lateness_ms) = (spec.closing, spec.lateness_ms);
            let rules = Rules { closing, lateness_ms, idle_flush_ms: start.idle_flush_ms };
            Progress::new(rules, start.watermark, start.partitions.iter().copied())
        };
        let pace = Pace::new(inputs.iter().map(progress).collect(), ports.watermarks());
        let pace = Rc::new(RefCell::new(pace));
        // The marks come from inputs that are not built yet. There is no loop: no source takes anything in.
        let (marks_handle, all_marks) = scope.feedback(0);
        let (moments, acks) = watermark(all_marks, Rc::clone(&pace));
        let (marks, states, views, acks) = (Vec::new(), Vec::new(), Vec::new(), vec![acks]);
        let snapshots = Rc::new(RefCell::new(Snapshots::new(snapshots::Rules::default())));
        Build {
            scope,
            ports,
            pipeline,
            inputs,
            pace,
            marks_handle,
            marks,
            moments,
            acks,
            states,
            views,
            notes,
            snapshots,
            sealed: None,
        }
    }

    /// Lets the state files of this worker be written by other rules than the default ones: in tests a few epochs are to
    /// need every kind of section.
    ///
    /// # Panics
    /// If operators were added before.
    #[must_use]
    pub fn with_rules(self, rules: snapshots::Rules) -> Build<'s> {
        assert!(self.states.is_empty(), "the rules are the same for all operators");
        self.snapshots.replace(Snapshots::new(rules));
        self
    }

    /// Reads the input called `name`. What is dead or late leaves by its side outputs.
    pub fn input<D: Decoder>(&mut self, name: &str, decoder: D) -> Flow<'s, Stamped<D::Out>, D::Key> {
        let Some(index) = self.notes.read(name) else { return self.nothing() };
        let Input { spec, start, counts_accepted } = &self.inputs[index.index()];
        let options = ingest::Options {
            name: format!("Ingest-{name}"),
            input: index,
            first_epoch: self.ports.first_epoch(),
            counts_accepted: Rc::clone(counts_accepted),
            topic: start.topic.clone(),
            lateness_ms: spec.lateness_ms,
            max_ahead_ms: start.max_ahead_ms,
            not_after: start.not_after,
            rules: Arc::clone(&start.rules),
        };
        self.notes.record_columns(index, decoder.columns());
        let (ports, pace) = (&mut self.ports, InputPace::new(&self.pace, index));
        let (spec, closing) = (spec.clone(), spec.closing);
        let make = |wake| ports.feed(index, &spec, pace, wake);
        let Ingested { records, definitions, marks, refused, acks } =
            ingest(self.scope, options, decoder, closing, make);
        let mark =
            move |_, batch: Drain<'_, Mark>, made: &mut Vec<_>| made.extend(batch.map(|mark| (index, mark)));
        self.marks.push(each(marks, "Marks", Box::new(mark)));
        self.acks.push(acks);
        let refused = self.flow(index, refused);
        let dead = refused.clone().filter(|refused| refused.reason.is_some());
        let late = refused.filter(|refused| refused.reason.is_none());
        for (side, rows) in [("dead", dead), ("late", late)] {
            let rolled = self.keyed(Roll::new(&roll_of(&format!("{side}-{name}")), roll::SIDE_LIMITS), rows);
            self.output(self.side_output(name, side), rolled);
        }
        Flow { definitions: Some(definitions), whole: Some(index), ..self.flow(index, records) }
    }

    /// What comes from input `index` alone.
    fn flow<R: Clone + 'static, K: Clone + 'static>(
        &self,
        index: InputIx,
        records: StreamVec<'s, Epoch, R>,
    ) -> Flow<'s, R, K> {
        let (moments, pace) = (self.moments.clone(), Rc::clone(&self.pace));
        Flow { records, definitions: None, moments, pace, set: SetIx::of(index), whole: None }
    }

    /// Stands in for an input that is not there, so that a shape can say all that is wrong.
    fn nothing<R: Clone + 'static, K: Clone + 'static>(&self) -> Flow<'s, R, K> {
        self.flow(InputIx(0), empty(self.scope))
    }

    /// Runs a keyed operator on the records of `flow`.
    pub fn keyed<K: Keyed>(&mut self, operator: K, flow: Flow<'s, K::In, K::Key>) -> Flow<'s, K::Out> {
        self.drive(operator, None, flow)
    }

    /// Runs a keyed operator that finds repeats: it counts, in place of the source, which records of an input are
    /// accepted and which are duplicates. `flow` must have every record of one input, and no other operator may count them.
    pub fn counting<K: Keyed>(&mut self, operator: K, flow: Flow<'s, K::In, K::Key>) -> Flow<'s, K::Out> {
        let counts = self.notes.counts(operator.name(), flow.whole);
        if let Some(input) = counts {
            self.inputs[input.index()].counts_accepted.set(false);
        }
        self.drive(operator, counts, flow)
    }

    fn drive<K: Keyed>(
        &mut self,
        mut operator: K,
        counts: Option<InputIx>,
        flow: Flow<'s, K::In, K::Key>,
    ) -> Flow<'s, K::Out> {
        self.notes.operator(OperatorSpec::of::<K>(operator.name()), K::show);
        let committed = self.committed();
        let resume =
            Resume { saved: self.ports.saved(operator.name()), committed, watermark: flow.watermark() };
        let number = self.snapshots.borrow_mut().add(resume.saved.as_deref().unwrap_or_default());
        let writes = Writes { snapshots: Rc::clone(&self.snapshots), operator: number };
        let resumed = match resume.into_operator(&mut operator) {
            Ok(resumed) => {
                self.ports.restored(operator.name(), operator.held());
                resumed
            }
            Err(error) => {
                self.ports.refuse(error);
                keyed::Resumed::default()
            }
        };
        let (moments, pace, set) = (flow.moments.clone(), Rc::clone(&flow.pace), flow.set);
        let driven = keyed::drive(Driver { operator, counts, resumed, writes }, flow);
        self.states.push(driven.state);
        self.acks.push(driven.acks);
        Flow { records: driven.out, definitions: None, moments, pace, set, whole: None }
    }

    /// Makes another record of each, as [`Flow::filter_map`], and counts by reason what it drops. Use it for records that
    /// an output should have and cannot hold. For records that an output is not about, [`Flow::filter_map`] is enough.
    pub fn pick<R: Clone + 'static, S: Clone + 'static>(
        &mut self,
        name: &str,
        flow: Flow<'s, R>,
        logic: impl FnMut(R) -> Result<S, Reason> + 'static,
    ) -> Flow<'s, S> {
        let (records, acks) = pick(flow.records.clone(), name, self.committed(), logic);
        self.acks.push(acks);
        Flow { whole: None, ..flow.with(records) }
    }

    /// Keeps a value for each key, by what `fold` makes of the changes in `flow`.
    pub fn keep<F: Fold>(
        &mut self,
        name: &str,
        fold: F,
        flow: Flow<'s, (F::Key, F::Change)>,
    ) -> Table<'s, (F::Key, F::Value)> {
        self.notes.keep(name);
        Table::of(self.keyed(Keep::new(name, fold, self.committed()), flow))
    }

    /// Keeps a value for each key, as [`Build::keep`], and gives up the keys of days that [`Build::seal`] seals; `day` is the day of
    /// a key. They leave by the watermark that seals, whatever inputs `flow` comes from. Totals over all days must not be derived from
    /// such a table: they would shrink with it.
    pub fn keep_by_day<F: Fold>(
        &mut self,
        name: &str,
        fold: F,
        flow: Flow<'s, (F::Key, F::Change)>,
        day: impl Fn(&F::Key) -> i64 + 'static,
    ) -> Table<'s, (F::Key, F::Value)> {
        let Some((sealed, set)) = self.sealed.clone() else { return self.keep(name, fold, flow) };
        self.notes.keep(name);
        let keep = Keep::new(name, fold, self.committed()).leaving(sealed, day);
        Table::of(self.keyed(keep, Flow { set, ..flow }))
    }

    /// Splits `flow` into records of open days and records of sealed days. `day` gives the day of a record. Call it once, before
    /// anything that keeps by day is built.
    pub fn seal<R: Clone + 'static>(
        &mut self,
        sealing: Sealing,
        flow: &Flow<'s, R>,
        day: impl Fn(&R) -> i64 + 'static,
    ) -> (Flow<'s, R>, Flow<'s, R>) {
        let up_to = self.ports.sealed_up_to(sealing.up_to(flow.watermark()));
        let sealed = Sealed::new(sealing.clone(), up_to).unsealing(&self.ports.unsealed());
        self.sealed = Some((sealed, flow.set));
        self.notes.seal(Seals { inputs: flow.inputs(), sealing });
        self.part("Seal", flow, day)
    }

    /// Splits the records of one more flow by the days that [`Build::seal`] seals. All are of open days where it was not called.
    /// `name` is the operator's.
    pub fn part<R: Clone + 'static>(
        &mut self,
        name: &str,
        flow: &Flow<'s, R>,
        day: impl Fn(&R) -> i64 + 'static,
    ) -> (Flow<'s, R>, Flow<'s, R>) {
        let Some((sealed, set)) = self.sealed.clone() else {
            return (flow.clone(), flow.clone().filter(|_| false));
        };
        let flow = Flow { set, whole: None, ..flow.clone() };
        let Parted { open, sealed, acks } = seal::part(&flow, name, self.committed(), sealed, day);
        self.acks.push(acks);
        (flow.with(open), flow.with(sealed))
    }

    /// True if [`Build::seal`] was called.
    pub fn seals(&self) -> bool {
        self.sealed.is_some()
    }

    /// Returns `flow`; if an operator made by [`Build::keep`] is new to the job, or a day was unsealed, what `read` makes of the
    /// committed rows of `outputs` precedes the records of `flow`. Only operators of views may read the returned flow. Each output is
    /// read by one call; days are unsealed only if the outputs of the first call have facts of them.
    pub fn refill<R: Clone + 'static>(
        &mut self,
        outputs: Refill,
        flow: Flow<'s, R>,
        read: impl Fn(&CommittedRow<'_>) -> Result<Option<R>, String> + 'static,
    ) -> Flow<'s, R> {
        self.notes.refill(outputs);
        let rows = self.ports.committed_rows(outputs);
        refill::refill(flow, self.committed(), rows, read)
    }

    /// Sums amounts by key. Each record adds a row with its amounts, or takes one away.
    pub fn rollup<K: Key, const N: usize>(
        &mut self,
        name: &str,
        flow: Flow<'s, (K, Sums<N>)>,
    ) -> Table<'s, (K, Sums<N>)> {
        self.keep(name, Rollup::default(), flow)
    }

    /// The keys that occur. Each record adds rows of a key, or takes some away; a key is there while it has any. Nothing leaves
    /// where only the count of a key changes.
    pub fn occurring<K: Key>(&mut self, name: &str, flow: Flow<'s, (K, Sums<0>)>) -> Table<'s, K> {
        self.keep(name, Occurring::default(), flow).map(|(key, _)| key)
    }

    /// Sums amounts by key, as [`Build::rollup`], and gives up the keys of sealed days, as [`Build::keep_by_day`].
    pub fn rollup_by_day<K: Key, const N: usize>(
        &mut self,
        name: &str,
        flow: Flow<'s, (K, Sums<N>)>,
        day: impl Fn(&K) -> i64 + 'static,
    ) -> Table<'s, (K, Sums<N>)> {
        self.keep_by_day(name, Rollup::default(), flow, day)
    }

    /// Keeps the history of a value by key, and finds the version of each fact.
    pub fn scd2<K: Key, V: Key, F: Key>(
        &mut self,
        name: &str,
        flow: Flow<'s, Stamped<Event<K, V, F>>>,
    ) -> Histories<'s, K, V, F> {
        let out = self.keyed(Scd2::new(name, self.committed()), flow);
        let (versions, facts) = out.split(|out| match out {
            scd2::Out::Version(update) => Either::Left(update),
            scd2::Out::Fact(fact) => Either::Right(fact),
        });
        (Table::of(versions), facts)
    }

    /// Shows the rows of `table` outside the dataflow, and keeps them up to date.
    pub fn view(&mut self, spec: ViewSpec, table: Table<'s, ViewRow>) {
        let columns = spec.columns.len();
        let view = self.notes.view(spec);
        self.show(view, columns, table);
    }

    /// Writes the rows of `table` as gold files, one for each value of the column [`ViewSpec::day`], and keeps the files up to
    /// date. For tables that are too large for memory: nothing else shows them.
    pub fn day_files(&mut self, spec: ViewSpec, table: Table<'s, ViewRow>) {
        let columns = spec.columns.len();
        let number = self.notes.day_file(spec);
        self.show(number, columns, table);
    }

    fn show(&mut self, view: u16, columns: usize, table: Table<'s, ViewRow>) {
        let update = move |(row, _, diff): Update<ViewRow>| {
            assert_eq!(row.0.len(), columns, "a row of a view has another number of values than columns");
            ViewUpdate { view, row, diff }
        };
        self.views.push(table.updates().map(update).records());
    }

    /// The epoch that the run starts from.
    pub fn committed(&self) -> Epoch {
        Epoch(self.ports.first_epoch().0.saturating_sub(1))
    }

    /// Writes the rows of `flow` to the lake: in the epoch they leave; or into files that stay open over several epochs, where
    /// the output has [`OutputSpec::folders`].
    pub fn output<R: Row>(&mut self, spec: OutputSpec, flow: Flow<'s, R>) {
        let Some(folders) = &spec.folders else { return self.staged(spec, flow) };
        let (name, limits, columns) = (roll_of(&spec.name), folders.roll, spec.columns.len());
        let encode = move |epoch, batch: Drain<'_, R>, made: &mut Vec<Cells>| {
            made.extend(batch.map(|row| Cells::of(&row, columns, epoch)));
        };
        let rows = each(flow.records(), "Encode", Box::new(encode));
        let rolled = self.keyed(Roll::<Cells>::new(&name, limits), flow.with(rows));
        self.staged(spec, rolled);
    }

    /// Writes the rows of `flow` to the lake, in the epoch they leave.
    fn staged<R: Row>(&mut self, spec: OutputSpec, flow: Flow<'s, R>) {
        self.notes.output(&spec);
        let options = self.stage_options(format!("Output-{}", spec.name));
        let (ports, columns, name) = (&mut self.ports, spec.columns.len(), spec.name.clone());
        let pack = move |epoch: Epoch, rows: Vec<R>| {
            if let Some(row) = rows.first() {
                let mut cells = 0;
                row.cells(&mut |_| cells += 1);
                assert_eq!(
                    cells, columns,
                    "a row of output \"{name}\" has another number of cells than columns"
                );
            }
            let since = rows.iter().map(|row| row.since(epoch)).min().unwrap_or(epoch);
            (since, Box::new(rows) as Box<dyn Rows>)
        };
        let acks = stage(options, flow.records, |wake| ports.rows(&spec, wake), pack, Ack::Lake);
        self.acks.push(acks);
    }

    fn stage_options(&self, name: String) -> stage::Options {
        stage::Options { name, first_epoch: self.ports.first_epoch() }
    }

    /// What was built, and what is wrong with it.
    pub fn shape(&self) -> (Shape, Vec<Problem>) {
        let sets = self.pace.borrow().sets().iter().map(|set| set.inputs.clone()).collect();
        let tables = self.pace.borrow().tables().iter().cloned().collect();
        self.notes.shape(sets, tables)
    }

    /// Ends the construction: all acks of the dataflow, on the worker that gave them.
    ///
    /// # Panics
    /// If something is wrong with what was built: see [`Build::shape`].
    pub fn finish(self) -> StreamVec<'s, Epoch, Ack> {
        let ((_, problems), pipeline) = (self.shape(), self.pipeline);
        let acks = self.connect();
        assert!(problems.is_empty(), "pipeline \"{pipeline}\" cannot run: {problems:?}");
        acks
    }

    /// Connects the streams of marks, state, views and acks. Timely requires these connections, even of a dataflow that never runs.
    pub(crate) fn connect(self) -> StreamVec<'s, Epoch, Ack> {
        let options = self.stage_options("State".to_string());
        let committed = self.committed();
        let tables = self.notes.tables();
        let Build { scope, mut ports, marks, marks_handle, mut acks, states, views, .. } = self;
        scope.concatenate(marks).connect_loop(marks_handle);
        let states = scope.concatenate(states);
        let pack = |epoch, changes: Vec<StateChange>| (epoch, changes);
        acks.push(stage(options, states, |wake| ports.state(wake), pack, Ack::State));
        if !tables.is_empty() {
            // A row leaves from one worker: two could see it go and come in one epoch. Where only some workers take what
            // leaves, it must be one of those.
            let takers = ports.view_takers().map_or(u64::MAX, |takers| takers as u64);
            let by_row = move |update: &ViewUpdate| u64::from(shard_of(&update.row).0) % takers;
            let updates = scope.concatenate(views).exchange(by_row);
            // First, at the committed epoch, comes what earlier runs delivered.
            let options = stage::Options { name: "Views".to_string(), first_epoch: committed };
            let pack = |epoch, updates| (epoch, consolidated(updates));
            let updates = without_restored_rows(updates, committed, ports.restored_rows());
            acks.push(stage(options, updates, |wake| ports.views(&tables, wake), pack, Ack::Lake));
        }
        scope.concatenate(acks)
    }

    /// The output of the refused records of an input. Its files have the input's name if there are several inputs: all of
    /// them lie in one folder.
    fn side_output(&self, input: &str, side: &'static str) -> OutputSpec {
        let name = format!("{side}-{input}");
        OutputSpec {
            stem: if self.inputs.len() > 1 { name.clone().into() } else { side.into() },
            name,
            prefix: format!("_{side}/{}", self.pipeline),
            format: Format::NdjsonGz,
            columns: roll::columns(side == "late"),
            folders: None,
        }
    }
}

/// Hands the rows of day files that come at epoch `committed` to `take` as they come, if there is one, and leaves the other updates.
/// The operator is there in any case: all processes of a job must build the same dataflow.
fn without_restored_rows(
    updates: StreamVec<'_, Epoch, ViewUpdate>,
    committed: Epoch,
    mut take: Option<RestoredRows>,
) -> StreamVec<'_, Epoch, ViewUpdate> {
    updates.unary::<CapacityContainerBuilder<Vec<ViewUpdate>>, _, _, _>(
        Pipeline,
        "RestoredRows",
        move |_, _| {
            move |input, output| {
                input.for_each(|cap, batch: &mut Vec<ViewUpdate>| {
                    let Some(take) = take.as_mut().filter(|_| *cap.time() <= committed) else {
                        output.session(&cap).give_container(batch);
                        return;
                    };
                    let (of_files, of_views): (Vec<_>, Vec<_>) =
                        batch.drain(..).partition(|update| update.view >= FIRST_DAY_FILES);
                    take(of_files);
                    output.session(&cap).give_iterator(of_views.into_iter());
                });
            }
        },
    )
}

/// One update for each row of a view that has changed. Those of day files stay as they are: they are many, and the writer of a
/// file sorts its rows.
fn consolidated(updates: Vec<ViewUpdate>) -> Vec<ViewUpdate> {
    let (of_files, of_views): (Vec<_>, Vec<_>) =
        updates.into_iter().partition(|update| update.view >= FIRST_DAY_FILES);
    let mut rows: Vec<_> =
        of_views.into_iter().map(|update| ((update.view, update.row), update.diff)).collect();
    consolidate(&mut rows);
    let of_views = rows.into_iter().map(|((view, row), diff)| ViewUpdate { view, row, diff });
    of_views.chain(of_files).collect()
}
