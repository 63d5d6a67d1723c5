//! Runs a pipeline: workers, epochs, commits. Knows no connector by name and no pipeline by subject.

pub mod alive;
pub mod audit;
pub mod audit_rules;
#[cfg(test)]
mod audit_tests;
pub mod checkpoint;
pub mod checkpoint_error;
#[cfg(test)]
mod checkpoint_tests;
pub mod claim;
pub mod clock;
pub mod commit;
pub mod control;
pub mod decide;
pub mod discover;
pub mod error;
pub mod failpoint;
pub mod feed;
#[cfg(test)]
mod feed_tests;
pub mod history;
pub mod job;
pub mod launch;
pub mod ledger;
#[cfg(test)]
mod ledger_tests;
pub mod manifest;
pub mod names;
pub mod pieces;
pub mod ports;
pub mod publish;
pub mod recover;
pub mod segment;
#[cfg(test)]
mod simulation;
pub mod sink;
pub mod site;
pub mod state;
#[cfg(test)]
pub(crate) mod test_store;
pub mod upkeep;
pub mod watched;
pub mod worker;

pub use control::Control;
pub use error::Error;
pub use launch::{Launch, Summary, launch};
pub use ports::InputOptions;
pub use worker::{Options, run};
