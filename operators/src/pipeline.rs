//! A pipeline: which operators, in which order, for one subject. Free of I/O, so it runs from a list in a test.
//!
//! A pipeline is a type that implements [`Pipeline`], and an [`Entry`] of a catalogue, which says how it is made from its
//! [`Settings`]. A setting is declared once, in [`Entry::settings`]. Its key in the configuration file, its flag, its
//! variable, its line in `--help` and `check` and its place in the fingerprint follow from that ([`crate::setting`]).
//!
//! ```rust
//! use headway_operators::build::Build;
//! use headway_operators::pipeline::{Entry, Pipeline};
//! use headway_operators::setting::{Setting, SettingError, Settings};
//! use headway_operators::spec::InputSpec;
//!
//! const SETTINGS: &[Setting] = &[Setting::duration("max_gap", "30m", "How long a user may be away in one session")];
//!
//! const ENTRY: Entry = Entry { settings: SETTINGS, ..Entry::new("sessions", "Sessions of users", make) };
//!
//! fn make(settings: &Settings) -> Result<Box<dyn Pipeline>, SettingError> {
//!     Ok(Box::new(Sessions { max_gap_ms: settings.ms("max_gap") }))
//! }
//!
//! struct Sessions {
//!     max_gap_ms: i64,
//! }
//!
//! impl Pipeline for Sessions {
//!     fn name(&self) -> &'static str {
//!         ENTRY.name
//!     }
//!
//!     fn version(&self) -> u32 {
//!         1
//!     }
//!
//!     fn inputs(&self) -> Vec<InputSpec> {
//!         Vec::new()
//!     }
//!
//!     fn build(&self, _build: &mut Build<'_>) {}
//! }
//!
//! let job = ENTRY.configure([("max_gap", "1h")])?;
//! assert_eq!(job.fingerprint().noted["max_gap_ms"], "3600000");
//! # Ok::<(), SettingError>(())
//! ```

use crate::build::Build;
use crate::generate::{self, Generate};
use crate::recompute::Recompute;
use crate::record::Columns;
use crate::setting::{Fingerprint, ReadFile, Setting, SettingError, Settings};
use crate::spec::InputSpec;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One subject's dataflow, made from [`Settings`].
pub trait Pipeline: Send + Sync {
    /// The name on the command line, in the lake and in manifests.
    fn name(&self) -> &'static str;

    /// Raised when the meaning of its output or state changes.
    fn version(&self) -> u32;

    /// Its inputs, in a fixed order.
    fn inputs(&self) -> Vec<InputSpec>;

    /// Builds the dataflow on one worker. Called once a worker; must build the same on all. What it builds is its shape
    /// ([`crate::shape::Shape`]): outputs and operators are declared nowhere else.
    fn build(&self, build: &mut Build<'_>);

    /// Seeded messages for the input called `input`, in its wire format; `None` where the pipeline makes none for it.
    /// [`Entry::generate`] says for which inputs there are some.
    fn generator(&self, _input: &str, _options: &generate::Options) -> Option<Box<dyn Generate>> {
        None
    }

    /// The slow way to its views, from what a job has committed: `headway views verify` compares. `None` where there is none.
    fn recompute(&self) -> Option<Box<dyn Recompute>> {
        None
    }
}

/// One entry of the catalogue.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The pipeline's name.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// What a person may set.
    pub settings: &'static [Setting],
    /// Makes the pipeline from its settings.
    pub make: Make,
    /// The default options of the generator for an input; `None` for an input without a generator.
    pub generate: fn(input: &str) -> Option<generate::Options>,
    /// What `headway demo` shows of it, if anything.
    pub demo: Option<Demo>,
    /// Finds the field for which a message is a dead letter; `None` where no single field is the cause, or the pipeline does
    /// not report it. Of inputs with JSON, [`fault`](crate::kit::json::fault) finds it.
    pub fault: fn(dead: &DeadLetter<'_>) -> Option<Fault>,
}

/// A message that could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetter<'a> {
    /// The name of its input.
    pub input: &'a str,
    /// Its bytes.
    pub message: &'a [u8],
    /// The columns that the header of its file names, where they differ from what the input expects.
    pub columns: Option<&'a Columns>,
    /// Why it could not be decoded, by the name of the [`Reason`](crate::error::Reason).
    pub reason: &'a str,
}

