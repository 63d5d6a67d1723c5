//! The other processes of a job, and the files that its settings name for them.

pub(crate) mod members;
pub(crate) mod mesh_tls;
pub(in crate::cli) mod named_file;
