//! `headway demo`: the real jobs on generated messages, in a folder of their own; nothing needs to be installed.
//!
//! Every pipeline that has a demo is one job of the demo's lake, one after the other. The folder has a marker file. A folder
//! with the marker is the demo's own and starts over; any other folder that is not empty is refused, so that no one's lake is
//! ever removed.

use super::sums::Sums;
use super::view::{self, Shown};
use crate::cli::lake;
use crate::cli::program::{Program, demo_folder, program};
use crate::cli::run;
use crate::cli::run::outcome;
use crate::cli::settings::config::{Generate, Job, Lake, Settings};
use crate::cli::settings::given::Given;
use crate::cli::settings::place::flag_path;
use crate::cli::settings::plan::{self, Plan, entry};
use crate::cli::settings::source_flags::Values;
use crate::cli::settings::suggest::suggest;
use crate::cli::terminal::failure::{Code, Failure, sentence};
use crate::cli::terminal::progress::Progress;
use crate::cli::terminal::signals;
use crate::cli::terminal::table::{self, counted, grouped};
use crate::cli::units::{Count, Limit};
use crate::engine::Control;
use crate::engine::format::manifest::{Fates, Manifest};
use crate::engine::run::launch::shape;
use clap::Args;
use headway_operators::pipeline::{Demo, Entry, Top};
use headway_operators::spec::Format;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The file that says that a folder is the demo's own.
const MARKER: &str = "made-by-headway-demo.txt";

/// How many sums are shown.
const SUMS_MAX: usize = 8;

/// What `demo` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    /// The pipeline to show [default: all that have a demo]
    #[arg(help_heading = "Arguments")]
    pipeline: Option<String>,
    /// Where everything goes; a folder that an earlier demo made starts over
    #[arg(long, value_name = "FOLDER", default_value = demo_folder())]
    folder: PathBuf,
    /// Messages to generate for each pipeline [default: the pipeline's]
    #[arg(long, value_name = "N")]
    messages: Option<Count>,
    /// Chooses everything that is drawn
    #[arg(long, value_name = "N", default_value = "7")]
    seed: Count,
    /// Threads that work on it; the output does not depend on how many
    #[arg(short, long, value_name = "N", default_value = "2")]
    workers: Count,
}

/// A job of the demo.
struct Scene {
    entry: &'static Entry,
    demo: Demo,
    plan: Plan,
}

/// Runs the demo and tells its story on `out`.
pub(crate) fn run(
    flags: &Flags,
    catalogue: &'static [Entry],
    progress: Progress,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let folder = flag_path("--folder", &flags.folder)?;
    let lake = folder.join("lake");
    let scene = |(entry, demo): (&'static Entry, Demo)| {
        let plan = plan::Flags::with(settings(flags, entry, &demo, &lake)).plan(catalogue)?;
        Ok(Scene { entry, demo, plan })
    };
    let chosen = chosen(flags.pipeline.as_deref(), catalogue)?;
    let scenes = chosen.into_iter().map(scene).collect::<Result<Vec<Scene>, Failure>>()?;
    clear(&folder)?;
    let Program { name, version } = program();
    writeln!(out, "{name} {version} demo: everything is under {}", folder.display())?;
    writeln!(out, "  source  generator, seed {}", flags.seed)?;
    writeln!(out, "  lake    {}\n", lake.display())?;
    let control = Control::new();
    signals::drain_on_signal(control.clone())?;
    let mut outcomes = Vec::new();
    for scene in &scenes {
        let outcome = show(scene, progress, &control, out)?;
        // The last lines tell the outcome: of which job, where there are several.
        let whose = if scenes.len() > 1 { format!("{} ", scene.entry.name) } else { String::new() };
        outcomes.push(format!("{whose}{outcome}"));
        if control.is_draining() {
            break;
        }
    }
    if !control.is_draining() {
        try_next(&scenes, &folder, &lake, out)?;
    }
    Ok(outcomes.iter().try_for_each(|outcome| writeln!(out, "{outcome}"))?)
}

