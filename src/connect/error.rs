//! What can go wrong between us and another system.

use headway_operators::record::{Offset, Partition};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A line of a settings file that cannot be used. It quotes no value: that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its number, from 1.
    pub line: usize,
    /// What does not fit.
    pub why: String,
    /// The way out.
    pub hint: String,
}

/// Declares the codes: variant and name.
macro_rules! codes {
    ($($(#[$about:meta])* $variant:ident = $name:literal;)*) => {
        /// Why a connector cannot go on, in one word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($(#[$about])* $variant,)* }

        impl Code {
            /// All of them.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }
        }
    };
}

codes! {
    /// Records are gone that were never read.
    RecordsGone = "records-gone";
    /// A partition is not the one the state was made from.
    OtherIdentity = "other-identity";
    /// A file of a capture came too late.
    FileBelowPosition = "file-below-position";
    /// What was found cannot be an input.
    InputUnusable = "input-unusable";
    /// A file of client settings cannot be used.
    SettingsUnusable = "settings-unusable";
    /// A header lacks a column, or names one twice.
    BadHeader = "bad-header";
    /// A file has a second, other header.
    HeaderChanged = "header-changed";
    /// The name of a broker cannot be resolved.
    BrokerUnresolved = "broker-unresolved";
    /// The topic is not there.
    TopicMissing = "topic-missing";
    /// The topic was deleted.
    TopicDeleted = "topic-deleted";
    /// The other system does not answer, or a file cannot be read or written.
    SourceFailed = "source-failed";
}

/// Why a connector cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read. The user's turn; exit 3 at start.
    #[error("could not read \"{path}\"")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written. The user's turn.
    #[error("could not write \"{path}\"")]
    Unwritable {
        /// The file, or the name of the source.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was found cannot be an input. The user's turn; exit 2, whenever it is found.
    #[error("\"{what}\" is not a usable input: {why}")]
    Unusable {
        /// What was looked at: a path, with its line where there is one.
        what: String,
        /// What does not fit.
        why: String,
        /// The way out.
        hint: String,
    },
    /// Lines of a client's settings cannot be used. The user's turn; exit 2.
    #[error("could not use \"{file}:{}\": {}", problems.first().map_or(0, |first| first.line), problems.first().map_or("", |first| &first.why))]
    Settings {
        /// The file.
        file: String,
        /// The lines, in their order; at least one.
        problems: Vec<Problem>,
    },
    /// The first line of a file is a header that cannot be used. The user's turn; exit 2.
    #[error("line {line} of \"{path}\" is a header that cannot be used")]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Why, and what it says.
        detail: String,
    },
    /// A file goes on with other columns than it began with. The user's turn; exit 2.
    #[error("line {line} of \"{path}\" is another header than the one before")]
    HeaderChanged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The columns of the lines before it.
        before: String,
        /// The columns that it names.
        found: String,
    },
    /// The system does not answer. Retried while a job runs; exit 3 at start.
    #[error("could not reach {what}")]
    Unreachable {
        /// The system: `broker "localhost:9092"`.
        what: String,
        /// What it said last.
        detail: String,
    },
    /// A broker's name cannot be resolved. Retried while a job runs; exit 3 at start.
    #[error("{}", unresolved(name, advertised_by.as_deref()))]
    Unresolved {
        /// Host and port.
        name: String,
        /// The broker that gave the name: `broker "localhost:9092"`. `None`: the client's settings did.
        advertised_by: Option<String>,
        /// What the resolver says.
        detail: String,
    },
    /// The brokers do not know the topic at the moment: one that has just started does not yet. Retried while a job runs.
    #[error("{broker} does not know topic \"{topic}\" at the moment")]
    TopicMissing {
        /// The topic.
        topic: String,
        /// The broker: `broker "localhost:9092"`.
        broker: String,
    },
    /// A topic that was read is no longer there. Exit 4.
    #[error("topic \"{topic}\" was deleted: {broker} does not have it any more")]
    TopicDeleted {
        /// The topic.
        topic: String,
        /// The broker: `broker "localhost:9092"`.
        broker: String,
    },
    /// Records that the job has not read yet are no longer there. Never skipped; exit 4.
    #[error("records {from}..{to} are gone from partition {partition} of \"{input}\"")]
    RecordsGone {
        /// The input.
        input: String,
        /// The partition.
        partition: Partition,
        /// The first record missing.
        from: Offset,
        /// The first record that is there.
        to: Offset,
    },
    /// A file of a capture holds records that come before what was read, and that no run has read. Exit 4.
    #[error(
        "\"{path}\" holds offsets {from}..{to} of partition {partition}, which lie below {next} and were not read"
    )]
    BelowPosition {
        /// The file.
        path: PathBuf,
        /// The partition.
        partition: Partition,
        /// The first offset in it.
        from: Offset,
        /// One past the last.
        to: Offset,
        /// The next offset to read.
        next: Offset,
    },
    /// The partition is not the one the state was made from. Exit 4.
    #[error(
        "partition {partition} of \"{input}\" is \"{found}\", and the state was made from \"{expected}\""
    )]
    OtherIdentity {
        /// The input.
        input: String,
        /// The partition.
        partition: Partition,
        /// The identity in the manifest.
        expected: String,
        /// The identity found.
        found: String,
    },
}

