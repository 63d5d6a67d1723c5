//! Which committed files hold the facts that views are made of: a decision over manifests, without I/O.

use crate::engine::commit::error::CheckpointError;
use crate::engine::format::manifest::{LakeFile, Manifest};
use crate::engine::format::names::Seq;
use headway_operators::spec::roll_of;
use headway_operators::time::Epoch;
use headway_operators::view::refill::Refill;
use std::collections::{BTreeMap, BTreeSet};

/// A file with facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactFile {
    /// The output it belongs to.
    pub output: String,
    /// Where it is, relative to the lake.
    pub path: String,
    /// How many rows it has.
    pub rows: u64,
}

/// What the facts are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The last manifest whose facts count.
    pub until: Seq,
    /// The first epoch whose facts count.
    pub from: Epoch,
}

/// From when to when the rows of a file were committed.
#[derive(Clone, Copy)]
struct Known {
    first: Epoch,
    last: Epoch,
    seq: Seq,
    /// Facts are an output of their own in some of these epochs, and in all of them.
    some: bool,
    all: bool,
}

/// The files that hold the facts of `outputs` as of the commits of `range`, each fact in one file. `manifests` are all of the
/// job, oldest first.
///
/// # Errors
/// The first file that was moved away, or that holds rows of which some count and others do not.
pub fn files(
    manifests: &[Manifest],
    outputs: Refill,
    range: Range,
) -> Result<Vec<FactFile>, CheckpointError> {
    files_of(manifests, (outputs.facts, outputs.before), range)
}

/// The files that hold the rows of `output` as of commit `until`, each row in one file.
///
/// # Errors
/// As [`files`].
pub fn rows_of(manifests: &[Manifest], output: &str, until: Seq) -> Result<Vec<FactFile>, CheckpointError> {
    files_of(manifests, (output, None), Range { until, from: Epoch(0) })
}

fn files_of(
    manifests: &[Manifest],
    (facts, before): (&str, Option<&str>),
    range: Range,
) -> Result<Vec<FactFile>, CheckpointError> {
    let roll = roll_of(facts);
    let is_facts = |file: &LakeFile| file.output == facts;
    let counts = |file: &&LakeFile| is_facts(file) || before == Some(file.output.as_str());
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let mut replaced: BTreeSet<&String> = BTreeSet::new();
    for manifest in manifests {
        for file in manifest.lake.iter().filter(counts) {
            let has_facts = manifest.operators.contains_key(&roll);
            let own = Known {
                first: manifest.epoch,
                last: manifest.epoch,
                seq: manifest.seq,
                some: has_facts,
                all: has_facts,
            };
            // A merged file is as old as its parts, which may be merged files.
            let parts = file.replaces.iter().filter_map(|part| known.get(part).copied());
            let whole = parts.reduce(|one, other| Known {
                first: one.first.min(other.first),
                last: one.last.max(other.last),
                seq: one.seq.max(other.seq),
                some: one.some || other.some,
                all: one.all && other.all,
            });
            known.insert(file.path(), whole.unwrap_or(own));
            replaced.extend(&file.replaces);
        }
    }
    let released: BTreeSet<&String> = manifests.iter().flat_map(|manifest| &manifest.released).collect();
    let mut found = Vec::new();
    for file in manifests.iter().flat_map(|manifest| &manifest.lake).filter(counts) {
        let path = file.path();
        let Known { first, last, seq, some, all } = known[&path];
        let is_known_as_fact = all && !is_facts(file);
        if replaced.contains(&path) || seq > range.until || last < range.from || is_known_as_fact {
            continue;
        }
        let refused = |why| Err(CheckpointError::FactsMissing { path: path.clone(), why });
        if first < range.from || some && !is_facts(file) {
            return refused("it was merged of rows of which some count and others do not");
        }
        if released.contains(&path) {
            return refused("it was moved away, as a manifest notes");
        }
        found.push(FactFile { output: file.output.clone(), path, rows: file.rows });
    }
    Ok(found)
}

/// The first epoch of which the views of `head` have facts.
pub fn from(head: &Manifest) -> Epoch {
    head.views.values().filter_map(|view| view.from_epoch).max().unwrap_or_default()
}
