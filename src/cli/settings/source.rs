//! Where the messages of an input come from.

use super::config::Generate;
use super::inputs::InputSettings;
use super::kafka;
use super::place::without_password;
use super::source_flags::{FOLLOW, INPUT};
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::units::{Count, Limit, Millis, When};
use crate::connect::{Connector, files, generator};
use headway_operators::generate;
use headway_operators::pipeline::{Entry, Pipeline};
use headway_operators::spec::InputSpec;
use std::path::PathBuf;
use std::sync::Arc;

/// Messages per second of event time that a generator can make times for.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1e9;

/// More partitions than a topic has anywhere.
const PARTITIONS_MAX: u32 = 10_000;

/// More keys than a generator keeps apart.
const KEYS_MAX: u32 = 10_000_000;

/// The last second of the year 9999, in seconds UTC.
const YEAR_9999_S: f64 = 253_402_300_799.0;

/// How far ahead of its message's time stamp a record may be where nothing is said.
const MAX_AHEAD: Millis = Millis(3_600_000);

/// Where messages come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// A Kafka topic.
    Kafka {
        /// The client's `.properties` file.
        config: Option<PathBuf>,
        /// The group that is told committed offsets.
        group: Option<String>,
    },
    /// A file or a folder of files.
    Files {
        /// The file or folder.
        path: PathBuf,
        /// Whether to keep reading as they grow.
        follow: bool,
    },
    /// Seeded messages.
    Generate {
        /// Which ones.
        options: generate::Options,
    },
}

impl Source {
    /// True if everything is there at the start, so that a job which has read it is over.
    pub(crate) fn ends(&self) -> bool {
        match self {
            Source::Kafka { .. } => false,
            Source::Files { follow, .. } => !follow,
            Source::Generate { options } => options.messages.is_some(),
        }
    }
}

/// An input of a job as it will run.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// What the pipeline says of it.
    pub(crate) spec: InputSpec,
    /// Where its messages come from.
    pub(crate) source: Source,
    /// The topic, or the name that stands for it.
    pub(crate) topic: String,
    /// How far ahead of its time stamp a record may be, in milliseconds.
    pub(crate) max_ahead_ms: i64,
    /// The bound of messages without a time stamp; `None`: the clock, and what may be ahead of it.
    pub(crate) not_after: Option<Limit<When>>,
}

impl Input {
    /// The input of the pipeline of `entry` that `set` describes.
    ///
    /// # Errors
    /// Exit 2, with its place, if anything does not fit.
    pub(crate) fn of(entry: &Entry, set: &InputSettings, generate: &Generate) -> Result<Input, Failure> {
        Ok(Input {
            source: source(entry, set, generate)?,
            topic: set.own("topic")?.unwrap_or(set.spec.topic).to_string(),
            max_ahead_ms: set.read("max_ahead")?.unwrap_or(MAX_AHEAD).0,
            not_after: set.read("not_after")?,
            spec: set.spec.clone(),
        })
    }

    /// Opens nothing yet.
    ///
    /// # Errors
    /// Exit 2 or 3 if its settings cannot be used, or this build lacks the source.
    pub(crate) fn connector(&self, pipeline: &dyn Pipeline) -> Result<Arc<dyn Connector>, Failure> {
        match &self.source {
            Source::Kafka { config, group } => {
                kafka::connector(config.as_deref(), &self.topic, group.as_deref())
            }
            Source::Files { path, follow } => Ok(Arc::new(files::Files::new(files::Options {
                path: path.clone(),
                follow: *follow,
                topic: Some(self.topic.clone()),
                header: self.spec.header,
            }))),
            Source::Generate { options } => {
                let generator = pipeline.generator(self.spec.name, options);
                let generator = generator.ok_or_else(|| no_generator(pipeline.name(), self.spec.name))?;
                Ok(Arc::new(generator::Generator::new(Arc::from(generator))))
            }
        }
    }
}

/// A refusal to generate messages where the pipeline makes none.
pub(crate) fn no_generator(pipeline: &str, input: &str) -> Failure {
    let what = format!("pipeline \"{pipeline}\" generates no messages for input \"{input}\"");
    Failure::new(Code::SourceInvalid, what).hint("Use --source kafka: or --source files:PATH.")
}

