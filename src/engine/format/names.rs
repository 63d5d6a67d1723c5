//! Where a job keeps its own files in the lake, and what their names say.
//!
//! ```text
//! _headway/prefix/{prefix}.json                      which job owns an output prefix
//! _headway/{job}/manifest/{seq:010}.json             the newest manifests, one file each
//! _headway/{job}/segment/{first:010}-{last:010}.json.gz   older ones, folded
//! _headway/{job}/state/{generation}/{epoch}/{worker:04}.state   what a worker saved at the close of an epoch
//! _headway/{job}/stage/{generation}/{epoch}/…        lake files before they have their final name
//! _headway/{job}/changes/{seq:010}-{ms}.changes       what a manifest changed in views, and when it was built
//! _headway/{job}/gold/{generation}/…                 gold tables before they replace the ones before them
//! _headway/{job}/alive.json                          who runs, advisory
//! _headway/{job}/refused.json                        the last start that found a system away, advisory
//! _headway/{job}/token/{ms:013}-{nonce}-{process:04}  what a process writes for others to see, before a claim; deleted at once
//! _headway/{job}/backup.json                         in a copy: of which lake it is the backup
//! ```

use crate::connect::formats::{csv_gz, encoder};
use headway_operators::spec::OutputSpec;
use headway_operators::time::Epoch;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of a manifest within its job: dense, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The number of the manifest after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }

    /// The numbers from this one to `last`, both included.
    pub fn to(self, last: Seq) -> impl Iterator<Item = Seq> {
        (self.0..=last.0).map(Seq)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a run within its job: each run that starts takes the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The number of the run after this one.
    #[must_use]
    pub fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The folder of everything a job keeps for itself.
pub fn job_folder(job: &str) -> String {
    format!("_headway/{job}/")
}

/// The folder of the newest manifests.
pub fn manifest_folder(job: &str) -> String {
    format!("_headway/{job}/manifest/")
}

/// The file of manifest `seq`.
pub fn manifest(job: &str, seq: Seq) -> String {
    format!("_headway/{job}/manifest/{seq:010}.json")
}

/// The number in the name of a manifest's file; `None` if it is no manifest.
pub fn manifest_seq(file: &str) -> Option<Seq> {
    file.strip_suffix(".json").filter(|digits| digits.len() >= 10)?.parse().ok().map(Seq)
}

/// The folder of folded manifests.
pub fn segment_folder(job: &str) -> String {
    format!("_headway/{job}/segment/")
}

/// The numbers of the manifests of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeqRange {
    /// The first one.
    pub first: Seq,
    /// The last one.
    pub last: Seq,
}

/// The file of the segment of `range`.
pub fn segment(job: &str, SeqRange { first, last }: SeqRange) -> String {
    format!("_headway/{job}/segment/{first:010}-{last:010}.json.gz")
}

/// The numbers in the name of a segment's file; `None` if it is no segment.
pub fn segment_range(file: &str) -> Option<SeqRange> {
    let (first, last) = file.strip_suffix(".json.gz")?.split_once('-')?;
    Some(SeqRange { first: Seq(first.parse().ok()?), last: Seq(last.parse().ok()?) })
}

/// The folder of all state files.
pub fn state_folder(job: &str) -> String {
    format!("_headway/{job}/state/")
}

/// The folder of all staged files.
pub fn stage_folder(job: &str) -> String {
    format!("_headway/{job}/stage/")
}

/// Where the rows of one output, worker and epoch wait for their manifest: those of its `part`-th folder, counted from 0.
pub fn staged(job: &str, at: Stage, output: &str, part: usize) -> String {
    let Stage { generation, epoch, worker } = at;
    let part = if part == 0 { String::new() } else { format!("-{part}") };
    format!("_headway/{job}/stage/{generation}/{epoch}/{output}-{worker:04}{part}")
}

/// Where merged rows wait for their manifest, in the stage of a generation that no run has claimed.
pub fn staged_merge(job: &str, generation: Generation, epoch: Epoch, name: &str) -> String {
    format!("_headway/{job}/stage/{generation}/{epoch}/merge-{name}")
}

/// Where a backup puts a file of the copy until it gets its name: in a stage that every later run of the job removes.
pub fn staged_copy(job: &str, name: &str) -> String {
    format!("_headway/{job}/stage/0/0/copy-{name}")
}

