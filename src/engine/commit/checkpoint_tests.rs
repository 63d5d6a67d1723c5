//! Tests of the commit protocol: one run after the other, faults, and takeovers.

use crate::engine::clock::{Clock, Manual};
use crate::engine::commit::checkpoint::{Committer, Found, Resume, begin, create};
use crate::engine::commit::decide::Folding;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::job::tests::job;
use crate::engine::commit::job::{IfRunning, Job};
use crate::engine::commit::site::{Site, run};
use crate::engine::commit::test_store::TestStore;
use crate::engine::commit::upkeep;
use crate::engine::format::manifest::tests::first;
use crate::engine::format::manifest::{Kind, Manifest};
use crate::engine::format::names::Generation;
use crate::engine::format::names::Seq;
use crate::engine::format::{names, state};
use crate::store::Store;
use headway_operators::ack::InputIx;
use headway_operators::ack::{Ack, PartitionAck, Place, StagedFile, StateFile};
use headway_operators::error::Reason;
use headway_operators::record::Offset;
use headway_operators::record::Partition;
use headway_operators::state::{SectionKind, Shard, StateChange};
use headway_operators::time::Epoch;
use headway_operators::time::EventTime;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// What one partition does in one epoch: offsets `from..next`, all accepted.
pub(crate) fn reads(partition: u32, from: i64, next: i64) -> Vec<Ack> {
    let read = u64::try_from(next - from).unwrap();
    let partition = Partition(partition);
    let part = PartitionAck {
        partition,
        from: Offset(from),
        next: Offset(next),
        last_read: None,
        own: EventTime(next * 1_000),
        floor: EventTime::MIN,
        idle: false,
        joining: false,
        ended: false,
        consumed: read,
        sent: read,
        late: 0,
        late_by: Default::default(),
        filtered: 0,
        dead: Vec::new(),
        sample: None,
        limit: None,
        quiet_since_ms: None,
        content: None,
    };
    vec![
        Ack::Source { input: InputIx(0), began_ms: 0, counts_accepted: false, partitions: vec![part] },
        Ack::Fates { input: InputIx(0), partition, accepted: read, duplicate: 0, filtered: 0 },
    ]
}

/// Stages a lake file of `run` and `epoch` with `text` in it.
pub(crate) fn stage(store: &TestStore, (run, epoch): (Generation, Epoch), text: &str) -> Ack {
    let staged = format!("_headway/job/stage/{run}/{epoch}/batch-0");
    store.files().insert(staged.clone(), text.as_bytes().into());
    Ack::Lake(StagedFile {
        output: "batch".into(),
        folder: "gate/".into(),
        name: format!("batch_{epoch}_19700101_000000.csv.gz"),
        staged: Place::whole(staged),
        rows: text.lines().count() as u64,
        bytes: text.len() as u64,
        checksum: format!("{:032x}", xxh3_128(text.as_bytes())),
        event_time: None,
        since: epoch,
    })
}

/// Writes a state file of `run` and `epoch`, with a section of one shard.
pub(crate) fn state(store: &TestStore, (run, epoch): (Generation, Epoch), kind: SectionKind) -> Ack {
    let bytes = format!("state of {epoch}").into_bytes();
    let change = StateChange { operator: "Sum".into(), shard: Shard(1), version: 1, kind, bytes };
    state_of(store, (run, epoch), 0, &[change])
}

/// Writes the state file of a worker of `run` and `epoch`.
pub(crate) fn state_of(
    store: &TestStore,
    (generation, epoch): (Generation, Epoch),
    worker: u32,
    changes: &[StateChange],
) -> Ack {
    let mut bytes = Vec::new();
    let author = state::Author { job: "job", generation, epoch, worker };
    let written = state::write(&mut bytes, author, changes).unwrap();
    let (size, checksum) = (bytes.len() as u64, format!("{:032x}", xxh3_128(&bytes)));
    store.files().insert(names::state("job", names::Stage { generation, epoch, worker }), bytes.into());
    Ack::State(StateFile {
        worker,
        bytes: size,
        header_bytes: written.header_bytes,
        checksum,
        place: None,
        sections: written.sections,
    })
}

pub(crate) fn start(store: &TestStore, job: Job) -> Result<(Committer, Resume), CheckpointError> {
    let clock: Arc<dyn Clock> = Arc::new(Manual::default());
    begin(Arc::new(store.clone()) as Arc<dyn Store>, clock, job, Found::default())
}

