//! Targets: systems outside the lake to which committed changes of views are delivered.

#[cfg(feature = "postgres")]
pub mod postgres;
pub mod target;
