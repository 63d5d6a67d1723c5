//! Runs a pipeline on lists of messages, on any number of workers and on a store that fails, and compares the lakes.

use crate::connect::Connector;
use crate::connect::memory::{Lists, Message};
use crate::engine::audit;
use crate::engine::clock::{Clock, System};
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::run::enter::launch;
use crate::engine::run::launch::Launch;
use crate::engine::run::watched::Summary;
use crate::store::Store;
use crate::store::faulty::Faulty;
use crate::store::memory::Memory;
use flate2::read::MultiGzDecoder;
use headway_operators::pipeline::{Configured, Entry};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// How many of a thousand calls of the failing store fail.
const PER_MILLE: u64 = 40;

/// The most runs until a job must have ended: a run commits an epoch or two before it meets a fault.
const RUNS_MAX: u64 = 2000;

/// Bytes of messages that fill an epoch: a lot, and so few that a short list has many epochs.
const EPOCH_BYTES: [usize; 2] = [1 << 20, 1 << 9];

/// A pipeline with its messages.
///
/// ```rust
/// use headway::kit::Job;
///
/// let turnstile = headway_pipelines::find("turnstile").expect("it is in the catalogue");
/// let line = "A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,6,7,x,2024-01-30 12:32:04";
/// let outcome = Job::of(turnstile, &[("window", "1m")]).messages("turnstile", &[&[line, line, "what?"]]).check();
/// assert_eq!(outcome.lines("turnstile").len(), 1, "one window, and the line counts once");
/// assert_eq!(outcome.lines("_dead/turnstile").len(), 1);
/// ```
#[derive(Clone)]
pub struct Job {
    made: Configured,
    /// By the name of the input: its partitions.
    messages: BTreeMap<String, Vec<Vec<Message>>>,
}

/// What a job leaves: the lines of its outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// By folder, sorted; the header rows of CSV files are left out.
    lines: BTreeMap<String, Vec<String>>,
}

impl Outcome {
    /// The lines of the text files in `folder`, such as `trips` or `_dead/bikes`, sorted, without header rows.
    pub fn lines(&self, folder: &str) -> &[String] {
        self.lines.get(folder).map(Vec::as_slice).unwrap_or_default()
    }

    /// The folders that have lines.
    pub fn folders(&self) -> Vec<&str> {
        self.lines.keys().map(String::as_str).collect()
    }
}

impl Job {
    /// The pipeline of `entry` with these settings, names and texts.
    ///
    /// # Panics
    /// If a setting is unknown or makes no job.
    pub fn of(entry: &Entry, settings: &[(&str, &str)]) -> Job {
        let made = entry.configure(settings.iter().copied());
        let made = made.unwrap_or_else(|error| panic!("setting \"{}\": {error}", error.setting));
        Job { made, messages: BTreeMap::new() }
    }

    /// The messages of an input, partition by partition.
    ///
    /// # Panics
    /// If the pipeline has no such input.
    #[must_use]
    pub fn messages<M: AsRef<[u8]>, P: AsRef<[M]>>(mut self, input: &str, partitions: &[P]) -> Job {
        let known = self.made.pipeline.inputs().iter().any(|spec| spec.name == input);
        assert!(known, "the pipeline has no input \"{input}\"");
        let message = |value: &M| Message { value: Some(value.as_ref().to_vec()), timestamp_ms: None };
        let list = |partition: &P| partition.as_ref().iter().map(message).collect();
        self.messages.insert(input.to_string(), partitions.iter().map(list).collect());
        self
    }

    /// Runs the job to the end of its messages on 1, 2 and 3 workers, in few epochs and in many, and again on a store that
    /// fails again and again: each failure ends the run, what was not made durable is gone, and the next run has another
    /// number of workers. All must leave the same lines, and a lake in which an audit finds nothing.
    ///
    /// # Panics
    /// If anything differs, or a run fails for another reason.
    pub fn check(&self) -> Outcome {
        let sound = |workers, bytes| {
            let files = Memory::new();
            self.run(Arc::new(files.clone()), workers, bytes)
                .unwrap_or_else(|error| panic!("on {workers} workers: {error}"));
            self.outcome(&files)
        };
        let first = sound(1, EPOCH_BYTES[0]);
        for workers in 1..=3 {
            for bytes in EPOCH_BYTES {
                let outcome = sound(workers, bytes);
                assert_eq!(outcome, first, "on {workers} workers, with {bytes} bytes in an epoch (left)");
            }
        }
        let killed = self.killed();
        assert_eq!(killed, first, "killed and rescaled again and again (left)");
        first
    }

    /// What the job leaves on a store that fails.
    fn killed(&self) -> Outcome {
        let files = Memory::new();
        let faulty = Faulty::new(Arc::new(files.clone()), 1).rate(PER_MILLE);
        for run in 0..RUNS_MAX {
            let workers = 1 + usize::try_from(run % 3).expect("it is small");
            match self.run(Arc::new(faulty.clone()), workers, EPOCH_BYTES[1]) {
                Ok(_) => return self.outcome(&files),
                Err(error) => assert_eq!(error.code(), "store-failed", "run {run}: {error}"),
            }
            files.power_cut();
        }
        panic!("the job does not come to its end in {RUNS_MAX} runs");
    }

    fn run(&self, store: Arc<dyn Store>, workers: usize, epoch_bytes: usize) -> Result<Summary, Error> {
        let list = |name: &str| Lists::new(self.messages.get(name).cloned().unwrap_or_default());
        let inputs = self.made.pipeline.inputs();
        let connectors = inputs.iter().map(|input| Arc::new(list(input.name)) as Arc<dyn Connector>);
        // Epochs end by their bytes alone: where they end does not depend on how busy the machine is.
        let epoch = Duration::from_secs(3600);
        let launched = Launch::new(self.made.clone(), connectors, store);
        launch(Launch { workers, epoch, epoch_bytes, ..launched }, &Control::new())
    }

    fn outcome(&self, files: &Memory) -> Outcome {
        let store = Arc::new(files.clone()) as Arc<dyn Store>;
        let clock = Arc::new(System::default()) as Arc<dyn Clock>;
        let report = audit::run(&store, &clock, self.made.pipeline.name(), true);
        let report = report.unwrap_or_else(|error| panic!("the lake cannot be read: {error}"));
        assert_eq!(report.finding, None, "an audit of the lake");
        let mut outcome = Outcome::default();
        for (name, bytes) in files.files().into_iter().filter(|(name, _)| !name.starts_with("_headway/")) {
            let is_csv = name.ends_with(".csv.gz");
            if !is_csv && !name.ends_with(".ndjson.gz") {
                continue;
            }
            let mut text = String::new();
            MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("a lake has gzipped text");
            let folder = name.rsplit_once('/').map(|(folder, _)| folder.to_string()).unwrap_or_default();
            let lines = outcome.lines.entry(folder).or_default();
            lines.extend(text.lines().skip(usize::from(is_csv)).map(str::to_string));
        }
        outcome.lines.values_mut().for_each(|lines| lines.sort_unstable());
        outcome
    }
}
