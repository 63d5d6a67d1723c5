//! Tests of the ledger: what the next manifest says of marks, floors, files and state.

use crate::engine::commit::checkpoint_tests::reads;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::history::History;
use crate::engine::commit::job::tests::job;
use crate::engine::commit::ledger::{Ledger, Rules};
use crate::engine::format::manifest::tests::first;
use crate::engine::format::manifest::{Fed, Manifest, Nonce};
use crate::engine::format::names::Generation;
use headway_operators::ack::{Ack, InputIx, PartitionAck, StagedFile, StateFile};
use headway_operators::record::{LastRead, Offset, Partition};
use headway_operators::time::{Epoch, EventTime};

fn ledger(partitions: u32, workers: u32) -> Ledger {
    let head = first(partitions);
    let rules = Rules { dead_max: 0.5, outputs: job(1).outputs, workers };
    let history = History::of([&head]);
    Ledger::new(rules, head, history)
}

/// Plans `epoch` and takes it over; `None` if it is empty.
fn commit(ledger: &mut Ledger, epoch: Epoch, acks: &[Ack]) -> Option<Manifest> {
    let nonce = Nonce(u128::from(epoch.0) + 100);
    let name = |_: &_, file: &StagedFile| format!("gate/{epoch}-{}", file.part);
    let planned = ledger.plan(epoch, acks, (nonce, 0), name).unwrap();
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
        part,
        staged: format!("s/{part}"),
        rows: 2,
        bytes: 1,
        checksum: String::new(),
        event_time: None,
        since,
    })
}

fn state(worker: u32, base: bool, path: &str) -> Ack {
    Ack::State(StateFile {
        operator: "Sum".into(),
        version: 1,
        worker,
        base,
        path: path.into(),
        bytes: 1,
        checksum: String::new(),
        shards: 1,
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
    assert!(commit(&mut ledger(1, 1), Epoch(1), &[state(0, true, "a")]).is_some(), "a state file");
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
    let unknown = ledger.plan(Epoch(2), &mark(5, 40, joins), (Nonce(9), 0), |_, _| String::new());
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

#[test]
fn state_of_the_run_before_stays_until_all_workers_have_their_own_or_hold_nothing() {
    let mut ledger = ledger(1, 1);
    let mut acks = reads(0, 0, 1);
    acks.extend([state(0, true, "old"), held(0, 3)]);
    let mut head = commit(&mut ledger, Epoch(1), &acks).unwrap();
    assert_eq!(head.held["Sum"], 3);
    (head.generation, head.seq) = (Generation(2), head.seq.next());
    let rules = Rules { dead_max: 0.5, outputs: job(1).outputs, workers: 2 };
    let mut ledger = Ledger::new(rules, head.clone(), History::of([&head]));
    let paths = |manifest: &Manifest| manifest.state.iter().map(|s| s.file.path.clone()).collect::<Vec<_>>();
    let mut acks = reads(0, 1, 2);
    acks.extend([state(0, true, "new"), held(0, 2)]);
    let manifest = commit(&mut ledger, Epoch(2), &acks).unwrap();
    assert_eq!(paths(&manifest), ["old", "new"], "worker 1 has not spoken");
    assert_eq!(manifest.held["Sum"], 3, "as before, until all have spoken");
    let mut acks = reads(0, 2, 3);
    acks.extend([state(0, false, "change"), held(1, 0)]);
    let manifest = commit(&mut ledger, Epoch(3), &acks).unwrap();
    assert_eq!(paths(&manifest), ["new", "change"]);
    assert_eq!(manifest.held["Sum"], 2);
}

#[test]
fn source_counts_what_it_sent_as_accepted_where_no_operator_does() {
    let head = first(1);
    let rules = Rules { dead_max: 0.5, outputs: Vec::new(), workers: 1 };
    let mut ledger = Ledger::new(rules, head, History::default());
    let mut acks = reads(0, 0, 4);
    acks.truncate(1);
    let error = ledger.plan(Epoch(1), &acks, (Nonce(9), 0), |_, _| String::new()).unwrap_err();
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
    let result = ledger.plan(Epoch(1), &acks, (Nonce(9), 0), |_, _| String::new());
    assert!(
        matches!(result, Err(CheckpointError::Conservation { partition: Partition(1), .. })),
        "{result:?}"
    );
}
