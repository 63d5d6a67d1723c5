//! The music events: what the users of a music service do, in four topics.

pub mod decode;
pub mod event;
pub mod generate;
pub mod topic;
