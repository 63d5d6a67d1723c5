//! Files and folders as an input: lines or envelopes, plain or gzipped.

mod connector;
mod envelope;
mod identity;
mod lines;
mod place;
mod reader;
mod scan;

pub use connector::{Files, Options};