fn rows(store: &TestStore) -> Vec<String> {
    let files = store.files();
    let texts = files.iter().filter(|(name, _)| name.starts_with("gate/"));
    let mut rows: Vec<String> = texts
        .flat_map(|(_, bytes)| String::from_utf8_lossy(bytes).lines().map(str::to_string).collect::<Vec<_>>())
        .collect();
    rows.sort_unstable();
    rows
}

#[test]
fn first_start_claims_number_zero_and_begins_at_the_first_offsets() {
    let store = TestStore::default();
    let (committer, resume) = start(&store, job(2)).unwrap();
    assert!(resume.fresh);
    assert_eq!((resume.first_epoch, committer.generation()), (Epoch(1), Generation(1)));
    let files = ["_headway/job/alive.json", "_headway/job/manifest/0000000000.json"];
    assert_eq!(store.below("_headway/job/"), files);
    assert_eq!(store.below("_headway/prefix/"), ["_headway/prefix/gate.json"]);
    assert_eq!(resume.manifest.inputs[0].partitions.len(), 2);
}

#[test]
fn epoch_becomes_true_with_its_rows_and_its_stage_is_cleaned() {
    let store = TestStore::default();
    let (mut committer, _) = start(&store, job(1)).unwrap();
    let mut acks = reads(0, 0, 10);
    acks.push(stage(&store, (Generation(1), Epoch(1)), "a\nb\n"));
    acks.push(state(&store, (Generation(1), Epoch(1)), SectionKind::Base));
    let committed = committer.commit(Epoch(1), &acks).unwrap().unwrap();
    assert_eq!((committed.seq, committed.rows, committed.files), (Seq(1), 2, 1));
    assert_eq!(rows(&store), ["a", "b"]);
    assert_eq!(store.below("_headway/job/stage/"), [""; 0]);
    let bytes = store.files()["_headway/job/manifest/0000000001.json"].clone();
    let manifest = Manifest::decode(&bytes).unwrap();
    assert_eq!(manifest.kind, Kind::Commit);
    assert_eq!(manifest.inputs[0].partitions[0].next, Offset(10));
    assert_eq!(manifest.lake[0].fed.len(), 1);
    assert_eq!((manifest.lake[0].fed[0].from, manifest.lake[0].fed[0].next), (Offset(0), Offset(10)));
}

#[test]
fn empty_epoch_writes_nothing_and_offsets_still_tile() {
    let store = TestStore::default();
    let (mut committer, _) = start(&store, job(1)).unwrap();
    assert_eq!(committer.commit(Epoch(1), &reads(0, 0, 0)).unwrap(), None);
    // The position moved past offsets without a record, as in a compacted topic.
    let mut moved = reads(0, 0, 0);
    let Ack::Source { partitions, .. } = &mut moved[0] else { unreachable!() };
    partitions[0].next = Offset(5);
    assert_eq!(committer.commit(Epoch(2), &moved).unwrap(), None);
    committer.commit(Epoch(3), &reads(0, 5, 8)).unwrap().unwrap();
    let part = committer.partition(InputIx(0), Partition(0)).unwrap();
    assert_eq!((part.from, part.next), (Offset(0), Offset(8)), "the manifests' ranges tile, gaps included");
}

#[test]
fn restart_goes_on_where_the_last_manifest_ends() {
    let store = TestStore::default();
    let (mut committer, _) = start(&store, job(1)).unwrap();
    let mut acks = reads(0, 0, 10);
    let Ack::Source { partitions, .. } = &mut acks[0] else { unreachable!() };
    (partitions[0].idle, partitions[0].ended, partitions[0].floor) = (true, true, EventTime(77));
    acks.push(state(&store, (Generation(1), Epoch(1)), SectionKind::Base));
    committer.commit(Epoch(1), &acks).unwrap();
    drop(committer);
    let (_, resume) = start(&store, job(2)).unwrap();
    assert!(!resume.fresh);
    assert_eq!((resume.first_epoch, resume.manifest.generation), (Epoch(2), Generation(2)));
    assert_eq!(resume.manifest.state.len(), 1);
    let partitions = &resume.manifest.inputs[0].partitions;
    assert_eq!(partitions.len(), 1, "a new partition has to join");
    assert_eq!((partitions[0].next, partitions[0].own), (Offset(10), EventTime(10_000)));
    assert_eq!(
        (partitions[0].floor, partitions[0].floor_from),
        (EventTime(77), Offset(0)),
        "floors hold for ever"
    );
    assert!(!partitions[0].idle && !partitions[0].ended, "idleness and ends take evidence of this run");
}

