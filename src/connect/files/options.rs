//! What to read, as a person asks for it.

use headway_operators::spec::{HeaderSpec, InputSpec};
use std::path::PathBuf;

/// What to read.
#[derive(Clone, Debug)]
pub struct Options {
    /// A file or a folder; `FOLDER/**` is a folder with all folders below it.
    pub path: PathBuf,
    /// Waits for more lines and files. Compressed files cannot be followed.
    pub follow: bool,
    /// The topic whose envelopes are read; `None` reads those of all topics.
    pub topic: Option<String>,
    /// How header lines are known; `None` takes every line for a message.
    pub header: Option<HeaderSpec>,
}

impl Options {
    /// Reads the messages of `input` in `path` to their end.
    pub fn new(path: impl Into<PathBuf>, input: &InputSpec) -> Options {
        let (topic, header) = (Some(input.topic.to_string()), input.header);
        Options { path: path.into(), follow: false, topic, header }
    }
}