impl Error {
    /// The file or writer at `path` cannot be written.
    pub(super) fn unwritable(path: &Path, source: io::Error) -> Error {
        Error::Unwritable { path: path.to_path_buf(), source }
    }

    /// Why in one word.
    pub fn kind(&self) -> Code {
        match self {
            Error::RecordsGone { .. } => Code::RecordsGone,
            Error::OtherIdentity { .. } => Code::OtherIdentity,
            Error::BelowPosition { .. } => Code::FileBelowPosition,
            Error::Unusable { .. } => Code::InputUnusable,
            Error::Settings { .. } => Code::SettingsUnusable,
            Error::BadHeader { .. } => Code::BadHeader,
            Error::HeaderChanged { .. } => Code::HeaderChanged,
            Error::Unresolved { .. } => Code::BrokerUnresolved,
            Error::TopicMissing { .. } => Code::TopicMissing,
            Error::TopicDeleted { .. } => Code::TopicDeleted,
            Error::Unreadable { .. } | Error::Unwritable { .. } | Error::Unreachable { .. } => {
                Code::SourceFailed
            }
        }
    }

    /// The stable code of the error.
    pub fn code(&self) -> &'static str {
        self.kind().name()
    }

    /// Whether waiting may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Unreachable { .. } | Error::Unresolved { .. } | Error::TopicMissing { .. })
    }

    /// True if the file at `path` is what could not be read.
    pub fn is_about(&self, path: &Path) -> bool {
        matches!(self, Error::Unreadable { path: unreadable, .. } if unreadable == path)
    }

    /// What more there is to know, as a sentence, if it is not in the message.
    pub fn detail(&self) -> Option<String> {
        match self {
            Error::Unreadable { source, .. } | Error::Unwritable { source, .. } => Some(source.to_string()),
            Error::Unreachable { detail, .. } | Error::Unresolved { detail, .. } => Some(detail.clone()),
            Error::TopicMissing { .. } => Some("It was there when the job started.".to_string()),
            Error::TopicDeleted { .. } => {
                Some("This job has read it. What it has committed stays in the lake.".to_string())
            }
            Error::RecordsGone { input, partition, from, to } => Some(format!(
                "Going on would skip records that were never read. To skip them for good: --accept-gap {input}={partition}:{from}..{to}"
            )),
            Error::BelowPosition { .. } => {
                Some("A partition is read in the order of its offsets: what comes before the position would be skipped.".to_string())
            }
            Error::OtherIdentity { .. } => Some("The lake's state was made from other records.".to_string()),
            Error::Unusable { .. } => None,
            Error::Settings { problems, .. } => {
                let others =
                    problems.iter().skip(1).map(|other| format!("line {}: {}", other.line, other.why));
                let others: Vec<String> = others.collect();
                (!others.is_empty()).then(|| format!("Also {}.", others.join("; ")))
            }
            Error::BadHeader { detail, .. } => Some(detail.clone()),
            Error::HeaderChanged { before, found, .. } => {
                Some(format!("The lines before it have the columns {before}. It names {found}."))
            }
        }
    }

    /// The way out.
    pub fn hint(&self) -> &str {
        match self {
            Error::Unreadable { source, .. } if source.kind() == ErrorKind::InvalidData => {
                "It is not whole: write it again, or wait until whoever writes it has finished."
            }
            Error::Unreadable { .. } => {
                "Check the path of --source files:PATH, and that this user may read it."
            }
            Error::Unwritable { .. } => {
                "Give a folder that does not hold such files yet, and that this user may write to."
            }
            Error::Unusable { hint, .. } => hint,
            Error::Settings { problems, .. } => problems.first().map_or("", |first| &first.hint),
            Error::BadHeader { .. } => {
                "Mend the header, or take it out if the lines have the topic's own columns."
            }
            Error::HeaderChanged { .. } => "Cut the file in two before that line: each file has one header.",
            Error::Unreachable { .. } => {
                "Check that it is running, or replay a saved file with --source files:PATH."
            }
            Error::Unresolved { advertised_by: Some(_), .. } => {
                "Set advertised.listeners of the broker to a name that its clients can resolve, or add the name to /etc/hosts."
            }
            Error::Unresolved { advertised_by: None, .. } => "Check the names in bootstrap.servers.",
            Error::TopicMissing { .. } => {
                "Wait until the broker knows it, or check that nobody has deleted it."
            }
            Error::TopicDeleted { .. } => {
                "Check --topic. If the topic is made again, start a new job with another --job and --lake."
            }
            Error::RecordsGone { .. } => {
                "Restore the missing records, accept the loss with the flag that the detail names, or start a new job with another --job and --lake."
            }
            Error::BelowPosition { .. } => {
                "Take the file out of the folder, and let a job of another lake read it."
            }
            Error::OtherIdentity { .. } => {
                "Point --source at the original input, or start a new job with another --job and --lake."
            }
        }
    }
}

fn unresolved(name: &str, advertised_by: Option<&str>) -> String {
    match advertised_by {
        Some(broker) => {
            format!("{broker} answers, and advertises \"{name}\", a name that cannot be resolved here")
        }
        None => format!("could not resolve \"{name}\" of bootstrap.servers"),
    }
}
