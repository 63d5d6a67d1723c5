//! What a running job tells of itself: metrics and health by HTTP, and why it lags. Reads the board and the head; a job never
//! waits for a reader.

pub mod lag;
pub mod metrics;
#[cfg(feature = "serve")]
mod openmetrics;
#[cfg(feature = "serve")]
pub mod server;
