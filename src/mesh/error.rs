//! Why a process is not part of a mesh, or no longer.

use crate::mesh::Process;
use std::fmt;
use std::time::Duration;

/// Why two processes do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The secrets differ.
    Secret,
    /// The builds differ.
    Version,
    /// The jobs, or the settings that shape their dataflow, differ.
    Plan,
    /// The number of processes or workers differs, or the list of addresses.
    Addresses,
    /// The caller has no number that fits, or called another process than it meant.
    Index,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 5] =
        [Refusal::Secret, Refusal::Version, Refusal::Plan, Refusal::Addresses, Refusal::Index];

    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::Secret => "mesh-secret",
            Refusal::Version => "mesh-version",
            Refusal::Plan => "mesh-plan",
            Refusal::Addresses => "mesh-addresses",
            Refusal::Index => "mesh-index",
        }
    }

    /// The byte that stands for it in an answer.
    pub(super) fn byte(self) -> u8 {
        match self {
            Refusal::Secret => 1,
            Refusal::Version => 2,
            Refusal::Plan => 3,
            Refusal::Addresses => 4,
            Refusal::Index => 5,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Secret => "its secret is another one",
            Refusal::Version => "it is another build",
            Refusal::Plan => "its job or one of its settings is another one",
            Refusal::Addresses => "its number of processes or workers, or its list of hosts, is another one",
            Refusal::Index => "its number does not fit its address",
        })
    }
}

/// A process that has not joined, and why, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which one.
    pub process: Process,
    /// Where it should be.
    pub address: String,
    /// Why it is missing.
    pub why: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} at {}: {}", self.process.0, self.address, self.why)
    }
}

/// Why a process is not part of a mesh.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Process 0 and this one do not belong together.
    #[error("process {} at {address} refused this process: {refusal}", process.0)]
    Refused {
        /// Who refused.
        process: Process,
        /// Where it is.
        address: String,
        /// Why.
        refusal: Refusal,
    },
    /// Not all processes were there in time.
    #[error("{} of the job's processes did not join within {} s", missing.len(), within.as_secs())]
    Timeout {
        /// Who is missing.
        missing: Vec<Missing>,
        /// For how long this process waited.
        within: Duration,
    },
    /// The own address cannot be listened on.
    #[error("process {} cannot listen on \"{address}\"", process.0)]
    Unbound {
        /// This process.
        process: Process,
        /// Its address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no secret, and an address can be reached from other machines.
    #[error("\"{address}\" can be reached from other machines, and the processes have no secret")]
    Exposed {
        /// The address.
        address: String,
    },
    /// Another process with the same number has taken this one's place.
    #[error("another process with number {} has joined in place of this one", process.0)]
    Superseded {
        /// This process.
        process: Process,
    },
    /// A process that had joined is gone, or gives no sign of life.
    #[error("process {} was lost: {why}", process.0)]
    Lost {
        /// Which one.
        process: Process,
        /// What was seen.
        why: String,
    },
    /// Whoever started it wants it to end.
    #[error("told to end before all processes were there")]
    Stopped,
}

impl Error {
    /// More about it.
    pub fn detail(&self) -> Option<String> {
        match self {
            Error::Timeout { missing, .. } => {
                let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
                Some(lines.join("; "))
            }
            Error::Unbound { source, .. } => Some(source.to_string()),
            Error::Refused { .. }
            | Error::Exposed { .. }
            | Error::Superseded { .. }
            | Error::Lost { .. }
            | Error::Stopped => None,
        }
    }
}