/// The file that says of which lake a copy is the backup.
pub fn backup_mark(job: &str) -> String {
    format!("_headway/{job}/backup.json")
}

/// The folder of change files.
pub fn changes_folder(job: &str) -> String {
    format!("_headway/{job}/changes/")
}

/// The name of the change file of manifest `seq`, which was built at `written_ms`, in the folder of change files.
pub fn change_file(seq: Seq, written_ms: i64) -> String {
    format!("{seq:010}-{written_ms}.changes")
}

/// The number and time in the name of a change file; `None` if it is none.
pub fn change_file_parts(file: &str) -> Option<(Seq, i64)> {
    let (seq, written_ms) = file.strip_suffix(".changes")?.split_once('-')?;
    Some((Seq(seq.parse().ok()?), written_ms.parse().ok()?))
}

/// Where the change file of an epoch waits for its manifest.
pub fn staged_changes(job: &str, generation: Generation, epoch: Epoch) -> String {
    format!("_headway/{job}/stage/{generation}/{epoch}/changes")
}

/// The state of one worker at an epoch.
pub fn state(job: &str, at: Stage) -> String {
    let Stage { generation, epoch, worker } = at;
    format!("_headway/{job}/state/{generation}/{epoch}/{worker:04}.state")
}

/// The list of finished partitions, as a start that takes the job over writes it.
pub fn finished(job: &str, at: Stage, nonce: u128) -> String {
    let Stage { generation, epoch, worker: _ } = at;
    format!("_headway/{job}/state/{generation}/{epoch}/finished-{nonce:032x}.state")
}

/// The folder of all gold tables, which no manifest names: they follow from what manifests name.
pub const GOLD_FOLDER: &str = "gold/";

/// Where a gold table waits until it takes the place of the one before it.
pub fn staged_gold(job: &str, generation: Generation, view: &str) -> String {
    format!("_headway/{job}/gold/{generation}/{view}")
}

/// The worker and epoch that a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The run.
    pub generation: Generation,
    /// The epoch.
    pub epoch: Epoch,
    /// The worker.
    pub worker: u32,
}

/// The final name of a lake file, below its output's folder. `began_ms` is when the worker began the epoch; `part` is the
/// worker's number where the run has several.
pub fn lake_file(spec: &OutputSpec, epoch: Epoch, began_ms: i64, part: Option<u32>) -> String {
    let time = chrono::DateTime::from_timestamp_millis(began_ms).unwrap_or_default();
    let time = time.format("%Y%m%d_%H%M%S");
    let end = encoder(spec.format, csv_gz::Options::default()).extension();
    let part = part.map_or(String::new(), |part| format!("_{part}"));
    format!("{}_{epoch}_{time}{part}.{end}", spec.stem)
}

/// The file that tells who runs the job.
pub fn alive(job: &str) -> String {
    format!("_headway/{job}/alive.json")
}

/// The last start that came to nothing.
pub fn refused(job: &str) -> String {
    format!("_headway/{job}/refused.json")
}

/// The file in which a person asks for another number of processes or workers.
pub fn rescale(job: &str) -> String {
    format!("_headway/{job}/rescale.json")
}

/// The folder of the signs of processes that stand by.
pub fn standby_folder(job: &str) -> String {
    format!("_headway/{job}/standby/")
}

/// The sign of process `process`, which stands by.
pub fn standby(job: &str, process: u32) -> String {
    format!("_headway/{job}/standby/{process:04}.json")
}

/// The folder of what processes write so that others see that they have the same lake.
pub fn token_folder(job: &str) -> String {
    format!("_headway/{job}/token/")
}

/// The file with `token` that process `process` writes.
pub fn token(job: &str, token: &str, process: u32) -> String {
    format!("_headway/{job}/token/{token}-{process:04}")
}

/// The folder of prefix claims.
pub const PREFIX_FOLDER: &str = "_headway/prefix/";

/// The file that says which job owns `prefix`. A prefix has `/` between its parts; its file's name has `~`.
pub fn prefix(prefix: &str) -> String {
    format!("{PREFIX_FOLDER}{}.json", prefix.replace('/', "~"))
}

/// The prefix that a claim's file is about; `None` if it is no claim.
pub fn claimed_prefix(file: &str) -> Option<String> {
    Some(file.strip_suffix(".json")?.replace('~', "/"))
}

