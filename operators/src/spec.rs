//! What a pipeline declares of its inputs, outputs and operators.

use crate::error::Reason;
use crate::keyed::Keyed;
use crate::row::Column;
use crate::stream::roll::Limits;
use crate::stream::window::Closing;
use std::borrow::Cow;

/// An input of a pipeline.
#[derive(Clone, Debug)]
pub struct InputSpec {
    /// Its name in configuration and manifests.
    pub name: &'static str,
    /// The default topic.
    pub topic: &'static str,
    /// How much disorder is waited for, in milliseconds.
    pub lateness_ms: i64,
    /// What its end closes; what of it is late; whether it is flushed.
    pub closing: Closing,
    /// How header lines in files of raw lines are known; `None` where files have none.
    pub header: Option<HeaderSpec>,
}

/// The least that partitions may be apart, in milliseconds of event time.
const SKEW_MIN_MS: i64 = 60_000;

impl InputSpec {
    /// How far ahead of the slowest partition with a backlog one may read, in milliseconds of event time.
    pub fn max_skew_ms(&self) -> i64 {
        if self.closing == Closing::Never {
            return i64::MAX;
        }
        self.closing.reach_ms().saturating_add(self.lateness_ms).saturating_mul(2).max(SKEW_MIN_MS)
    }
}

/// How the header lines of a file of raw lines are known.
#[derive(Clone, Copy, Debug)]
pub struct HeaderSpec {
    /// The columns of a file without a header.
    pub columns: &'static [&'static str],
    /// Reads a line.
    pub read: ReadHeader,
    /// Looks at the name of a file and its first line that is not blank.
    pub accept: AcceptFile,
}

/// Refuses a file that holds something else, by its name and its first line that is not blank.
pub type AcceptFile = fn(&str, &[u8]) -> Result<(), FileRefusal>;

/// Why a file cannot be read by a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRefusal {
    /// What is wrong with it.
    pub why: &'static str,
    /// The way out.
    pub hint: &'static str,
}

/// The columns that a line names; `None` if the line is no header; the reason if it is a header that cannot be used.
pub type ReadHeader = fn(&[u8]) -> Result<Option<Vec<String>>, Reason>;

/// How an output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// gzipped CSV with a header row and LF.
    CsvGz,
    /// gzipped newline-delimited JSON objects.
    NdjsonGz,
    /// Apache Parquet with typed columns.
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 3] = [Format::CsvGz, Format::NdjsonGz, Format::Parquet];

    /// Their names, for a setting.
    pub const NAMES: &[&str] = &[Format::CsvGz.name(), Format::NdjsonGz.name(), Format::Parquet.name()];

    /// The format of this name.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format of the file at `path`, by its name; `None` if no format has such names.
    pub fn of_file(path: &str) -> Option<Format> {
        let is_named =
            |format: &Format| path.strip_suffix(format.name()).is_some_and(|stem| stem.ends_with('.'));
        Format::ALL.into_iter().find(is_named)
    }

    /// Its name in settings, which is also how the names of its files end.
    pub const fn name(self) -> &'static str {
        match self {
            Format::CsvGz => "csv.gz",
            Format::NdjsonGz => "ndjson.gz",
            Format::Parquet => "parquet",
        }
    }
}

/// An output of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// Its name in manifests; unique in the pipeline.
    pub name: String,
    /// The folder in the lake, `turnstile` or `_dead/turnstile`.
    pub prefix: String,
    /// The first word of its files' names: `batch`, `dead`, `late`.
    pub stem: Cow<'static, str>,
    /// The file format.
    pub format: Format,
    /// Its columns.
    pub columns: Vec<Column>,
    /// How its files lie in folders below `prefix`, and how long they stay open; `None`: all in `prefix`, a file for each epoch
    /// that gives rows.
    pub folders: Option<Folders>,
}

/// The operator that holds rows of the open files of output `name`, where it has [`OutputSpec::folders`] or is a side output.
pub fn roll_of(name: &str) -> String {
    format!("Roll-{name}")
}

/// How the files of an output lie in folders, by what is in their rows.
///
/// A row lies in the folder of its own event time, however late it came. Its file stays open over several epochs: see
/// [`crate::stream::roll`].
///
/// ```rust
/// use headway_operators::spec::{FolderBy, Folders};
///
/// // listen_events/year=2018/month=11/day=15/hour=13/…
/// let folders = Folders::by_hour();
/// assert_eq!(folders.by, [FolderBy::Year, FolderBy::Month, FolderBy::Day, FolderBy::Hour]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// One level after the other, the outermost first.
    pub by: Vec<FolderBy>,
    /// When open files are closed.
    pub roll: Limits,
}

/// What a level of folders is named after. Times are UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderBy {
    /// `year=2018`: the year of the event time.
    Year,
    /// `month=11`.
    Month,
    /// `day=15`: the day of the month.
    Day,
    /// `hour=13`.
    Hour,
    /// `date=2018-11-15`.
    Date,
    /// `NAME=value`: the value of the column of this name, which stays in the rows as well.
    Column(Cow<'static, str>),
}

impl Folders {
    /// A folder an hour: `year=2018/month=11/day=15/hour=13/`. Files close after two minutes or 32 MiB.
    pub fn by_hour() -> Folders {
        Folders {
            by: vec![FolderBy::Year, FolderBy::Month, FolderBy::Day, FolderBy::Hour],
            roll: Limits::default(),
        }
    }

    /// A folder a day: `date=2018-11-15/`. Files close after two minutes or 32 MiB.
    pub fn by_date() -> Folders {
        Folders { by: vec![FolderBy::Date], roll: Limits::default() }
    }
}

/// A view of a pipeline: a table that is kept up to date outside the dataflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewSpec {
    /// Its name; unique in the pipeline.
    pub name: &'static str,
    /// One line about it, for people.
    pub about: &'static str,
    /// Its columns. No two rows have the same values in the first `key` of them.
    pub columns: Vec<Column>,
    /// How many columns are the key.
    pub key: usize,
    /// Raised when the meaning of its rows changes.
    pub version: u32,
    /// The column by whose value the rows lie in gold files: a file for each value, such as `day=2024-01-05.parquet`. `None`: all
    /// rows are one file.
    pub day: Option<usize>,
}

/// A keyed operator of a pipeline, as saved state is matched with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorSpec {
    /// Its name, stable across releases.
    pub name: String,
    /// The version of its state's encoding; it reads those before.
    pub version: u32,
}

impl OperatorSpec {
    /// An operator `K` called `name`.
    pub fn of<K: Keyed>(name: &str) -> OperatorSpec {
        OperatorSpec { name: name.to_string(), version: K::VERSION }
    }
}
