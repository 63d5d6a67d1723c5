//! The manifest: the file that makes an epoch true, and what it says.
//!
//! One line of JSON whose last field is the checksum of everything before it, so that a flipped bit is found even
//! where the JSON still parses. Times are milliseconds UTC; `null` stands for "nothing known yet".

use crate::engine::format::names::{self, Generation, Seq};
use headway_operators::ack::{InputIx, StateFile};
use headway_operators::error::Reason;
use headway_operators::pace::InputsWatermark;
use headway_operators::record::{LastRead, Offset, Partition};
use headway_operators::time::{Epoch, EventTime, Watermark};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// The format that this build writes and reads. Frozen: files of it are kept in `tests/golden`, and whatever changes what is
/// written is a new format, but for fields that builds may pass over without harm. So is a new format of state files or
/// segments: who cannot read them must not take over.
pub const FORMAT: u32 = 1;

/// The longest manifest that is read, in bytes.
pub const BYTES_MAX: u64 = 64 << 20;

/// A name that no other write has: tells whether a file is the one we wrote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u128);

/// What one commit says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of this file.
    pub format: u32,
    /// The job it belongs to.
    pub job: String,
    /// The pipeline that ran.
    pub pipeline: String,
    /// The version of the pipeline's output and state.
    pub pipeline_version: u32,
    /// What state and output were made with: window, lateness, zone, …
    pub fingerprint: BTreeMap<String, String>,
    /// The version of the program.
    pub program: String,
    /// Its number, dense.
    pub seq: Seq,
    /// The run that wrote it.
    pub generation: Generation,
    /// Unique to this manifest.
    pub nonce: Nonce,
    /// The nonce of manifest `seq - 1`; `None` for the first.
    pub parent: Option<Nonce>,
    /// Why it was written.
    pub kind: Kind,
    /// The last epoch that is committed; 0 before the first.
    pub epoch: Epoch,
    /// Workers of the run.
    pub workers: u32,
    /// When it was built, by the committer's clock. The lake files' names have the same time.
    pub written_ms: i64,
    /// The newest event time of messages without a time stamp, where a person fixed it for this run. Earlier releases fixed
    /// it at the job's first start; a run does not take over what another one had.
    pub not_after_ms: Option<i64>,
    /// What a person allowed when this run started.
    pub allowed: Vec<String>,
    /// The inputs, in the pipeline's order.
    pub inputs: Vec<Input>,
    /// `W_C` of each set of several inputs that operators take together. Left out of the file where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watermarks: Vec<InputsWatermark>,
    /// Rows of each output since the job's start, this manifest's included.
    pub written: BTreeMap<String, u64>,
    /// Entries that each operator holds after `epoch`, on all workers.
    pub held: BTreeMap<String, u64>,
    /// The state as of `epoch`: files in the order they are read back.
    pub state: Vec<StateEntry>,
    /// The lake files that this manifest makes true.
    pub lake: Vec<LakeFile>,
}

/// Why a manifest was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A run started.
    Claim,
    /// An epoch was committed.
    Epoch,
}

/// Where an input stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its name in the pipeline.
    pub name: String,
    /// The kind of its connector: `kafka`, `files`, `generate`.
    pub kind: String,
    /// The topic, or what stands for it.
    pub topic: String,
    /// `wm(epoch)`.
    #[serde(with = "known_time")]
    pub watermark: Watermark,
    /// Every partition has ended and all windows were closed.
    pub ended: bool,
    /// The partition set, by number.
    pub partitions: Vec<PartitionEntry>,
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
    /// The last record before `next`, where the source can tell whether it is still there. Left out of the file where it is
    /// not known; builds that do not know of it pass it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_read: Option<LastRead>,
    /// Newest event time decoded so far less lateness.
    #[serde(with = "known_time")]
    pub own: Watermark,
    /// No record at `floor_from` or later is stamped below this.
    #[serde(with = "known_time")]
    pub floor: Watermark,
    /// The first offset that the floor holds for.
    pub floor_from: Offset,
    /// Was read to its end, and quiet. Never restored.
    pub idle: bool,
    /// First seen, or woken, in this epoch.
    pub joining: bool,
    /// Was read to its end for good. Never restored.
    pub ended: bool,
    /// What became of the records that this manifest adds.
    pub fates: Fates,
    /// What became of all records since `first`.
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

