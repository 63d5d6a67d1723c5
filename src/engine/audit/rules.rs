//! What must hold between a manifest and the one before it: the law that an audit proves. No I/O.

use crate::engine::commit::finished::{self, may_be_gone};
use crate::engine::format::manifest::{
    Fates, Input, Kind, LakeFile, Manifest, PartitionEntry, StateEntry, StateId,
};
use crate::engine::format::names::Generation;
use crate::engine::format::names::Seq;
use headway_operators::time::Epoch;
use std::collections::BTreeSet;

/// Says what is wrong with `next` as the manifest after `before`.
///
/// # Errors
/// The first thing that contradicts.
pub(super) fn follows(before: Option<&Manifest>, next: &Manifest) -> Result<(), String> {
    let Some(before) = before else { return starts(next) };
    if next.seq != before.seq.next() || next.parent != Some(before.nonce) {
        return Err("it does not follow the manifest before it".into());
    }
    let job = |m: &Manifest| (m.job.clone(), m.pipeline.clone(), m.pipeline_version, m.fingerprint.clone());
    if job(next) != job(before) {
        return Err("its job, pipeline or settings are not those before".into());
    }
    match next.kind {
        Kind::Claim if next.generation != before.generation.next() || next.epoch != before.epoch => {
            return Err("it claims the job for a run that is not the next".into());
        }
        Kind::Closed if (next.generation, next.epoch) != (before.generation, before.epoch) => {
            return Err("it ends a run, and is of another epoch".into());
        }
        Kind::Commit if next.generation != before.generation || next.epoch <= before.epoch => {
            return Err(format!("its epoch {} does not follow {}", next.epoch, before.epoch));
        }
        Kind::Claim | Kind::Closed | Kind::Commit => {}
    }
    claims_nothing(next)?;
    state_follows(before, next)?;
    nothing_goes_back(before, next)?;
    if next.inputs.len() != before.inputs.len() {
        return Err("it has other inputs".into());
    }
    for (old, new) in before.inputs.iter().zip(&next.inputs) {
        input_follows(old, new, next.kind).map_err(|what| format!("in input \"{}\", {what}", new.name))?;
    }
    rows_follow(before, next)?;
    next.lake.iter().try_for_each(|file| fed(next, file))
}

/// The first manifest starts from nothing.
fn starts(first: &Manifest) -> Result<(), String> {
    if (first.seq, first.parent, first.generation, first.epoch) != (Seq(0), None, Generation(1), Epoch(0)) {
        return Err("the first manifest is missing".into());
    }
    claims_nothing(first)?;
    let parts = first.inputs.iter().flat_map(|input| &input.partitions);
    for part in parts {
        if (part.from, part.next) != (part.first, part.first) || part.total != Fates::default() {
            return Err(format!("partition {} does not start at its first offset", part.partition));
        }
    }
    Ok(())
}

/// A claim, or the end of a run, adds no records, and no files but those that have the rows of others.
fn claims_nothing(manifest: &Manifest) -> Result<(), String> {
    let mut parts = manifest.inputs.iter().flat_map(|input| &input.partitions);
    let adds = parts.any(|part| part.from != part.next || part.fates != Fates::default());
    let merges = |file: &LakeFile| manifest.kind == Kind::Closed && !file.replaces.is_empty();
    if manifest.kind != Kind::Commit && (adds || !manifest.lake.iter().all(merges)) {
        return Err("it commits no epoch, and adds records or files".into());
    }
    Ok(())
}

/// State files come from the manifest before or from the epoch itself.
fn state_follows(before: &Manifest, next: &Manifest) -> Result<(), String> {
    let old: BTreeSet<StateId> = before.state.iter().map(StateEntry::id).collect();
    for entry in next.state.iter().filter(|entry| !old.contains(&entry.id())) {
        let own = (entry.generation, entry.epoch) == (next.generation, next.epoch);
        // A claim writes the list of finished partitions.
        let finishes = before.inputs.iter().zip(&next.inputs).any(|(old, new)| old.finished != new.finished);
        let writes = next.kind == Kind::Commit || (next.kind == Kind::Claim && finishes);
        if !writes || !own {
            let path = entry.place(&next.job).name;
            return Err(format!("state file \"{path}\" is of another epoch"));
        }
    }
    Ok(())
}

