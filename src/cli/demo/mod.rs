//! `headway demo`: the real jobs on generated messages, and what they show.

mod command;
mod sums;
mod view;

pub(crate) use command::{Flags, run};
