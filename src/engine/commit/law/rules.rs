//! The rules. No I/O.

use crate::engine::commit::change_files;
use crate::engine::commit::finished::{self, may_be_gone};
use crate::engine::commit::law::contradiction::{
    Contradiction, FileContradiction, InputContradiction, PartitionContradiction,
};
use crate::engine::format::manifest::{
    Fates, Gap, Input, Kind, LakeFile, Manifest, PartitionEntry, StateEntry, StateId,
};
use crate::engine::format::names;
use crate::engine::format::names::Generation;
use crate::engine::format::names::Seq;
use headway_operators::record::Partition;
use headway_operators::spec::roll_of;
use headway_operators::time::Epoch;
use std::collections::BTreeSet;

/// Checks that `next` can be the manifest after `before`.
///
/// # Errors
/// The first thing that contradicts.
pub fn follows(before: Option<&Manifest>, next: &Manifest) -> Result<(), Contradiction> {
    let Some(before) = before else { return starts(next) };
    if next.seq != before.seq.next() || next.parent != Some(before.nonce) {
        return Err(Contradiction::DoesNotFollow);
    }
    let job = |m: &Manifest| (m.job.clone(), m.pipeline.clone(), m.pipeline_version);
    // A run may switch something on that no run before it had. What was noted stays.
    let stay = before.fingerprint.iter().all(|(key, value)| next.fingerprint.get(key) == Some(value));
    let more = next.kind != Kind::Claim && next.fingerprint.len() > before.fingerprint.len();
    if job(next) != job(before) || !stay || more {
        return Err(Contradiction::OtherJob);
    }
    match next.kind {
        Kind::Claim if next.generation != before.generation.next() || next.epoch != before.epoch => {
            return Err(Contradiction::ClaimOfAnotherRun);
        }
        Kind::Closed if (next.generation, next.epoch) != (before.generation, before.epoch) => {
            return Err(Contradiction::ClosedAtAnotherEpoch);
        }
        Kind::Commit if next.generation != before.generation || next.epoch <= before.epoch => {
            return Err(Contradiction::EpochGoesBack { epoch: next.epoch, before: before.epoch });
        }
        Kind::Claim | Kind::Closed | Kind::Commit => {}
    }
    claims_nothing(next)?;
    state_follows(before, next)?;
    operators_stay(before, next)?;
    nothing_goes_back(before, next)?;
    if next.inputs.len() != before.inputs.len() {
        return Err(Contradiction::OtherInputs);
    }
    let gaps = new_gaps(before, next)?;
    for (old, new) in before.inputs.iter().zip(&next.inputs) {
        let follows = input_follows(old, new, next.kind, gaps);
        follows.map_err(|what| Contradiction::Input { input: new.name.clone(), what })?;
    }
    rows_follow(before, next)?;
    changes_follow(before, next)?;
    next.lake.iter().try_for_each(|file| fed(next, file))
}

/// The first manifest starts from nothing.
fn starts(first: &Manifest) -> Result<(), Contradiction> {
    if (first.seq, first.parent, first.generation, first.epoch) != (Seq(0), None, Generation(1), Epoch(0)) {
        return Err(Contradiction::NoFirst);
    }
    claims_nothing(first)?;
    let parts = first.inputs.iter().flat_map(|input| &input.partitions);
    for part in parts {
        if (part.from, part.next) != (part.first, part.first) || part.total != Fates::default() {
            return Err(Contradiction::StartsLate(part.partition));
        }
    }
    Ok(())
}

/// A claim, or the end of a run, adds no records, and no files but those that have the rows of others.
fn claims_nothing(manifest: &Manifest) -> Result<(), Contradiction> {
    let mut parts = manifest.inputs.iter().flat_map(|input| &input.partitions);
    let adds = parts.any(|part| part.from != part.next || part.fates != Fates::default());
    let merges = |file: &LakeFile| manifest.kind == Kind::Closed && !file.replaces.is_empty();
    if manifest.kind != Kind::Commit && (adds || !manifest.lake.iter().all(merges)) {
        return Err(Contradiction::AddsWithoutCommit);
    }
    Ok(())
}

/// State files come from the manifest before or from the epoch itself.
fn state_follows(before: &Manifest, next: &Manifest) -> Result<(), Contradiction> {
    let old: BTreeSet<StateId> = before.state.iter().map(StateEntry::id).collect();
    for entry in next.state.iter().filter(|entry| !old.contains(&entry.id())) {
        let own = (entry.generation, entry.epoch) == (next.generation, next.epoch);
        // A claim writes the list of finished partitions.
        let finishes = before.inputs.iter().zip(&next.inputs).any(|(old, new)| old.finished != new.finished);
        let writes = next.kind == Kind::Commit || (next.kind == Kind::Claim && finishes);
        if !writes || !own {
            let path = entry.place(&next.job).name;
            return Err(Contradiction::StateOfAnotherEpoch { path });
        }
    }
    Ok(())
}

