//! The slow and obvious twin of the job: from the messages of each partition to rows, dead letters and late records.
//!
//! It is written from the description of messages, windows and lateness in README, and uses nothing of ours: no decoder,
//! no window, no operator. `scripts/reference` is a third program of the same rules; its answers are in `tests/golden`.

pub(crate) mod capture;
mod clock;
mod csv_text;
mod job;
mod json_text;
mod message;

pub(crate) use clock::Clock;
pub(crate) use job::{Answer, Fates, Options, run};
pub(crate) use message::{Read, Reading, header_columns, header_of, read};

/// The columns of a message that has no header.
pub(crate) const COLUMNS: [&str; 13] = [
    "CA",
    "UNIT",
    "SCP",
    "STATION",
    "LINENAME",
    "DIVISION",
    "DATE",
    "TIME",
    "DESC",
    "ENTRIES",
    "EXITS",
    "ID",
    "TIMESTAMP",
];

/// The columns of a message without a header, by value.
pub(crate) fn usual_columns() -> Vec<String> {
    COLUMNS.map(str::to_string).to_vec()
}
