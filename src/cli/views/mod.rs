//! `headway views`: the tables of a job, the changes of a running one, and whether its tables are right.

mod command;
mod recompute;
mod subscribe;
pub(crate) mod table;
pub(crate) mod verify;

pub(crate) use command::{Flags, run};