/// A state file with the epoch it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    /// The run that wrote it.
    pub generation: Generation,
    /// The epoch whose close it shows.
    pub epoch: Epoch,
    /// The file.
    #[serde(flatten)]
    pub file: StateFile,
}

/// A lake file that a manifest makes true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeFile {
    /// The output it belongs to.
    pub output: String,
    /// Its final name, relative to the lake.
    pub path: String,
    /// Where it was staged.
    pub staged: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// xxh3-128 of its bytes, in hexadecimal.
    pub checksum: String,
    /// Least and greatest event time of its rows.
    pub event_time: Option<(EventTime, EventTime)>,
    /// The first epoch whose records may be in it.
    pub since: Epoch,
    /// The offsets that fed it: its rows come from records in these ranges and no others.
    pub fed: Vec<Fed>,
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

/// Why the bytes of a manifest are not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a later release.
    #[error("format {found}, and this build reads up to {FORMAT}")]
    Newer {
        /// The format found.
        found: u32,
    },
    /// Cut short, changed, or never a manifest.
    #[error("{0}")]
    Malformed(String),
}

/// The checksum field that ends the file: its name, 32 hexadecimal digits, and the brace that it replaced.
const TAIL: &str = ",\"xxh3\":\"";
const TAIL_LEN: usize = TAIL.len() + 32 + "\"}\n".len();

impl Manifest {
    /// The bytes of the file: one line.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("plain values with text keys encode");
        let checksum = xxh3_128(&bytes);
        bytes.pop();
        bytes.extend_from_slice(format!("{TAIL}{checksum:032x}\"}}\n").as_bytes());
        bytes
    }

    /// The manifest in `bytes`. Every path in it stays below the lake's root.
    ///
    /// # Errors
    /// If it is of a later format, or not whole.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, DecodeError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let malformed = |what: &str| DecodeError::Malformed(what.to_string());
        if let Ok(Format { format: found }) = serde_json::from_slice(bytes)
            && found > FORMAT
        {
            return Err(DecodeError::Newer { found });
        }
        let at = bytes.len().checked_sub(TAIL_LEN).ok_or_else(|| malformed("too short"))?;
        let (body, tail) = bytes.split_at(at);
        let body = [body, b"}"].concat();
        if tail != format!("{TAIL}{:032x}\"}}\n", xxh3_128(&body)).as_bytes() {
            return Err(malformed("its checksum does not match"));
        }
        let manifest: Manifest =
            serde_json::from_slice(&body).map_err(|error| DecodeError::Malformed(error.to_string()))?;
        if manifest.format < FORMAT {
            return Err(DecodeError::Malformed(format!("no release wrote format {}", manifest.format)));
        }
        let staged = manifest.lake.iter().map(|file| &file.staged);
        let state = manifest.state.iter().map(|entry| &entry.file.path);
        let mut paths = manifest.lake.iter().map(|file| &file.path).chain(staged).chain(state);
        match paths.find(|path| !names::is_safe(path)) {
            Some(path) => Err(DecodeError::Malformed(format!("\"{path}\" is not a path in the lake"))),
            None => Ok(manifest),
        }
    }

    /// Rows of all lake files. Dead letters and late records are no rows.
    pub fn rows(&self) -> u64 {
        self.lake.iter().filter(|file| !file.is_side()).map(|file| file.rows).sum()
    }
}

impl Input {
    /// What became of the records that this manifest adds.
    pub fn fates(&self) -> Fates {
        sum(self.partitions.iter().map(|part| &part.fates))
    }

    /// What became of all records since the job's start.
    pub fn total(&self) -> Fates {
        sum(self.partitions.iter().map(|part| &part.total))
    }
}

