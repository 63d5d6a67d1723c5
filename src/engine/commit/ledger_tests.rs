//! Tests of the ledger: what the next manifest says of marks, floors, files and state.

use crate::engine::commit::change_files::KEEPING;
use crate::engine::commit::checkpoint_tests::reads;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::history::History;
use crate::engine::commit::job::tests::job;
use crate::engine::commit::ledger::{Ledger, Rules, Stamp};
use crate::engine::commit::state_files::{Headers, StateFiles};
use crate::engine::format::manifest::tests::first;
use crate::engine::format::manifest::{Fed, Manifest, Nonce};
use crate::engine::format::names::Generation;
use headway_operators::ack::InputIx;
use headway_operators::ack::{Ack, Limit, PartitionAck, Place, StagedFile, StateFile};
use headway_operators::error::Reason;
use headway_operators::pace::InputsWatermark;
use headway_operators::record::LastRead;
use headway_operators::record::Offset;
use headway_operators::record::Partition;
use headway_operators::spec::OperatorSpec;
use headway_operators::state::{OperatorHead, SectionHead, SectionKind, Sections, Shard};
use headway_operators::time::{Epoch, EventTime};
use std::collections::BTreeMap;

fn ledger(partitions: u32, workers: u32) -> Ledger {
    let head = first(partitions);
    let history = History::of([&head]);
    Ledger::new(rules(workers), head, history, StateFiles::default())
}

fn rules(workers: u32) -> Rules {
    let operators = vec![OperatorSpec { name: "Sum".into(), version: 7 }];
    Rules {
        dead_max: 0.5,
        outputs: job(1).outputs,
        operators,
        workers,
        keeping: KEEPING,
        views: Vec::new(),
        keeps: 1,
        seals: None,
    }
}

/// What is unique to the manifest of `epoch`.
fn stamp(epoch: Epoch) -> Stamp {
    Stamp { nonce: Nonce(u128::from(epoch.0) + 100), written_ms: 0 }
}

/// Plans `epoch` and takes it over; `None` if it is empty.
fn commit(ledger: &mut Ledger, epoch: Epoch, acks: &[Ack]) -> Option<Manifest> {
    let planned = ledger.plan(epoch, acks, stamp(epoch)).unwrap();
    ledger.resolved(acks, planned.clone());
    planned
}

/// The mark of a partition that read nothing.
fn mark(partition: u32, at: i64, change: impl FnOnce(&mut PartitionAck)) -> Vec<Ack> {
    let mut acks = reads(partition, at, at);
    let Ack::Source { partitions, .. } = &mut acks[0] else { unreachable!() };
    change(&mut partitions[0]);
    acks
}

fn watermark(ms: i64, flushed: Option<i64>) -> Ack {
    Ack::Watermark {
        input: InputIx(0),
        watermark: EventTime(ms),
        ended: false,
        flushed: flushed.map(EventTime),
    }
}

fn file(part: u32, since: Epoch) -> Ack {
    Ack::Lake(StagedFile {
        output: "batch".into(),
        folder: "gate/".into(),
        name: format!("batch-{part}"),
        staged: Place::whole(format!("s/{part}")),
        rows: 2,
        bytes: 1,
        checksum: String::new(),
        event_time: None,
        since,
    })
}

/// A state file of `worker` with a section of each of `shards`.
fn state(worker: u32, kind: SectionKind, shards: &[u16]) -> Ack {
    let head = |shard: &u16| SectionHead { operator: 0, shard: Shard(*shard), kind, bytes: 1, xxh3: 0 };
    let sections = Sections {
        operators: vec![OperatorHead { name: "Sum".into(), version: 7 }],
        list: shards.iter().map(head).collect(),
    };
    Ack::State(StateFile {
        worker,
        bytes: 9,
        header_bytes: 8,
        checksum: String::new(),
        place: None,
        sections,
    })
}

fn held(worker: u32, entries: u64) -> Ack {
    Ack::Held { operator: "Sum".into(), worker, entries }
}

