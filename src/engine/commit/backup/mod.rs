//! Backup: copies a job's part of a lake, of a running job too, into a folder from which the job can go on.
//!
//! [`rounds`] is the protocol, [`order`] decides in which order manifests get their names in the copy, [`target`] which
//! folders are copied into, [`copier`] writes files.

mod copier;
mod order;
pub mod rounds;
mod target;
