//! `headway produce`: the generated messages of a pipeline, input after input or side by side.

mod command;
mod together;

pub(crate) use command::{Flags, run};
