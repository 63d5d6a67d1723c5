//! PostgreSQL: a schema `headway_{job}` with a table for each view, and one row that says of which commit they are.

mod binary;
mod certificate;
mod connect;
mod sql;
mod tables;
mod target;

pub use connect::{Options, Refused};
pub use target::Postgres;
