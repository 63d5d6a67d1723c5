//! Files and folders as an input: lines or envelopes, plain or packed. See `connector.rs` first.

mod captures;
mod connector;
#[cfg(test)]
mod connector_tests;
mod content;
mod descriptors;
mod envelopes;
mod folder;
mod follow;
mod growing;
mod header;
mod identity;
mod known;
#[cfg(test)]
mod life_tests;
mod lines;
mod options;
mod place;
mod reader;
mod scan;
mod unpack;

pub use connector::Files;
pub use identity::file::name_of;
pub use options::Options;