/// The epoch in the name of a lake file, `{stem}_{epoch}_…`; `None` if it is not named like that.
pub fn lake_epoch(file: &str, stem: &str) -> Option<Epoch> {
    let (epoch, _) = file.strip_prefix(stem)?.strip_prefix('_')?.split_once('_')?;
    epoch.parse().ok().map(Epoch)
}

/// The folder of `name`, with its final `/`; empty for the root.
pub fn parent(name: &str) -> &str {
    name.rfind('/').map_or("", |at| &name[..=at])
}

/// The generation and epoch in a path below `root`: `{root}{generation}/{epoch}/…`.
pub fn generation_and_epoch(root: &str, path: &str) -> Option<(Generation, Epoch)> {
    let mut parts = path.strip_prefix(root)?.split('/');
    Some((Generation(parts.next()?.parse().ok()?), Epoch(parts.next()?.parse().ok()?)))
}

/// True for a name that can be one folder: letters, digits, `_`, `-` and inner dots, at most 100 bytes.
pub fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(plain)
}

/// True for a relative path that stays below the root: plain parts (`=` allowed inside) between single `/`.
pub fn is_safe(path: &str) -> bool {
    let safe = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
    path.len() <= 1024 && path.split('/').all(safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::spec::Format;

    #[test]
    fn name_of_a_file_gives_back_its_number() {
        let name = manifest("gate", Seq(7));
        assert_eq!(name, "_headway/gate/manifest/0000000007.json");
        assert_eq!(manifest_seq("0000000007.json"), Some(Seq(7)));
        assert_eq!(manifest_seq("7.json"), None);
        assert_eq!(
            segment_range("0000000000-0000000255.json.gz"),
            Some(SeqRange { first: Seq(0), last: Seq(255) })
        );
        assert_eq!(claimed_prefix("_dead~gate.json").as_deref(), Some("_dead/gate"));
        assert_eq!(lake_epoch("batch_17_20240130_235959_2.csv.gz", "batch"), Some(Epoch(17)));
        assert_eq!(lake_epoch("batch_x_1.csv.gz", "batch"), None);
        assert_eq!(lake_epoch("batches_17_1.csv.gz", "batch"), None);
        assert_eq!(change_file_parts(&change_file(Seq(12), -7)), Some((Seq(12), -7)));
        assert_eq!(change_file_parts("0000000012.changes"), None);
        assert_eq!(parent("a/b/c.csv.gz"), "a/b/");
    }

    #[test]
    fn name_of_a_lake_file_says_epoch_and_utc_time_and_its_part_where_there_are_several_workers() {
        let spec = |stem: &'static str, format| OutputSpec {
            name: "rows".into(),
            prefix: "gate".into(),
            stem: stem.into(),
            format,
            columns: Vec::new(),
            folders: None,
        };
        let (batch, dead) = (spec("batch", Format::CsvGz), spec("dead", Format::NdjsonGz));
        // One second before and at a new UTC day; a leap day; before the Unix epoch's first second.
        let cases = [
            (&batch, 7, 1_706_659_199_999, None, "batch_7_20240130_235959.csv.gz"),
            (&batch, 7, 1_706_659_200_000, Some(0), "batch_7_20240131_000000_0.csv.gz"),
            (
                &batch,
                u64::MAX,
                1_709_210_096_000,
                Some(12),
                "batch_18446744073709551615_20240229_123456_12.csv.gz",
            ),
            (&dead, 1, 0, None, "dead_1_19700101_000000.ndjson.gz"),
            (&dead, 1, -1, Some(3), "dead_1_19691231_235959_3.ndjson.gz"),
        ];
        for (spec, epoch, began_ms, part, name) in cases {
            assert_eq!(lake_file(spec, Epoch(epoch), began_ms, part), name);
        }
    }

    #[test]
    fn path_that_leaves_the_lake_is_not_safe() {
        for path in ["../x", "/x", "a//b", "a/../b", "a/", "", "a\\b"] {
            assert!(!is_safe(path), "{path}");
        }
        assert!(is_safe("listen_events/year=2018/x.parquet"));
        assert!(!is_plain("a/b") && !is_plain("..") && is_plain("gate-2"));
    }
}
