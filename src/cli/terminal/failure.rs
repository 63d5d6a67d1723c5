//! What a person is told when a command stops: what could not be done, the detail, the hint, a code, an exit code.
//!
//! A failure always has all three parts. Where the place that failed has no detail or hint of its own, the page of its
//! code gives them.

pub(crate) use super::code::{Code, Exit};
use super::form::Form;
use super::pages::page;
use super::table::grouped;
use super::text::{visible, visible_lines};
use crate::cli::units::When;
use crate::connect;
use crate::engine;
use crate::engine::clock::{Clock, System};
use crate::engine::commit::error::CheckpointError;
use crate::engine::error::Broken;
use crate::engine::format::board::Counted;
use crate::store;
use headway_operators::time::Epoch;
use serde_json::json;
use std::io::ErrorKind;
use std::process::ExitCode;

/// Why a command stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    name: &'static str,
    exit: u8,
    what: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure described by `what`: lowercase, no full stop, quoting the name of the thing.
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Failure {
        Failure::named(code.name(), code.exit() as u8, what)
    }

    /// The same for an error that has a code and an exit code of its own.
    pub(crate) fn named(name: &'static str, exit: u8, what: impl Into<String>) -> Failure {
        Failure { name, exit, what: what.into(), detail: None, hint: None }
    }

    /// The same with a sentence or two about what was found.
    pub(crate) fn detail(self, detail: impl Into<String>) -> Failure {
        Failure { detail: Some(detail.into()), ..self }
    }

    /// The same with what to do next.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit)
    }

    /// The same as a number.
    pub(crate) fn exit(&self) -> u8 {
        self.exit
    }

    /// The code of the error.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// What could not be done, in a line.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What standard error is told: three parts, a line each, or one JSON object.
    pub(crate) fn render(&self, form: Form) -> String {
        if self.exit == 0 {
            return String::new();
        }
        let page = page(self.name);
        let detail = self.detail.as_deref().or(page.map(|page| page.happened)).unwrap_or_default();
        let hint = self.hint.as_deref().or(page.map(|page| page.action)).unwrap_or_default();
        match form {
            Form::Text => {
                let part = |text: &str| visible_lines(text).replace('\n', "\n  ");
                let (what, name) = (visible(&self.what), self.name);
                format!("error: {what} ({name})\ndetail: {}\nhint: {}\n", part(detail), part(hint))
            }
            Form::Json => {
                let object = json!({
                    "schema_version": 1,
                    "timestamp": When(System::default().wall_ms()).to_string(),
                    "level": "ERROR",
                    "event": "failed",
                    "code": self.name,
                    "exit_code": self.exit,
                    "error": self.what,
                    "detail": detail,
                    "hint": hint,
                });
                format!("{}\n", visible(&object.to_string()))
            }
        }
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
        let failure = Failure::new(Code::OutputFailed, "could not write to standard output");
        let exit = if error.kind() == ErrorKind::BrokenPipe { 0 } else { failure.exit };
        Failure { exit, ..failure.detail(sentence(&error.to_string())) }
    }
}

impl From<connect::error::Error> for Failure {
    /// A connector's error as it counts at start.
    fn from(error: connect::error::Error) -> Failure {
        use connect::error::Error;
        // What is wrong with a folder that a person named is a usage error.
        let exit = match &error {
            Error::Unwritable { source, .. }
                if matches!(source.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) =>
            {
                Exit::Usage
            }
            error => engine::code::Code::Source(error.kind()).exit(),
        };
        let failure = Failure::named(error.code(), exit as u8, error.to_string()).hint(error.hint());
        Failure { detail: error.detail().as_deref().map(sentence), ..failure }
    }
}

impl From<engine::Error> for Failure {
    /// What stopped a job, as it counts while a job runs.
    fn from(error: engine::Error) -> Failure {
        let (name, exit) = (error.code(), error.exit_code());
        match error {
            engine::Error::Source(error) => Failure { exit, ..Failure::from(error) },
            engine::Error::Commit(error) => Failure {
                name,
                exit,
                what: error.to_string(),
                detail: error.detail().as_deref().map(sentence),
                hint: error.hint(),
            },
            engine::Error::Pipeline { pipeline, problems } => {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                let failure = Failure::named(name, exit, format!("pipeline \"{pipeline}\" cannot run"));
                let failure = failure.detail(sentence(&problems.join("; ")));
                failure.hint("Its author has to mend it: nothing was read and nothing was written.")
            }
            engine::Error::Mesh(error) => {
                let failure = Failure::named(name, exit, error.to_string());
                Failure { detail: error.detail().as_deref().map(sentence), ..failure }
            }
            engine::Error::ExpectationFailed { epoch, is_committed, ref broken } => {
                let failure = Failure::named(name, exit, error.to_string());
                failure.detail(examples(epoch, is_committed, broken)).hint(way_on(broken))
            }
            engine::Error::TargetBehind { ref acknowledged, newest, ref why, .. } => {
                let has = acknowledged.map_or("nothing".to_string(), |seq| format!("manifest {seq}"));
                let detail = format!("It has {has}, and manifest {newest} is committed: {why}.");
                Failure::named(name, exit, error.to_string()).detail(detail)
            }
            engine::Error::MemoryLimit { limit, resident, ref counted } => {
                let failure = Failure::named(name, exit, error.to_string());
                failure.detail(memory_table(limit, resident, counted))
            }
            error => Failure::named(name, exit, error.to_string()),
        }
    }
}

