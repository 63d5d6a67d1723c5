//! What a job will do: flags over file over defaults, each value checked, nothing opened yet.

use super::config::{Generate, IfRunning, Settings, Until};
use super::file::File;
use super::kafka;
use super::made;
use super::origin::Origin;
use super::place::{NoPath, Surroundings, without_password};
use super::suggest::suggest;
use super::twins::Twins;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::units::{Bytes, Count, Limit, Millis, Share, When};
use crate::connect::{Connector, files, generator};
use clap::Args;
use headway_operators::generate;
use headway_operators::pipeline::{Configured, Entry, Pipeline};
use headway_operators::shape::Shape;
use headway_operators::spec::Format;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The shortest epoch, in milliseconds: below it, commits would cost more than the work.
const EPOCH_MS_MIN: i64 = 50;

/// Messages per second of event time that a generator can make times for.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1e9;

/// More partitions than a topic has anywhere.
const PARTITIONS_MAX: u32 = 10_000;

/// More keys than a generator keeps apart.
const KEYS_MAX: u32 = 10_000_000;

/// The last second of the year 9999, in seconds UTC.
const YEAR_9999_S: f64 = 253_402_300_799.0;

/// More threads than this are a typing error.
const WORKERS_MAX: u64 = 256;

/// The flags of a command that looks at or runs a job.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(flatten)]
    twins: Twins,
    /// Read settings from FILE (TOML); flags override it
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// A job as it will run.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Its name in the lake.
    pub(crate) job: String,
    /// Its dataflow, and the settings it was made with.
    pub(crate) made: Configured,
    /// Where messages come from.
    pub(crate) source: Source,
    /// The topic, or the name that stands for it.
    pub(crate) topic: String,
    /// The lake's folder.
    pub(crate) lake: PathBuf,
    /// Threads.
    pub(crate) workers: usize,
    /// Length of an epoch in milliseconds.
    pub(crate) epoch_ms: u64,
    /// Bytes after which a worker ends an epoch.
    pub(crate) epoch_bytes: u64,
    /// How long a partition is quiet before it is idle, in milliseconds; `None`: never idle.
    pub(crate) idle_after_ms: Option<i64>,
    /// How long all are idle before windows are flushed, in milliseconds; `None`: never.
    pub(crate) idle_flush_ms: Option<i64>,
    /// How far ahead of its time stamp a record may be, in milliseconds.
    pub(crate) max_ahead_ms: i64,
    /// The bound of messages without a time stamp; `None`: the clock, and what may be ahead of it.
    pub(crate) not_after: Option<Limit<When>>,
    /// The share of dead letters that stops the job, 0 to 1.
    pub(crate) dead_max: f64,
    /// The share of late records that stops the job, 0 to 1; `None` never stops it.
    pub(crate) late_max: Option<f64>,
    /// When it ends by itself.
    pub(crate) until: Option<Until>,
    /// Whether CSV rows start with their number.
    pub(crate) csv_index: bool,
    /// What to do if the job seems to be running.
    pub(crate) if_running: IfRunning,
    /// Where it answers by HTTP.
    pub(crate) listen: Option<String>,
    /// The file with the token that requests must send.
    pub(crate) listen_token_file: Option<PathBuf>,
    /// Operators whose state may be left behind.
    pub(crate) allow_dropped_state: Vec<String>,
}

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
        /// The input they are for.
        input: &'static str,
        /// Which ones.
        options: generate::Options,
    },
}

impl Plan {
    /// Where the messages of the pipeline's input come from. Nothing is opened yet.
    ///
    /// # Errors
    /// Exit 2 or 3 if its settings cannot be used, or this build lacks the source.
    pub(crate) fn connector(&self) -> Result<Arc<dyn Connector>, Failure> {
        match &self.source {
            Source::Kafka { config, group } => {
                kafka::connector(config.as_deref(), &self.topic, group.as_deref())
            }
            Source::Files { path, follow } => Ok(Arc::new(files::Files::new(files::Options {
                path: path.clone(),
                follow: *follow,
                topic: Some(self.topic.clone()),
                header: self.made.pipeline.inputs().first().and_then(|input| input.header),
            }))),
            Source::Generate { input, options } => {
                let generator = self.made.pipeline.generator(input, options);
                let generator = generator.ok_or_else(|| no_generator(self.made.pipeline.name(), input))?;
                Ok(Arc::new(generator::Generator::new(Arc::from(generator))))
            }
        }
    }
}

