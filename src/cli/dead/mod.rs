//! `headway dead` and `headway late`: refused messages, as the lake keeps them, and how they are replayed.

mod command;
pub(crate) mod replay;
pub(crate) mod side;

pub(crate) use command::{Flags, examples, run};
