//! The parts of a manifest: where inputs and partitions stand, what became of records, which files there are.

use crate::engine::format::names::{self, Generation, Seq, Stage};
use headway_operators::ack::{Content, InputIx, Limit, Place};
use headway_operators::error::Reason;
use headway_operators::record::{LastRead, Offset, Partition};
use headway_operators::time::{Epoch, EventTime, Watermark};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A name that no other write has: shows whether a file is the one we wrote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u128);

/// One manifest, as others name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestId {
    /// Its number.
    pub seq: Seq,
    /// Its nonce.
    pub nonce: Nonce,
}

/// Where an input stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its name in the pipeline.
    pub name: String,
    /// The kind of its connector: `kafka`, `files`, `generate`.
    pub kind: String,
    /// The topic, or the name that a source without topics uses instead.
    pub topic: String,
    /// `wm(epoch)`.
    #[serde(rename = "wm", with = "known_time")]
    pub watermark: Watermark,
    /// Every partition has ended and all windows were closed.
    pub ended: bool,
    /// The partition set, by number, without the finished ones.
    pub partitions: Vec<PartitionEntry>,
    /// The partitions that no run will read again. The list of them is state, which only starts read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub finished: Finished,
    /// What was read since the share of dead letters was judged.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unjudged: Unjudged,
}

/// Partitions of an input that were read to their end and are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// How many there are.
    pub partitions: u64,
    /// What became of all their records.
    pub total: Fates,
}

/// Records that were not counted in a judgement yet: whether too many are dead letters, or late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unjudged {
    /// Records read.
    pub records: u64,
    /// Dead letters among them.
    pub dead: u64,
    /// Records that the decoder did not filter, since the share of late ones was judged. A build that does not know this field
    /// judges a little later.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unfiltered: u64,
    /// Late records among them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub late: u64,
}

impl Unjudged {
    /// How many records must have been read before the share of late ones is judged.
    pub const UNFILTERED_MIN: u64 = 1_000;

    /// True if enough was read since the share of late records was judged: it is judged now, and counted anew.
    pub fn judges_late(&self) -> bool {
        self.unfiltered >= Unjudged::UNFILTERED_MIN
    }
}

/// Where a partition stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionEntry {
    /// Its number.
    pub partition: Partition,
    /// What it is; another identity under the same number is refused.
    pub identity: String,
    /// The first offset that the job could read.
    pub first: Offset,
    /// The offsets that this manifest adds: from here …
    pub from: Offset,
    /// … to before here, the next to read.
    pub next: Offset,
    /// The last record before `next`, where the source can tell whether it is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_read: Option<LastRead>,
    /// Everything that was read of a file, where the source keeps a hash of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Newest event time decoded so far less lateness.
    #[serde(with = "known_time")]
    pub own: Watermark,
    /// No record at `floor_from` or later is stamped below this.
    #[serde(with = "known_time")]
    pub floor: Watermark,
    /// The first offset that the floor holds for.
    pub floor_from: Offset,
    /// When it was last seen to have a record, by the wall clock; when it was first seen, if it never had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_since_ms: Option<i64>,
    /// The limits in the future that records of this manifest were measured against, where they had no time stamp.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// The newest of all such limits: a later one is never below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<i64>,
    /// Was read to its end, and quiet. Never restored.
    pub idle: bool,
    /// First seen, or woken, in this epoch.
    pub joining: bool,
    /// Was read to its end for good. Never restored.
    pub ended: bool,
    /// What became of the records that this manifest adds.
    pub fates: Fates,
    /// What became of all records since `first`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub total: Fates,
}

/// What became of records. `consumed` is the sum of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fates {
    /// Records read.
    pub consumed: u64,
    /// Counted in at least one window.
    pub accepted: u64,
    /// Repeats.
    pub duplicate: u64,
    /// Left out on purpose.
    pub filtered: u64,
    /// Came after their last window closed.
    pub late: u64,
    /// Could not be decoded, by reason.
    pub dead: BTreeMap<Reason, u64>,
}

/// An operator with state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The version of its encoding.
    pub version: u32,
    /// Entries that it holds after the epoch, on all workers; `None` until a run of this format has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
}

/// A state file. Its name follows from these numbers, unless it says another place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    /// The run that wrote it.
    pub generation: Generation,
    /// The epoch whose close it shows.
    pub epoch: Epoch,
    /// The worker that wrote it.
    pub worker: u32,
    /// Which of that worker's files of format 1; 0 for one of format 2, of which there is one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub part: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// Bytes of its header, which says what sections it has; 0 for a file of format 1.
    #[serde(default, skip_serializing_if = "is_default")]
    pub header_bytes: u64,
    /// xxh3-128 of its bytes, in hexadecimal.
    pub checksum: String,
    /// Where it is, if not where its name says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What a file of format 1 says of all its sections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v1: Option<StateV1>,
}

