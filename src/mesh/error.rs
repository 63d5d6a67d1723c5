//! Why a process is not part of a mesh, or no longer.

use crate::mesh::Process;
use std::time::Duration;
use std::{fmt, io};

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
    /// One has TLS, and the other has not.
    Tls,
    /// The certificate does not prove that it belongs to the job.
    Certificate,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 7] = [
        Refusal::Secret,
        Refusal::Version,
        Refusal::Plan,
        Refusal::Addresses,
        Refusal::Index,
        Refusal::Tls,
        Refusal::Certificate,
    ];

    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::Secret => "mesh-secret",
            Refusal::Version => "mesh-version",
            Refusal::Plan => "mesh-plan",
            Refusal::Addresses => "mesh-addresses",
            Refusal::Index => "mesh-index",
            Refusal::Tls => "mesh-tls",
            Refusal::Certificate => "mesh-certificate",
        }
    }

    /// The byte that stands for it in an answer. The last two are found before there is one.
    pub(super) fn byte(self) -> u8 {
        match self {
            Refusal::Secret => 1,
            Refusal::Version => 2,
            Refusal::Plan => 3,
            Refusal::Addresses => 4,
            Refusal::Index => 5,
            Refusal::Tls => 6,
            Refusal::Certificate => 7,
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
            Refusal::Tls => {
                "one of the two has TLS (--mesh-cert, --mesh-key, --mesh-ca), and the other has not"
            }
            Refusal::Certificate => "its certificate is refused",
        })
    }
}

/// Why this process has no TLS with whoever is at the other end of a socket. Nothing about that end is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust {
    /// The kind of refusal.
    pub refusal: Refusal,
    /// What was found, of "it", the other end.
    pub why: String,
}

impl Distrust {
    /// No TLS was spoken.
    pub(super) fn tls(why: String) -> Distrust {
        Distrust { refusal: Refusal::Tls, why }
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.refusal.code())
    }
}

/// The other end does not accept the certificate of this process. The text says why; its "it" is the certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not take the certificate of this process: {0} (mesh-certificate)")]
pub struct NotTaken(pub String);

/// Why the other end of a socket is not taken for a process of the mesh.
#[derive(Debug)]
pub enum Failed {
    /// It sent nothing, or not in time.
    Silent(io::Error),
    /// It sent something other than a hello.
    Stranger,
    /// It proved that it is a process of a mesh, but not of this one. The number is the one that it claims.
    Refused(Process, Refusal),
    /// It answered that it refuses this process, and did not prove that it belongs to the mesh.
    Unproved(Refusal),
    /// It did not prove by TLS that it is a process of a mesh.
    Distrust(Distrust),
    /// It did not accept the certificate of this process.
    NotTaken(NotTaken),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        let not_taken = error.get_ref().and_then(|inner| inner.downcast_ref::<NotTaken>());
        match not_taken {
            Some(not_taken) => Failed::NotTaken(not_taken.clone()),
            None => Failed::Silent(error),
        }
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
        /// More about it, where more is known.
        why: Option<String>,
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
    #[error("another process with number {} takes part in place of this one", process.0)]
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
            Error::Refused { why, .. } => why.clone(),
            Error::Exposed { .. } | Error::Superseded { .. } | Error::Lost { .. } | Error::Stopped => None,
        }
    }
}
