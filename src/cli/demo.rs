//! `headway demo`: the real job on generated messages, in a folder of its own; nothing needs to be installed.
//!
//! The folder has a marker file. A folder with the marker is the demo's own and starts over; any other folder that
//! is not empty is refused, so that no one's lake is ever removed.

use super::lake;
use super::outcome;
use super::program::{Program, demo_folder, program};
use super::run;
use super::settings::config::{Generate, Job, Lake, Settings};
use super::settings::given::Given;
use super::settings::plan::{self, entry, flag_path};
use super::settings::source_flags::Values;
use super::settings::suggest::suggest;
use super::sums::Sums;
use super::terminal::failure::{Code, Failure, sentence};
use super::terminal::progress::Progress;
use super::terminal::signals;
use super::terminal::table::{counted, grouped};
use super::units::{Count, Limit};
use crate::engine::Control;
use crate::engine::format::manifest::{Fates, Manifest};
use crate::engine::run::launch::shape;
use clap::Args;
use headway_operators::pipeline::{Demo, Entry, Top};
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
    /// The pipeline to show [default: the first that has a demo]
    #[arg(help_heading = "Arguments")]
    pipeline: Option<String>,
    /// Where everything goes; a folder that an earlier demo made starts over
    #[arg(long, value_name = "FOLDER", default_value = demo_folder())]
    folder: PathBuf,
    /// Messages to generate
    #[arg(long, value_name = "N", default_value = "1000000")]
    messages: Count,
    /// Chooses everything that is drawn
    #[arg(long, value_name = "N", default_value = "7")]
    seed: Count,
    /// Threads that work on it; the output does not depend on how many
    #[arg(short, long, value_name = "N", default_value = "2")]
    workers: Count,
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
    let (entry, demo) = shown(flags.pipeline.as_deref(), catalogue)?;
    let plan = plan::Flags::with(settings(flags, (entry, &demo), &lake)).plan(catalogue)?;
    clear(&folder)?;
    let Program { name, version } = program();
    writeln!(out, "{name} {version} demo: everything is under {}", folder.display())?;
    writeln!(out, "  source    {}", super::check::sources(&plan))?;
    let set: Vec<String> = demo.settings.iter().map(|(name, value)| format!(", {name} {value}")).collect();
    let workers = counted(flags.workers.0, "worker");
    writeln!(out, "  job       {} on {workers}{}", entry.name, set.concat())?;
    writeln!(out, "  lake      {}\n", lake.display())?;
    let begin = Instant::now();
    let control = Control::new();
    signals::drain_on_signal(control.clone())?;
    let summary = run::start(&plan, progress, &control)?;
    let took = begin.elapsed();
    let job = lake::Job::open(&lake, &plan.job)?;
    let manifests = job.manifests()?;
    let (sums, rows) = read_back(&job, &manifests, demo.top)?;
    writeln!(out, "{}, added up from the rows in the lake", demo.top.title)?;
    sums.write(out, SUMS_MAX)?;
    writeln!(out)?;
    let made = if control.is_draining() { None } else { messages(&plan)? };
    let all = conserved(&manifests, made)?;
    if summary.outcome.fates() != all {
        return Err(Failure::new(Code::DemoFailed, "the run's own counts are not those of its manifests"));
    }
    let outputs = shape(plan.made.pipeline.as_ref())?.outputs;
    let output = outputs.iter().find(|output| output.name == demo.top.output);
    let files = output.map_or(String::new(), |output| {
        // A level for each folder that is named after what is in its rows.
        let levels = output.folders.as_ref().map_or(0, |folders| folders.by.len());
        format!("{}/{}*.csv.gz", output.prefix, "*/".repeat(levels))
    });
    let inputs: Vec<&str> = plan.inputs.iter().map(|input| input.spec.name).collect();
    try_next((entry.name, &inputs), (&folder, &lake, &lake.join(files)), out)?;
    let per_second = all.consumed as f64 / took.as_secs_f64();
    writeln!(
        out,
        "checked: each message has one fate, and {} lie in {}; {:.1} s, {} messages a second",
        counted(rows, "row"),
        counted(manifests.iter().map(|manifest| manifest.lake.len()).sum::<usize>() as u64, "file"),
        took.as_secs_f64(),
        grouped(per_second as u64)
    )?;
    let how = if control.is_draining() { "drained" } else { "done" };
    Ok(writeln!(out, "{}", outcome::line(how, &summary, &[]))?)
}