/// Each operator of the manifest before is named again, unless its state was dropped on purpose; an epoch never drops state. A start would
/// not restore an operator that the newest manifest does not name.
fn operators_stay(before: &Manifest, next: &Manifest) -> Result<(), Contradiction> {
    let is_dropped = |name: &String| next.dropped.get(name).is_some_and(|from| *from > before.generation);
    let gone = before.operators.keys().find(|name| !next.operators.contains_key(*name) && !is_dropped(name));
    if let Some(operator) = gone {
        return Err(Contradiction::OperatorGone { operator: operator.clone() });
    }
    let changed = |(name, from): (&String, &Generation)| {
        (before.dropped.get(name) != Some(from) && next.kind == Kind::Commit).then(|| name.clone())
    };
    match next.dropped.iter().find_map(changed) {
        Some(operator) => Err(Contradiction::DroppedByAnEpoch { operator }),
        None => Ok(()),
    }
}

/// The gaps that `next` accepts. Only a start does, and only behind what was read.
fn new_gaps<'a>(before: &Manifest, next: &'a Manifest) -> Result<&'a [Gap], Contradiction> {
    let new = next.gaps.strip_prefix(before.gaps.as_slice()).ok_or(Contradiction::Gaps)?;
    let follows = |gap: &Gap| {
        let input = before.inputs.iter().find(|input| input.name == gap.input);
        let part = input.and_then(|input| input.partitions.iter().find(|p| p.partition == gap.partition));
        part.is_some_and(|part| part.next == gap.from && gap.to > gap.from)
    };
    if new.is_empty() || (next.kind == Kind::Claim && new.iter().all(follows)) {
        Ok(new)
    } else {
        Err(Contradiction::Gaps)
    }
}

/// What no commit takes back: watermarks of several inputs, what is sealed, what targets have acknowledged.
fn nothing_goes_back(before: &Manifest, next: &Manifest) -> Result<(), Contradiction> {
    for old in &before.watermarks {
        let new = next.watermarks.iter().find(|new| new.inputs == old.inputs);
        if new.is_some_and(|new| new.watermark < old.watermark) {
            return Err(Contradiction::InputsWatermarkGoesBack { inputs: old.inputs.clone() });
        }
    }
    if next.sealed_up_to < before.sealed_up_to {
        return Err(Contradiction::Unsealed);
    }
    for (name, old) in &before.targets {
        let new = next.targets.get(name);
        if new.is_some_and(|new| new.acknowledged < old.acknowledged || new.acknowledged >= next.seq) {
            return Err(Contradiction::Acknowledged { target: name.clone() });
        }
    }
    Ok(())
}

/// Rows are counted on; and each refused record is a row, or held by the open roll of its side output.
fn rows_follow(before: &Manifest, next: &Manifest) -> Result<(), Contradiction> {
    let mut written = before.written.clone();
    for file in next.lake.iter().filter(|file| file.adds_rows()) {
        let rows = written.entry(file.output.clone()).or_default();
        *rows = rows.saturating_add(file.rows);
    }
    if written != next.written {
        return Err(Contradiction::Rows);
    }
    for input in &next.inputs {
        let total = input.total();
        let (dead, late) = (total.dead_total(), total.late);
        for (side, counted) in [("dead", dead), ("late", late)] {
            let Some(held) = next.held(&roll_of(&format!("{side}-{}", input.name))) else { continue };
            let rows = written.get(&format!("{side}-{}", input.name)).copied().unwrap_or(0);
            if rows + held != counted {
                return Err(Contradiction::RefusedRows {
                    input: input.name.clone(),
                    side,
                    counted,
                    rows,
                    held,
                });
            }
        }
    }
    Ok(())
}

/// The change files make a chain of their own, and what is not kept any more is never kept again.
fn changes_follow(before: &Manifest, next: &Manifest) -> Result<(), Contradiction> {
    let files: Vec<&LakeFile> = change_files::named(next).collect();
    let expected = if files.is_empty() { before.changes } else { Some(next.id()) };
    if next.changes != expected {
        return Err(Contradiction::LastChanges);
    }
    for file in &files {
        let named = names::change_file_parts(&file.name).map(|(seq, _)| seq);
        if files.len() > 1 || file.folder != names::changes_folder(&next.job) || named != Some(next.seq) {
            return Err(Contradiction::ChangeFile { path: file.path() });
        }
    }
    if next.changes_from < before.changes_from || next.changes_from.is_some_and(|from| from > next.seq) {
        return Err(Contradiction::KeptChanges);
    }
    Ok(())
}