/// Runs the job of `scene`, shows what it made, and gives the line that tells its outcome.
fn show(
    Scene { entry, demo, plan }: &Scene,
    progress: Progress,
    control: &Control,
    out: &mut dyn Write,
) -> Result<String, Failure> {
    let view = view::of(demo);
    let settings = view.map_or(demo.settings, |view| view.settings);
    let set: Vec<String> = settings.iter().map(|(name, value)| format!(", {name} {value}")).collect();
    let workers = counted(plan.workers as u64, "worker");
    writeln!(out, "{} on {workers}{}", entry.name, set.concat())?;
    let begin = Instant::now();
    let summary = run::start(plan, progress, control)?;
    let took = begin.elapsed();
    let job = lake::Job::open(&plan.lake, &plan.job)?;
    let manifests = job.manifests()?;
    let Read { sums, rows, files } = read_back(&job, &manifests, demo.top)?;
    let agrees = match view {
        None => {
            writeln!(out, "{}, added up from the rows in the lake", demo.top.title)?;
            sums.write(out, SUMS_MAX)?;
            ""
        }
        Some(view) => {
            writeln!(out, "{}, from view {}", demo.top.title, view.name)?;
            let Shown { head, rows } = view::read(&job, view, &sums)?;
            let head: Vec<&str> = head.iter().map(String::as_str).collect();
            table::write(out, &head, &rows[..rows.len().min(SUMS_MAX)])?;
            ", to which the view adds up"
        }
    };
    let made = if control.is_draining() { None } else { messages(plan)? };
    let all = conserved(&manifests, made)?;
    if summary.outcome.fates() != all {
        return Err(Failure::new(Code::DemoFailed, "the run's own counts are not those of its manifests"));
    }
    let per_second = all.consumed as f64 / took.as_secs_f64();
    writeln!(
        out,
        "checked: each message has one fate, and {} lie in {}{agrees}; {:.1} s, {} messages a second\n",
        counted(rows, "row"),
        counted(files, "file"),
        took.as_secs_f64(),
        grouped(per_second as u64)
    )?;
    let how = if control.is_draining() { "drained" } else { "done" };
    Ok(outcome::line(how, &summary, &[]))
}

/// The pipeline called `name`, or all that have a demo.
fn chosen(name: Option<&str>, catalogue: &'static [Entry]) -> Result<Vec<(&'static Entry, Demo)>, Failure> {
    let with_demo = || catalogue.iter().filter_map(|entry| Some((entry, entry.demo?)));
    let found: Vec<(&Entry, Demo)> = match name {
        None => with_demo().collect(),
        Some(name) => {
            let entry = entry(name, catalogue)?;
            entry.demo.map(|demo| (entry, demo)).into_iter().collect()
        }
    };
    if !found.is_empty() {
        return Ok(found);
    }
    let known: Vec<&str> = with_demo().map(|(entry, _)| entry.name).collect();
    let what = match name {
        Some(name) => format!("pipeline \"{name}\" has no demo"),
        None => "no pipeline of this program has a demo".to_string(),
    };
    let hint = match known.as_slice() {
        [] => "Run a job: headway run PIPELINE --source files:PATH --lake FOLDER.".to_string(),
        known => suggest(name.unwrap_or_default(), known, "pipelines with a demo"),
    };
    Err(Failure::new(Code::PipelineUnknown, what).hint(hint))
}

/// What the demo sets of a job.
fn settings(flags: &Flags, entry: &Entry, demo: &Demo, lake: &Path) -> Settings {
    Settings {
        job: Job { pipeline: Some(entry.name.to_string()), workers: Some(flags.workers), ..Job::default() },
        source: Values::of("uri", "generate"),
        pipeline: Given::of(view::of(demo).map_or(demo.settings, |view| view.settings)),
        lake: Lake { uri: Some(lake.display().to_string()) },
        generate: Generate {
            seed: Some(flags.seed),
            messages: Some(Limit::At(flags.messages.unwrap_or(Count(demo.messages)))),
            rate: demo.rate,
            keys: demo.keys.map(Count),
            ..Generate::default()
        },
        ..Settings::default()
    }
}

/// Makes the demo's folder, or empties it if an earlier demo made it.
fn clear(folder: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::new(Code::FolderUnwritable, format!("could not prepare folder \"{}\"", folder.display()))
            .detail(sentence(&error.to_string()))
            .hint("Name another one with --folder.")
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let mut entries = fs::read_dir(folder).map_err(failed)?.peekable();
    if folder.join(MARKER).is_file() {
        match fs::remove_dir_all(folder.join("lake")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => return Ok(()),
        }
    }
    if entries.peek().is_some() {
        return Err(Failure::new(
            Code::FolderTaken,
            format!("folder \"{}\" is not the demo's", folder.display()),
        )
        .detail("It is not empty, and no demo made it. Nothing in it was touched.")
        .hint("Name another one with --folder."));
    }
    fs::write(folder.join(MARKER), "The next `headway demo` removes the lake in this folder.\n")
        .map_err(failed)
}

/// The rows of an output that were read back.
struct Read {
    sums: Sums,
    rows: u64,
    files: u64,
}