/// The pipeline called `name`, or the first that has a demo.
fn shown(name: Option<&str>, catalogue: &'static [Entry]) -> Result<(&'static Entry, Demo), Failure> {
    let with_demo = || catalogue.iter().filter_map(|entry| Some((entry, entry.demo?)));
    let found = match name {
        None => with_demo().next(),
        Some(name) => {
            let entry = entry(name, catalogue)?;
            entry.demo.map(|demo| (entry, demo))
        }
    };
    found.ok_or_else(|| {
        let known: Vec<&str> = with_demo().map(|(entry, _)| entry.name).collect();
        let what = match name {
            Some(name) => format!("pipeline \"{name}\" has no demo"),
            None => "no pipeline of this program has a demo".to_string(),
        };
        let hint = match known.as_slice() {
            [] => "Run a job: headway run PIPELINE --source files:PATH --lake FOLDER.".to_string(),
            known => suggest(name.unwrap_or_default(), known, "pipelines with a demo"),
        };
        Failure::new(Code::PipelineUnknown, what).hint(hint)
    })
}

/// What the demo sets of the job.
fn settings(flags: &Flags, (entry, demo): (&Entry, &Demo), lake: &Path) -> Settings {
    Settings {
        job: Job { pipeline: Some(entry.name.to_string()), workers: Some(flags.workers), ..Job::default() },
        source: Values::of("uri", "generate"),
        pipeline: Given::of(demo.settings),
        lake: Lake { uri: Some(lake.display().to_string()) },
        generate: Generate {
            seed: Some(flags.seed),
            messages: Some(Limit::At(flags.messages)),
            rate: Some(demo.rate),
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

/// Reads every committed row, as a stranger to the engine would.
fn read_back(job: &lake::Job, manifests: &[Manifest], top: Top) -> Result<(Sums, u64), Failure> {
    let mut sums = Sums::new(top);
    let mut rows = 0;
    for file in manifests.iter().flat_map(|manifest| &manifest.lake).filter(|file| file.output == top.output)
    {
        let found = sums.add(job.file(&file.path())?).map_err(|error| {
            Failure::new(Code::DemoFailed, format!("could not read \"{}\"", file.path()))
                .detail(sentence(&error.to_string()))
        })?;
        if found != file.rows {
            return Err(Failure::new(
                Code::DemoFailed,
                format!("\"{}\" has {found} rows, not {}", file.path(), file.rows),
            )
            .hint("This is a bug of Headway's: please report it with the seed."));
        }
        rows += found;
    }
    Ok((sums, rows))
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

fn try_next(
    (pipeline, inputs): (&str, &[&str]),
    (folder, lake, rows): (&Path, &Path, &Path),
    out: &mut dyn Write,
) -> io::Result<()> {
    // As it was called: after `cargo run` it is not on the path.
    let program = std::env::args().next().unwrap_or_else(|| program().name.to_string());
    let (lake, messages) = (lake.display(), folder.join("messages"));
    writeln!(out, "try next")?;
    writeln!(out, "  {program} status --lake {lake}")?;
    writeln!(out, "  zcat {} | head", rows.display())?;
    writeln!(out, "  {program} produce {pipeline} --to {}", messages.display())?;
    let from = |input: &&str| format!(" --source {input}=files:{}", messages.join(input).display());
    let sources = match inputs {
        [_] => format!(" --source files:{}", messages.display()),
        several => several.iter().map(from).collect(),
    };
    writeln!(out, "  {program} run {pipeline}{sources} --lake my-lake\n")
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