/// What `input` says of a partition; manifests have them in their order, and a folder may have thousands.
fn known(input: &Input, partition: Partition) -> Option<&PartitionEntry> {
    let at = input.partitions.binary_search_by_key(&partition, |part| part.partition).ok()?;
    Some(&input.partitions[at])
}

fn input_follows(old: &Input, new: &Input, kind: Kind, gaps: &[Gap]) -> Result<(), InputContradiction> {
    if (&old.name, &old.kind, &old.topic) != (&new.name, &new.kind, &new.topic) {
        return Err(InputContradiction::Other);
    }
    if new.watermark < old.watermark {
        return Err(InputContradiction::WatermarkGoesBack);
    }
    for part in &new.partitions {
        let before = known(old, part.partition);
        let partition = part.partition;
        let gap = gaps.iter().find(|gap| gap.input == new.name && gap.partition == partition);
        partition_follows(before, part, gap)
            .map_err(|what| InputContradiction::Partition { partition, what })?;
    }
    let there = |partition| known(new, partition).is_some();
    let gone = old.partitions.iter().find(|part| !there(part.partition) && !may_be_gone(part));
    if let Some(gone) = gone {
        return Err(InputContradiction::PartitionGone(gone.partition));
    }
    let mut expected = old.clone();
    finished::finish(&mut expected, there);
    if expected.finished != new.finished || (kind != Kind::Claim && old.finished != new.finished) {
        return Err(InputContradiction::Finished);
    }
    Ok(())
}

/// Offsets tile, fates add up, marks do not go back.
fn partition_follows(
    before: Option<&PartitionEntry>,
    part: &PartitionEntry,
    gap: Option<&Gap>,
) -> Result<(), PartitionContradiction> {
    let expected = gap.map_or_else(|| before.map_or(part.first, |before| before.next), |gap| gap.to);
    if part.from > expected {
        return Err(PartitionContradiction::Gap { from: expected, to: part.from });
    }
    if part.from < expected {
        return Err(PartitionContradiction::Twice { from: part.from, to: expected });
    }
    if part.next < part.from {
        return Err(PartitionContradiction::GoesBack { from: part.from, next: part.next });
    }
    let (consumed, offsets) = (part.fates.consumed, u64::try_from(part.next - part.from).unwrap_or(0));
    if consumed > offsets {
        return Err(PartitionContradiction::MoreThanOffsets { consumed, offsets });
    }
    if !part.fates.adds_up() {
        return Err(PartitionContradiction::Fates { consumed });
    }
    let mut total = before.map(|before| before.total.clone()).unwrap_or_default();
    total.add(&part.fates);
    if total != part.total {
        return Err(PartitionContradiction::Totals);
    }
    if let Some(before) = before {
        if (&before.identity, before.first) != (&part.identity, part.first) {
            return Err(PartitionContradiction::Other);
        }
        if part.own < before.own || part.floor < before.floor {
            return Err(PartitionContradiction::MarkGoesBack);
        }
    }
    Ok(())
}

