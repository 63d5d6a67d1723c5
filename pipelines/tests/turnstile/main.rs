//! The turnstile pipeline against the oracle, which reads the same bytes with Python's own json, csv and zoneinfo.

mod dataflow;
mod decode;
mod generate;
mod oracle;
