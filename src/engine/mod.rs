//! Runs a pipeline: workers, epochs, commits. Knows no connector by name and no pipeline by subject.
//!
//! Rooms, each of which uses only those below it: [`kit`] for tests, [`audit`], [`run`], [`commit`], [`mod@format`]. [`clock`], [`code`] and
//! [`failpoint`] lie below all rooms; [`cluster`], [`error`], [`control`] and [`guard`] lie
//! between `commit` and `run`.

pub mod audit;
pub mod clock;
pub mod cluster;
pub mod code;
pub mod commit;
pub mod control;
pub mod error;
pub mod failpoint;
pub mod format;
pub mod guard;
pub mod kit;
pub mod run;

pub use control::Control;
pub use error::Error;
pub use run::board::Board;
pub use run::enter::launch;
pub use run::launch::Launch;
pub use run::memory::Memory;
pub use run::ports::{HeldBefore, InputOptions, StartPoint};
pub use run::watchdog::STUCK_AFTER;
pub use run::watched::Summary;
pub use run::worker::{Options, run_workers};
