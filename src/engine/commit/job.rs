//! What a run wants to be: the job as its command line and pipeline say, and whether a manifest fits it.

use crate::connect::PartitionInfo;
use crate::connect::error::Error as SourceError;
use crate::engine::commit::change_files::Keeping;
use crate::engine::commit::decide::Folding;
use crate::engine::commit::difference::{Difference, NONE, What};
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::finished::may_be_gone;
use crate::engine::format::manifest::{Expectation, Gap, Input, Manifest, Members, PartitionEntry, Program};
use headway_operators::record::{Offset, Partition};
use headway_operators::setting::Fingerprint;
use headway_operators::shape::Seals;
use headway_operators::spec::{Format, OperatorSpec, OutputSpec, ViewSpec};
use headway_operators::time::{Epoch, EventTime};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_128;

/// How the digest of a table is called in a fingerprint: this, and the table's name. No setting has such a name.
pub const TABLE: &str = "table:";

/// A job as a run wants it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name in the lake.
    pub name: String,
    /// The pipeline.
    pub pipeline: String,
    /// The version of the pipeline's output and state.
    pub pipeline_version: u32,
    /// What its state is made with: the settings that its pipeline declares.
    pub fingerprint: Fingerprint,
    /// Its outputs, side outputs included.
    pub outputs: Vec<OutputSpec>,
    /// The folder of its gold tables, with the final `/`; `None` if it has no views.
    pub gold: Option<String>,
    /// Its inputs, in the pipeline's order.
    pub inputs: Vec<InputInfo>,
    /// Its operators with state; none if they are not known, and then not compared.
    pub operators: Vec<OperatorSpec>,
    /// The program that runs it.
    pub program: Program,
    /// The processes and workers of this run.
    pub members: Members,
    /// The share of dead letters, 0 to 1, above which the job stops.
    pub dead_max: f64,
    /// What to do if another run is at work.
    pub if_running: IfRunning,
    /// The newest event time of messages without a time stamp, where a person fixed it.
    pub not_after_ms: Option<i64>,
    /// Operators whose saved state may be lost.
    pub allow_dropped_state: Vec<String>,
    /// Gaps that a person lets it pass over.
    pub accept_gaps: Vec<AcceptedGap>,
    /// The first epoch whose facts its new views begin with, where a person lets them start late.
    pub views_from: Option<Epoch>,
    /// The first instants of the sealed days that a person unseals for this run.
    pub unsealed: Vec<EventTime>,
    /// Its views.
    pub views: Vec<ViewSpec>,
    /// The names of those operators that keep what views are made of: they can be made again of what was committed.
    pub keeps: Vec<String>,
    /// When its days are sealed; `None`: never.
    pub seals: Option<Seals>,
    /// How old manifests are folded.
    pub folding: Folding,
    /// The targets that its views are delivered to.
    pub targets: BTreeSet<String>,
    /// How long change files are kept.
    pub keeping: Keeping,
    /// What it expects, by name; not judged yet.
    pub expectations: BTreeMap<String, Expectation>,
}

impl Job {
    /// True if the job does not have the operator called `name` any more.
    pub fn drops(&self, name: &str) -> bool {
        !self.operators.is_empty() && self.operators.iter().all(|known| known.name != name)
    }

    /// True if the operator called `name` keeps something for views, and has another version than `version`, of which its saved
    /// state is.
    pub fn keeps_otherwise(&self, name: &str, version: u32) -> bool {
        let now = self.operators.iter().find(|known| known.name == name).map(|known| known.version);
        self.keeps.iter().any(|keep| keep == name) && now.is_some_and(|now| now != version)
    }

    /// The version of what its views keep: the highest of the operators that keep it.
    pub fn kept_version(&self) -> u32 {
        let keeps = self.operators.iter().filter(|known| self.keeps.contains(&known.name));
        keeps.map(|known| known.version).max().unwrap_or(1)
    }

    /// The columns of each output, as a hash, by prefix and stem. Formats in which each row names its own have none.
    pub fn schemas(&self) -> BTreeMap<String, String> {
        let schema = |spec: &OutputSpec| {
            let columns: Vec<String> =
                spec.columns.iter().map(|column| format!("{} {:?}\n", column.name, column.kind)).collect();
            (
                format!("{}/{}", spec.prefix, spec.stem),
                format!("{:032x}", xxh3_128(columns.concat().as_bytes())),
            )
        };
        let fixed = self.outputs.iter().filter(|spec| match spec.format {
            Format::CsvGz | Format::Parquet => true,
            Format::NdjsonGz => false,
        });
        fixed.map(schema).collect()
    }
}