/// Which state file it is. In the order of age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId {
    /// The run that wrote it.
    pub generation: Generation,
    /// The epoch whose close it shows.
    pub epoch: Epoch,
    /// The worker that wrote it.
    pub worker: u32,
    /// See [`StateEntry::part`].
    pub part: u32,
}

/// What a state file of format 1 says of all its sections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateV1 {
    /// The operator.
    pub operator: String,
    /// The version of its encoding.
    pub version: u32,
    /// Whether its sections are bases.
    pub base: bool,
}

/// What is in a lake file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LakeKind {
    /// Rows of an output.
    Rows,
    /// Changes of views.
    Changes,
    /// Dead letters.
    Dead,
    /// Late records.
    Late,
}

/// A lake file that a manifest makes true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeFile {
    /// What is in it.
    pub kind: LakeKind,
    /// The output it belongs to.
    pub output: String,
    /// Its folder, relative to the lake, with the final `/`.
    pub folder: String,
    /// Its final name in that folder.
    pub name: String,
    /// Where it was staged: a file, or a part of one.
    pub staged: Place,
    /// Rows in it.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// xxh3-128 of its bytes, in hexadecimal.
    pub checksum: String,
    /// Least and greatest event time of its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<TimeRange>,
    /// The first epoch whose records may be in it.
    pub since: Epoch,
    /// The offsets that fed it: its rows come from records in these ranges and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fed: Vec<Fed>,
    /// Lake files of earlier manifests whose rows it has instead. Written by compaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
}

/// A closed interval of event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// The first instant in it.
    pub least: EventTime,
    /// The last instant in it.
    pub greatest: EventTime,
}

/// Offsets whose records were gone before they were read, and that a person let the job pass over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The input's name.
    pub input: String,
    /// The partition.
    pub partition: Partition,
    /// The first offset that was not read.
    pub from: Offset,
    /// The first offset after them.
    pub to: Offset,
}

/// A half-open range of offsets of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fed {
    /// The input's number.
    pub input: InputIx,
    /// The partition.
    pub partition: Partition,
    /// The first offset.
    pub from: Offset,
    /// One past the last.
    pub next: Offset,
}

/// A view. Written by views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The version of what the job's views keep: the highest of the operators that keep it. Each operator's own version is with the
    /// operator; where it differs at a start, what it keeps is made again of what was committed.
    pub keeps: u32,
    /// The version of what it shows.
    pub shows: u32,
    /// The manifest with its last change; of a table of day files the last one in whose epoch rows came or went, even if they cancel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Seq>,
    /// The first epoch whose rows are in it, where a person let it start late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_epoch: Option<Epoch>,
}

/// What an expectation is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The rows of a view.
    View(String),
    /// The records of an input.
    Input(String),
}

/// What follows where an expectation does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The log says so, and the job goes on.
    #[default]
    Warn,
    /// Of records: a record that breaks it becomes a dead letter, with the reason `rule:NAME`.
    Quarantine,
    /// The job stops before the commit.
    Fail,
}

/// What an expectation found. Written by expectations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// What it is about.
    pub on: Subject,
    /// What follows where it does not hold.
    pub severity: Severity,
    /// How many rows of the view break it as of this epoch; or how many records of the input have broken it since the job had it.
    /// `None` before it was first judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u64>,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::View(name) => write!(f, "view \"{name}\""),
            Subject::Input(name) => write!(f, "input \"{name}\""),
        }
    }
}

impl Severity {
    /// The word for it in files.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Warn => "warn",
            Severity::Quarantine => "quarantine",
            Severity::Fail => "fail",
        }
    }
}

/// A target. Written by targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The last manifest whose changes it has.
    pub acknowledged: Seq,
    /// It lagged for too long: it has to be rebuilt from the lake.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rebuild: bool,
}

impl Input {
    /// What became of the records that this manifest adds.
    pub fn fates(&self) -> Fates {
        sum(self.partitions.iter().map(|part| &part.fates))
    }

    /// What became of all records since the job's start.
    pub fn total(&self) -> Fates {
        sum(self.partitions.iter().map(|part| &part.total).chain([&self.finished.total]))
    }

    /// The partitions that windows wait for: neither idle nor ended.
    pub fn counting(&self) -> impl Iterator<Item = &PartitionEntry> {
        self.partitions.iter().filter(|part| !part.idle && !part.ended)
    }

    /// The one of them that is the farthest behind in event time.
    pub fn slowest(&self) -> Option<&PartitionEntry> {
        self.counting().min_by_key(|part| part.reached())
    }
}

