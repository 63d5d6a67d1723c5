//! Parses the command line, runs the subcommand, reports, and gives the exit code.

use super::dead::replay;
use super::program::{Program, program, set};
use super::run::cluster;
use super::settings::given::{faults, with_flags};
use super::settings::twins::{twin, with_twins};
use super::terminal::failure::{Code, Failure, sentence};
use super::terminal::form::{Form, StatusForm};
use super::terminal::log_end;
use super::terminal::panic;
use super::terminal::talk;
use super::terminal::text::{Reader, Screen};
use super::{
    audit, backup, check, checkpoint, completions, dead, demo, explain, init, lake_files, man, new, produce,
    rescale, run, state, status,
};
use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use headway_operators::pipeline::Entry;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// Writes the records of Kafka topics to a lake, each exactly once.
#[derive(Parser, Debug)]
#[command(name = "headway", version, max_term_width = 100, subcommand_required = true)]
#[command(after_help = EXIT_CODES)]
struct CommandLine {
    #[command(flatten)]
    talk: talk::Flags,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  done, or drained after a signal
    1  ran, and a check failed
    2  the command line or the configuration is wrong
    3  a source or the lake cannot be reached at start
    4  the state does not fit: other job, other records, newer format, fenced
    5  damage refused: checksum, conservation, sync failed
   75  another process of the job was lost: start all again
  101  a bug: the last commit holds, restart
  130, 143  ended at once by a second signal

Every flag has a twin in the environment: --idle-after is HEADWAY_IDLE_AFTER.
A flag overrides its twin, and the twin overrides the configuration file.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the real job on generated messages, here and now; nothing needs to be installed
    Demo(demo::Flags),
    /// Run a job: read messages, commit rows to the lake
    Run(Box<run::Flags>),
    /// Run all processes of a job on this machine
    Cluster(cluster::Flags),
    /// Change the number of processes or workers of a job, or predict what that would mean
    ///
    /// A running job drains, commits, and all its processes start themselves again; the next claim says the new number, and processes
    /// that stood by join. A stopped job takes the request at its next start.
    Rescale(rescale::Flags),
    /// Report what would stop a job before it starts, and what would run
    Check(Box<check::Flags>),
    /// Write generated messages to files, standard output or a Kafka topic
    Produce(Box<produce::Flags>),
    /// Show the state of a job, from its lake; with --kafka-config its lag, from the brokers
    Status(status::Flags),
    /// Prove from the lake alone that nothing is lost or doubled
    Audit(audit::Flags),
    /// Show, check and compact the commits of a job
    Checkpoint(checkpoint::Flags),
    /// Show messages that could not be decoded or came too late, and replay dead letters
    Dead(dead::Flags),
    /// Show the state of the operators of a job
    State(state::Flags),
    /// Replay records that came too late
    Late(replay::LateFlags),
    /// List, release, delete and merge the committed files of a job
    Lake(lake_files::Flags),
    /// Copy a lake, also while its job runs, to a folder from which the job can continue
    ///
    /// The copy has all files of one commit: manifests, the files that they name, saved state, tables of views. An earlier backup of
    /// the same lake is brought up to date: what is new is copied, and what commits have deleted since is deleted there too;
    /// released files stay. Until its last file has its name, the copy is the earlier one, or is refused by every command. Prove
    /// a copy with: headway audit --lake DIR --deep.
    Backup(backup::Flags),
    /// Show, export, check and follow the live tables of a job
    #[cfg(feature = "parquet")]
    Views(super::views::Flags),
    /// Run a job to the end of its input, and report on each of its live tables
    ///
    /// The tables are kept, whatever the pipeline does by default.
    #[cfg(feature = "parquet")]
    Build(Box<super::build::Flags>),
    /// Write a configuration file with every key, its meaning and its default
    Init(init::Flags),
    /// Write a crate with an operator of your own, its test and a program with every command
    New(new::Flags),
    /// Explain an error code, a lag, a late record or a dead letter, and what to do about it
    Explain(explain::Flags),
    /// Write a script that lets your shell complete commands and flags
    Completions(completions::Flags),
    /// Write a man page for each command
    Man(man::Flags),
}

