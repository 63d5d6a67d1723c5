//! Operators on append-only streams of records.

pub mod aggregate;
pub mod decode;
pub(crate) mod each;
pub mod ingest;
pub mod pick;
pub mod roll;
pub mod stage;
pub mod watermark;
pub mod window;
