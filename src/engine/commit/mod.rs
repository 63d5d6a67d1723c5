//! The commit protocol: takes a job over, plans and commits manifests, publishes files, compacts history.
//!
//! Every decision is a pure function over facts already read ([`decide`], [`ledger`], [`job`]); [`checkpoint`] does the I/O.

pub mod alive;
pub mod backup;
#[cfg(test)]
mod calls_tests;
pub mod change_files;
pub mod checkpoint;
#[cfg(test)]
pub(crate) mod checkpoint_tests;
pub mod claim;
pub mod compact;
pub mod decide;
pub mod difference;
pub mod discovered;
mod epoch_acks;
pub mod error;
pub mod finished;
pub mod history;
pub mod inconsistency;
pub mod job;
pub mod law;
pub mod ledger;
#[cfg(test)]
mod ledger_tests;
pub mod loose;
#[cfg(test)]
mod manifest_size_tests;
pub mod process_id;
pub mod publish;
pub mod rebuild;
pub mod recover;
pub mod refill;
pub mod refused;
pub mod release;
pub mod rescale;
pub mod restore;
pub mod retire;
pub mod segment;
#[cfg(test)]
mod simulation;
pub mod site;
pub mod staged;
pub mod standby;
pub mod state_files;
pub mod takeover;
#[cfg(test)]
pub(crate) mod test_store;
pub mod upkeep;
