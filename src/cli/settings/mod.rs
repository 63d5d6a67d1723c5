//! What can be set: keys and flags of every job ([`config`]), of inputs ([`source_flags`]) and of pipelines ([`given`]), and the job that follows from them
//! ([`plan`]).

mod beside;
pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod expect;
pub(crate) mod file;
pub(crate) mod given;
mod inputs;
pub(crate) mod kafka;
pub(crate) mod made;
pub(crate) mod origin;
pub(crate) mod place;
pub(crate) mod plan;
#[cfg(test)]
mod reference;
mod rules;
pub(crate) mod secret;
pub(crate) mod source;
pub(crate) mod source_flags;
pub(crate) mod suggest;
pub(crate) mod twins;
