//! The command line: one file a subcommand, and what they share.
//!
//! [`start`] parses and dispatches. [`settings`] is what can be set, by flag, environment and file alike, with
//! [`units`] for quantities. [`terminal`] is what a person sees: tables, progress, the log, failures with three parts
//! and an exit code. Data goes to standard output, talk to standard error.

mod advice;
mod audit;
mod backup;
#[cfg(feature = "parquet")]
mod build;
mod check;
mod checkpoint;
#[cfg(feature = "parquet")]
mod client;
mod cluster;
mod completions;
mod dead;
mod demo;
mod demo_view;
mod expectations;
mod explain;
mod explain_record;
mod holder;
mod init;
mod lag;
mod lake;
mod lake_files;
mod life;
mod listen;
mod man;
mod membership;
mod new;
mod outcome;
mod produce;
mod produce_together;
mod program;
mod replay;
mod rescale;
mod rescale_advice;
mod rescale_plan;
mod restart;
mod run;
mod settings;
mod side;
mod standby;
mod start;
mod state;
mod status;
#[cfg(feature = "parquet")]
mod subscribe;
mod sums;
mod targets;
mod terminal;
mod units;
#[cfg(feature = "parquet")]
mod views;
#[cfg(feature = "parquet")]
mod views_recompute;
#[cfg(feature = "parquet")]
mod views_table;
#[cfg(feature = "parquet")]
mod views_verify;

pub use program::Program;
pub use start::{main, main_of, main_with};