/// A field for which a message is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name.
    pub field: Cow<'static, str>,
    /// What it holds; empty if it is not there.
    pub found: String,
}

/// Makes a pipeline from its settings.
pub type Make = fn(&Settings) -> Result<Box<dyn Pipeline>, SettingError>;

impl Entry {
    /// A pipeline without settings, generator and demo.
    pub const fn new(name: &'static str, about: &'static str, make: Make) -> Entry {
        Entry { name, about, settings: &[], make, generate: |_| None, demo: None, fault: |_| None }
    }

    /// Makes the pipeline with the settings that are `given` as names and texts; the others have their defaults.
    ///
    /// # Errors
    /// The first setting that is unknown or makes no job.
    pub fn configure<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Configured, SettingError> {
        self.made(Settings::new(self.settings, given)?)
    }

    /// The same, where `files` reads the files that settings name.
    ///
    /// # Errors
    /// As [`Entry::configure`], and if a file cannot be read.
    pub fn configure_with_files<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
        files: ReadFile<'_>,
    ) -> Result<Configured, SettingError> {
        self.made(Settings::with_files(self.settings, given, files)?)
    }

    /// Makes the pipeline as a lake notes its settings: see [`Settings::of_noted`].
    ///
    /// # Errors
    /// As [`Entry::configure`].
    pub fn configure_as_noted(&self, noted: &BTreeMap<String, String>) -> Result<Configured, SettingError> {
        self.made(Settings::of_noted(self.settings, noted)?)
    }

    fn made(&self, settings: Settings) -> Result<Configured, SettingError> {
        Ok(Configured { pipeline: Arc::from((self.make)(&settings)?), settings })
    }
}

/// A pipeline, and the settings it was made with.
#[derive(Clone)]
pub struct Configured {
    /// The pipeline.
    pub pipeline: Arc<dyn Pipeline>,
    /// Its settings.
    pub settings: Settings,
}

impl Configured {
    /// What its state and rows are made with. A lake that was made with something else is refused.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = self.settings.fingerprint();
        fingerprint.noted.insert("version".to_string(), self.pipeline.version().to_string());
        fingerprint
    }
}

impl From<Arc<dyn Pipeline>> for Configured {
    /// A pipeline that has no settings.
    fn from(pipeline: Arc<dyn Pipeline>) -> Configured {
        Configured { pipeline, settings: Settings::default() }
    }
}

impl<P: Pipeline + 'static> From<Arc<P>> for Configured {
    fn from(pipeline: Arc<P>) -> Configured {
        Configured::from(pipeline as Arc<dyn Pipeline>)
    }
}

/// What `headway demo` shows: the job on generated messages, and the greatest sums of one output.
#[derive(Clone, Copy, Debug)]
pub struct Demo {
    /// Settings that are not the default, as names and texts.
    pub settings: &'static [(&'static str, &'static str)],
    /// How many messages are generated, unless a person asks for another number.
    pub messages: u64,
    /// Messages per second of event time; `None` leaves it to the pipeline.
    pub rate: Option<f64>,
    /// Distinct keys; `None` leaves it to the pipeline.
    pub keys: Option<u64>,
    /// What is added up from the rows.
    pub top: Top,
    /// The view that has the same sums, if the pipeline has one.
    pub view: Option<TopView>,
}

/// Sums of an output's columns for each value of other columns.
#[derive(Clone, Copy, Debug)]
pub struct Top {
    /// What is shown, in a few words.
    pub title: &'static str,
    /// The output, in CSV or Parquet.
    pub output: &'static str,
    /// The columns whose values are compared.
    pub of: &'static [&'static str],
    /// The columns that are added up; the first one decides the order, or the number of rows if there is none.
    pub sums: &'static [&'static str],
}

/// A view with the greatest sums of a [`Top`]. The demo shows it, and compares it with the sums of the rows.
#[derive(Clone, Copy, Debug)]
pub struct TopView {
    /// The settings with which the pipeline has the view; they replace [`Demo::settings`]. A program that is built without
    /// Parquet keeps no views and uses those.
    pub settings: &'static [(&'static str, &'static str)],
    /// The view's name.
    pub name: &'static str,
    /// Which rows are shown: those with these values, as pairs of column and value.
    pub filter: &'static [(&'static str, &'static str)],
    /// The columns that are shown: one for each of [`Top::of`] in the same order, then the one with the sum.
    pub columns: &'static [&'static str],
}
