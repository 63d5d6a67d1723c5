//! Runs pipelines: sources, epochs, commits, the lake and the command line.

pub mod cli;
pub mod connect;
pub mod engine;
pub mod serve;
pub mod store;

pub use cli::main;
