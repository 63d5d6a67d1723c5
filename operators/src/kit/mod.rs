//! What the author of an operator uses: operators with state and timers for each key, and ready ones made of them.
//!
//! | you write | start at |
//! |---|---|
//! | an operator with state and timers for each key | [`Logic`] |
//! | a dataflow of such operators | [`Record`], [`crate::flow::Flow`], [`crate::build::Build`] |
//! | sessions of each key | [`session::Sessions`] |
//! | a test | [`script::Script`] |

mod logic;
pub mod per_key;
mod record;
pub mod script;
pub mod session;
mod wire;

pub use logic::{Context, Logic};
pub use per_key::PerKey;
pub use record::{Origin, Place, Record};
