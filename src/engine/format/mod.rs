//! What a lake holds on disk: names of files, manifests, segments' pieces, saved state. Decides nothing and does no I/O.

pub mod board;
pub mod changes;
mod entries;
pub(crate) mod folders;
pub mod manifest;
mod manifest_checks;
pub mod manifest_file;
mod manifest_v1;
pub mod names;
pub mod pieces;
pub mod state;
mod state_frame;
mod state_v1;
pub mod waits;