/// The offsets that fed a file were read by then.
fn fed(manifest: &Manifest, file: &LakeFile) -> Result<(), Contradiction> {
    let wrong = |what| Err(Contradiction::File { path: file.path(), what });
    if file.since > manifest.epoch {
        return wrong(FileContradiction::LaterEpoch);
    }
    for range in &file.fed {
        let input = manifest.inputs.get(range.input.index());
        let part = input.and_then(|input| input.partitions.iter().find(|p| p.partition == range.partition));
        let Some(part) = part else { return wrong(FileContradiction::NoPartition) };
        if range.from < part.first || range.from >= range.next || range.next > part.next {
            return wrong(FileContradiction::NotRead);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::{batch, first};
    use crate::engine::format::manifest::{Fed, Finished, LakeKind, Nonce, Operator, Target};
    use headway_operators::ack::Content;
    use headway_operators::ack::InputIx;
    use headway_operators::pace::InputsWatermark;
    use headway_operators::record::Offset;
    use headway_operators::time::EventTime;
    use std::collections::BTreeMap;

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
            fed: vec![Fed { input: InputIx(0), partition: Partition(0), from: Offset(0), next: Offset(10) }],
            ..batch()
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
        let says =
            |before: &Manifest, claim: &Manifest| follows(Some(before), claim).unwrap_err().to_string();
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
    fn offsets_are_passed_over_only_by_a_start_that_names_the_gap() {
        let before = second();
        let gap = |from, to| Gap {
            input: "gate".into(),
            partition: Partition(0),
            from: Offset(from),
            to: Offset(to),
        };
        let mut claim = before.clone();
        (claim.seq, claim.parent, claim.nonce) = (Seq(2), Some(before.nonce), Nonce(3));
        (claim.kind, claim.generation) = (Kind::Claim, Generation(2));
        claim.lake.clear();
        for part in &mut claim.inputs[0].partitions {
            *part = part.carried();
        }
        assert_eq!(follows(Some(&before), &claim), Ok(()));
        let part = &mut claim.inputs[0].partitions[0];
        (part.from, part.next) = (Offset(15), Offset(15));
        let says = |claim: &Manifest| follows(Some(&before), claim).map_err(|what| what.to_string());
        let refused = says(&claim).expect_err("nobody has accepted it");
        assert!(refused.contains("offsets 10..15 are in no manifest"), "{refused}");
        for (accepted, word) in [
            (gap(10, 14), "offsets 14..15 are in no manifest"),
            (gap(10, 16), "are in two manifests"),
            (gap(9, 15), "no start has accepted"),
            (gap(10, 10), "no start has accepted"),
        ] {
            claim.gaps = vec![accepted];
            let refused = says(&claim).expect_err(word);
            assert!(refused.contains(word), "{word}: {refused}");
        }
        claim.gaps = vec![gap(10, 15)];
        assert_eq!(says(&claim), Ok(()));
        // It stays named, and no other manifest accepts one.
        let mut ended = claim.clone();
        (ended.seq, ended.parent, ended.nonce, ended.kind) =
            (Seq(3), Some(claim.nonce), Nonce(4), Kind::Closed);
        assert_eq!(follows(Some(&claim), &ended), Ok(()));
        ended.gaps.clear();
        assert!(follows(Some(&claim), &ended).is_err(), "it is not named any more");
        ended.gaps = vec![gap(10, 15), gap(15, 16)];
        assert!(follows(Some(&claim), &ended).is_err(), "only a start accepts gaps");
    }

    #[test]
    fn whatever_contradicts_the_manifest_before_is_named() {
        type Change = fn(&mut Manifest);
        let cases: [(&str, Change); 29] = [
            ("settings", |m| drop(m.fingerprint.insert("views".into(), "true".into()))),
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
            ("operator \"Sum\" is not in it any more", |m| m.operators.retain(|name, _| name != "Sum")),
            ("operator \"Sum\" is not in it any more", |m| {
                m.operators.remove("Sum");
                m.dropped.insert("Sum".into(), Generation(1));
            }),
            ("drops what operator \"Sum\" had saved", |m| {
                m.dropped = BTreeMap::from([("Sum".into(), Generation(2))])
            }),
            ("commits no epoch", |m| (m.kind, m.epoch) = (Kind::Closed, Epoch(0))),
            ("ends a run", |m| m.kind = Kind::Closed),
            ("last change file", |m| m.changes = Some(m.id())),
            ("is not its one change file", |m| {
                (m.lake[0].kind, m.changes) = (LakeKind::Changes, Some(m.id()));
                m.written.clear();
            }),
            ("gives up later ones", |m| m.changes_from = Some(Seq(9))),
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
        before.operators.insert("Sum".into(), Operator { version: 1, held: Some(3) });
        assert_eq!(follows(None, &first(2)), Ok(()));
        assert_eq!(follows(Some(&first(2)), &second()), Ok(()));
        assert!(follows(None, &second()).is_err(), "the first one is missing");
        for (word, change) in cases {
            let mut changed = second();
            (changed.watermarks, changed.sealed_up_to) = (before.watermarks.clone(), before.sealed_up_to);
            changed.operators.extend(before.operators.clone());
            assert_eq!(follows(Some(&before), &changed), Ok(()));
            change(&mut changed);
            let what = follows(Some(&before), &changed).expect_err(word).to_string();
            assert!(what.contains(word), "{word}: {what}");
        }
        claims_may_finish_what_was_read_to_its_end();
        let mut before = first(2);
        before.inputs[0].watermark = EventTime(5);
        assert!(follows(Some(&before), &second()).unwrap_err().to_string().contains("goes back"));
    }
}
