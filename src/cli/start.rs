//! Parses the command line, runs the subcommand, reports, and gives the exit code.

use super::terminal::failure::Failure;
use super::terminal::talk;
use super::{audit, check, checkpoint, completions, dead, demo, produce, run, status};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use headway_operators::pipeline::Entry;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// Turns Kafka topics into a lake and into live tables, exactly once.
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
   75  a peer process was lost: restart all
  101  a bug: the last commit holds, restart
  130, 143  ended at once by a second signal";

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the real job on generated messages, here and now; nothing needs to be installed
    Demo(demo::Flags),
    /// Run a job: read messages, commit rows to the lake
    Run(Box<run::Flags>),
    /// Find what would stop a job before it starts, and say what would run
    Check(Box<check::Flags>),
    /// Write generated messages to files, standard output or a Kafka topic
    Produce(Box<produce::Flags>),
    /// Show where a job stands, from its lake; its lag from the brokers with --kafka-config
    Status(status::Flags),
    /// Prove from the lake alone that nothing is lost or doubled
    Audit(audit::Flags),
    /// Look at the commits of a job
    Checkpoint(checkpoint::Flags),
    /// Look at messages that could not be decoded, or came too late
    Dead(dead::Flags),
    /// Write a script that lets your shell complete commands and flags
    Completions(completions::Flags),
}

/// Runs the command line over the pipelines of `catalogue`: a whole program for `fn main`.
///
/// A binary of your own calls it with its own catalogue and has every command of `headway`.
pub fn main(catalogue: &'static [Entry]) -> ExitCode {
    let mut out = io::stdout().lock();
    match parsed(catalogue, std::env::args_os()) {
        Ok(line) => finish(dispatch(line, catalogue, &mut out).and_then(|()| Ok(out.flush()?))),
        // Help and version are errors of clap's too, with exit code 0; nothing is left to do if printing fails.
        Err(error) => {
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// The whole command line, with the catalogue's pipelines in its help.
fn command(catalogue: &'static [Entry]) -> clap::Command {
    let width = catalogue.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    let mut pipelines = String::from("Pipelines:");
    for entry in catalogue {
        pipelines.push_str(&format!("\n  {:width$}  {}", entry.name, entry.about));
    }
    let mut command = CommandLine::command();
    for subcommand in command.get_subcommands_mut() {
        if subcommand.get_arguments().any(|arg| arg.get_id() == "job.pipeline") {
            *subcommand = subcommand.clone().after_help(pipelines.clone());
        }
    }
    command
}

fn parsed(
    catalogue: &'static [Entry],
    args: impl Iterator<Item = OsString>,
) -> Result<CommandLine, clap::Error> {
    CommandLine::from_arg_matches(&command(catalogue).try_get_matches_from(args)?)
}

fn dispatch(line: CommandLine, catalogue: &'static [Entry], out: &mut dyn Write) -> Result<(), Failure> {
    let progress = line.talk.start();
    match line.command {
        Command::Demo(flags) => demo::run(&flags, catalogue, progress, out),
        Command::Run(flags) => run::run(*flags, catalogue, progress, out),
        Command::Check(flags) => check::run(*flags, catalogue, out),
        Command::Produce(flags) => produce::run(&flags, catalogue, progress, out),
        Command::Status(flags) => status::run(&flags, out),
        Command::Audit(flags) => audit::run(&flags, out),
        Command::Checkpoint(flags) => checkpoint::run(&flags, out),
        Command::Dead(flags) => dead::run(&flags, out),
        Command::Completions(flags) => completions::run(&flags, command(catalogue), out),
    }
}

fn finish(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    // Nobody is left to tell if standard error is closed.
    let _ = io::stderr().write_all(failure.render().as_bytes());
    failure.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_consistent() {
        command(&[]).debug_assert();
    }
}
