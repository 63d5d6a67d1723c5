//! Connectors: where messages come from, and file formats. An engine reads any connector through [`Connector`] and [`Source`].

#[cfg(test)]
mod drain;
pub mod error;
pub mod files;
pub mod formats;
pub mod generator;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
pub mod notice;
pub mod original;
pub mod produce;
mod sink;
mod source;
pub mod targets;
pub mod together;

pub use notice::Notice;
pub use sink::{Begins, Sink, Wake, WorkerSink};
pub use source::{
    Connector, Earlier, End, Entry, Event, FirstRead, Heard, MESSAGE_BYTES_MIN, PartitionInfo, Polled, Source,
};