#[test]
fn partition_without_an_ack_is_carried_forward() {
    let mut ledger = ledger(2, 1);
    commit(&mut ledger, Epoch(1), &reads(0, 0, 10)).unwrap();
    let manifest = commit(&mut ledger, Epoch(2), &reads(1, 0, 5)).unwrap();
    let [a, b] = &manifest.inputs[0].partitions[..] else { panic!("two partitions") };
    assert_eq!((a.from.0, a.next.0, a.fates.consumed, a.total.consumed), (10, 10, 0, 10));
    assert_eq!((b.from.0, b.next.0, b.fates.consumed, b.total.consumed), (0, 5, 5, 5));
}

#[test]
fn each_change_that_a_manifest_must_say_makes_one() {
    type Change = fn(&mut PartitionAck);
    let cases: [(&str, Change, bool); 5] = [
        ("nothing", |_| (), false),
        ("a position that moved past nothing", |p| p.next += 3, false),
        ("idle", |p| p.idle = true, true),
        ("joining", |p| p.joining = true, true),
        ("ended", |p| p.ended = true, true),
    ];
    for (name, change, expected) in cases {
        let acks = mark(0, 0, change);
        assert_eq!(commit(&mut ledger(1, 1), Epoch(1), &acks).is_some(), expected, "{name}");
    }
    let mut flushed = mark(0, 0, |_| ());
    flushed.push(watermark(50, Some(50)));
    assert!(commit(&mut ledger(1, 1), Epoch(1), &flushed).is_some(), "a flush");
    assert!(
        commit(&mut ledger(1, 1), Epoch(1), &[state(0, SectionKind::Base, &[1])]).is_some(),
        "a state file"
    );
    assert!(commit(&mut ledger(1, 1), Epoch(1), &[file(0, Epoch(1))]).is_some(), "a lake file");
}

#[test]
fn joining_partition_takes_the_watermark_as_floor_from_its_next_record_on() {
    let mut ledger = ledger(1, 1);
    let mut acks = reads(0, 0, 10);
    acks.push(watermark(7_000, None));
    commit(&mut ledger, Epoch(1), &acks).unwrap();
    // A new one that nobody announced is refused; one that was may start anywhere.
    let joins = |p: &mut PartitionAck| p.joining = true;
    let unknown = ledger.plan(Epoch(2), &mark(5, 40, joins), stamp(Epoch(2)));
    assert!(matches!(unknown, Err(CheckpointError::Conservation { partition: Partition(5), .. })));
    ledger.announce(InputIx(0), Partition(5), "file-5");
    let manifest = commit(&mut ledger, Epoch(2), &mark(5, 40, joins)).unwrap();
    let part = &manifest.inputs[0].partitions[1];
    assert_eq!((part.partition, part.identity.as_str(), part.first), (Partition(5), "file-5", Offset(40)));
    assert_eq!((part.floor, part.floor_from, part.joining), (EventTime(7_000), Offset(40), true));
    let old = &manifest.inputs[0].partitions[0];
    assert_eq!(old.floor, EventTime::MIN, "the others have none");
}

#[test]
fn last_record_stays_known_until_another_one_is() {
    let mut ledger = ledger(1, 1);
    let read = |offset| Some(LastRead { offset, leader_epoch: 2 });
    let steps = [
        ("nothing told yet", reads(0, 0, 10), None, None),
        ("told", reads(0, 10, 20), read(Offset(19)), read(Offset(19))),
        ("only a gap since", mark(0, 25, |p| (p.from, p.idle) = (Offset(20), true)), None, read(Offset(19))),
        ("told again", reads(0, 25, 30), read(Offset(29)), read(Offset(29))),
    ];
    for (epoch, (what, mut acks, told, expected)) in (1..).zip(steps) {
        for ack in &mut acks {
            if let Ack::Source { partitions, .. } = ack {
                partitions[0].last_read = told;
            }
        }
        let manifest = commit(&mut ledger, Epoch(epoch), &acks).unwrap();
        assert_eq!(manifest.inputs[0].partitions[0].last_read, expected, "{what}");
    }
}

#[test]
fn flush_is_a_floor_for_every_partition() {
    let mut ledger = ledger(2, 1);
    commit(&mut ledger, Epoch(1), &reads(0, 0, 10)).unwrap();
    let mut acks = mark(0, 10, |p| p.idle = true);
    acks.push(watermark(90_000, Some(90_000)));
    let manifest = commit(&mut ledger, Epoch(2), &acks).unwrap();
    for (part, from) in manifest.inputs[0].partitions.iter().zip([10, 0]) {
        assert_eq!((part.floor, part.floor_from), (EventTime(90_000), Offset(from)));
    }
    // Restored with it, the source says the same floor: nothing new.
    let acks = mark(0, 10, |p| {
        p.idle = true;
        p.floor = EventTime(90_000);
    });
    assert_eq!(commit(&mut ledger, Epoch(3), &acks), None);
}

