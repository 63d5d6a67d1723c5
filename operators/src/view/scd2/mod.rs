//! Keeps the history of a value by key (a slowly changing dimension of type 2), and finds for each fact the version that was
//! in force.
//!
//! # Input
//! [`Event`]s stamped with their time, exchanged by the shard of their key: each says which value the key has at its time, and
//! may carry a fact.
//! # Output
//! A table of [`Version`]s: half-open intervals `[from, to)` in which the key had one value; the last has no end. And a
//! stream of [`Fact`]s, each once and for ever, with the beginning of its version.
//! # State
//! Per key the beginnings of its versions below the watermark; and every event at or above it, in order of time. Beginnings
//! alone would not do: a late event that splits an interval needs the first event after it, which nobody would remember.
//! Sections have versions where a new one began, and each event once: what the watermark has passed is left out when they are
//! read back. Sections of version 1 had all that was known of a key, whenever an event came or counted.
//! # Progress
//! An event counts when the watermark has passed its time; it leaves in that epoch. Events of a key count in the order of
//! time, whatever their order of arrival.
//! # Late and bad data
//! An event is late where its time lies below its stamp; it is refused at the source. At one instant the greatest value wins,
//! and facts of that instant belong to the version that holds then.
//! # Restart
//! As [`keep`](crate::view::keep) for the table. Facts that were emitted do not come again.
//! # Cost
//! Two looks into the table of keys an event, when it comes and when the watermark passes it; and a sort of what an epoch lets
//! count. State is written for each event once, and for each version that begins or ends.
//!
//! ```text
//! free@1 free@5 paid@4, watermark 9  ──►  [1, 4) free, [4, 5) paid, [5, …) free
//! ```

mod operator;
mod versions;
mod waiting;

pub use operator::{Event, Fact, Out, Scd2, Version};