/// What no commit takes back: watermarks of several inputs, what is sealed, what targets have acknowledged.
fn nothing_goes_back(before: &Manifest, next: &Manifest) -> Result<(), String> {
    for old in &before.watermarks {
        let new = next.watermarks.iter().find(|new| new.inputs == old.inputs);
        if new.is_some_and(|new| new.watermark < old.watermark) {
            let inputs: Vec<usize> = old.inputs.iter().map(|input| input.index()).collect();
            return Err(format!("the watermark of inputs {inputs:?} goes back"));
        }
    }
    if next.sealed_up_to < before.sealed_up_to {
        return Err("what was sealed is not sealed any more".into());
    }
    for (name, old) in &before.targets {
        let new = next.targets.get(name);
        if new.is_some_and(|new| new.acknowledged < old.acknowledged || new.acknowledged >= next.seq) {
            return Err(format!(
                "target \"{name}\" has acknowledged what was not committed, or less than before"
            ));
        }
    }
    Ok(())
}

/// Rows are counted on; and each refused record is a row, or held by the open roll of its side output.
fn rows_follow(before: &Manifest, next: &Manifest) -> Result<(), String> {
    let mut written = before.written.clone();
    // A file that replaces others has their rows, which were counted.
    for file in next.lake.iter().filter(|file| file.replaces.is_empty()) {
        let rows = written.entry(file.output.clone()).or_default();
        *rows = rows.saturating_add(file.rows);
    }
    if written != next.written {
        return Err("its rows are not those before and its files' together".into());
    }
    for input in &next.inputs {
        let total = input.total();
        let (dead, late) = (total.dead_total(), total.late);
        for (side, counted) in [("dead", dead), ("late", late)] {
            let Some(held) = next.held(&format!("Roll-{side}-{}", input.name)) else { continue };
            let rows = written.get(&format!("{side}-{}", input.name)).copied().unwrap_or(0);
            if rows + held != counted {
                return Err(format!(
                    "{counted} records of \"{}\" were {side}, and {rows} are rows and {held} held",
                    input.name
                ));
            }
        }
    }
    Ok(())
}

fn input_follows(old: &Input, new: &Input, kind: Kind) -> Result<(), String> {
    if (&old.name, &old.kind, &old.topic) != (&new.name, &new.kind, &new.topic) {
        return Err("its name, kind or topic is another".into());
    }
    if new.watermark < old.watermark {
        return Err("the watermark goes back".into());
    }
    for part in &new.partitions {
        let before = old.partitions.iter().find(|before| before.partition == part.partition);
        partition_follows(before, part).map_err(|what| format!("partition {}: {what}", part.partition))?;
    }
    let there = |partition| new.partitions.iter().any(|part| part.partition == partition);
    let gone = old.partitions.iter().find(|part| !there(part.partition) && !may_be_gone(part));
    if let Some(gone) = gone {
        return Err(format!("partition {} is gone", gone.partition));
    }
    let mut expected = old.clone();
    finished::finish(&mut expected, there);
    if expected.finished != new.finished || (kind != Kind::Claim && old.finished != new.finished) {
        return Err("its finished partitions are not those before and those that are gone".into());
    }
    Ok(())
}