#[test]
fn file_is_fed_by_what_was_read_since_its_first_epoch() {
    let mut ledger = ledger(2, 1);
    for epoch in 1..=4 {
        let at = i64::try_from(epoch).unwrap() * 10;
        commit(&mut ledger, Epoch(epoch), &reads(0, at - 10, at)).unwrap();
    }
    let mut acks = reads(1, 0, 3);
    acks.extend([file(0, Epoch(3)), file(1, Epoch(1))]);
    let manifest = commit(&mut ledger, Epoch(5), &acks).unwrap();
    let fed = |partition, from, next| Fed { input: InputIx(0), partition, from, next };
    assert_eq!(
        manifest.lake[0].fed,
        [fed(Partition(0), Offset(20), Offset(40)), fed(Partition(1), Offset(0), Offset(3))]
    );
    assert_eq!(
        manifest.lake[1].fed,
        [fed(Partition(0), Offset(0), Offset(40)), fed(Partition(1), Offset(0), Offset(3))]
    );
    assert_eq!(manifest.written["batch"], 4);
}

/// Epoch and worker of each state file that a manifest names.
fn files(manifest: &Manifest) -> Vec<(u64, u32)> {
    manifest.state.iter().map(|entry| (entry.epoch.0, entry.worker)).collect()
}

#[test]
fn state_file_is_named_until_none_of_its_sections_is_live() {
    use SectionKind::{Base, Change, Merged};
    let mut ledger = ledger(1, 2);
    let steps = [
        (vec![state(0, Base, &[0, 2]), state(1, Base, &[1, 3])], vec![(1, 0), (1, 1)]),
        (vec![state(0, Change, &[0])], vec![(1, 0), (1, 1), (2, 0)]),
        (vec![state(0, Base, &[0])], vec![(1, 0), (1, 1), (3, 0)]),
        (vec![state(0, Base, &[2]), state(1, Change, &[1])], vec![(1, 1), (3, 0), (4, 0), (4, 1)]),
        (vec![state(1, Merged, &[1])], vec![(1, 1), (3, 0), (4, 0), (5, 1)]),
    ];
    for (epoch, (acks, expected)) in (1..).zip(steps) {
        assert_eq!(files(&commit(&mut ledger, Epoch(epoch), &acks).unwrap()), expected, "epoch {epoch}");
    }
}

#[test]
fn state_of_the_run_before_is_replaced_shard_by_shard_whoever_owns_the_shard_now() {
    let mut first = ledger(1, 1);
    let head = commit(&mut first, Epoch(1), &[state(0, SectionKind::Base, &[0, 1])]).unwrap();
    let Ack::State(file) = state(0, SectionKind::Base, &[0, 1]) else { unreachable!() };
    let headers = Headers::from([(head.state[0].id(), file.sections)]);
    let mut claim = head.clone();
    (claim.generation, claim.seq) = (Generation(2), head.seq.next());
    let start = |dropped: &BTreeMap<String, Generation>| {
        Ledger::new(rules(2), claim.clone(), History::of([&claim]), StateFiles::of(&headers, dropped))
    };
    let mut ledger = start(&BTreeMap::new());
    let one = commit(&mut ledger, Epoch(2), &[state(0, SectionKind::Base, &[0])]).unwrap();
    assert_eq!(files(&one), [(1, 0), (2, 0)], "shard 1 is in the old one alone");
    let both = commit(&mut ledger, Epoch(3), &[state(1, SectionKind::Base, &[1])]).unwrap();
    assert_eq!(files(&both), [(2, 0), (3, 1)]);
    // Of an operator that was dropped nothing is live any more.
    let mut ledger = start(&BTreeMap::from([("Sum".to_string(), Generation(2))]));
    let next = commit(&mut ledger, Epoch(2), &[state(0, SectionKind::Change, &[0])]).unwrap();
    assert_eq!(files(&next), [(2, 0)]);
}