fn source(entry: &Entry, set: &InputSettings, generate: &Generate) -> Result<Source, Failure> {
    const WAYS: &str = "Use --source kafka:, --source files:PATH or --source generate.";
    let refuse = |what: &str| set.refuse("uri", what);
    let Some(uri) = set.text("uri") else { return Err(no_source(set, WAYS)) };
    let shown = without_password(uri);
    match uri.split_once(':').unwrap_or((uri, "")) {
        ("kafka", "") if uri.ends_with(':') => Ok(Source::Kafka {
            config: set.file("kafka_config")?,
            group: set.text("group").map(str::to_string),
        }),
        ("kafka", "") => Err(refuse("\"kafka\" lacks its colon").hint(WAYS)),
        ("kafka", _) => Err(refuse(&format!("\"{shown}\" says more than kafka:"))
            .hint("Use --source kafka: with --topic TOPIC and --kafka-config FILE.")),
        ("files", "") => Err(refuse("files: without a path").hint(WAYS)),
        ("files", path) if path.starts_with("//") && !path.starts_with("///") => {
            Err(refuse(&format!("\"{shown}\" names a host after files://"))
                .hint(format!("Write files:{} for that path.", path.trim_start_matches('/'))))
        }
        ("files", path) => {
            let follow = set.read(FOLLOW)?.unwrap_or(false);
            Ok(Source::Files { path: files_of(set, set.path("uri", path)?)?, follow })
        }
        ("file", path) => Err(refuse(&format!("\"{shown}\" is no source"))
            .hint(format!("Did you mean files:{}? {WAYS}", path.trim_start_matches("//")))),
        ("generate", keys) => {
            let generate = Generate::parse(keys)?.over(generate.clone());
            Ok(Source::Generate { options: generate_options(entry, set.spec.name, &generate)? })
        }
        _ => Err(refuse(&format!("\"{shown}\" is no source")).hint(WAYS)),
    }
}

/// What an input reads of `path`. Where that is for several inputs, it is a folder with one for each, as `headway produce`
/// writes it: two inputs that read the same files would each take the other's lines.
fn files_of(set: &InputSettings, path: PathBuf) -> Result<PathBuf, Failure> {
    let below = path.join(set.spec.name);
    if set.own("uri").is_ok() {
        return Ok(path);
    }
    if below.is_dir() {
        return Ok(below);
    }
    let name = set.spec.name;
    let what = format!("the job has several inputs, and \"{}\" has no folder \"{name}\"", path.display());
    Err(set.refuse("uri", what).hint(format!("Name the files of the input: --source {name}=files:PATH.")))
}

fn no_source(set: &InputSettings, ways: &str) -> Failure {
    if set.is_alone {
        return Failure::new(Code::SourceInvalid, "no source was named").hint(ways);
    }
    let name = set.spec.name;
    Failure::new(Code::SourceInvalid, format!("input \"{name}\" has no source")).hint(format!(
        "Use --source {name}=URI, or uri in [{INPUT}.{name}] of the configuration file. A --source kafka:, --source \
         generate or --source files:FOLDER, with a folder for each, is for all inputs without a name."
    ))
}

/// The options of the generator for `input`: what is set, over the pipeline's own.
///
/// # Errors
/// Exit 2 if they cannot be met, or there is no generator.
pub(crate) fn generate_options(
    entry: &Entry,
    input: &str,
    set: &Generate,
) -> Result<generate::Options, Failure> {
    let own = (entry.generate)(input).ok_or_else(|| no_generator(entry.name, input))?;
    let small = |count: Option<Count>, own: u32| match count {
        None => Ok(own),
        Some(Count(n)) => u32::try_from(n).map_err(|_| "a count is too large"),
    };
    let unfit = |what: &str| Failure::new(Code::SettingInvalid, format!("generator: {what}"));
    let options = generate::Options {
        seed: set.seed.map_or(own.seed, |seed| seed.0),
        messages: set.messages.map_or(own.messages, |messages| messages.at().map(|count| count.0)),
        partitions: small(set.partitions, own.partitions).map_err(unfit)?,
        rate: set.rate.unwrap_or(own.rate),
        disorder_s: set.disorder.map_or(own.disorder_s, |disorder| disorder.0 as f64 / 1000.0),
        dup: set.dup.map_or(own.dup, |share| share.0),
        late: set.late.map_or(own.late, |share| share.0),
        bad: set.bad.map_or(own.bad, |share| share.0),
        keys: small(set.keys, own.keys).map_err(unfit)?,
        start_ms: set.start.map_or(own.start_ms, |start| start.0),
    };
    if !RATES.contains(&options.rate) {
        return Err(unfit("the rate must be between 0.001 and 1000000000").hint("Use a number such as 1000."));
    }
    if options.partitions == 0 || options.keys == 0 {
        return Err(unfit("it needs at least 1 partition and 1 key").hint("Leave them out for the defaults."));
    }
    if options.partitions > PARTITIONS_MAX || options.keys > KEYS_MAX {
        let what = format!("more than {PARTITIONS_MAX} partitions or {KEYS_MAX} keys do not fit in memory");
        return Err(unfit(&what).hint("Use fewer of them."));
    }
    // Offsets and times are counted in 64 bits; dates have four digits.
    let span_s = options.messages.map_or(0.0, |messages| messages as f64 / options.rate);
    if options.start_ms < 0 || options.start_ms as f64 / 1000.0 + span_s > YEAR_9999_S {
        return Err(unfit("the messages must lie between the years 1970 and 9999")
            .hint("Use fewer messages, a higher rate, or another start."));
    }
    if options.dup + options.late + options.bad > 1.0 {
        return Err(
            unfit("the shares dup, late and bad are more than 100% together").hint("Lower one of them.")
        );
    }
    Ok(options)
}