/// A store as a run leaves it that dies right after it has committed the row "a": its file is staged, with `bytes` in it.
fn committed_and_not_published(bytes: &[u8]) -> TestStore {
    let store = TestStore::default();
    let (mut committer, _) = start(&store, job(1)).unwrap();
    let mut acks = reads(0, 0, 10);
    acks.push(stage(&store, (Generation(1), Epoch(1)), "a\n"));
    committer.commit(Epoch(1), &acks).unwrap();
    let published = store.below("gate/");
    store.files().remove(&published[0]).unwrap();
    store.files().insert("_headway/job/stage/1/1/batch-0".into(), bytes.into());
    store
}

#[test]
fn crash_between_commit_and_publish_is_made_good_by_the_next_run() {
    let store = committed_and_not_published(b"a\n");
    let (mut committer, _) = start(&store, job(1)).unwrap();
    assert_eq!(rows(&store), ["a"]);
    committer.sweep().unwrap();
    assert_eq!(store.below("_headway/job/stage/"), [""; 0]);
}

#[test]
fn staged_file_that_was_damaged_before_it_was_published_is_refused() {
    let store = committed_and_not_published(b"b\n");
    let error = start(&store, job(1)).err().unwrap();
    assert_eq!((error.code(), error.exit_code()), ("store-inconsistent", 5), "{error}");
    assert_eq!(store.below("gate/"), [""; 0], "nothing became visible");
    assert_eq!(store.below("_headway/job/manifest/").len(), 2, "nothing was claimed");
}

#[test]
fn run_that_was_taken_over_commits_and_publishes_nothing() {
    let store = TestStore::default();
    let (mut old, _) = start(&store, job(1)).unwrap();
    let (mut new, _) = start(&store, job(1)).unwrap();
    assert_eq!(old.heartbeat().unwrap_err().code(), "fenced");
    let mut acks = reads(0, 0, 10);
    acks.push(stage(&store, (Generation(1), Epoch(1)), "old\n"));
    let error = old.commit(Epoch(1), &acks).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("fenced", 4));
    let mut acks = reads(0, 0, 10);
    acks.push(stage(&store, (Generation(2), Epoch(1)), "new\n"));
    new.commit(Epoch(1), &acks).unwrap();
    assert_eq!(rows(&store), ["new"]);
}

#[test]
fn run_that_slept_while_its_number_was_folded_is_fenced() {
    let store = TestStore::default();
    let mut small = job(1);
    small.folding.segment = 4;
    small.folding.keep = 2;
    let (mut old, _) = start(&store, small.clone()).unwrap();
    let (mut new, _) = start(&store, small).unwrap();
    for epoch in 1..=20 {
        let at = i64::try_from(epoch).unwrap();
        new.commit(Epoch(epoch), &reads(0, at - 1, at)).unwrap();
    }
    assert!(!store.files().contains_key(&names::manifest("job", Seq(1))), "its number is free again");
    let mut acks = reads(0, 0, 10);
    acks.push(stage(&store, (Generation(1), Epoch(1)), "old\n"));
    assert_eq!(old.commit(Epoch(1), &acks).unwrap_err().code(), "fenced");
    assert_eq!(rows(&store), [""; 0]);
    let (next, resume) = start(&store, job(1)).unwrap();
    assert_eq!(resume.manifest.inputs[0].partitions[0].next, Offset(20), "its litter does not matter");
    assert_eq!(next.generation(), Generation(3));
}

#[test]
fn records_that_do_not_add_up_stop_the_job_before_the_commit() {
    type Change = fn(&mut PartitionAck);
    let cases: [(&str, Change); 4] = [
        ("a gap", |part| part.from = Offset(1)),
        ("a record without a fate", |part| part.consumed += 1),
        ("a record that the operators lost", |part| {
            part.consumed += 1;
            part.sent += 1;
        }),
        ("a partition that nobody announced", |part| part.partition = Partition(9)),
    ];
    for (name, change) in cases {
        let store = TestStore::default();
        let (mut committer, _) = start(&store, job(1)).unwrap();
        let mut acks = reads(0, 0, 10);
        let Ack::Source { partitions, .. } = &mut acks[0] else { unreachable!() };
        change(&mut partitions[0]);
        let error = committer.commit(Epoch(1), &acks).unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("conservation-failed", 5), "{name}: {error}");
        assert_eq!(store.below("_headway/job/manifest/").len(), 1, "{name}");
    }
}