impl Flags {
    /// The flags of a command that chooses the settings itself.
    pub(crate) fn with(settings: Settings) -> Flags {
        Flags { twins: Twins::default(), config: None, settings }
    }

    /// Puts flags, file and defaults together.
    ///
    /// # Errors
    /// Exit 2 if anything does not fit, with its place, or the configuration file cannot be read.
    pub(crate) fn plan(self, catalogue: &'static [Entry]) -> Result<Plan, Failure> {
        let file = self.config.as_deref().map(|path| File::read(&flag_path("-c", path)?)).transpose()?;
        let under = file.as_ref().map(|file| file.settings.clone()).unwrap_or_default();
        let set = self.settings.clone().over(under);
        let origin = Origin { flags: &self.settings, twins: &self.twins, file: file.as_ref() };

        let entry = find(set.job.pipeline.as_deref(), catalogue, &origin)?;
        let made = made::made(entry, &set.pipeline, &origin)?;
        if set.csv.index == Some(true) {
            has_csv(made.pipeline.as_ref(), &origin)?;
        }
        let source = source(entry, made.pipeline.as_ref(), &set, &origin)?;
        let epoch = set.epoch.length.unwrap_or(Millis(1_000));
        if epoch.0 < EPOCH_MS_MIN {
            let what = format!("an epoch of {epoch} is shorter than {EPOCH_MS_MIN}ms");
            return Err(origin
                .refuse(("epoch", "length"), "--epoch", what)
                .hint("Use --epoch 50ms or more."));
        }
        let bytes = set.epoch.bytes.unwrap_or(Bytes(16 << 20));
        if bytes.0 == 0 {
            return Err(origin
                .refuse(("epoch", "bytes"), "--epoch-bytes", "an epoch of 0 bytes reads nothing")
                .hint("Use --epoch-bytes 64KiB or more."));
        }
        let job = job_name(set.job.name.as_deref().unwrap_or(entry.name), &origin)?;
        let workers = workers(set.job.workers, &origin)?;
        Ok(Plan {
            job,
            until: until(&source, &set, &origin)?,
            source,
            topic: topic(set.source.topic, made.pipeline.as_ref()),
            made,
            lake: lake(set.lake.uri.as_deref(), &origin)?,
            workers,
            epoch_ms: epoch.0.unsigned_abs(),
            epoch_bytes: bytes.0,
            idle_after_ms: set.idle.after.unwrap_or(Limit::At(Millis(60_000))).at().map(|after| after.0),
            idle_flush_ms: set.idle.flush.unwrap_or(Limit::At(Millis(600_000))).at().map(|flush| flush.0),
            max_ahead_ms: set.source.max_ahead.unwrap_or(Millis(3_600_000)).0,
            not_after: set.source.not_after,
            dead_max: set.dead.max.unwrap_or(Share(0.5)).0,
            late_max: set.late.max.map(|share| share.0),
            csv_index: set.csv.index.unwrap_or(false),
            if_running: set.job.if_running.unwrap_or(IfRunning::Wait),
            listen: set.serve.listen,
            listen_token_file: set.serve.token_file,
            allow_dropped_state: set.job.allow_dropped_state.unwrap_or_default(),
        })
    }
}

/// The entry of the catalogue called `name`.
fn find(
    name: Option<&str>,
    catalogue: &'static [Entry],
    origin: &Origin<'_>,
) -> Result<&'static Entry, Failure> {
    let known: Vec<&str> = catalogue.iter().map(|entry| entry.name).collect();
    let Some(name) = name else {
        return Err(Failure::new(Code::PipelineUnknown, "no pipeline was named").hint(format!(
            "Name it: headway run {}, or set it in the file under [job].",
            known.first().unwrap_or(&"PIPELINE")
        )));
    };
    catalogue.iter().find(|entry| entry.name == name).ok_or_else(|| {
        origin
            .refuse(("job", "pipeline"), "PIPELINE", format!("there is no pipeline \"{name}\""))
            .hint(suggest(name, &known, "pipelines"))
    })
}

