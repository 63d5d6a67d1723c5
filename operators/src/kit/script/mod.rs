//! The test kit: plays scripts of messages on the production driver, with a lake in memory.
//!
//! [`Script`] tests one operator. It is made of [`Play`], which runs any dataflow on any number of workers, with kills and
//! other numbers of workers in the middle; a pipeline's test may use that itself.
//!
//! Watermarks move as in production and in no other way: by records, idleness, and the end of the input.

mod at;
mod kept;
mod lines;
mod operator;
mod play;
mod ports;
mod spoiler;
#[cfg(test)]
mod spoiler_tests;

pub use at::{At, hours, minutes, seconds};
pub use kept::{Content, Fates, Refusal, TextRow, ViewChange};
pub use lines::{Flags, Item, Line, Play, PlayInput, Source, Unsealing};
pub use operator::{Script, script};
pub use play::{Dataflow, Played};
