//! The processes of one job, connected: that all are there, that each is what it says, and what they tell each other.
//!
//! ```text
//! hosts ─► join: listen, call, hello ─► all there ─► roster ─► Mesh { data sockets for the dataflow, control }
//! ```
//! Between each two processes there are two sockets. *Data* goes to timely as it is. *Control* carries frames: the roster, a
//! beat every second, and the messages of whoever uses the mesh, which this room does not read. With certificates both are TLS.
//!
//! Rank in the house: above `connect`, below `engine`. The mesh knows no pipeline, no lake and no manifest.

pub mod control;
mod deadline;
pub mod error;
mod event;
mod frame;
pub mod hello;
pub mod hosts;
pub mod join;
#[cfg(test)]
mod join_tests;
mod link;
mod listener;
mod socket;
mod table;
#[cfg(feature = "mesh-tls")]
mod tls;
#[cfg(not(feature = "mesh-tls"))]
#[path = "tls_absent.rs"]
mod tls;
#[cfg(test)]
#[cfg(feature = "mesh-tls")]
mod tls_tests;
pub mod trust;
mod wire;

pub use control::{Control, Signal};
pub use error::{Error, Refusal};
pub use join::{Mesh, Options, join};
pub use socket::Socket;
pub use tls::{Session, Tls};

use serde::{Deserialize, Serialize};

/// The number of a process of a job, from 0. Process 0 leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Process(pub u32);

/// The process that leads: it claims the job, looks at the sources and commits.
pub const LEADER: Process = Process(0);
