//! Kafka topics as an input, and as a place to send messages to.

pub mod config;
mod connector;
#[cfg(test)]
mod connector_tests;
mod leader_check;
#[cfg(test)]
mod leader_check_tests;
mod native;
pub mod produce;
mod reader;

pub use connector::{Kafka, Options};
