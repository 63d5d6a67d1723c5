//! What a job will do: flags over file over defaults, each value checked, nothing opened yet.

use super::cluster::members::{self, Asked};
use super::config::{self, IfRunning, Postgres, Settings, Until};
use super::file::File;
use super::given::Given;
use super::inputs::inputs;
use super::made;
use super::origin::Origin;
use super::place::{NoPath, Surroundings, flag_path, without_password};
use super::rules;
use super::source::{Input, Source};
use super::suggest::suggest;
use super::twins::Twins;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::units::{Bytes, Count, Limit, Millis, Share};
use crate::engine::cluster::place::Cluster;
use crate::engine::commit::job::AcceptedGap;
use crate::engine::run::expect::Expectations;
use clap::Args;
use headway_operators::pipeline::{Configured, Entry, Pipeline};
use headway_operators::shape::Shape;
use headway_operators::spec::Format;
use std::path::PathBuf;

/// The shortest epoch, in milliseconds: below it, commits would cost more than the work.
const EPOCH_MS_MIN: i64 = 50;

/// A smaller limit of memory is a typing error.
const MEMORY_MIN: u64 = 16 << 20;

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
    /// Switches of the pipeline that are on where nothing else is said.
    #[arg(skip)]
    on: Vec<&'static str>,
}

/// A job as it will run.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Its name in the lake.
    pub(crate) job: String,
    /// Its dataflow, and the settings it was made with.
    pub(crate) made: Configured,
    /// Its inputs, in the order of the pipeline.
    pub(crate) inputs: Vec<Input>,
    /// The lake's folder.
    pub(crate) lake: PathBuf,
    /// Threads of this process.
    pub(crate) workers: usize,
    /// What was asked for of processes and workers: a run looks at the last manifest, too.
    pub(crate) asked: Asked,
    /// The other processes of the job, if there are any; known once it was looked at the last manifest.
    pub(crate) cluster: Option<Cluster>,
    /// It was looked at the last manifest: the process starts itself again where another membership is asked for.
    pub(crate) is_settled: bool,
    /// Length of an epoch in milliseconds.
    pub(crate) epoch_ms: u64,
    /// Bytes after which a worker ends an epoch.
    pub(crate) epoch_bytes: u64,
    /// How long a partition is quiet before it is idle, in milliseconds; `None`: never idle.
    pub(crate) idle_after_ms: Option<i64>,
    /// How long all are idle before windows are flushed, in milliseconds; `None`: never.
    pub(crate) idle_flush_ms: Option<i64>,
    /// The share of dead letters that stops the job, 0 to 1.
    pub(crate) dead_max: f64,
    /// The share of late records that stops the job, 0 to 1; `None` never stops it.
    pub(crate) late_max: Option<f64>,
    /// Bytes of memory that the process may take; `None` is no limit.
    pub(crate) memory_limit: Option<u64>,
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
    /// The expectations of views and records.
    pub(crate) expectations: Expectations,
    /// The database that views are kept in too.
    pub(crate) postgres: Postgres,
    /// Operators whose state may be left behind.
    pub(crate) allow_dropped_state: Vec<String>,
    /// Gaps that the job passes over.
    pub(crate) accept_gaps: Vec<AcceptedGap>,
    /// The first epoch whose facts views that are new begin with.
    pub(crate) views_from: Option<u64>,
    /// The sealed days that are open while the run lasts.
    pub(crate) unseal: Vec<String>,
}

impl Flags {
    /// The flags of a command that chooses the settings itself.
    pub(crate) fn with(settings: Settings) -> Flags {
        Flags { settings, ..Flags::default() }
    }

    /// The same flags, where the switch `name` of the pipeline is on unless it is set. A pipeline without it has none.
    #[cfg(feature = "parquet")]
    pub(crate) fn on_by_default(mut self, name: &'static str) -> Flags {
        self.on.push(name);
        self
    }

    /// The same without what says where the other processes of a job are, and that.
    pub(crate) fn without_cluster(mut self) -> (Flags, config::Cluster) {
        let cluster = std::mem::take(&mut self.settings.cluster);
        (self, cluster)
    }

