//! What is said on standard error while a command runs: how much, and in which form.

use super::form::Form;
use super::log_end::{self, LogEnd};
use super::progress::Progress;
use clap::{ArgAction, Args};
use std::io::{self, IsTerminal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How much is said, and in which form.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    /// Say more; twice for a line a record, never in production
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Logs")]
    verbose: u8,
    /// Say less; twice for errors only
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose", help_heading = "Logs")]
    quiet: u8,
    /// Form of the log on standard error
    #[arg(long, global = true, value_name = "FORM", default_value = "text", help_heading = "Logs")]
    pub(crate) log_format: Form,
}

impl Flags {
    /// Sends the log to standard error from now on, and says whether progress may be drawn there: on a terminal,
    /// unless a flag asks for more, less or another form. `RUST_LOG` overrides `-v` and `-q`.
    pub(crate) fn start(&self) -> Progress {
        let plain = self.verbose == 0 && self.quiet == 0 && self.log_format == Form::Text;
        let progress = if plain && io::stderr().is_terminal() { Progress::Drawn } else { Progress::Logged };
        // A bar and log lines would write over each other: warnings are worth it.
        let calm = u8::from(progress == Progress::Drawn);
        let level = match i16::from(self.verbose) - i16::from(self.quiet + calm) {
            i16::MIN..=-2 => LevelFilter::ERROR,
            -1 => LevelFilter::WARN,
            0 => LevelFilter::INFO,
            1 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        let asked = std::env::var("RUST_LOG").ok().filter(|directives| !directives.trim().is_empty());
        let filter: Targets = asked
            .and_then(|directives| directives.parse().ok())
            .unwrap_or_else(|| Targets::new().with_default(level));
        let colour =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        log_end::form(self.log_format);
        let log = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_writer(|| LogEnd)
            .with_ansi(colour);
        // The library would report a failed write to standard error itself, and panic if that fails too.
        let log = log.log_internal_errors(false);
        // A second start happens only where a program calls `main` twice: the first log stays.
        let _ = match self.log_format {
            Form::Text => log.with_target(false).finish().with(filter).try_init(),
            Form::Json => log.json().flatten_event(true).finish().with(filter).try_init(),
        };
        progress
    }
}
