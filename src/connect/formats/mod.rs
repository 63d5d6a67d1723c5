//! File formats of the lake's rows: one file a format.

#[cfg(test)]
mod any_rows;
pub mod csv_gz;
pub mod ndjson_gz;
