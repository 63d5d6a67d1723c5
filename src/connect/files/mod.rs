//! Files and folders as an input: lines or envelopes, plain or gzipped.

mod connector;
#[cfg(test)]
mod connector_tests;
mod envelope;
mod header;
mod identity;
mod lines;
mod place;
mod reader;
mod scan;

pub use connector::{Files, Options};