#[test]
fn mostly_dead_input_stops_the_job_and_says_which_flag_to_check() {
    let dead = |count: u64, of: u64| {
        let mut acks = reads(0, 0, i64::try_from(of).unwrap());
        let Ack::Source { partitions, .. } = &mut acks[0] else { unreachable!() };
        partitions[0].sent = of - count;
        partitions[0].dead = vec![(Reason::BAD_TIMESTAMP, count - 1), (Reason::EMPTY, 1)];
        acks[1] = Ack::Fates {
            input: InputIx(0),
            partition: Partition(0),
            accepted: of - count,
            duplicate: 0,
            filtered: 0,
        };
        acks
    };
    let commit = |acks: Vec<Ack>| start(&TestStore::default(), job(1)).unwrap().0.commit(Epoch(1), &acks);
    assert!(commit(dead(500, 1_000)).is_ok(), "half is not more than half");
    assert!(commit(dead(900, 999)).is_ok(), "too few records to judge");
    let error = commit(dead(501, 1_000)).unwrap_err();
    assert_eq!(error.code(), "too-many-dead");
    assert!(error.hint().unwrap().contains("--zone"), "{error:?}");
    assert!(error.detail().unwrap().contains("bad-timestamp"), "{error:?}");
}

#[test]
fn manifest_that_no_start_could_read_is_not_written() {
    let store = TestStore::default();
    let mut manifest = first(1);
    manifest.inputs[0].partitions[0].next = Offset(i64::MAX);
    let site = Site::new(Arc::new(store.clone()), Arc::new(Manual::default()));
    let error = run(create(&site, &manifest)).unwrap_err();
    assert_eq!(error.code(), "store-inconsistent");
    assert!(error.to_string().contains("manifest 0 was not written"), "{error}");
    assert!(store.files().is_empty());
}

#[test]
fn prefix_of_another_job_is_refused_by_its_owner() {
    let store = TestStore::default();
    start(&store, job(1)).unwrap();
    let mut other = job(1);
    other.name = "other".into();
    let error = start(&store, other.clone()).err().unwrap();
    assert_eq!((error.code(), error.exit_code()), ("prefix-taken", 4));
    assert!(error.to_string().contains("\"job\""), "{error}");
    other.outputs[0].prefix = "gate/inside".into();
    assert_eq!(start(&store, other.clone()).err().unwrap().code(), "prefix-taken");
    other.outputs[0].prefix = "elsewhere".into();
    assert!(start(&store, other).is_ok());
}

