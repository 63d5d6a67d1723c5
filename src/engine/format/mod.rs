//! What a lake holds on disk: names of files, manifests, segments' pieces, saved state. Decides nothing and does no I/O.

pub mod manifest;
pub mod names;
pub mod pieces;
pub mod state;
