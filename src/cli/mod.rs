//! The command line: one file a subcommand, and what they share.
//!
//! [`start`] parses and dispatches. What can be set stands in [`config`], once for flags and file; quantities in
//! [`units`]; [`plan`] puts flags, file and defaults together. Data goes to standard output, talk to standard
//! error; every refusal is a [`failure`] with three parts and an exit code.

mod audit;
mod check;
mod checkpoint;
mod completions;
mod config;
mod dead;
mod demo;
mod failure;
mod form;
mod kafka;
mod lake;
mod plan;
mod produce;
mod progress;
#[cfg(test)]
mod reference;
mod run;
mod signals;
mod start;
mod stations;
mod status;
mod table;
mod talk;
mod units;

use form::Form;
pub use start::main;