/// Offsets tile, fates add up, marks do not go back.
fn partition_follows(before: Option<&PartitionEntry>, part: &PartitionEntry) -> Result<(), String> {
    let expected = before.map_or(part.first, |before| before.next);
    if part.from > expected {
        return Err(format!("offsets {expected}..{} are in no manifest", part.from));
    }
    if part.from < expected {
        return Err(format!("offsets {}..{expected} are in two manifests", part.from));
    }
    if part.next < part.from {
        return Err(format!("its offsets go back from {} to {}", part.from, part.next));
    }
    let room = u64::try_from(part.next - part.from).unwrap_or(0);
    if part.fates.consumed > room {
        return Err(format!("{} records were read from {room} offsets", part.fates.consumed));
    }
    if !part.fates.adds_up() {
        return Err(format!(
            "{} records were read, and their fates do not add up to that",
            part.fates.consumed
        ));
    }
    let mut total = before.map(|before| before.total.clone()).unwrap_or_default();
    total.add(&part.fates);
    if total != part.total {
        return Err("its totals are not those before and the epoch's together".into());
    }
    if let Some(before) = before {
        if (&before.identity, before.first) != (&part.identity, part.first) {
            return Err("it is another partition under the same number".into());
        }
        if part.own < before.own || part.floor < before.floor {
            return Err("its watermark or floor goes back".into());
        }
    }
    Ok(())
}