/// The entry of the catalogue called `name`, as given on the command line.
///
/// # Errors
/// Exit 2 if there is none.
pub(crate) fn entry(name: &str, catalogue: &'static [Entry]) -> Result<&'static Entry, Failure> {
    let origin = Origin { flags: &Settings::default(), twins: &Twins::default(), file: None };
    find(Some(name), catalogue, &origin)
}

/// The path that was given with `flag`.
///
/// # Errors
/// Exit 2 if only a shell would understand it.
pub(crate) fn flag_path(flag: &str, path: &Path) -> Result<PathBuf, Failure> {
    let Some(text) = path.to_str() else { return Ok(path.to_path_buf()) };
    Surroundings::here().path(text).map_err(|no| {
        let what = format!("{flag}: \"{}\" is no path: {}", without_password(text), no.why);
        Failure::new(Code::PathInvalid, what).hint(no.hint)
    })
}

/// The topic that was named, or the pipeline's own.
pub(crate) fn topic(named: Option<String>, pipeline: &dyn Pipeline) -> String {
    let own = || pipeline.inputs().first().map(|input| input.topic.to_string()).unwrap_or_default();
    named.unwrap_or_else(own)
}

/// Refuses a number in front of CSV rows where rows are written in other formats. What is wrong with the pipeline itself
/// is not said here.
fn has_csv(pipeline: &dyn Pipeline, origin: &Origin<'_>) -> Result<(), Failure> {
    let Ok(Shape { outputs, .. }) = Shape::of(pipeline) else { return Ok(()) };
    let formats =
        || outputs.iter().filter(|output| !output.prefix.starts_with('_')).map(|output| output.format);
    let Some(format) = formats().next().filter(|_| formats().all(|format| format != Format::CsvGz)) else {
        return Ok(());
    };
    let what = format!("rows are written as {}, which has no such column", format.name());
    Err(origin.refuse(("csv", "index"), "--csv-index", what).hint("Leave it out."))
}

/// The only input of `pipeline`, as far as there is one.
pub(crate) fn first_input(pipeline: &dyn Pipeline) -> &'static str {
    pipeline.inputs().first().map_or("", |input| input.name)
}

/// A refusal to generate messages where the pipeline makes none.
pub(crate) fn no_generator(pipeline: &str, input: &str) -> Failure {
    let what = format!("pipeline \"{pipeline}\" generates no messages for input \"{input}\"");
    Failure::new(Code::SourceInvalid, what).hint("Use --source kafka: or --source files:PATH.")
}

