//! File formats of the lake's rows: one file a format, one table of all.

#[cfg(test)]
mod any_rows;
pub mod csv_gz;
mod encoder;
pub mod ndjson_gz;

pub use encoder::{Encoder, encoder, of_file};
