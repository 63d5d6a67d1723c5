//! What a job expects of its views and of the records that it reads: rules that are judged before each commit.
//!
//! 1. A start gives the content of the views, as the committed epoch has it, to each rule.
//! 2. Before an epoch is committed, each rule takes what the epoch changes, and has a new count of what breaks it. No rule
//!    reads a view again.
//! 3. A rule that may not fail and does refuses the epoch: nothing of it is committed. The counts of all rules go into the
//!    manifest of the epoch.
//!
//! Rules of records look at one record each. Sources judge them, and their acks say how many records broke which rule. Those
//! counts only grow; they go on from the manifest.
//!
//! Invariant: a count of a view is a function of the rows that the views have as of the epoch, of nothing else. So a restart or another
//! number of workers changes no count.

mod counted;
mod days;
mod expectations;
mod judge;
#[cfg(test)]
mod judge_tests;
mod rule;
mod shown;

pub use expectations::{Expectations, Found};
pub use judge::Judge;
pub use rule::{Check, Columns, Records, Rule};