fn sum<'a>(fates: impl Iterator<Item = &'a Fates>) -> Fates {
    let mut sum = Fates::default();
    fates.for_each(|fates| sum.add(fates));
    sum
}

impl LakeFile {
    /// True if it holds dead letters or late records: `_` keeps them out of readers' globs.
    pub fn is_side(&self) -> bool {
        self.path.starts_with('_')
    }
}

impl Fates {
    /// Dead letters of all reasons.
    pub fn dead_total(&self) -> u64 {
        self.dead.values().sum()
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

/// [`EventTime::MIN`], "nothing known yet", as `null`.
mod known_time {
    use headway_operators::time::EventTime;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &EventTime, serializer: S) -> Result<S::Ok, S::Error> {
        (*time > EventTime::MIN).then_some(time).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventTime, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(EventTime::MIN))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A first manifest of one input with `partitions` partitions, nothing read.
    pub(crate) fn first(partitions: u32) -> Manifest {
        let partition = |partition| PartitionEntry {
            partition,
            identity: format!("file-{partition}"),
            first: Offset(0),
            from: Offset(0),
            next: Offset(0),
            last_read: None,
            own: EventTime::MIN,
            floor: EventTime::MIN,
            floor_from: Offset(0),
            idle: false,
            joining: false,
            ended: false,
            fates: Fates::default(),
            total: Fates::default(),
        };
        Manifest {
            format: FORMAT,
            job: "job".into(),
            pipeline: "gate".into(),
            pipeline_version: 1,
            fingerprint: BTreeMap::from([("window".into(), "300".into())]),
            program: "0.1.0".into(),
            seq: Seq(0),
            generation: Generation(1),
            nonce: Nonce(1),
            parent: None,
            kind: Kind::Claim,
            epoch: Epoch(0),
            workers: 1,
            written_ms: 1_541_462_400_000,
            not_after_ms: None,
            allowed: Vec::new(),
            inputs: vec![Input {
                name: "gate".into(),
                kind: "files".into(),
                topic: "gates".into(),
                watermark: EventTime::MIN,
                ended: false,
                partitions: (0..partitions).map(Partition).map(partition).collect(),
            }],
            watermarks: Vec::new(),
            written: BTreeMap::new(),
            held: BTreeMap::new(),
            state: Vec::new(),
            lake: Vec::new(),
        }
    }

    #[test]
    fn manifest_comes_back_as_it_was_written() {
        let manifest = first(2);
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest));
        assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1, "one line");
    }

    #[test]
    fn every_single_changed_byte_is_found() {
        let bytes = first(1).encode();
        for at in 0..bytes.len() {
            for bit in [0x01, 0x20] {
                let mut changed = bytes.clone();
                changed[at] ^= bit;
                assert!(Manifest::decode(&changed).is_err(), "byte {at}");
            }
            assert!(Manifest::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn later_format_is_refused_by_its_number() {
        let later = br#"{"format":7,"something":"else"}"#;
        assert_eq!(Manifest::decode(later), Err(DecodeError::Newer { found: 7 }));
    }

    #[test]
    fn format_from_before_the_first_release_is_refused() {
        let old = Manifest { format: 0, ..first(1) };
        let error = Manifest::decode(&old.encode()).unwrap_err();
        assert_eq!(error.to_string(), "no release wrote format 0");
    }

    #[test]
    fn path_that_leaves_the_lake_is_refused() {
        let mut manifest = first(1);
        manifest.state.push(StateEntry {
            generation: Generation(1),
            epoch: Epoch(1),
            file: StateFile {
                operator: "Sum".into(),
                version: 1,
                worker: 0,
                base: true,
                path: "../../etc/passwd".into(),
                bytes: 1,
                checksum: String::new(),
                shards: 1,
            },
        });
        assert!(matches!(Manifest::decode(&manifest.encode()), Err(DecodeError::Malformed(_))));
    }
}