#[test]
fn start_that_does_not_wait_is_refused_unless_the_last_run_has_ended() {
    let store = TestStore::default();
    drop(start(&store, job(1)).unwrap());
    let file = "_headway/job/alive.json";
    assert_eq!(store.below(file), [file], "from the start on");
    let careful = || Job { if_running: IfRunning::Refuse, ..job(1) };
    assert!(start(&store, careful()).is_ok(), "this process itself: it has executed itself again");
    // As a run on another host would have left it.
    let leave = |ending: &str| {
        let sign = format!(r#"{{"generation":2,"pid":7,"boot":"other","host":"h2","time_ms":5{ending}}}"#);
        store.files().insert(file.into(), sign.as_bytes().into());
    };
    leave("");
    let error = start(&store, careful()).err().unwrap();
    assert_eq!((error.code(), error.exit_code()), ("already-running", 4));
    assert!(error.detail().unwrap().contains("process 7 on \"h2\""), "{error:?}");
    leave(r#","ending":{"code":"store-failed","why":"the disk is gone"}"#);
    let (_, resume) = start(&store, careful()).unwrap();
    assert_eq!(
        resume.manifest.restarts.get("store-failed"),
        Some(&1),
        "it is told why it had to start again"
    );
}

#[test]
fn partition_that_lay_behind_the_watermark_counts_again_from_there() {
    let store = TestStore::default();
    let (mut committer, _) = start(&store, job(2)).unwrap();
    // Partition 0 is idle, and partition 1 takes the watermark far beyond what 0 had.
    let mut acks = [reads(0, 0, 10), reads(1, 0, 50)].concat();
    let Ack::Source { partitions, .. } = &mut acks[0] else { panic!("it comes first") };
    partitions[0].idle = true;
    acks.push(Ack::Watermark {
        input: InputIx(0),
        watermark: EventTime(50_000),
        ended: false,
        flushed: None,
    });
    committer.commit(Epoch(1), &acks).unwrap();
    let (_, resume) = start(&store, job(2)).unwrap();
    let partitions = &resume.manifest.inputs[0].partitions;
    let floor = |partition: usize| (partitions[partition].floor, partitions[partition].floor_from);
    assert_eq!(floor(0), (EventTime(50_000), Offset(10)), "else it would give records to closed windows");
    assert_eq!(floor(1), (EventTime::MIN, Offset(0)), "its own watermark is there");
    assert!(!partitions[0].idle);
}

#[test]
fn upkeep_folds_and_sweeps_a_job_that_stands_still() {
    let store = TestStore::default();
    let (mut committer, _) = start(&store, job(1)).unwrap();
    for epoch in 1..=12 {
        let at = i64::try_from(epoch).unwrap();
        let mut acks = reads(0, at - 1, at);
        acks.push(state(&store, (Generation(1), Epoch(epoch)), SectionKind::Base));
        committer.commit(Epoch(epoch), &acks).unwrap();
    }
    drop(committer);
    store.files().insert("_headway/job/state/1/5/litter".into(), b"x"[..].into());
    store.files().insert("_headway/job/stage/0/5/litter".into(), b"x"[..].into());
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let clock: Arc<dyn Clock> = Arc::new(Manual::default());
    let rule = Folding { segment: 4, keep: 2 };
    let pruned = upkeep::prune(&shared, &clock, "job", rule).unwrap();
    assert_eq!((pruned.folded, pruned.removed), (8, 2));
    assert_eq!(store.below("_headway/job/state/"), ["_headway/job/state/1/12/0000.state"]);
    assert_eq!(store.below("_headway/job/stage/"), [""; 0]);
    let (_, resume) = start(&store, job(1)).unwrap();
    assert_eq!(resume.manifest.inputs[0].partitions[0].next, Offset(12));
}

#[test]
fn start_makes_a_segment_durable_before_it_takes_the_manifests_in_it_away() {
    let store = TestStore::watched();
    let (mut committer, _) = start(&store, job(1)).unwrap();
    for epoch in 1..=12 {
        let at = i64::try_from(epoch).unwrap();
        committer.commit(Epoch(epoch), &reads(0, at - 1, at)).unwrap();
    }
    drop(committer);
    let first = "_headway/job/manifest/0000000000.json";
    let manifest = store.files()[first].clone();
    let (shared, clock): (Arc<dyn Store>, Arc<dyn Clock>) =
        (Arc::new(store.clone()), Arc::new(Manual::default()));
    upkeep::prune(&shared, &clock, "job", Folding { segment: 4, keep: 2 }).unwrap();
    // As a run leaves it that was killed after the segment had its name: nobody knows that it is durable.
    store.files().insert(first.into(), manifest);
    store.unsync(&store.below("_headway/job/segment/")[0]);
    let (mut committer, _) = start(&store, job(1)).unwrap();
    committer.sweep().unwrap();
    assert_eq!(store.below(first), [""; 0], "it goes, and the store would have complained before");
}

#[test]
fn start_on_a_lake_whose_last_commit_was_lost_is_refused_by_the_file_it_had_published() {
    let store = TestStore::default();
    let (mut committer, _) = start(&store, job(1)).unwrap();
    for epoch in [1, 2] {
        let next = 10 * i64::try_from(epoch).unwrap();
        let mut acks = reads(0, next - 10, next);
        acks.push(stage(&store, (Generation(1), Epoch(epoch)), "a\n"));
        committer.commit(Epoch(epoch), &acks).unwrap().unwrap();
    }
    drop(committer);
    let before = rows(&store);
    // Without any manifest it is no new job, either.
    for lost in [2, 1, 0] {
        store.files().remove(&names::manifest("job", Seq(lost))).expect("it is there");
        let error = start(&store, job(1)).map(drop).unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("store-inconsistent", 5));
        assert!(error.to_string().contains("gate/batch_"), "{error}");
    }
    assert_eq!(rows(&store), before);
}

#[test]
fn what_a_killed_start_left_in_a_prefix_is_removed_by_the_next() {
    let store = TestStore::default();
    drop(start(&store, job(1)).unwrap());
    store.files().insert("gate/.tmp-1-2-3".into(), b"headway"[..].into());
    let (mut committer, _) = start(&store, job(1)).unwrap();
    committer.sweep().unwrap();
    assert!(store.below("gate/").is_empty());
}

#[test]
fn runs_that_never_commit_do_not_heap_up_manifests() {
    let store = TestStore::default();
    let folding = Folding { segment: 4, keep: 2 };
    for _ in 0..30 {
        let (mut committer, _) = start(&store, Job { folding, ..job(1) }).unwrap();
        committer.sweep().unwrap();
    }
    let loose = store.below("_headway/job/manifest/");
    assert!(loose.len() <= 6, "{loose:?}");
}
