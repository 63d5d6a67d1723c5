//! The test kit for a whole pipeline: the real engine, lists for topics, a lake in memory.
//!
//! For one operator there is `headway_operators::kit::script`.

mod job;

pub use job::{Job, Outcome};
