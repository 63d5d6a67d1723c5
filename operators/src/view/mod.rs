//! Views: collections with retractions, kept up to date by the changes of each epoch.
//!
//! A [`Table`](table::Table) is a collection as a stream of updates `(row, epoch, diff)`. What is read of it as of an epoch
//! is the sum of its updates up to there. Two kinds of operators make tables:
//!
//! - **those that save** ([`keep`] and the ways to use it, [`rollup`] and [`latest`]; [`scd2`]): keyed operators with state
//!   in the manifest. What they have restored they emit at the committed epoch e0; from e0+1 on they emit changes.
//! - **those that derive** ([`top`], [`join`], and every operator of differential dataflow): they save nothing. At e0 they
//!   receive again what the operators above them restored, and stand where they stood.
//!
//! In front of them, [`combine`] adds up what an epoch changes, where several views are sums of the same records. [`seal`] leaves out records of days that are sealed; a keep by day removes the keys of such days, and
//! tables derived from it lose those rows. Readers of views ignore these removals: the rows stay in gold files.
//!
//! Rules for all of them. At each epoch a table holds the same rows, however its input was cut, interleaved or spread over
//! workers. No operator delays a time. No trace handle outlives the building of the dataflow, and no input of a join stands
//! still: else memory grows without a word.

pub mod combine;
pub mod join;
pub mod keep;
mod kept;
pub mod latest;
pub mod refill;
pub mod rollup;
pub mod row;
pub mod scd2;
pub mod seal;
pub mod table;
pub mod text;
pub mod top;