/// Reads every committed row, as a stranger to the engine would.
fn read_back(job: &lake::Job, manifests: &[Manifest], top: Top) -> Result<Read, Failure> {
    let mut read = Read { sums: Sums::new(top), rows: 0, files: 0 };
    for file in manifests.iter().flat_map(|manifest| &manifest.lake).filter(|file| file.output == top.output)
    {
        let path = file.path();
        let found = read.sums.add(&path, job.file(&path)?).map_err(|error| {
            Failure::new(Code::DemoFailed, format!("could not read \"{path}\""))
                .detail(sentence(&error.to_string()))
        })?;
        if found != file.rows {
            return Err(Failure::new(
                Code::DemoFailed,
                format!("\"{path}\" has {found} rows, not {}", file.rows),
            )
            .hint("This is a bug of Headway's: please report it with the seed."));
        }
        read.rows += found;
        read.files += 1;
    }
    Ok(read)
}

/// How many messages the generators of all inputs make.
fn messages(plan: &plan::Plan) -> Result<Option<u64>, Failure> {
    let mut partitions = Vec::new();
    for input in &plan.inputs {
        partitions.extend(input.connector(plan.made.pipeline.as_ref())?.partitions()?);
    }
    Ok(run::Found::of(&partitions).messages)
}

/// The fates of all records, added up over the manifests. All `messages` were read, unless the run was drained.
///
/// # Errors
/// Exit 1 if a record has no fate, or two, or is missing.
fn conserved(manifests: &[Manifest], messages: Option<u64>) -> Result<Fates, Failure> {
    let mut sum = Fates::default();
    for part in manifests.iter().flat_map(|manifest| &manifest.inputs).flat_map(|input| &input.partitions) {
        sum.add(&part.fates);
    }
    if sum.adds_up() && messages.is_none_or(|messages| sum.consumed == messages) {
        return Ok(sum);
    }
    Err(Failure::new(Code::DemoFailed, "the fates of the messages do not add up")
        .detail(format!("{messages:?} were made; the manifests say {sum:?}."))
        .hint("This is a bug of Headway's: please report it with the seed."))
}

/// Writes what a person may do next with the lake, and with the pipeline that was shown first.
fn try_next(scenes: &[Scene], folder: &Path, lake: &Path, out: &mut dyn Write) -> io::Result<()> {
    // As it was called: after `cargo run` it is not on the path.
    let program = std::env::args().next().unwrap_or_else(|| program().name.to_string());
    let at = |plan: &Plan| format!("--lake {} --job {}", lake.display(), plan.job);
    writeln!(out, "try next")?;
    for Scene { entry, demo, plan } in scenes {
        let Some(view) = view::of(demo) else { continue };
        let filter = view.filter.iter().map(|(column, value)| format!(" --where {column}={value}"));
        writeln!(out, "  {program} views show {}{} {}", view.name, filter.collect::<String>(), at(plan))?;
        writeln!(out, "  duckdb -c \"{}\"", view::query(entry.name, view, lake))?;
    }
    let Some(Scene { entry, demo, plan }) = scenes.first() else { return Ok(()) };
    writeln!(out, "  {program} status {}", at(plan))?;
    if let Some(files) = rows_of(demo, plan) {
        writeln!(out, "  zcat {} | head", lake.join(files).display())?;
    }
    let messages = folder.join("messages");
    let (pipeline, messages) = (entry.name, messages.display());
    writeln!(out, "  {program} produce {pipeline} --to {messages}")?;
    writeln!(out, "  {program} run {pipeline} --source files:{messages} --lake my-lake\n")
}

/// The files of the output that is shown, as a shell finds them; `None` if they are not CSV.
fn rows_of(demo: &Demo, plan: &Plan) -> Option<String> {
    let outputs = shape(plan.made.pipeline.as_ref()).ok()?.outputs;
    let output = outputs.iter().find(|output| output.name == demo.top.output)?;
    // A level for each folder that is named after what is in its rows.
    let levels = output.folders.as_ref().map_or(0, |folders| folders.by.len());
    let is_csv = output.format == Format::CsvGz;
    is_csv.then(|| format!("{}/{}*.csv.gz", output.prefix, "*/".repeat(levels)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::form::Form;

    #[test]
    fn only_a_folder_that_a_demo_made_is_emptied() {
        let parent = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = parent.path().join("demo");
        clear(&folder).expect("a new folder is made");
        fs::create_dir(folder.join("lake")).expect("the lake can be made");
        clear(&folder).expect("the demo's own folder is emptied");
        assert!(!folder.join("lake").exists() && folder.join(MARKER).exists());

        fs::remove_file(folder.join(MARKER)).expect("the marker can be removed");
        fs::write(folder.join("mine"), "").expect("a file can be written");
        let refused = clear(&folder).expect_err("it is not the demo's").render(Form::Text);
        assert!(refused.contains("is not the demo's"), "{refused}");
        assert!(folder.join("mine").exists());
    }
}
