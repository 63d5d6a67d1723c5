//! Operators on append-only streams of records.

pub mod decode;
