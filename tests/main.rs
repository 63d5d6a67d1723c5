//! The integration tests of Headway: one binary, one file a promise.

mod answers;
mod architecture;
mod backup;
mod causes;
mod causes_elsewhere;
#[cfg(feature = "mesh-tls")]
mod certificates;
mod cli;
mod compaction;
mod confirmed;
mod durability;
#[cfg(feature = "parquet")]
mod expect;
#[cfg(feature = "parquet")]
mod expect_processes;
mod explain_dead;
mod face;
mod field;
mod files;
mod folders;
mod follow_over_processes;
mod formats;
mod gaps;
mod golden_manifests;
#[cfg(feature = "parquet")]
mod held_state;
mod hostile;
#[cfg(all(feature = "kafka", feature = "serve"))]
mod lag;
mod landing;
#[cfg(feature = "parquet")]
mod late_views;
mod limits;
#[cfg(feature = "parquet")]
mod live_views;
mod lives;
mod lookup;
mod memory;
#[cfg(feature = "mesh-tls")]
mod mesh_tls;
mod migration;
mod moved_files;
mod music;
#[cfg(feature = "parquet")]
mod music_views;
mod odd_inputs;
mod operator_counts;
mod outcome;
mod panics;
#[cfg(feature = "parquet")]
mod parquet_lake;
mod played;
mod process;
mod processes;
mod produced_together;
#[cfg(feature = "parquet")]
mod raised_views;
mod readme;
mod recovery;
mod replay;
mod rescale;
mod rust_text;
mod store_faults;
mod supervised;
mod two_halls;
mod two_inputs;
#[cfg(feature = "parquet")]
mod unsealed;
#[cfg(feature = "parquet")]
mod verified_beside;
#[cfg(feature = "parquet")]
mod views_over_processes;
#[cfg(feature = "parquet")]
mod weekly;
