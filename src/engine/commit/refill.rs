//! Which committed files hold the facts that views are made of: a decision over manifests, without I/O.

use crate::engine::commit::error::CheckpointError;
use crate::engine::format::manifest::{LakeFile, Manifest};
use crate::engine::format::names::Seq;
use headway_operators::spec::roll_of;
use headway_operators::time::{Epoch, EventTime};
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

/// An interval of event time.
pub type Days = std::ops::Range<EventTime>;

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
    select(manifests, Names::of(outputs), range, &|_| true)
}

/// The files that hold the rows of `output` as of commit `until`, each row in one file.
///
/// # Errors
/// As [`files`].
pub fn rows_of(manifests: &[Manifest], output: &str, until: Seq) -> Result<Vec<FactFile>, CheckpointError> {
    let names = Names { facts: output, before: None };
    select(manifests, names, Range { until, from: Epoch(0) }, &|_| true)
}

/// Those of [`files`] that hold all facts of `days`, intervals of event time, and perhaps others.
///
/// # Errors
/// The first of them that was moved away; or that has facts of epochs before `range`, which the views do not have.
pub fn files_of_days(
    manifests: &[Manifest],
    outputs: Refill,
    range: Range,
    days: &[Days],
) -> Result<Vec<FactFile>, CheckpointError> {
    // The times of other outputs are not those that name the day.
    let may_have = |file: &LakeFile| match file.event_time.filter(|_| file.output == outputs.facts) {
        Some(of) => {
            days.iter().any(|day| of.least < day.end && of.greatest >= day.start.minus_ms(outputs.back_ms))
        }
        None => true,
    };
    let names = Names::of(outputs);
    let all = select(manifests, names, Range { from: Epoch(0), ..range }, &may_have)?;
    let of_views = select(manifests, names, range, &may_have)?;
    match all.iter().find(|file| !of_views.contains(file)) {
        None => Ok(all),
        Some(FactFile { path, .. }) => {
            let why = "its epochs are earlier than those that the views begin with";
            Err(CheckpointError::FactsMissing { path: path.clone(), why })
        }
    }
}

/// The outputs that have facts, or had them.
#[derive(Clone, Copy)]
struct Names<'a> {
    facts: &'a str,
    /// The output that had the facts before they had one of their own.
    before: Option<&'a str>,
}

impl Names<'static> {
    fn of(Refill { facts, before, .. }: Refill) -> Names<'static> {
        Names { facts, before }
    }
}

fn select(
    manifests: &[Manifest],
    Names { facts, before }: Names<'_>,
    range: Range,
    may_have: &dyn Fn(&LakeFile) -> bool,
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
        let is_passed = replaced.contains(&path) || is_known_as_fact || !may_have(file);
        if is_passed || seq > range.until || last < range.from {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::{batch, first};
    use crate::engine::format::manifest::{Operator, TimeRange, View};

    const OUTPUTS: Refill = Refill { facts: "facts", before: Some("batch"), back_ms: 0 };

    /// A file of facts of these times.
    fn facts(name: &str, least: i64, greatest: i64) -> LakeFile {
        let event_time = Some(TimeRange { least: EventTime(least), greatest: EventTime(greatest) });
        LakeFile { output: "facts".into(), folder: "facts/".into(), name: name.into(), event_time, ..batch() }
    }

    /// Epochs 1 to 3: before there were views, and with facts of days of a hundred milliseconds.
    fn job() -> Vec<Manifest> {
        let roll = (roll_of("facts"), Operator { version: 1, held: None });
        let with =
            |seq: u64, lake: Vec<LakeFile>| Manifest { seq: Seq(seq), epoch: Epoch(seq), lake, ..first(1) };
        let mut all = vec![
            with(1, vec![LakeFile { name: "old".into(), ..batch() }]),
            with(2, vec![facts("a", 50, 99), facts("b", 100, 199), batch()]),
            with(3, vec![facts("c", 199, 250), facts("d", 300, 301)]),
        ];
        all[1..].iter_mut().for_each(|manifest| manifest.operators.extend([roll.clone()]));
        all
    }

    fn of_day(manifests: &[Manifest]) -> Result<Vec<String>, String> {
        of_day_from(manifests, OUTPUTS)
    }

    fn of_day_from(manifests: &[Manifest], outputs: Refill) -> Result<Vec<String>, String> {
        let head = manifests.last().expect("there is one");
        let range = Range { until: head.seq, from: from(head) };
        let found = files_of_days(manifests, outputs, range, &[EventTime(100)..EventTime(200)]);
        let names = |found: Vec<FactFile>| found.into_iter().map(|file| file.path).collect();
        found.map(names).map_err(|error| error.to_string())
    }

    #[test]
    fn files_of_a_day_are_those_whose_times_touch_it_and_all_without_facts_of_their_own() {
        assert_eq!(of_day(&job()), Ok(vec!["gate/old".into(), "facts/b".into(), "facts/c".into()]));
    }

    #[test]
    fn files_of_a_day_begin_as_long_before_it_as_its_rows_need() {
        let from = |back_ms| of_day_from(&job(), Refill { back_ms, ..OUTPUTS }).expect("all are there").len();
        assert_eq!((from(0), from(1), from(50)), (3, 4, 4));
    }

    #[test]
    fn day_is_refused_where_a_file_of_it_was_moved_away_and_not_where_another_one_was() {
        for (gone, is_needed) in
            [("facts/a", false), ("facts/c", true), ("gate/old", true), ("facts/d", false)]
        {
            let mut job = job();
            job.push(Manifest { seq: Seq(4), released: vec![gone.to_string()], ..first(1) });
            assert_eq!(of_day(&job).is_err(), is_needed, "{gone}");
        }
    }

    #[test]
    fn day_is_refused_where_the_views_begin_behind_facts_of_it() {
        let mut job = job();
        let late = View { keeps: 1, shows: 1, changed: None, from_epoch: Some(Epoch(3)) };
        job[2].views.insert("days".into(), late);
        let refused = of_day(&job).expect_err("epochs 1 and 2 have facts of it");
        assert!(refused.contains("gate/old") && refused.contains("earlier than those"), "{refused}");
        // Where these files have nothing of the day, it is whole.
        job[0].lake.clear();
        job[1].lake = vec![facts("a", 50, 99)];
        assert_eq!(of_day(&job), Ok(vec!["facts/c".into()]));
    }
}