fn sum<'a>(fates: impl Iterator<Item = &'a Fates>) -> Fates {
    let mut sum = Fates::default();
    fates.for_each(|fates| sum.add(fates));
    sum
}

impl Input {
    /// An input of which nothing was read yet, and no partition is known.
    pub fn new(name: &str, kind: &str, topic: &str) -> Input {
        Input {
            name: name.to_string(),
            kind: kind.to_string(),
            topic: topic.to_string(),
            watermark: EventTime::MIN,
            ended: false,
            partitions: Vec::new(),
            finished: Finished::default(),
            unjudged: Unjudged::default(),
        }
    }
}

impl PartitionEntry {
    /// How far it has got in event time: its own watermark or its floor.
    pub fn reached(&self) -> Watermark {
        self.own.max(self.floor)
    }

    /// A partition of which nothing was read yet; `first` is the first offset that can be.
    pub fn new(partition: Partition, identity: &str, first: Offset) -> PartitionEntry {
        PartitionEntry {
            partition,
            identity: identity.to_string(),
            first,
            from: first,
            next: first,
            last_read: None,
            content: None,
            own: EventTime::MIN,
            floor: EventTime::MIN,
            floor_from: first,
            quiet_since_ms: None,
            limits: Vec::new(),
            limit_ms: None,
            idle: false,
            joining: false,
            ended: false,
            fates: Fates::default(),
            total: Fates::default(),
        }
    }

    /// The partition in a manifest that adds nothing to it.
    #[must_use]
    pub fn carried(&self) -> PartitionEntry {
        let fates = Fates::default();
        PartitionEntry { from: self.next, fates, limits: Vec::new(), ..self.clone() }
    }
}

impl StateEntry {
    /// Which file it is.
    pub fn id(&self) -> StateId {
        let StateEntry { generation, epoch, worker, part, .. } = *self;
        StateId { generation, epoch, worker, part }
    }

    /// Where the file is, in the lake of `job`.
    pub fn place(&self, job: &str) -> Place {
        let StateEntry { generation, epoch, worker, .. } = *self;
        let named = || Place::whole(names::state(job, Stage { generation, epoch, worker }));
        self.place.clone().unwrap_or_else(named)
    }
}

impl LakeKind {
    /// What is in the files of `folder`: side outputs have folders of their own.
    pub fn of_folder(folder: &str) -> LakeKind {
        match folder.split('/').next() {
            Some("_dead") => LakeKind::Dead,
            Some("_late") => LakeKind::Late,
            _ => LakeKind::Rows,
        }
    }
}

impl LakeFile {
    /// True if it holds dead letters or late records: `_` keeps them out of readers' globs.
    pub fn is_side(&self) -> bool {
        self.folder.starts_with('_')
    }

    /// True if its rows are new ones: what replaces other files has theirs, and changes of views are none.
    pub fn adds_rows(&self) -> bool {
        self.replaces.is_empty() && self.kind != LakeKind::Changes
    }

    /// Its final name, relative to the lake.
    pub fn path(&self) -> String {
        format!("{}{}", self.folder, self.name)
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap { input, partition, from, to } = self;
        write!(f, "offsets {from}..{to} of partition {partition} of \"{input}\"")
    }
}

impl Fates {
    /// Dead letters of all reasons.
    pub fn dead_total(&self) -> u64 {
        self.dead.values().sum()
    }

    /// How many records had each fate, by its name.
    pub fn by_fate(&self) -> [(&'static str, u64); 5] {
        [
            ("accepted", self.accepted),
            ("duplicate", self.duplicate),
            ("filtered", self.filtered),
            ("late", self.late),
            ("dead", self.dead_total()),
        ]
    }

    /// The same, and how many were read: what JSON answers have.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.by_fate().into_iter().chain([("consumed", self.consumed)]).collect()
    }

    /// True if every record has exactly one fate.
    pub fn adds_up(&self) -> bool {
        let kept = self.accepted + self.duplicate + self.filtered;
        self.consumed == kept + self.late + self.dead_total()
    }

    /// Adds the records of `more`.
    pub fn add(&mut self, more: &Fates) {
        self.consumed += more.consumed;
        self.accepted += more.accepted;
        self.duplicate += more.duplicate;
        self.filtered += more.filtered;
        self.late += more.late;
        for (reason, count) in &more.dead {
            *self.dead.entry(reason.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Nonce {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Nonce, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Nonce).map_err(serde::de::Error::custom)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// [`EventTime::MIN`], "nothing known yet", as `null`.
pub(crate) mod known_time {
    use headway_operators::time::EventTime;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &EventTime, serializer: S) -> Result<S::Ok, S::Error> {
        (*time > EventTime::MIN).then_some(time).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventTime, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(EventTime::MIN))
    }
}