/// An input as its connector sees it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputInfo {
    /// Its name in the pipeline.
    pub name: String,
    /// The kind of its connector.
    pub kind: String,
    /// The topic, or the name that a source without topics uses instead.
    pub topic: String,
    /// Its partitions.
    pub partitions: Vec<PartitionInfo>,
}

/// A gap that a person accepts, as `records-gone` names it: `INPUT=PARTITION:FROM..TO`, or without the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedGap {
    /// The input's name or topic; `None` where the gap may be in any.
    pub input: Option<String>,
    /// The partition.
    pub partition: Partition,
    /// The first offset that is gone.
    pub from: Offset,
    /// The first offset that is there.
    pub to: Offset,
}

impl AcceptedGap {
    /// True if `gap` of an input of `topic` is the one that was accepted, offset for offset.
    fn is(&self, gap: &Gap, topic: &str) -> bool {
        let is_input = self.input.as_ref().is_none_or(|name| *name == gap.input || name == topic);
        is_input && (self.partition, self.from, self.to) == (gap.partition, gap.from, gap.to)
    }
}

impl fmt::Display for AcceptedGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AcceptedGap { input, partition, from, to } = self;
        let input = input.as_ref().map_or(String::new(), |input| format!("{input}="));
        write!(f, "{input}{partition}:{from}..{to}")
    }
}

impl FromStr for AcceptedGap {
    type Err = ();

    fn from_str(text: &str) -> Result<AcceptedGap, ()> {
        let (input, rest) = text.rsplit_once('=').map_or((None, text), |(name, rest)| (Some(name), rest));
        let (partition, range) = rest.split_once(':').ok_or(())?;
        let (from, to) = range.split_once("..").ok_or(())?;
        let number = |text: &str| text.parse::<i64>().map(Offset).map_err(drop);
        let gap = AcceptedGap {
            input: input.map(str::to_string),
            partition: partition.parse().map(Partition).map_err(drop)?,
            from: number(from)?,
            to: number(to)?,
        };
        if gap.from < Offset(0) || gap.to <= gap.from { Err(()) } else { Ok(gap) }
    }
}

/// What to do if another run of the job may be at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfRunning {
    /// Wait until it is known: go on if it does not live, do not start if it does.
    #[default]
    Wait,
    /// Fence it at once.
    TakeOver,
    /// Do not start, and do not wait: unless it is known to have ended, it lives.
    Refuse,
}

/// Manifests that stay loose, and how many make a segment.
pub const FOLDING: Folding = Folding { segment: 256, keep: 256 };

/// Refuses a job that cannot go on from `head`.
///
/// # Errors
/// All settings that do not fit; else the first partition that does not; else all state that would be lost.
pub fn fits(job: &Job, head: &Manifest) -> Result<(), CheckpointError> {
    let differences = differences(job, head);
    if !differences.is_empty() {
        return Err(CheckpointError::DoesNotFit { job: job.name.clone(), differences });
    }
    for (input, info) in head.inputs.iter().zip(&job.inputs) {
        partitions_fit(input, info, &job.accept_gaps)?;
    }
    let seen = gaps(job, head);
    let topic = |gap: &Gap| {
        let input = head.inputs.iter().find(|input| input.name == gap.input);
        input.map(|input| input.topic.as_str()).unwrap_or_default()
    };
    // One that an earlier run has passed over stays accepted: who restarts a job gives it the same flags.
    let is_absent =
        |accepted: &&AcceptedGap| !head.gaps.iter().chain(&seen).any(|gap| accepted.is(gap, topic(gap)));
    if let Some(accepted) = job.accept_gaps.iter().find(is_absent) {
        return Err(CheckpointError::GapNotSeen { gap: accepted.to_string() });
    }
    let lost =
        head.operators.keys().filter(|name| job.drops(name) && !job.allow_dropped_state.contains(name));
    let operators: Vec<String> = lost.cloned().collect();
    if operators.is_empty() {
        return Ok(());
    }
    Err(CheckpointError::StateWithoutOperator { job: job.name.clone(), operators })
}

