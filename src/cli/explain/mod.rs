//! `headway explain`: what an error means, why a job lags, and why a record was refused.

mod command;
mod lag;
mod record;

pub(crate) use command::{Flags, run};
