//! A pipeline: which operators, in which order, for one subject. Free of I/O, so it runs from a list in a test.

use crate::build::Build;
use crate::generate::{self, Generate};
use crate::spec::{Format, InputSpec};
use std::collections::BTreeMap;

/// One subject's dataflow, made from [`Settings`].
pub trait Pipeline: Send + Sync {
    /// The name on the command line, in the lake and in manifests.
    fn name(&self) -> &'static str;

    /// Raised when the meaning of its output or state changes.
    fn version(&self) -> u32;

    /// Its inputs, in a fixed order.
    fn inputs(&self) -> Vec<InputSpec>;

    /// What its state was made with. A lake whose state was made with something else is refused.
    fn fingerprint(&self) -> BTreeMap<String, String>;

    /// Builds the dataflow on one worker. Called once a worker; must build the same on all. What it builds is its shape
    /// ([`crate::shape::Shape`]): outputs and operators are declared nowhere else.
    fn build(&self, build: &mut Build<'_>);

    /// The messages of the embedded source, in the wire format of the first input.
    fn generator(&self, options: &generate::Options) -> Box<dyn Generate>;
}

/// One entry of the catalogue.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The pipeline's name.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// Makes the pipeline.
    pub make: fn(&Settings) -> Result<Box<dyn Pipeline>, SettingError>,
    /// The generator's options where nothing else is said.
    pub generate: fn() -> generate::Options,
}

/// What a person may set of any pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Length of a window in milliseconds; whole seconds.
    pub window_ms: Option<i64>,
    /// Distance between the starts of two windows in milliseconds; absent: tumbling.
    pub slide_ms: Option<i64>,
    /// How much disorder is waited for, in milliseconds; absent: the window's length.
    pub lateness_ms: Option<i64>,
    /// IANA name of the zone of wall-clock times; absent: UTC.
    pub zone: Option<String>,
    /// Adds the window's end in UTC as a last column to CSV outputs.
    pub csv_window_end_utc: bool,
    /// The format of the files of rows; absent: the pipeline's own.
    pub format: Option<Format>,
}

/// A setting that a pipeline refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SettingError {
    /// The name of the setting, as in the configuration file: `window`, `slide`, `lateness`, `zone`, `format`.
    pub setting: &'static str,
    /// What is wrong, quoting the value.
    pub what: String,
    /// The way out.
    pub hint: String,
}
