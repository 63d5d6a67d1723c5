//! What must hold between a manifest and the one before it: audits prove it of all manifests, and a start of the newest.

mod contradiction;
mod rules;

pub use contradiction::{Contradiction, FileContradiction, InputContradiction, PartitionContradiction};
pub use rules::follows;
