//! The music events: what the users of a music service do, in four topics.

pub mod generate;
