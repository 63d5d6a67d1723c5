//! `headway status`: where a job stands, whether it lives, and what holds its windows open.

mod command;
pub(crate) mod expectations;
pub(crate) mod holder;
pub(crate) mod life;

pub(crate) use command::{Flags, run};