/// Runs the command line over the pipelines of `catalogue`: a whole program for `fn main`.
///
/// A binary of your own has every command of `headway` by [`main_of`], under its own name.
pub fn main(catalogue: &'static [Entry]) -> ExitCode {
    main_of(program(), catalogue)
}

/// The same for a program of your own: [`crate::program!`] says which.
pub fn main_of(program: Program, catalogue: &'static [Entry]) -> ExitCode {
    set(program);
    main_with(catalogue, std::env::args_os())
}

/// [`main`] with arguments that the process was not started with; the first is the name of the program.
pub fn main_with(catalogue: &'static [Entry], args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let faults = faults(&CommandLine::command(), catalogue);
    if !faults.is_empty() {
        let failure = Failure::new(Code::PipelineBroken, "the pipelines of this program cannot run");
        let failure = failure.detail(sentence(&faults.join("; ")));
        return finish(Err(failure), asks_for_json(&args));
    }
    let matches = match with_twins(command(catalogue)).try_get_matches_from(&args) {
        Ok(matches) => matches,
        Err(error) => return refused(&error, asks_for_json(&args)),
    };
    let form = form(&matches);
    panic::report(form);
    match CommandLine::from_arg_matches(&matches) {
        Ok(line) => finish(dispatch(line, catalogue), form),
        Err(error) => refused(&error, form),
    }
}