#[test]
fn what_is_held_is_known_once_all_workers_have_said_it() {
    let mut ledger = ledger(1, 2);
    let mut acks = reads(0, 0, 1);
    acks.push(held(0, 3));
    assert_eq!(
        commit(&mut ledger, Epoch(1), &acks).unwrap().operators.get("Sum"),
        None,
        "worker 1 has not said it"
    );
    let mut acks = reads(0, 1, 2);
    acks.push(held(1, 4));
    let operator = commit(&mut ledger, Epoch(2), &acks).unwrap().operators["Sum"];
    assert_eq!((operator.version, operator.held), (7, Some(7)));
    let mut acks = reads(0, 2, 3);
    acks.push(held(0, 0));
    assert_eq!(commit(&mut ledger, Epoch(3), &acks).unwrap().held("Sum"), Some(4));
}

#[test]
fn watermark_of_several_inputs_is_kept_until_a_later_one_comes() {
    let mut ledger = ledger(1, 1);
    let both = |ms| Ack::InputsWatermark { inputs: vec![InputIx(0), InputIx(1)], watermark: EventTime(ms) };
    let kept = |ms| [InputsWatermark { inputs: vec![InputIx(0), InputIx(1)], watermark: EventTime(ms) }];
    let mut acks = reads(0, 0, 1);
    acks.push(both(70));
    assert_eq!(commit(&mut ledger, Epoch(1), &acks).unwrap().watermarks, kept(70));
    assert_eq!(commit(&mut ledger, Epoch(2), &reads(0, 1, 2)).unwrap().watermarks, kept(70));
    // A partition that joins is not behind what an operator over several inputs has seen.
    ledger.announce(InputIx(0), Partition(5), "file-5");
    let mut acks = mark(5, 40, |p| p.joining = true);
    acks.extend([both(90), watermark(80, None)]);
    let manifest = commit(&mut ledger, Epoch(3), &acks).unwrap();
    assert_eq!(manifest.watermarks, kept(90));
    assert_eq!(manifest.inputs[0].partitions[1].floor, EventTime(90));
}

#[test]
fn limits_are_those_of_the_manifest_and_the_newest_stays_known() {
    let mut ledger = ledger(1, 1);
    let limit = |from, limit_ms| Some(Limit { from, limit_ms });
    let with = |mut acks: Vec<Ack>, limit, quiet| {
        let Ack::Source { partitions, began_ms, .. } = &mut acks[0] else { unreachable!() };
        (partitions[0].limit, partitions[0].quiet_since_ms, *began_ms) = (limit, quiet, 77);
        acks
    };
    let one = commit(&mut ledger, Epoch(1), &with(reads(0, 0, 5), limit(Offset(2), 100), Some(10))).unwrap();
    let part = &one.inputs[0].partitions[0];
    assert_eq!(
        (part.limits.as_slice(), part.limit_ms),
        (&[Limit { from: Offset(2), limit_ms: 100 }][..], Some(100))
    );
    assert_eq!((part.quiet_since_ms, one.began_ms), (Some(10), Some(77)));
    let two = commit(&mut ledger, Epoch(2), &with(reads(0, 5, 6), None, None)).unwrap();
    let part = &two.inputs[0].partitions[0];
    assert_eq!((part.limits.as_slice(), part.limit_ms, part.quiet_since_ms), (&[][..], Some(100), Some(10)));
}

#[test]
fn share_of_dead_letters_is_judged_over_epochs_once_there_are_enough_records() {
    let dead = |from: i64, count: i64, dead: u64| {
        let mut acks = reads(0, from, from + count);
        let Ack::Source { partitions, .. } = &mut acks[0] else { unreachable!() };
        partitions[0].sent -= dead;
        partitions[0].dead = if dead > 0 { vec![(Reason::EMPTY, dead)] } else { Vec::new() };
        let accepted = partitions[0].sent;
        acks[1] =
            Ack::Fates { input: InputIx(0), partition: Partition(0), accepted, duplicate: 0, filtered: 0 };
        acks
    };
    let mut ledger = ledger(1, 1);
    let unjudged =
        |manifest: Manifest| (manifest.inputs[0].unjudged.records, manifest.inputs[0].unjudged.dead);
    assert_eq!(unjudged(commit(&mut ledger, Epoch(1), &dead(0, 600, 600)).unwrap()), (600, 600));
    let error = ledger.plan(Epoch(2), &dead(600, 400, 0), stamp(Epoch(2))).unwrap_err();
    assert!(matches!(error, CheckpointError::TooManyDead { dead: 600, consumed: 1_000, .. }), "{error}");
    // With more good ones they are few enough, and counting begins anew.
    assert_eq!(unjudged(commit(&mut ledger, Epoch(2), &dead(600, 600, 0)).unwrap()), (0, 0));
    assert_eq!(unjudged(commit(&mut ledger, Epoch(3), &dead(1_200, 3, 1)).unwrap()), (3, 1));
}

