//! What happens to records: the operators of Headway on timely dataflow, and the traits to write more.
//!
//! This crate is pure dataflow. It opens no file and no socket, reads no clock and no environment, and knows
//! nothing of the subject: what a turnstile or a song is lives in `headway-pipelines`.
#![forbid(unsafe_code)]

pub mod ack;
pub mod build;
mod dry;
pub mod epochs;
pub mod error;
pub mod flow;
pub mod generate;
pub mod keyed;
pub mod pace;
pub mod pipeline;
pub mod port;
pub mod progress;
pub mod record;
pub mod row;
pub mod shape;
pub mod spec;
pub mod state;
pub mod stream;
pub mod time;
