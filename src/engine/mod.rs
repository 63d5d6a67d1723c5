//! Runs a pipeline: workers, epochs, commits. Knows no connector by name and no pipeline by subject.

pub mod clock;
pub mod commit;
pub mod control;
pub mod discover;
pub mod error;
pub mod feed;
pub mod ports;
pub mod worker;

pub use control::Control;
pub use error::Error;
pub use ports::InputOptions;
pub use worker::{Options, run};
