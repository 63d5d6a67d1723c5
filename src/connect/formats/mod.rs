//! File formats of the lake's rows: one file a format, one table of all.

#[cfg(test)]
mod any_rows;
pub mod csv_gz;
mod encoder;
pub mod ndjson_gz;
#[cfg(feature = "parquet")]
pub mod parquet;
#[cfg(all(test, feature = "parquet"))]
mod parquet_tests;

pub use encoder::{Encoder, Files, encoder, is_built, of_file};