/// Every setting in which `job` differs from what `head` was made with.
fn differences(job: &Job, head: &Manifest) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut compare = |what: What, expected: &str, found: &str| {
        if expected != found {
            all.push(Difference { what, expected: expected.to_string(), found: found.to_string() });
        }
    };
    let other = |what: &str| What::Other(what.to_string());
    compare(other("pipeline"), &head.pipeline, &job.pipeline);
    let versions = (head.pipeline_version.to_string(), job.pipeline_version.to_string());
    compare(other("pipeline version"), &versions.0, &versions.1);
    let Fingerprint { noted, unless_noted, may_begin } = &job.fingerprint;
    let keys: BTreeSet<&String> = head.fingerprint.keys().chain(noted.keys()).collect();
    let begins = |key: &String| may_begin.contains(key) && !head.fingerprint.contains_key(key);
    for key in keys.into_iter().filter(|key| *key != "version" && !begins(key)) {
        let of = |map: &BTreeMap<String, String>| {
            map.get(key).or_else(|| unless_noted.get(key)).cloned().unwrap_or_else(|| NONE.to_string())
        };
        let what = match key.strip_prefix(TABLE) {
            Some(name) => What::Table(name.to_string()),
            None => What::Setting(key.clone()),
        };
        compare(what, &of(&head.fingerprint), &of(noted));
    }
    compare(other("number of inputs"), &head.inputs.len().to_string(), &job.inputs.len().to_string());
    for (input, info) in head.inputs.iter().zip(&job.inputs) {
        compare(other("input"), &input.name, &info.name);
        compare(other(&format!("kind of input \"{}\"", input.name)), &input.kind, &info.kind);
        compare(What::Topic(input.name.clone()), &input.topic, &info.topic);
    }
    if !all.is_empty() {
        // Other settings may change columns: they are compared once the settings fit.
        return all;
    }
    for (output, found) in job.schemas() {
        let known = head.schemas.get(&output).filter(|known| **known != found);
        all.extend(known.map(|known| {
            let what = What::Other(format!("columns of output \"{output}\""));
            Difference { what, expected: known.clone(), found }
        }));
    }
    all
}

/// The gaps between what `head` says was read and what there is now.
pub fn gaps(job: &Job, head: &Manifest) -> Vec<Gap> {
    let mut all = Vec::new();
    for (input, info) in head.inputs.iter().zip(&job.inputs) {
        for part in &input.partitions {
            let seen = info.partitions.iter().find(|seen| seen.partition == part.partition);
            all.extend(seen.and_then(|seen| gap(input, part, seen)));
        }
    }
    all
}

/// What is gone of a partition before it was read.
pub(super) fn gap(input: &Input, part: &PartitionEntry, seen: &PartitionInfo) -> Option<Gap> {
    let (partition, from, to) = (part.partition, part.next, seen.first);
    (to > from).then(|| Gap { input: input.name.clone(), partition, from, to })
}

