//! Captures: the files of one partition, in the order of its offsets.

pub(in crate::connect::files) mod chain;
pub(in crate::connect::files) mod known;