/// What takes memory, a line each. Views, buffers and what the allocator holds are counted by nobody.
fn memory_table(limit: u64, resident: u64, counted: &[Counted]) -> String {
    let known: u64 = counted.iter().map(|counted| counted.bytes).sum();
    let rest = ("everything else".to_string(), resident.saturating_sub(known));
    let all = counted.iter().map(|counted| (counted.name.clone(), counted.bytes)).chain([rest]);
    let lines = all.map(|(name, bytes)| format!("{:>15} bytes  {name}", grouped(bytes)));
    let head =
        format!("Of {} bytes that the process takes, with a limit of {}:", grouped(resident), grouped(limit));
    [head].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

/// What breaks the expectations that failed.
fn examples(epoch: Epoch, is_committed: bool, broken: &[Broken]) -> String {
    let of =
        |Broken { about, examples, .. }: &Broken| format!("What breaks {about}: {}.", examples.join("; "));
    let parts: Vec<String> = broken.iter().map(of).collect();
    let committed = if is_committed {
        format!("Epoch {epoch} was committed before this was expected; nothing more is committed.")
    } else {
        format!("Nothing of epoch {epoch} was committed.")
    };
    sentence(&format!("{} {committed}", parts.join(" ")))
}

/// How a job goes on although expectations fail.
fn way_on(broken: &[Broken]) -> String {
    let flags: Vec<String> = broken.iter().map(|broken| format!("--expect-warn {}", broken.rule)).collect();
    format!("Mend what was read, or the expectation. To go on with a warning: {}.", flags.join(" "))
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
        let (what, detail) = (error.to_string(), causes(&error));
        let failure = match &error {
            Error::OtherFileSystem { .. } | Error::Symlink { .. } => Failure::new(Code::LakeInvalid, what),
            Error::TooLong { .. } => Failure::named("checkpoint-invalid", Exit::Corrupt as u8, what),
            Error::Sync { .. } => Failure::named("disk-sync-failed", Exit::Corrupt as u8, what),
            Error::Failed { .. } | Error::Unknown { .. } => {
                Failure::named(CheckpointError::from(error).code(), Exit::Unreachable as u8, what)
            }
        };
        Failure { detail, ..failure.hint(hint) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_failure_has_three_parts() {
        let failure =
            Failure::new(Code::ConfigInvalid, "unknown key \"a\"").detail("At 1:1.\nMore.").hint("Try b.");
        assert_eq!(
            failure.render(Form::Text),
            "error: unknown key \"a\" (config-invalid)\ndetail: At 1:1.\n  More.\nhint: Try b.\n"
        );
        let object: serde_json::Value = serde_json::from_str(&failure.render(Form::Json)).expect("JSON");
        assert_eq!(object["code"], "config-invalid");
        assert_eq!((&object["detail"], &object["exit_code"]), (&json!("At 1:1.\nMore."), &json!(2)));
    }

    #[test]
    fn page_gives_the_parts_that_are_missing() {
        let shown = Failure::new(Code::ConfigInvalid, "a\nb\u{1b}[2J").render(Form::Text);
        let page = page("config-invalid").expect("it has a page");
        let expected = format!("detail: {}\nhint: {}\n", page.happened, page.action);
        assert_eq!(shown, format!("error: a\\nb\\u001b[2J (config-invalid)\n{expected}"));
    }

    #[test]
    fn a_cause_is_told_once_and_as_a_sentence() {
        let source = io::Error::new(io::ErrorKind::PermissionDenied, "permission denied");
        let failure = Failure::from(store::Error::Failed { verb: "create", name: "lake/x".into(), source });
        assert_eq!((failure.exit, failure.name), (3, "store-failed"));
        assert!(failure.render(Form::Text).starts_with(
            "error: could not create \"lake/x\" (store-failed)\ndetail: Permission denied.\nhint: Check the path of --lake"
        ));
    }
}
