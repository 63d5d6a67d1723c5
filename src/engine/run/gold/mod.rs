//! Gold tables: each view as Parquet files. Each file is always whole, and is replaced in one step; days of one table may be of
//! different commits.
//!
//! ```text
//! gold/{pipeline}/{view}.parquet                   a view
//! gold/{pipeline}/{view}/day=2024-01-05.parquet    a view, or a table of day files, that lies by day
//! ```

mod archive;
mod file;
mod place;
mod writer;
#[cfg(test)]
#[cfg(feature = "parquet")]
mod writer_tests;

pub use archive::SealedFiles;
#[cfg(feature = "parquet")]
pub use file::notes_in;
pub use place::{FORMAT, day_files, day_of, folder, path, table_folder};
pub use writer::{GOLD_EVERY, Gold, ViewOutcome};