fn source(
    entry: &Entry,
    pipeline: &dyn Pipeline,
    set: &Settings,
    origin: &Origin<'_>,
) -> Result<Source, Failure> {
    const WAYS: &str = "Use --source kafka:, --source files:PATH or --source generate.";
    let key = ("source", "uri");
    let Some(uri) = set.source.uri.as_deref() else {
        return Err(Failure::new(Code::SourceInvalid, "no source was named").hint(WAYS));
    };
    let shown = without_password(uri);
    match uri.split_once(':').unwrap_or((uri, "")) {
        ("kafka", "") if uri.ends_with(':') => {
            let config = set.source.kafka_config.as_deref();
            let config = config.map(|path| origin.path(("source", "kafka_config"), "--kafka-config", path));
            Ok(Source::Kafka { config: config.transpose()?, group: set.source.group.clone() })
        }
        ("kafka", "") => Err(origin.refuse(key, "--source", "\"kafka\" lacks its colon").hint(WAYS)),
        ("kafka", _) => Err(origin
            .refuse(key, "--source", format!("\"{shown}\" says more than kafka:"))
            .hint("Use --source kafka: with --topic TOPIC and --kafka-config FILE.")),
        ("files", "") => Err(origin.refuse(key, "--source", "files: without a path").hint(WAYS)),
        ("files", path) if path.starts_with("//") && !path.starts_with("///") => Err(origin
            .refuse(key, "--source", format!("\"{shown}\" names a host after files://"))
            .hint(format!("Write files:{} for that path.", path.trim_start_matches('/')))),
        ("files", path) => {
            let path = origin.path(key, "--source", Path::new(path))?;
            Ok(Source::Files { path, follow: set.source.follow.unwrap_or(false) })
        }
        ("file", path) => Err(origin
            .refuse(key, "--source", format!("\"{shown}\" is no source"))
            .hint(format!("Did you mean files:{}? {WAYS}", path.trim_start_matches("//")))),
        ("generate", keys) => {
            let inline = Generate::parse(keys)?;
            let set = Settings { generate: inline, ..Settings::default() }.over(set.clone());
            let input = first_input(pipeline);
            Ok(Source::Generate { input, options: generate_options(entry, input, &set.generate)? })
        }
        _ => Err(origin.refuse(key, "--source", format!("\"{shown}\" is no source")).hint(WAYS)),
    }
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

fn until(source: &Source, set: &Settings, origin: &Origin<'_>) -> Result<Option<Until>, Failure> {
    let refuse = |what: &str| origin.refuse(("job", "until"), "--until", what);
    let endless = |source: &str| {
        refuse(&format!("{source} never ends")).hint("Use --until caught-up to stop at what is there now.")
    };
    match (source, set.job.until) {
        (Source::Kafka { .. }, Some(Until::End)) => Err(endless("a Kafka topic")),
        (Source::Files { follow: true, .. }, Some(Until::End)) => Err(endless("a source with --follow")),
        (Source::Generate { options, .. }, Some(_)) if options.messages.is_none() => {
            Err(refuse("a generator without a message count never ends")
                .hint("Give it one: --source generate:messages=1000000."))
        }
        (Source::Files { follow: false, .. }, None) => Ok(Some(Until::End)),
        (Source::Generate { options, .. }, None) if options.messages.is_some() => Ok(Some(Until::End)),
        (_, until) => Ok(until),
    }
}

/// The lake's folder from what was written as `--lake`.
///
/// # Errors
/// If it cannot be the path of a local folder.
pub(crate) fn lake_path(uri: &str) -> Result<PathBuf, NoPath> {
    Surroundings::here().path(uri)
}

fn lake(uri: Option<&str>, origin: &Origin<'_>) -> Result<PathBuf, Failure> {
    let Some(uri) = uri else {
        return Err(Failure::new(Code::LakeInvalid, "no lake was named")
            .hint("Use --lake FOLDER; it is made if absent."));
    };
    lake_path(uri).map_err(|no| {
        let what = format!("\"{}\" is no lake: {}", without_password(uri), no.why);
        origin.refuse(("lake", "uri"), "--lake", what).hint(no.hint)
    })
}

fn workers(count: Option<Count>, origin: &Origin<'_>) -> Result<usize, Failure> {
    let Count(count) = count.unwrap_or(Count(1));
    match usize::try_from(count) {
        Ok(workers) if (1..=WORKERS_MAX).contains(&count) => Ok(workers),
        _ => Err(origin
            .refuse(
                ("job", "workers"),
                "--workers",
                format!("{count} workers are not between 1 and {WORKERS_MAX}"),
            )
            .hint("One for each processor core is plenty.")),
    }
}

fn job_name(name: &str, origin: &Origin<'_>) -> Result<String, Failure> {
    let fit = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && name.len() <= 100 && name.chars().all(fit) && !name.starts_with(['_', '.', '-']) {
        return Ok(name.to_string());
    }
    Err(origin
        .refuse(("job", "name"), "--job", format!("\"{name}\" is no name for a job"))
        .hint("Use up to 100 letters, digits, \"-\", \"_\" and \".\", starting with a letter or digit."))
}
