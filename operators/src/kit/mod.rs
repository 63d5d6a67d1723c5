//! What the author of an operator uses: operators with state and timers for each key, and ready ones made of them.
//!
//! | you write | start at |
//! |---|---|
//! | an operator with state and timers for each key | [`Logic`] |
//! | a dataflow of such operators | [`Record`], [`crate::flow::Flow`], [`crate::build::Build`] |
//! | a decoder of JSON | [`json::Json`] |
//! | rows of an output | [`crate::row!`](crate::row!), [`row::Fields`] |
//! | sessions of each key | [`session::Sessions`] |
//! | a join with a table that does not change | [`lookup::Table`] |
//! | a join with a table that another input keeps up to date | [`table_join::TableJoin`] |
//! | a join of records that are near each other in event time | [`interval_join::IntervalJoin`] |
//! | a test | [`script::Script`] |

pub mod interval_join;
pub mod json;
mod logic;
pub mod lookup;
pub mod per_key;
mod record;
pub mod row;
pub mod script;
pub mod session;
pub mod table_join;
mod wire;

pub use logic::{Context, Logic};
pub use per_key::PerKey;
pub use record::{Origin, Place, Record};
