//! What a person sees: answers as tables or JSON, progress, the log, and why a command failed.

pub(crate) mod code;
pub(crate) mod failure;
pub(crate) mod form;
mod lake_pages;
pub(crate) mod log_end;
mod mesh_pages;
pub(crate) mod page;
pub(crate) mod pages;
pub(crate) mod panic;
pub(crate) mod progress;
pub(crate) mod signals;
pub(crate) mod table;
pub(crate) mod talk;
pub(crate) mod text;