/// Reports what clap says of the command line. Help and version are errors of clap's too, with exit code 0.
fn refused(error: &clap::Error, form: Form) -> ExitCode {
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if form == Form::Text || is_answer {
        // Nothing is left to do if printing fails.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    }
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ").to_string();
    let rest: Vec<&str> = lines.collect();
    let failure = Failure::new(Code::CommandLine, what);
    finish(Err(if rest.is_empty() { failure } else { failure.detail(rest.join(" ")) }), form)
}

/// The form of the last error: JSON if the log or the answer is.
fn form(matches: &ArgMatches) -> Form {
    let mut matches = matches;
    loop {
        for id in ["log_format", "output"] {
            let is_json = matches!(matches.try_get_one::<Form>(id), Ok(Some(Form::Json)));
            if is_json || matches!(matches.try_get_one::<StatusForm>(id), Ok(Some(StatusForm::Json))) {
                return Form::Json;
            }
        }
        match matches.subcommand() {
            Some((_, inner)) => matches = inner,
            None => return Form::Text,
        }
    }
}

/// The same for a command line that cannot be parsed.
fn asks_for_json(args: &[OsString]) -> Form {
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let says = |arg: &str, next: Option<&str>| {
        let joined = ["-ojson", "-o=json", "--output=json", "--log-format=json"].contains(&arg);
        joined || ["-o", "--output", "--log-format"].contains(&arg) && next == Some("json")
    };
    let said = (0..args.len()).any(|at| says(&args[at], args.get(at + 1).map(|next| &**next)));
    let set =
        ["output", "log-format"].iter().any(|flag| std::env::var(twin(flag)).is_ok_and(|v| v == "json"));
    if said || set { Form::Json } else { Form::Text }
}

/// The whole command line, with the catalogue's pipelines in its help.
fn command(catalogue: &'static [Entry]) -> clap::Command {
    let width = catalogue.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    let mut pipelines = String::from("Pipelines:");
    for entry in catalogue {
        pipelines.push_str(&format!("\n  {:width$}  {}", entry.name, entry.about));
    }
    let Program { name, version } = program();
    let mut command = CommandLine::command().name(name).version(version);
    with_pipelines(&mut command, catalogue, &pipelines);
    command
}

/// Adds what the pipelines of `catalogue` declare to the subcommands of `command`, at any depth, and the list of `pipelines`.
fn with_pipelines(command: &mut clap::Command, catalogue: &'static [Entry], pipelines: &str) {
    for subcommand in command.get_subcommands_mut() {
        let is_pipeline = |arg: &clap::Arg| ["job.pipeline", "pipeline"].contains(&arg.get_id().as_str());
        let takes_pipeline = subcommand.get_arguments().any(is_pipeline);
        *subcommand = with_flags(std::mem::take(subcommand), catalogue);
        if takes_pipeline {
            *subcommand = std::mem::take(subcommand).after_help(pipelines.to_string());
        }
        with_pipelines(subcommand, catalogue, pipelines);
    }
}

fn dispatch(line: CommandLine, catalogue: &'static [Entry]) -> Result<(), Failure> {
    let (progress, form) = (line.talk.start(), line.talk.log_format);
    match line.command {
        // What is done, and the exit code, matter without a reader too.
        Command::Demo(flags) => screen(Reader::MayLeave, |out| demo::run(&flags, catalogue, progress, out)),
        Command::Run(flags) => screen(Reader::MayLeave, |out| run::run(*flags, catalogue, progress, out)),
        Command::Cluster(flags) => cluster::run(flags, catalogue, form),
        Command::Rescale(flags) => screen(Reader::MayLeave, |out| rescale::run(&flags, out)),
        Command::Check(flags) => screen(Reader::MayLeave, |out| check::run(*flags, catalogue, out)),
        Command::Audit(flags) => screen(Reader::MayLeave, |out| audit::run(&flags, out)),
        Command::Checkpoint(flags) => screen(flags.reader(), |out| checkpoint::run(&flags, out)),
        Command::Status(flags) => screen(Reader::Listens, |out| status::run(&flags, out)),
        Command::Backup(flags) => screen(Reader::MayLeave, |out| backup::run(&flags, out)),
        Command::Lake(flags) => screen(Reader::MayLeave, |out| lake_files::run(&flags, out)),
        #[cfg(feature = "parquet")]
        Command::Views(flags) => screen(Reader::MayLeave, |out| super::views::run(&flags, catalogue, out)),
        #[cfg(feature = "parquet")]
        Command::Build(flags) => {
            screen(Reader::MayLeave, |out| super::build::run(*flags, catalogue, progress, out))
        }
        Command::State(flags) => screen(Reader::MayLeave, |out| state::run(&flags, catalogue, out)),
        Command::Dead(flags) => screen(Reader::Listens, |out| dead::run(&flags, catalogue, out)),
        Command::Init(flags) => screen(Reader::Listens, |out| init::run(&flags, catalogue, out)),
        Command::New(flags) => screen(Reader::Listens, |out| new::run(&flags, out)),
        Command::Late(flags) => screen(Reader::Listens, |out| replay::late(&flags, catalogue, out)),
        Command::Explain(flags) => screen(Reader::Listens, |out| explain::run(&flags, catalogue, out)),
        // For programs: not a byte of it is changed.
        Command::Produce(flags) => produce::run(&flags, catalogue, progress, &mut io::stdout().lock()),
        Command::Man(flags) => screen(Reader::Listens, |out| man::run(&flags, command(catalogue), out)),
        Command::Completions(flags) => completions::run(&flags, command(catalogue), &mut io::stdout().lock()),
    }
}

/// Lets `command` answer on standard output. An answer that could not be written is an error, unless the command
/// itself failed.
fn screen(
    reader: Reader,
    command: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut out = Screen::new(io::stdout().lock(), reader);
    let result = command(&mut out);
    result.and(out.end().map_err(Failure::from))
}

fn finish(result: Result<(), Failure>, form: Form) -> ExitCode {
    let failure = result.err();
    log_end::end(failure.as_ref().map(|failure| failure.render(form)).as_deref());
    failure.map_or(ExitCode::SUCCESS, |failure| failure.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_seen_on_a_command_line_that_cannot_be_parsed() {
        let form = |line: &str| asks_for_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in ["run -o json --x", "run -ojson", "--log-format json x", "run --output=json"] {
            assert_eq!(form(line), Form::Json, "{line}");
        }
        for line in ["run --x json", "run -o text", "run -o", ""] {
            assert_eq!(form(line), Form::Text, "{line}");
        }
    }

    #[test]
    fn flags_are_consistent() {
        assert_eq!(faults(&CommandLine::command(), headway_pipelines::all()), Vec::<String>::new());
        command(headway_pipelines::all()).debug_assert();
    }
}
