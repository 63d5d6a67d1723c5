//! What a person is told when a command stops: what could not be done, the detail, the way out, an exit code.

use crate::connect;
use crate::engine;
use crate::engine::commit::error::CheckpointError;
use crate::store;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::process::ExitCode;

/// The exit codes, as `--help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command ran, and a check failed.
    Check = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// A source or the lake cannot be reached.
    Unreachable = 3,
    /// The state in the lake does not fit this job.
    Misfit = 4,
    /// What was read is damaged, or storage cannot be relied on.
    Corrupt = 5,
}

/// Why a command stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    what: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure described by `what`: lowercase, no full stop, quoting the name of the thing.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Failure {
        Failure { code: exit as u8, what: what.into(), detail: None, hint: None }
    }

    /// The same with a sentence or two about what was found.
    pub(crate) fn detail(self, detail: impl Into<String>) -> Failure {
        Failure { detail: Some(detail.into()), ..self }
    }

    /// The same with the way out.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// The three parts, a line each, for standard error.
    pub(crate) fn render(&self) -> String {
        if self.code == 0 {
            return String::new();
        }
        let mut text = format!("error: {}\n", self.what);
        for (label, part) in [("detail", &self.detail), ("hint", &self.hint)] {
            if let Some(part) = part {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{label}: {}", part.replace('\n', "\n  "));
            }
        }
        text
    }
}

/// The causes of `error`, outermost first, as one sentence.
pub(crate) fn causes(error: &dyn std::error::Error) -> Option<String> {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        next = cause.source();
    }
    if text.is_empty() { None } else { Some(sentence(&text)) }
}

/// A message with the stable code of its error, by which a supervisor or a search finds it.
fn named(message: &dyn std::fmt::Display, code: &str) -> String {
    format!("{message} ({code})")
}

/// `text` with a capital and a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", first.collect::<String>(), letters.as_str())
}

impl From<std::io::Error> for Failure {
    /// Writing to standard output failed. A reader who has seen enough (`| head`) is no failure.
    fn from(error: std::io::Error) -> Failure {
        let failure = Failure::new(Exit::Check, "could not write to standard output");
        let code = if error.kind() == ErrorKind::BrokenPipe { 0 } else { failure.code };
        Failure { code, ..failure.detail(sentence(&error.to_string())) }
    }
}

impl From<connect::error::Error> for Failure {
    /// A connector's error as it counts at start.
    fn from(error: connect::error::Error) -> Failure {
        use connect::error::Error;
        let exit = match &error {
            Error::Unreadable { .. } | Error::Unreachable { .. } => Exit::Unreachable,
            Error::Unwritable { source, .. } => match source.kind() {
                ErrorKind::AlreadyExists | ErrorKind::NotADirectory => Exit::Usage,
                _ => Exit::Unreachable,
            },
            Error::Unusable { .. } | Error::Settings { .. } => Exit::Usage,
            Error::RecordsGone { .. } | Error::OtherIdentity { .. } => Exit::Misfit,
        };
        let what = match exit {
            Exit::Misfit => named(&error, error.code()),
            _ => error.to_string(),
        };
        let failure = Failure::new(exit, what).hint(error.hint());
        Failure { detail: error.detail().as_deref().map(sentence), ..failure }
    }
}

impl From<engine::Error> for Failure {
    /// What stopped a job. Errors with a stable code name it.
    fn from(error: engine::Error) -> Failure {
        let code = error.exit_code();
        let name = error.code();
        let failure = match error {
            // While a job runs, the engine's exit code counts.
            engine::Error::Source(error) => Failure { what: named(&error, name), ..Failure::from(error) },
            engine::Error::Commit { message, detail, hint, .. } => {
                Failure { code, what: named(&message, name), detail: detail.as_deref().map(sentence), hint }
            }
            error @ engine::Error::Panicked { .. } => Failure::new(Exit::Check, error.to_string())
                .detail("This is a bug. The last commit is whole, and a restart goes on from there.")
                .hint("Please report it, with this message and the command."),
            error => Failure::new(Exit::Unreachable, error.to_string()),
        };
        Failure { code, ..failure }
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Failure {
        match error {
            CheckpointError::Store(error) => error.into(),
            CheckpointError::Source(error) => error.into(),
            error => engine::Error::from(error).into(),
        }
    }
}

impl From<store::Error> for Failure {
    /// A store's error as it counts at start.
    fn from(error: store::Error) -> Failure {
        use store::Error;
        let exit = match &error {
            Error::Failed { .. } | Error::Unknown { .. } => Exit::Unreachable,
            Error::OtherFileSystem { .. } | Error::Symlink { .. } => Exit::Usage,
            Error::Sync { .. } | Error::TooLong { .. } => Exit::Corrupt,
        };
        let hint = match &error {
            Error::Failed { .. } => "Check the path of --lake, and that this user may read and write there.",
            Error::Unknown { .. } => "Run the same command again: it looks at what is there and goes on.",
            Error::Sync { .. } => "Do not trust this disk before it was checked: see the kernel's log.",
            Error::OtherFileSystem { .. } => {
                "A lake must be on one file system: mount its root there, not a folder inside it."
            }
            Error::Symlink { .. } => "Put a folder in its place, or give the folder behind it as --lake.",
            Error::TooLong { .. } => "No version of headway writes such a file: restore it from a copy.",
        };
        let failure = Failure::new(exit, error.to_string()).hint(hint);
        match causes(&error) {
            Some(detail) => failure.detail(detail),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_failure_has_three_parts() {
        let failure = Failure::new(Exit::Usage, "unknown key \"a\"").detail("At 1:1.\nMore.").hint("Try b.");
        assert_eq!(failure.render(), "error: unknown key \"a\"\ndetail: At 1:1.\n  More.\nhint: Try b.\n");
    }

    #[test]
    fn a_cause_is_told_once_and_as_a_sentence() {
        let source = io::Error::new(io::ErrorKind::PermissionDenied, "permission denied");
        let failure = Failure::from(store::Error::Failed { verb: "create", name: "lake/x".into(), source });
        assert_eq!(failure.code, 3);
        assert!(failure.render().starts_with(
            "error: could not create \"lake/x\"\ndetail: Permission denied.\nhint: Check the path of --lake"
        ));
    }
}
