//! What is said on standard error while a command runs: how much, and in which form.

use super::form::Form;
use super::log_end::{self, LogEnd};
use super::progress::Progress;
use clap::{ArgAction, Args};
use std::io::{self, IsTerminal, Write};
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
        let filter = filter(&std::env::var("RUST_LOG").unwrap_or_default(), level);
        let most = filter.iter().map(|(_, level)| level).chain(filter.default_level()).max();
        let colour =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        log_end::form(self.log_format);
        let log = tracing_subscriber::fmt()
            .with_max_level(most.unwrap_or(level))
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

/// What `RUST_LOG` asks for, as `info` or `headway=debug,rdkafka=warn`; without it, all of `level`. A directive that is not
/// understood is told on standard error, since there is no log yet, and left out.
fn filter(asked: &str, level: LevelFilter) -> Targets {
    let directives: Vec<&str> = asked.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    if directives.is_empty() {
        return Targets::new().with_default(level);
    }
    let is_understood = |directive: &&str| {
        let is_plain = !directive.contains(['[', ']', '{', '}', ' ']);
        let is_understood = is_plain && directive.parse::<Targets>().is_ok();
        if !is_understood {
            let _ = writeln!(
                io::stderr(),
                "warning: RUST_LOG has \"{}\", which is neither a level nor TARGET=LEVEL; it is passed over",
                directive.escape_debug()
            );
        }
        is_understood
    };
    let understood: Vec<&str> = directives.into_iter().filter(is_understood).collect();
    match understood.join(",").parse() {
        Ok(targets) if !understood.is_empty() => targets,
        _ => Targets::new().with_default(level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_is_levels_and_targets_and_what_is_not_understood_is_passed_over() {
        let cases = [
            ("", "info"),
            ("  ,", "info"),
            ("debug", "debug"),
            (" debug , ", "debug"),
            ("headway=debug, rdkafka=warn", "headway=debug,rdkafka=warn"),
            ("warn,headway=trace", "headway=trace,warn"),
            ("headway[span]=debug", "info"),
            ("headway=loud,warn", "warn"),
        ];
        for (asked, want) in cases {
            let want: Targets = want.parse().expect("a case is well-formed");
            assert_eq!(filter(asked, LevelFilter::INFO), want, "{asked:?}");
        }
    }
}
