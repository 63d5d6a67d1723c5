//! What is said on standard error while a command runs: how much, and in which form.

use super::form::Form;
use super::log_end::{self, LogEnd};
use super::progress::Progress;
use clap::{ArgAction, Args};
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

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
            i16::MIN..=-2 => "error",
            -1 => "warn",
            0 => "info",
            1 => "debug",
            _ => "trace",
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        let colour =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        log_end::form(self.log_format);
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| LogEnd).with_ansi(colour);
        // The library would report a failed write to standard error itself, and panic if that fails too.
        let log = log.log_internal_errors(false);
        // A second start happens only where a program calls `main` twice: the first log stays.
        let _ = match self.log_format {
            Form::Text => log.with_target(false).try_init(),
            Form::Json => log.json().flatten_event(true).try_init(),
        };
        progress
    }
}