#[test]
fn late_records_are_counted_until_a_thousand_can_be_judged() {
    let late = |from: i64, records: i64, late: u64| {
        let mut acks = reads(0, from, from + records);
        let Ack::Source { partitions, .. } = &mut acks[0] else { unreachable!() };
        partitions[0].sent -= late;
        partitions[0].late = late;
        let accepted = partitions[0].sent;
        acks[1] =
            Ack::Fates { input: InputIx(0), partition: Partition(0), accepted, duplicate: 0, filtered: 0 };
        acks
    };
    let mut ledger = ledger(1, 1);
    let counted =
        |manifest: Manifest| (manifest.inputs[0].unjudged.unfiltered, manifest.inputs[0].unjudged.late);
    assert_eq!(counted(commit(&mut ledger, Epoch(1), &late(0, 600, 500)).unwrap()), (600, 500));
    assert_eq!(counted(commit(&mut ledger, Epoch(2), &late(600, 399, 1)).unwrap()), (999, 501));
    assert_eq!(counted(commit(&mut ledger, Epoch(3), &late(999, 1, 0)).unwrap()), (0, 0));
    assert_eq!(counted(commit(&mut ledger, Epoch(4), &late(1_000, 2, 1)).unwrap()), (2, 1));
}

#[test]
fn run_that_ends_adds_nothing_to_what_it_committed() {
    let mut ledger = ledger(1, 1);
    let mut acks = reads(0, 0, 4);
    acks.extend([file(0, Epoch(1)), state(0, SectionKind::Base, &[1])]);
    let last = commit(&mut ledger, Epoch(1), &acks).unwrap();
    let closed = ledger.closed(stamp(Epoch(2)));
    assert_eq!((closed.seq, closed.parent, closed.epoch), (last.seq.next(), Some(last.nonce), Epoch(1)));
    assert!(closed.lake.is_empty());
    assert_eq!(
        (closed.inputs[0].partitions[0].from, closed.inputs[0].partitions[0].next),
        (Offset(4), Offset(4))
    );
    assert_eq!(closed.inputs[0].partitions[0].total, last.inputs[0].partitions[0].total);
    assert_eq!((&closed.state, &closed.written), (&last.state, &last.written));
}

#[test]
fn source_counts_what_it_sent_as_accepted_where_no_operator_does() {
    let head = first(1);
    let mut ledger = Ledger::new(rules(1), head, History::default(), StateFiles::default());
    let mut acks = reads(0, 0, 4);
    acks.truncate(1);
    let error = ledger.plan(Epoch(1), &acks, stamp(Epoch(1))).unwrap_err();
    assert!(
        matches!(error, CheckpointError::Conservation { .. }),
        "an operator should have counted: {error}"
    );
    let Ack::Source { counts_accepted, .. } = &mut acks[0] else { unreachable!() };
    *counts_accepted = true;
    let manifest = commit(&mut ledger, Epoch(1), &acks).unwrap();
    assert_eq!(manifest.inputs[0].partitions[0].fates.accepted, 4);
}

#[test]
fn fates_of_records_that_nobody_read_do_not_add_up() {
    let ledger = ledger(2, 1);
    let mut acks = reads(0, 0, 4);
    acks.push(Ack::Fates {
        input: InputIx(0),
        partition: Partition(1),
        accepted: 0,
        duplicate: 1,
        filtered: 0,
    });
    let result = ledger.plan(Epoch(1), &acks, stamp(Epoch(1)));
    assert!(
        matches!(result, Err(CheckpointError::Conservation { partition: Partition(1), .. })),
        "{result:?}"
    );
}
