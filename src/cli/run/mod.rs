//! `headway run` and `headway cluster run`: the processes of a job, from their settings to the last line.

mod advice;
pub(crate) mod cluster;
mod command;
pub(crate) mod listen;
pub(crate) mod membership;
pub(crate) mod outcome;
mod restart;
mod standby;
mod targets;

pub(crate) use command::{Flags, Found, Place, open, prepare, refused, run, start};
#[cfg(feature = "parquet")]
pub(crate) use command::{Remarks, remarks};