/// Every partition of the manifest is there, is the same, and still has what comes next, but for the gaps in `accepted`. One
/// that was read to its end may be gone.
fn partitions_fit(input: &Input, info: &InputInfo, accepted: &[AcceptedGap]) -> Result<(), SourceError> {
    for part in &input.partitions {
        let seen = info.partitions.iter().find(|seen| seen.partition == part.partition);
        let other = |found: &str| SourceError::OtherIdentity {
            input: input.topic.clone(),
            partition: part.partition,
            expected: part.identity.clone(),
            found: found.to_string(),
        };
        let seen = match seen {
            Some(seen) => seen,
            None if may_be_gone(part) => continue,
            None if part.content.is_some() => {
                return Err(other("nothing: it was not read to its end, and is gone"));
            }
            None => return Err(other("nothing")),
        };
        if seen.identity != part.identity {
            return Err(other(&seen.identity));
        }
        let gap = gap(input, part, seen);
        if let Some(Gap { partition, from, to, .. }) =
            gap.filter(|gap| !accepted.iter().any(|accepted| accepted.is(gap, &input.topic)))
        {
            return Err(SourceError::RecordsGone { input: input.topic.clone(), partition, from, to });
        }
        if let Some(end) = seen.end.filter(|end| *end < part.next) {
            // It ends before what was read from it: it was cut, or is another one of the same name.
            return Err(other(&format!("{}, which ends at {end}, before {}", seen.identity, part.next)));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::commit::change_files::KEEPING;
    use crate::engine::format::manifest::tests::first;

    /// The job that [`first`] is a manifest of.
    pub(crate) fn job(partitions: u32) -> Job {
        let partition = |partition| PartitionInfo {
            partition,
            identity: format!("file-{partition}"),
            first: Offset(0),
            end: Some(Offset(1_000_000)),
        };
        Job {
            name: "job".into(),
            pipeline: "gate".into(),
            pipeline_version: 1,
            fingerprint: Fingerprint {
                noted: BTreeMap::from([("window".into(), "300".into())]),
                unless_noted: BTreeMap::from([("names".into(), "false".into())]),
                may_begin: BTreeSet::from(["views".into()]),
            },
            outputs: vec![OutputSpec {
                name: "batch".into(),
                prefix: "gate".into(),
                stem: "batch".into(),
                format: headway_operators::spec::Format::CsvGz,
                columns: Vec::new(),
                folders: None,
            }],
            gold: None,
            inputs: vec![InputInfo {
                name: "gate".into(),
                kind: "files".into(),
                topic: "gates".into(),
                partitions: (0..partitions).map(Partition).map(partition).collect(),
            }],
            operators: Vec::new(),
            program: Program { name: "headway".into(), build: "0.1.0".into() },
            members: Members::one_process(1),
            dead_max: 0.5,
            if_running: IfRunning::TakeOver,
            not_after_ms: None,
            allow_dropped_state: Vec::new(),
            accept_gaps: Vec::new(),
            views_from: None,
            unsealed: Vec::new(),
            views: Vec::new(),
            keeps: Vec::new(),
            seals: None,
            folding: FOLDING,
            targets: BTreeSet::new(),
            keeping: KEEPING,
            expectations: BTreeMap::new(),
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_name() {
        type Case = (&'static str, fn(&mut Job), Option<(&'static str, &'static str)>);
        let cases: [Case; 12] = [
            ("the same job", |_| (), None),
            (
                "a switch that may be switched on",
                |j| drop(j.fingerprint.noted.insert("views".into(), "true".into())),
                None,
            ),
            ("a new partition joins", |j| j.inputs = job(3).inputs, None),
            (
                "a partition is gone",
                |j| j.inputs[0].partitions.truncate(1),
                Some(("other-identity", "\"nothing\"")),
            ),
            (
                "another file",
                |j| j.inputs[0].partitions[1].identity = "x".into(),
                Some(("other-identity", "\"x\"")),
            ),
            (
                "records gone",
                |j| j.inputs[0].partitions[0].first = Offset(11),
                Some(("records-gone", "10..11")),
            ),
            (
                "a truncated file",
                |j| j.inputs[0].partitions[0].end = Some(Offset(9)),
                Some(("other-identity", "ends at 9")),
            ),
            ("another pipeline", |j| j.pipeline = "music".into(), Some(("state-does-not-fit", "pipeline"))),
            (
                "a later pipeline",
                |j| j.pipeline_version = 2,
                Some(("state-does-not-fit", "pipeline version")),
            ),
            (
                "another window",
                |j| drop(j.fingerprint.noted.insert("window".into(), "60".into())),
                Some(("state-does-not-fit", "window")),
            ),
            (
                "a slide where there was none",
                |j| drop(j.fingerprint.noted.insert("slide".into(), "60".into())),
                Some(("state-does-not-fit", "slide")),
            ),
            (
                "another topic",
                |j| j.inputs[0].topic = "other".into(),
                Some(("state-does-not-fit", "--topic")),
            ),
        ];
        let mut head = first(2);
        head.inputs[0].partitions[0].next = Offset(10);
        for (name, change, expected) in cases {
            let mut job = job(2);
            change(&mut job);
            match (fits(&job, &head), expected) {
                (Ok(()), None) => {}
                (Err(error), Some((code, word))) => {
                    assert_eq!(error.code(), code, "{name}");
                    assert_eq!(error.exit_code(), 4, "{name}");
                    assert!(error.to_string().contains(word), "{name}: {error}");
                }
                (result, _) => panic!("{name}: {result:?}"),
            }
        }
    }

    #[test]
    fn only_the_very_gap_that_is_seen_is_passed_over_and_stays_accepted() {
        let mut head = first(2);
        head.inputs[0].partitions[0].next = Offset(10);
        let tried = |head: &Manifest, starts_at: i64, accepted: &str| {
            let mut job = job(2);
            job.inputs[0].partitions[0].first = Offset(starts_at);
            job.accept_gaps = accepted.split(' ').filter_map(|text| text.parse().ok()).collect();
            fits(&job, head).map_err(|error| error.code())
        };
        for accepted in ["0:10..13", "gate=0:10..13", "gates=0:10..13"] {
            assert_eq!(tried(&head, 13, accepted), Ok(()), "{accepted}");
        }
        for accepted in ["", "0:10..12", "0:9..13", "1:10..13", "other=0:10..13"] {
            assert_eq!(tried(&head, 13, accepted), Err("records-gone"), "{accepted}");
        }
        for (starts_at, accepted) in [(0, "0:10..13"), (13, "0:10..13 1:0..1"), (10, "0:10..13")] {
            assert_eq!(tried(&head, starts_at, accepted), Err("gap-not-seen"), "{accepted}");
        }
        let (partition, from, to) = (Partition(0), Offset(10), Offset(13));
        head.gaps.push(Gap { input: "gate".into(), partition, from, to });
        head.inputs[0].partitions[0].next = Offset(20);
        assert_eq!(tried(&head, 13, "0:10..13"), Ok(()), "an earlier run has passed over it");
        for wrong in ["10..13", "0:13..10", "0:10", "x:1..2", "0:-1..2", "0:5..5"] {
            assert_eq!(wrong.parse::<AcceptedGap>(), Err(()), "{wrong}");
        }
    }
}
