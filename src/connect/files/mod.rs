//! Files and folders as an input: lines or envelopes, plain or packed. See `connector.rs` first.

mod capture_files;
mod captures;
mod connector;
#[cfg(test)]
mod connector_tests;
mod content;
mod copies;
mod descriptors;
mod envelope;
mod envelope_headers;
mod folder;
mod follow;
mod growing;
mod header;
mod identity;
mod json_text;
mod known;
#[cfg(test)]
mod life_tests;
mod lines;
mod malformed;
mod mark;
mod options;
mod place;
mod reader;
mod recall;
mod scan;
mod unpack;

pub use connector::Files;
pub use options::Options;
