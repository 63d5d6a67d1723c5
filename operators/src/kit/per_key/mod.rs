//! Runs a [`Logic`](crate::kit::Logic): keeps the state and the timers of each key, and takes records in the order of event time.
//!
//! # Input
//! [`Record`](crate::kit::Record)s, exchanged by the shard of their key, and the ticks of their inputs.
//! # Output
//! What the logic emits, each with the event time and the origin of the record or timer that led to it, in the order of
//! event time.
//! # State
//! For each key the author's state and the timers; a key with neither has none. Records that the watermark has not passed
//! wait apart from the keys, so a key with many of them is not written whole in each epoch. The state of a key that nothing
//! touches for as long as `Logic::ttl` says is dropped.
//! # Progress
//! As the keyed driver. At the close of e, with W = `W_C(e)` of the inputs, records with time < W are taken and timers with
//! time < W fire, both in the order of event time; at one instant records come first.
//! # Late and bad data
//! A record with time < stamp is dropped as `behind-watermark`. Inputs without a grid refuse such records at the source.
//! A record that another operator made may come behind W, where an input of that operator is idle and wakes: it is taken at
//! once.
//! # Restart
//! Entries, deletions and waiting records, per shard: all, what changed since the base, or what changed; each with the
//! author's version. Waiting records that the committed watermark has passed are gone.
//! # Cost
//! One encoding of the key and one hash probe a record, one sort of what the watermark passes; O(log timers) a timer.

mod entry;
mod operator;
mod section;
mod show;
#[cfg(test)]
mod tests;
mod waiting;

pub use operator::{PerKey, Routed};
#[cfg(test)]
pub(crate) use section::Section;
pub(crate) use waiting::encoded;