    /// Puts flags, file and defaults together.
    ///
    /// # Errors
    /// Exit 2 if anything does not fit, with its place, or the configuration file cannot be read.
    pub(crate) fn plan(self, catalogue: &'static [Entry]) -> Result<Plan, Failure> {
        let file = self.config.as_deref().map(|path| File::read(&flag_path("-c", path)?)).transpose()?;
        let under = file.as_ref().map(|file| file.settings.clone()).unwrap_or_default();
        let mut set = self.settings.clone().over(under);
        let origin = Origin { flags: &self.settings, twins: &self.twins, file: file.as_ref() };

        let entry = find(set.job.pipeline.as_deref(), catalogue, &origin)?;
        for name in self.on.iter().filter(|name| entry.settings.iter().any(|setting| setting.name == **name))
        {
            set.pipeline = set.pipeline.over(Given::of(&[(name, "true")]));
        }
        let made = made::made(entry, &set.pipeline, &origin)?;
        if set.csv.index == Some(true) {
            has_csv(made.pipeline.as_ref(), &origin)?;
        }
        let expectations = rules::expectations(&set, made.pipeline.as_ref(), &origin)?;
        let specs = made.pipeline.inputs();
        let inputs = inputs(entry.name, specs, &origin)?
            .iter()
            .map(|input| Input::of(entry, input, &set.generate))
            .collect::<Result<Vec<_>, _>>()?;
        let epoch = set.epoch.length.unwrap_or(Millis(1_000));
        if epoch.0 < EPOCH_MS_MIN {
            let what = format!("an epoch of {epoch} is shorter than {EPOCH_MS_MIN}ms");
            return Err(origin.refuse("epoch", "length", "--epoch", what).hint("Use --epoch 50ms or more."));
        }
        let bytes = set.epoch.bytes.unwrap_or(Bytes(16 << 20));
        if bytes.0 == 0 {
            return Err(origin
                .refuse("epoch", "bytes", "--epoch-bytes", "an epoch of 0 bytes reads nothing")
                .hint("Use --epoch-bytes 64KiB or more."));
        }
        let unseal = unseal(set.job.unseal, made.pipeline.as_ref(), &origin)?;
        let job = job_name(set.job.name.as_deref().unwrap_or(entry.name), &origin)?;
        let workers = workers(set.job.workers, &origin)?;
        let asked = members::asked(&set.cluster, workers, &origin)?;
        Ok(Plan {
            job,
            until: until(&inputs, set.job.until, &origin)?,
            inputs,
            made,
            lake: lake(set.lake.uri.as_deref(), &origin)?,
            workers: workers.unwrap_or(1),
            asked,
            cluster: None,
            is_settled: false,
            epoch_ms: epoch.0.unsigned_abs(),
            epoch_bytes: bytes.0,
            idle_after_ms: set.idle.after.unwrap_or(Limit::At(Millis(60_000))).at().map(|after| after.0),
            idle_flush_ms: set.idle.flush.unwrap_or(Limit::At(Millis(600_000))).at().map(|flush| flush.0),
            dead_max: set.dead.max.unwrap_or(Share(0.5)).0,
            late_max: set.late.max.map(|share| share.0),
            memory_limit: memory_limit(set.job.memory_limit, &origin)?,
            csv_index: set.csv.index.unwrap_or(false),
            if_running: set.job.if_running.unwrap_or(IfRunning::Wait),
            listen: set.serve.listen,
            listen_token_file: set.serve.token_file,
            expectations,
            postgres: set.postgres,
            allow_dropped_state: set.job.allow_dropped_state.unwrap_or_default(),
            accept_gaps: gaps(set.job.accept_gap.as_deref().unwrap_or_default(), &origin)?,
            views_from: set.job.views_from.map(|epoch| epoch.0),
            unseal,
        })
    }
}

fn gaps(texts: &[String], origin: &Origin<'_>) -> Result<Vec<AcceptedGap>, Failure> {
    let gap = |text: &String| {
        text.parse().map_err(|()| {
            let what = format!("\"{text}\" is no gap");
            let failure = origin.refuse("job", "accept_gap", "--accept-gap", what);
            failure.hint("Write the gap as records-gone names it: INPUT=PARTITION:FROM..TO.")
        })
    };
    texts.iter().map(gap).collect()
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
            .refuse("job", "pipeline", "PIPELINE", format!("there is no pipeline \"{name}\""))
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
    Err(origin.refuse("csv", "index", "--csv-index", what).hint("Leave it out."))
}

/// The days to unseal; refused where a job seals none.
fn unseal(
    days: Option<Vec<String>>,
    pipeline: &dyn Pipeline,
    origin: &Origin<'_>,
) -> Result<Vec<String>, Failure> {
    let days = days.unwrap_or_default();
    if days.is_empty() || Shape::of(pipeline).is_ok_and(|shape| shape.seals.is_some()) {
        return Ok(days);
    }
    let failure = origin.refuse("job", "unseal", "--unseal", "the job has no views whose days are sealed");
    Err(failure.hint("Leave it out. Days are sealed where a streamed pipeline keeps views: --views."))
}

/// The most memory that a process may take, in bytes.
fn memory_limit(limit: Option<Bytes>, origin: &Origin<'_>) -> Result<Option<u64>, Failure> {
    if limit.is_none_or(|limit| limit.0 >= MEMORY_MIN) {
        return Ok(limit.map(|limit| limit.0));
    }
    let failure = origin.refuse("job", "memory_limit", "--memory-limit", "no job works in less than 16 MiB");
    let hint = "Use --memory-limit 512MiB or more, a little less than what the machine or container has.";
    Err(failure.hint(hint))
}

fn until(inputs: &[Input], set: Option<Until>, origin: &Origin<'_>) -> Result<Option<Until>, Failure> {
    let refuse = |what: &str| origin.refuse("job", "until", "--until", what);
    let endless = |source: &str| {
        refuse(&format!("{source} never ends")).hint("Use --until caught-up to stop at what is there now.")
    };
    for Input { source, .. } in inputs {
        match (source, set) {
            (Source::Kafka { .. }, Some(Until::End)) => return Err(endless("a Kafka topic")),
            (Source::Files { follow: true, .. }, Some(Until::End)) => {
                return Err(endless("a source with --follow"));
            }
            (Source::Generate { options }, Some(_)) if options.messages.is_none() => {
                return Err(refuse("a generator without a message count never ends")
                    .hint("Give it one: --source generate:messages=1000000."));
            }
            _ => {}
        }
    }
    let ends = inputs.iter().all(|input| input.source.ends());
    Ok(set.or(ends.then_some(Until::End)))
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
        origin.refuse("lake", "uri", "--lake", what).hint(no.hint)
    })
}

fn workers(count: Option<Count>, origin: &Origin<'_>) -> Result<Option<usize>, Failure> {
    let Some(Count(count)) = count else { return Ok(None) };
    match usize::try_from(count) {
        Ok(workers) if (1..=WORKERS_MAX).contains(&count) => Ok(Some(workers)),
        _ => Err(origin
            .refuse(
                "job",
                "workers",
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
        .refuse("job", "name", "--job", format!("\"{name}\" is no name for a job"))
        .hint("Use up to 100 letters, digits, \"-\", \"_\" and \".\", starting with a letter or digit."))
}
