//! What happens to records: the operators of Headway on timely dataflow, and the traits to write more.
//!
//! This crate is pure dataflow. It opens no file and no socket, reads no clock and no environment, and knows
//! nothing of the subject: what a turnstile or a song is lives in `headway-pipelines`.
//!
//! # Where to start
//!
//! | you write | start at |
//! |---|---|
//! | a decoder of messages | [`stream::decode::Decoder`] |
//! | an operator with state and timers for each key | [`kit::Logic`] |
//! | a test of such an operator | [`kit::script`] |
//! | an operator with a state of its own making | [`keyed::Keyed`] |
//! | the rows of an output | [`row::Row`] |
//! | a view: sums, latest values, ranks, histories | [`view::table::Table`], [`view::keep::Fold`] |
//! | a pipeline | [`pipeline::Pipeline`], [`build::Build`], [`flow::Flow`] |
//! | what a person may set of it | [`setting::Setting`] |
//!
//! # Write your own operator
//!
//! A tutorial: from the messages of a topic to a program with the whole command line. `headway new operator NAME` writes a
//! crate of this shape; `examples/bikes` is a larger one, with a second topic.
//!
//! **1. What comes in** is a type that derives `Deserialize`. [`kit::json::Json`] decodes it, and makes a dead letter with a
//! reason of what does not fit. **What goes out** is declared by [`row!`]: its fields are the columns of a file.
//!
//! ```rust
//! use headway_operators::kit::json::Timestamp;
//! use serde::{Deserialize, Serialize};
//!
//! /// A door of a cold store opens or closes: {"door":"d1","ts":"2024-01-01T10:00:00Z","open":true}
//! #[derive(Clone, Debug, Serialize, Deserialize)]
//! struct Swing {
//!     door: String,
//!     ts: Timestamp,
//!     open: bool,
//! }
//!
//! use headway_operators::row;
//! use headway_operators::time::EventTime;
//!
//! row! {
//!     /// A door was open from `start` to `end`.
//!     #[derive(Clone, Debug, PartialEq)]
//!     struct Opening { door: String, start: EventTime, end: EventTime }
//! }
//!
//! row! {
//!     /// A door is open since `start`, for too long.
//!     #[derive(Clone, Debug, PartialEq)]
//!     struct Alarm { door: String, start: EventTime }
//! }
//! ```
//!
//! **2. The operator** is a [`kit::Logic`]: state and timers for each key. Records come in the order of event time, once the
//! watermark has passed them; a timer for `t` fires once the watermark has passed `t`, after the records of that instant.
//!
//! ```rust
//! # use headway_operators::kit::json::Timestamp;
//! # use serde::{Deserialize, Serialize};
//! #
//! # /// A door of a cold store opens or closes: {"door":"d1","ts":"2024-01-01T10:00:00Z","open":true}
//! # #[derive(Clone, Debug, Serialize, Deserialize)]
//! # struct Swing {
//! #     door: String,
//! #     ts: Timestamp,
//! #     open: bool,
//! # }
//! # use headway_operators::row;
//! # use headway_operators::time::EventTime;
//! #
//! # row! {
//! #     /// A door was open from `start` to `end`.
//! #     #[derive(Clone, Debug, PartialEq)]
//! #     struct Opening { door: String, start: EventTime, end: EventTime }
//! # }
//! #
//! # row! {
//! #     /// A door is open since `start`, for too long.
//! #     #[derive(Clone, Debug, PartialEq)]
//! #     struct Alarm { door: String, start: EventTime }
//! # }
//! use headway_operators::flow::Either::{self, Left, Right};
//! use headway_operators::kit::{Context, Logic};
//! use std::time::Duration;
//!
//! struct Doors {
//!     patience: Duration,
//! }
//!
//! impl Logic for Doors {
//!     type Key = String;
//!     type In = Swing;
//!     /// Since when the door is open.
//!     type State = Option<EventTime>;
//!     type Out = Either<Opening, Alarm>;
//!     const VERSION: u32 = 1;
//!
//!     fn key(swing: &Swing) -> String {
//!         swing.door.clone()
//!     }
//!
//!     fn on_record(&self, swing: Swing, open: &mut Option<EventTime>, cx: &mut Context<'_, Self>) {
//!         match (swing.open, *open) {
//!             (true, None) => {
//!                 *open = Some(cx.time());
//!                 cx.timer(cx.time() + self.patience);
//!             }
//!             (false, Some(start)) => {
//!                 *open = None;
//!                 cx.cancel(start + self.patience);
//!                 cx.emit(Left(Opening { door: swing.door, start, end: cx.time() }));
//!             }
//!             _ => {}
//!         }
//!     }
//!
//!     fn on_timer(&self, open: &mut Option<EventTime>, cx: &mut Context<'_, Self>) {
//!         if let Some(start) = *open {
//!             let door = cx.key().clone();
//!             cx.emit(Right(Alarm { door, start }));
//!         }
//!     }
//! }
//! ```
//!
//! **3. The test** plays a script on the production driver. [`kit::script::Script::check`] plays it again on 1, 2 and 3 workers,
//! cut into other epochs, killed and started again with another number of workers after each; all must give the same.
//!
//! ```rust
//! # use headway_operators::kit::json::Timestamp;
//! # use serde::{Deserialize, Serialize};
//! #
//! # /// A door of a cold store opens or closes: {"door":"d1","ts":"2024-01-01T10:00:00Z","open":true}
//! # #[derive(Clone, Debug, Serialize, Deserialize)]
//! # struct Swing {
//! #     door: String,
//! #     ts: Timestamp,
//! #     open: bool,
//! # }
//! # use headway_operators::row;
//! # use headway_operators::time::EventTime;
//! #
//! # row! {
//! #     /// A door was open from `start` to `end`.
//! #     #[derive(Clone, Debug, PartialEq)]
//! #     struct Opening { door: String, start: EventTime, end: EventTime }
//! # }
//! #
//! # row! {
//! #     /// A door is open since `start`, for too long.
//! #     #[derive(Clone, Debug, PartialEq)]
//! #     struct Alarm { door: String, start: EventTime }
//! # }
//! # use headway_operators::flow::Either::{self, Left, Right};
//! # use headway_operators::kit::{Context, Logic};
//! # use std::time::Duration;
//! #
//! # struct Doors {
//! #     patience: Duration,
//! # }
//! #
//! # impl Logic for Doors {
//! #     type Key = String;
//! #     type In = Swing;
//! #     /// Since when the door is open.
//! #     type State = Option<EventTime>;
//! #     type Out = Either<Opening, Alarm>;
//! #     const VERSION: u32 = 1;
//! #
//! #     fn key(swing: &Swing) -> String {
//! #         swing.door.clone()
//! #     }
//! #
//! #     fn on_record(&self, swing: Swing, open: &mut Option<EventTime>, cx: &mut Context<'_, Self>) {
//! #         match (swing.open, *open) {
//! #             (true, None) => {
//! #                 *open = Some(cx.time());
//! #                 cx.timer(cx.time() + self.patience);
//! #             }
//! #             (false, Some(start)) => {
//! #                 *open = None;
//! #                 cx.cancel(start + self.patience);
//! #                 cx.emit(Left(Opening { door: swing.door, start, end: cx.time() }));
//! #             }
//! #             _ => {}
//! #         }
//! #     }
//! #
//! #     fn on_timer(&self, open: &mut Option<EventTime>, cx: &mut Context<'_, Self>) {
//! #         if let Some(start) = *open {
//! #             let door = cx.key().clone();
//! #             cx.emit(Right(Alarm { door, start }));
//! #         }
//! #     }
//! # }
//! use headway_operators::kit::script::{At, minutes, script};
//!
//! let swing = |at: &str, open| (At::from(at), Swing { door: "d1".into(), ts: At::from(at).0.into(), open });
//! let (opened, open) = swing("10:00", true);
//! let (closed, close) = swing("10:20", false);
//! script(|| Doors { patience: minutes(5) })
//!     .horizon(minutes(5))
//!     .record(opened, open)
//!     .watermark("10:05")
//!     .gives([])
//!     .watermark("10:05:01")
//!     .gives([Right(Alarm { door: "d1".into(), start: opened.0 })])
//!     .record(closed, close)
//!     .end()
//!     .gives([Left(Opening { door: "d1".into(), start: opened.0, end: closed.0 })])
//!     .state("d1".into(), None)
//!     .check();
//! ```
//!
//! **4. The pipeline** says which inputs there are and how records run. Its [`pipeline::Entry`] declares its settings: `patience`
//! is `--patience` on the command line and a line of `--help`, and a lake that was made with another value is refused.
//!
//! ```rust
//! # use headway_operators::kit::json::Timestamp;
//! # use serde::{Deserialize, Serialize};
//! #
//! # /// A door of a cold store opens or closes: {"door":"d1","ts":"2024-01-01T10:00:00Z","open":true}
//! # #[derive(Clone, Debug, Serialize, Deserialize)]
//! # struct Swing {
//! #     door: String,
//! #     ts: Timestamp,
//! #     open: bool,
//! # }
//! # use headway_operators::row;
//! # use headway_operators::time::EventTime;
//! #
//! # row! {
//! #     /// A door was open from `start` to `end`.
//! #     #[derive(Clone, Debug, PartialEq)]
//! #     struct Opening { door: String, start: EventTime, end: EventTime }
//! # }
//! #
//! # row! {
//! #     /// A door is open since `start`, for too long.
//! #     #[derive(Clone, Debug, PartialEq)]
//! #     struct Alarm { door: String, start: EventTime }
//! # }
//! # use headway_operators::flow::Either::{self, Left, Right};
//! # use headway_operators::kit::{Context, Logic};
//! # use std::time::Duration;
//! #
//! # struct Doors {
//! #     patience: Duration,
//! # }
//! #
//! # impl Logic for Doors {
//! #     type Key = String;
//! #     type In = Swing;
//! #     /// Since when the door is open.
//! #     type State = Option<EventTime>;
//! #     type Out = Either<Opening, Alarm>;
//! #     const VERSION: u32 = 1;
//! #
//! #     fn key(swing: &Swing) -> String {
//! #         swing.door.clone()
//! #     }
//! #
//! #     fn on_record(&self, swing: Swing, open: &mut Option<EventTime>, cx: &mut Context<'_, Self>) {
//! #         match (swing.open, *open) {
//! #             (true, None) => {
//! #                 *open = Some(cx.time());
//! #                 cx.timer(cx.time() + self.patience);
//! #             }
//! #             (false, Some(start)) => {
//! #                 *open = None;
//! #                 cx.cancel(start + self.patience);
//! #                 cx.emit(Left(Opening { door: swing.door, start, end: cx.time() }));
//! #             }
//! #             _ => {}
//! #         }
//! #     }
//! #
//! #     fn on_timer(&self, open: &mut Option<EventTime>, cx: &mut Context<'_, Self>) {
//! #         if let Some(start) = *open {
//! #             let door = cx.key().clone();
//! #             cx.emit(Right(Alarm { door, start }));
//! #         }
//! #     }
//! # }
//! use headway_operators::build::Build;
//! use headway_operators::kit::json::Json;
//! use headway_operators::pipeline::{Entry, Pipeline};
//! use headway_operators::setting::{Setting, SettingError, Settings};
//! use headway_operators::shape::Shape;
//! use headway_operators::spec::InputSpec;
//! use headway_operators::stream::window::Closing;
//!
//! const ENTRY: Entry = Entry {
//!     settings: &[Setting::duration("patience", "5m", "How long a door may be open")],
//!     ..Entry::new("doors", "Doors of cold stores, and those that are open for too long", make)
//! };
//!
//! struct Job {
//!     patience_ms: i64,
//! }
//!
//! fn make(settings: &Settings) -> Result<Box<dyn Pipeline>, SettingError> {
//!     Ok(Box::new(Job { patience_ms: settings.ms("patience") }))
//! }
//!
//! impl Pipeline for Job {
//!     fn name(&self) -> &'static str {
//!         ENTRY.name
//!     }
//!
//!     fn version(&self) -> u32 {
//!         1
//!     }
//!
//!     fn inputs(&self) -> Vec<InputSpec> {
//!         // The end of the input closes what reaches so far beyond its last record: here, the timers.
//!         let closing = Closing::Horizon { ms: self.patience_ms };
//!         vec![InputSpec { name: "doors", topic: "doors", lateness_ms: 60_000, closing, header: None }]
//!     }
//!
//!     fn build(&self, build: &mut Build<'_>) {
//!         let patience = Duration::from_millis(self.patience_ms.unsigned_abs());
//!         let swings = build.records("doors", Json::new(|swing: &Swing| Some(swing.ts.time())));
//!         let (openings, alarms) = build.logic("Doors", Doors { patience }, swings).apart();
//!         build.csv("openings", openings);
//!         build.ndjson("alarms", alarms);
//!     }
//! }
//!
//! // What it builds is found by building it once: outputs, operators, and what is wrong.
//! let shape = Shape::of(ENTRY.configure([])?.pipeline.as_ref()).expect("nothing is wrong with it");
//! assert_eq!(shape.operators.last().map(|operator| operator.name.as_str()), Some("Doors"));
//! # Ok::<(), SettingError>(())
//! ```
//!
//! **5. The program** is one line with the crate `headway`: it has `run`, `check`, `status`, `audit`, `state` and every other
//! command, under its own name. (Two lines of `examples/bikes/src/main.rs`, not run here: this crate lies below `headway`.)
//!
//! ```text
//! fn main() -> ExitCode { headway::main_of(headway::program!(), &[ENTRY]) }
//! ```
//!
//! # What holds for every operator
//!
//! - **There is no arrival order.** A batch comes in any order, and the clock cuts epochs. [`kit::Logic`] therefore takes records
//!   by event time, then input, partition and offset; an operator on [`keyed::Keyed`] must commute or order them itself.
//! - **The output is a function of the records.** No clock, no thread, no order of a hash map, no sum of floats: the same records
//!   give the same rows on any number of workers and after any kill. `check` catches the first three: it plays a script many
//!   times, and no two runs have the same time or the same seeds of hash maps.
//! - **An alert by timer fires** when the watermark has passed its time: when a record of later event time (and `lateness` more)
//!   has come from every partition that is not idle. It does not fire while a partition holds the watermark back, and not when
//!   all partitions are idle: silence is no evidence of event time. The end of a bounded input fires what lies within
//!   [`stream::window::Closing::Horizon`] of its last record.
//! - **A record is late if its event time is less than the watermark of its own partition**; in windows, if its last window
//!   has ended by that watermark. Late, dead and dropped records are counted; late and dead ones are also kept.
//!
//! # Glossary
//!
//! *Frontier* speaks of epochs, *watermark* speaks of event time. The two never mix.
//!
//! | word | here it means | type |
//! |---|---|---|
//! | epoch | timely's timestamp; the unit of commit and recovery; not a time of day | [`time::Epoch`] |
//! | frontier | the epochs that may still appear at a place of the dataflow | timely |
//! | capability | the right to make an epoch appear; hold it no longer than needed | timely |
//! | event time | when the record says that it happened | [`time::EventTime`] |
//! | lateness | how much disorder of event time we wait for | [`spec::InputSpec`] |
//! | watermark | newest event time less lateness; no record before it is waited for (`wm` of an input, `W_C` of the inputs C of an operator) | [`time::Watermark`] |
//! | mark | the report of one partition at the end of an epoch: own watermark, next offset, flags (others say watermark message) | [`progress::Mark`] |
//! | tick | what the close of an epoch says to operators: the watermark, and whether the input is idle or has ended | [`progress::Tick`] |
//! | floor | the least effective watermark of a partition that joined late, fixed in the manifest | [`port::Start`] |
//! | stamp | the effective watermark of a record's own partition just before the record; it decides lateness | [`record::Stamped`] |
//! | window, span | the operator that assigns spans; a half-open interval of event time `[start, end)` | [`time::Span`] |
//! | changelog, diff | updates `(row, epoch, diff)`; `diff` is a signed count | [`view::table::Update`] |
//! | table | a collection with retractions, as the updates that make it | [`view::table::Table`] |
//! | arrangement, trace | an indexed, shared, compacting collection; its history as updates | differential dataflow |
//! | snapshot, manifest, checkpoint | an operator's state at an epoch; the file that makes an epoch true; both together | [`state::StateChange`] |
//! | shard | one of 1,024 slices of an operator's state; it has one worker at a time | [`state::Shard`] |
//! | claim, generation, fence | the manifest by which a run takes a job over; its number; to stop an older run from committing | |
//! | roll | a file that stays open over several epochs; its content is checkpointed state until it is closed | [`stream::roll::Roll`] |
//! | dead letter, late, dropped | a record that could not be decoded; one that came after its span had closed; one left out on purpose, with a reason | [`record::Refused`] |
//! | fate | what became of one record: accepted, duplicate, late, dead or filtered | [`keyed::Fates`] |
//! | target | a system outside the lake to which committed changes are delivered | |
#![forbid(unsafe_code)]

pub mod ack;
pub mod build;
mod dry;
pub mod duration;
pub mod epochs;
pub mod error;
pub mod flow;
pub mod generate;
pub mod keyed;
pub mod kit;
pub mod late_by;
pub mod pace;
pub mod pipeline;
pub mod port;
pub mod progress;
pub mod recompute;
pub mod record;
pub mod row;
pub mod rules;
pub mod sections;
pub mod setting;
pub mod shape;
pub mod snapshots;
pub mod spec;
pub mod state;
pub mod stream;
pub mod time;
pub mod view;
