//! Runs pipelines: sources, epochs, commits, the lake and the command line.
//!
//! [`main`] is a whole program for a catalogue of pipelines: every command of `headway`. [`launch`] runs one [`Launch`], a job,
//! from a program of your own. Pipelines and operators are written with the crate `headway-operators`.
//!
//! What this page lists is what other crates may use; a test lists it, too. The rooms below it are public for the tests,
//! benchmarks and examples of this repository, and change without notice.

mod cli;
#[doc(hidden)]
pub mod connect;
#[doc(hidden)]
pub mod engine;
#[doc(hidden)]
pub mod mesh;
mod random;
#[doc(hidden)]
pub mod serve;
#[doc(hidden)]
pub mod store;

pub use cli::{Program, main, main_of, main_with};
pub use connect::files::{Files, Options as FilesOptions};
pub use connect::{Connector, error::Error as SourceError};
pub use engine::kit;
pub use engine::run::feed::Until;
pub use engine::run::launch::Source;
pub use engine::{Control, Error, Launch, Summary, launch};
pub use store::local::Local;
pub use store::{Error as StoreError, Store};
