//! `headway rescale`: another number of processes or workers for a job, and what it would mean.

mod advice;
mod command;
mod plan;

pub(crate) use command::{Flags, run};
