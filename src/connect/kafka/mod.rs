//! Kafka topics as an input, and as a place to send messages to.

mod client;
pub mod config;
mod connector;
#[cfg(test)]
mod connector_tests;
mod context;
mod jaas;
mod java_properties;
#[cfg(test)]
mod java_tests;
mod leader_check;
#[cfg(test)]
mod leader_check_tests;
mod native;
pub mod produce;
mod reader;
mod setting_names;
mod settings;
#[cfg(test)]
mod settings_tests;
#[cfg(test)]
mod trouble_tests;

pub use connector::{Kafka, Options};
