//! A run of a job on worker threads: reads sources, cuts epochs, writes files, hands acks to the commit.

mod blame;
pub mod board;
pub mod closed;
pub mod committing;
pub mod day_rows;
pub mod discover;
pub mod enter;
pub mod expect;
pub mod feed;
#[cfg(test)]
mod feed_tests;
mod first_reads;
pub mod gold;
mod held;
pub mod journal;
pub mod late_judge;
pub mod launch;
mod member;
mod members;
pub mod memory;
pub mod meter;
pub mod outcome;
pub mod ports;
pub mod refill;
pub mod requests;
pub mod saved;
pub mod sink;
mod size;
pub mod standing;
pub mod targets;
mod unseal;
pub mod view_rows;
pub mod views;
pub mod watchdog;
pub mod watched;
pub mod worker;
