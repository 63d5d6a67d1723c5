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
//! Two rules hold for every operator. There is no arrival order: a batch comes in any order and the clock cuts epochs, so
//! an operator whose steps do not commute orders records by event time, once the watermark has passed them. And output must
//! not depend on hash order, threads, clocks or the number of workers: the same records give the same rows.
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
pub mod record;
pub mod row;
pub mod sections;
pub mod setting;
pub mod shape;
pub mod snapshots;
pub mod spec;
pub mod state;
pub mod stream;
pub mod time;
pub mod view;
