//! What a running job tells of itself and of its views by HTTP, and why it lags. Reads the board, the head and the views as
//! commits left them; a job never waits for a reader.

mod cause;
#[cfg(feature = "serve")]
mod connections;
#[cfg(feature = "serve")]
mod encode;
#[cfg(feature = "serve")]
mod events;
#[cfg(feature = "serve")]
pub mod feed;
#[cfg(feature = "serve")]
mod guard;
pub mod lag;
#[cfg(feature = "serve")]
pub mod live;
#[cfg(feature = "serve")]
mod member;
pub mod metrics;
#[cfg(feature = "serve")]
mod openmetrics;
#[cfg(feature = "serve")]
mod own;
#[cfg(feature = "serve")]
mod pages;
#[cfg(feature = "serve")]
mod problem;
mod process_board;
#[cfg(feature = "serve")]
mod query;
#[cfg(feature = "serve")]
mod recent;
#[cfg(feature = "serve")]
mod routes;
#[cfg(feature = "serve")]
pub mod server;
#[cfg(all(test, feature = "serve"))]
mod server_tests;
#[cfg(feature = "serve")]
mod status;
#[cfg(feature = "serve")]
mod streams;
pub mod textfile;
#[cfg(feature = "serve")]
mod views;
mod windows;
