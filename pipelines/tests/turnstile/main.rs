//! The turnstile pipeline against its slow twin, and against the answers of the reference program in `tests/golden`.

mod captures;
mod decode;
mod draws;
mod generate;
mod jobs;
mod judge;
mod memory;
mod messages;
mod twin;
mod views;