/// The offsets that fed a file were read by then.
fn fed(manifest: &Manifest, file: &LakeFile) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("lake file \"{}\" {what}", file.path()));
    if file.since > manifest.epoch {
        return wrong("has records of a later epoch");
    }
    for range in &file.fed {
        let input = manifest.inputs.get(range.input.index());
        let part = input.and_then(|input| input.partitions.iter().find(|p| p.partition == range.partition));
        let Some(part) = part else { return wrong("is fed by a partition that is not there") };
        if range.from < part.first || range.from >= range.next || range.next > part.next {
            return wrong("is fed by offsets that were not read");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::first;
    use crate::engine::format::manifest::{Fed, Finished, LakeKind, Nonce, Operator, Target};
    use headway_operators::ack::InputIx;
    use headway_operators::ack::{Content, Place};
    use headway_operators::pace::InputsWatermark;
    use headway_operators::record::Offset;
    use headway_operators::record::Partition;
    use headway_operators::time::EventTime;

    /// Manifest 1 after [`first`]: ten records of partition 0, and a file.
    fn second() -> Manifest {
        let mut next = first(2);
        (next.seq, next.parent, next.nonce) = (Seq(1), Some(next.nonce), Nonce(2));
        (next.kind, next.epoch) = (Kind::Commit, Epoch(1));
        let part = &mut next.inputs[0].partitions[0];
        part.next = Offset(10);
        part.fates = Fates { consumed: 10, accepted: 9, late: 1, ..Fates::default() };
        part.total = part.fates.clone();
        next.written.insert("batch".into(), 1);
        next.operators.insert("Roll-late-gate".into(), Operator { version: 1, held: Some(1) });
        next.lake.push(LakeFile {
            kind: LakeKind::Rows,
            output: "batch".into(),
            folder: "gate/".into(),
            name: "batch_1.csv.gz".into(),
            staged: Place::whole("s"),
            rows: 1,
            bytes: 3,
            checksum: "abc".into(),
            event_time: None,
            since: Epoch(1),
            fed: vec![Fed { input: InputIx(0), partition: Partition(0), from: Offset(0), next: Offset(10) }],
            replaces: Vec::new(),
        });
        next
    }

    fn claims_may_finish_what_was_read_to_its_end() {
        let mut before = second();
        let part = &mut before.inputs[0].partitions[0];
        part.content = Some(Content {
            bytes: 9,
            xxh3: "0".repeat(32),
            at_end: true,
            begins: String::new(),
            gaps: Vec::new(),
        });
        let mut claim = before.clone();
        (claim.seq, claim.parent, claim.nonce) = (Seq(2), Some(before.nonce), Nonce(3));
        (claim.kind, claim.generation) = (Kind::Claim, Generation(2));
        claim.lake.clear();
        let gone = claim.inputs[0].partitions.remove(0);
        claim.inputs[0].finished = Finished { partitions: 1, total: gone.total.clone() };
        assert_eq!(follows(Some(&before), &claim), Ok(()));
        let says = |before: &Manifest, claim: &Manifest| follows(Some(before), claim).unwrap_err();
        let mut lost = claim.clone();
        lost.inputs[0].finished.total.late = 0;
        assert!(says(&before, &lost).contains("its finished partitions are not those"));
        before.inputs[0].partitions[0].content.as_mut().unwrap().at_end = false;
        assert!(says(&before, &claim).contains("partition 0 is gone"));
        before.inputs[0].partitions[0].content.as_mut().unwrap().at_end = true;
        (claim.kind, claim.generation, claim.epoch) = (Kind::Commit, Generation(1), Epoch(2));
        assert!(says(&before, &claim).contains("its finished partitions are not those"));
    }

    #[test]
    fn whatever_contradicts_the_manifest_before_is_named() {
        type Change = fn(&mut Manifest);
        let cases: [(&str, Change); 22] = [
            ("does not follow", |m| m.seq = Seq(2)),
            ("does not follow", |m| m.parent = Some(Nonce(77))),
            ("does not follow", |m| m.epoch = Epoch(0)),
            ("settings", |m| drop(m.fingerprint.insert("window".into(), "60".into()))),
            ("not the next", |m| m.kind = Kind::Claim),
            ("offsets 0..1 are in no manifest", |m| m.inputs[0].partitions[0].from = Offset(1)),
            ("are in two manifests", |m| m.inputs[0].partitions[0].from = Offset(-1)),
            ("go back", |m| m.inputs[0].partitions[1].next = Offset(-1)),
            ("records were read from 9 offsets", |m| m.inputs[0].partitions[0].next = Offset(9)),
            ("do not add up", |m| m.inputs[0].partitions[0].fates.accepted = 8),
            ("totals", |m| m.inputs[0].partitions[0].total.accepted = 2),
            ("another partition", |m| m.inputs[0].partitions[0].identity = "x".into()),
            ("is gone", |m| drop(m.inputs[0].partitions.remove(1))),
            ("later epoch", |m| m.lake[0].since = Epoch(2)),
            ("its rows are not", |m| m.lake[0].rows = 2),
            ("were late", |m| m.operators.get_mut("Roll-late-gate").unwrap().held = Some(0)),
            ("commits no epoch", |m| (m.kind, m.epoch) = (Kind::Closed, Epoch(0))),
            ("ends a run", |m| m.kind = Kind::Closed),
            ("acknowledged what was not", |m| {
                m.targets.insert("pg".into(), Target { acknowledged: Seq(1), rebuild: false });
            }),
            ("sealed any more", |m| m.sealed_up_to = None),
            ("watermark of inputs [0] goes back", |m| m.watermarks[0].watermark = EventTime(4)),
            ("were not read", |m| m.lake[0].fed[0].next = Offset(11)),
        ];
        let mut before = first(2);
        before.watermarks = vec![InputsWatermark { inputs: vec![InputIx(0)], watermark: EventTime(5) }];
        before.sealed_up_to = Some(EventTime(3));
        before.targets.insert("pg".into(), Target { acknowledged: Seq(0), rebuild: false });
        assert_eq!(follows(None, &first(2)), Ok(()));
        assert_eq!(follows(Some(&first(2)), &second()), Ok(()));
        assert!(follows(None, &second()).is_err(), "the first one is missing");
        for (word, change) in cases {
            let mut changed = second();
            (changed.watermarks, changed.sealed_up_to) = (before.watermarks.clone(), before.sealed_up_to);
            assert_eq!(follows(Some(&before), &changed), Ok(()));
            change(&mut changed);
            let what = follows(Some(&before), &changed).expect_err(word);
            assert!(what.contains(word), "{word}: {what}");
        }
        claims_may_finish_what_was_read_to_its_end();
        let mut before = first(2);
        before.inputs[0].watermark = EventTime(5);
        assert!(follows(Some(&before), &second()).unwrap_err().contains("goes back"));
    }
}
