//! The command line: one file for each subcommand, or a folder where it needs several files, and what they share.
//!
//! [`start`] parses and dispatches. [`settings`] is what can be set, by flag, environment and file alike, with
//! [`units`] for quantities. [`terminal`] is what a person sees: tables, progress, the log, failures with three parts
//! and an exit code. Data goes to standard output, talk to standard error.

mod audit;
mod backup;
#[cfg(feature = "parquet")]
mod build;
mod check;
mod checkpoint;
#[cfg(feature = "parquet")]
mod client;
mod completions;
mod dead;
mod demo;
mod explain;
mod init;
mod lake;
mod lake_files;
mod man;
mod new;
mod produce;
mod program;
mod rescale;
mod run;
mod settings;
mod start;
mod state;
mod status;
mod terminal;
mod units;
#[cfg(feature = "parquet")]
mod views;

pub use program::Program;
pub use start::{main, main_of, main_with};
