//! Sums amounts per window and key, each record once, and gives a window's rows once, when the watermark reaches its end.
//!
//! # Input
//! Stamped records exchanged by the shard of their key; the keys by value; the input's ticks.
//! # Output
//! A [`Total`] for each key of a window that closes, ordered by window and key.
//! # State
//! Per open window and key the sums; per open slice of event time the identities ([`Dedup`](dedup::Dedup)); the keys of open windows
//! by value. All of a key is in one shard; it goes when its last window closes.
//! # Progress
//! As the keyed driver: a window with end <= wm(e) leaves at epoch e.
//! # Late and bad data
//! Late records were refused at the source, by the same grid. A record that would meet a closed window is a broken
//! invariant, and stops the job.
//! # Restart
//! Sums, identities, keys and first epochs, per shard: all, what changed since the base, or what changed; encoded by [`section`].
//! # Cost
//! Two hash probes a record and window. Sums are exact: 128 bits inside, and overflow stops the job.

mod dedup;
mod identities;
mod operator;
mod section;
mod timeline;

pub use operator::{Aggregate, Summand, Total};
