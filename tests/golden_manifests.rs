//! Manifests and segments as releases wrote them: golden files of each format, every field in use.
//!
//! These files never change. A test that finds its file missing writes it under `REWRITE=1`; that is for new formats.

use crate::cli::folder;
use headway::engine::clock::System;
use headway::engine::commit::segment;
use headway::engine::commit::site::{Site, run};
use headway::engine::format::manifest::{
    Expectation, Fates, Fed, Finished, Input, Kind, LakeFile, LakeKind, Manifest, ManifestId, Members, Nonce,
    Operator, PartitionEntry, Program, Severity, StateEntry, StateV1, Subject, Target, TimeRange, Unjudged,
    View,
};
use headway::engine::format::names::{self, Generation, Seq, SeqRange};
use headway::store::local::Local;
use headway_operators::ack::{ByteRange, Content, InputIx, Limit, Place};
use headway_operators::error::Reason;
use headway_operators::pace::InputsWatermark;
use headway_operators::record::{LastRead, Offset, Partition};
use headway_operators::time::{Epoch, EventTime};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

fn golden(format: &str, name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", format, name].iter().collect()
}

/// Compares `bytes` with a golden file of the format that is written now.
fn as_released(name: &str, bytes: &[u8]) {
    let path = golden("v2", name);
    if !path.exists() && std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, bytes).expect("the golden file can be written");
    }
    let released = std::fs::read(&path).expect("the golden file is there");
    let text = String::from_utf8_lossy(bytes);
    assert!(released == bytes, "{name} would be written differently than it was released. Now:\n{text}");
}

fn released(format: &str, name: &str) -> Vec<u8> {
    std::fs::read(golden(format, name)).expect("the golden file is there")
}

/// The first manifest of a job, nothing known yet.
fn claim(format: u32) -> Manifest {
    let partition =
        |partition| PartitionEntry::new(Partition(partition), &format!("part-{partition}.txt"), Offset(0));
    Manifest {
        format,
        fingerprint: BTreeMap::from([("window".into(), "300".into()), ("zone".into(), "UTC".into())]),
        program: Program { name: "headway".into(), build: "0.1.0".into() },
        written_ms: 1_541_462_400_000,
        members: Members::one_process(2),
        inputs: vec![Input {
            partitions: vec![partition(0), partition(7)],
            ..Input::new("gate", "files", "gates")
        }],
        ..Manifest::first("gate \"é\"", "gate", Nonce(0x0123_4567_89ab_cdef_0011_2233_4455_6677))
    }
}

fn reason(name: &str) -> Reason {
    serde_json::from_str(&format!("\"{name}\"")).expect("it is the name of a reason")
}

/// What became of 100 records, in every way there is.
fn fates() -> Fates {
    let reasons = [
        "null-value",
        "too-long",
        "not-utf8",
        "empty",
        "bad-csv",
        "bad-header",
        "too-many-records",
        "wrong-field-count",
        "missing-field",
        "bad-number",
        "bad-timestamp",
        "future-event-time",
        "bad-json",
    ];
    let dead = reasons.into_iter().map(reason).zip(1..).collect();
    Fates { consumed: 100, accepted: 3, duplicate: 2, filtered: 1, late: 3, dead }
}

/// The manifest after [`claim`], every field in use that format 1 has.
fn epoch(format: u32) -> Manifest {
    let mut manifest = claim(format);
    manifest.parent = Some(manifest.nonce);
    (manifest.seq, manifest.nonce, manifest.kind, manifest.epoch) =
        (Seq(1), Nonce(2), Kind::Commit, Epoch(1));
    manifest.generation = Generation(3);
    manifest.allowed = vec!["dropped-state Sum".into()];
    let input = &mut manifest.inputs[0];
    (input.watermark, input.ended) = (EventTime(1_541_462_399_999), true);
    input.partitions[0].next = Offset(100);
    input.partitions[0].fates = fates();
    input.partitions[0].total = fates();
    input.partitions[0].ended = true;
    let part = &mut input.partitions[1];
    (part.own, part.floor, part.floor_from) = (EventTime(-5), EventTime(1_541_462_399_999), Offset(9));
    (part.first, part.from, part.next, part.idle, part.joining) =
        (Offset(9), Offset(9), Offset(9), true, true);
    manifest.written = BTreeMap::from([("batch".into(), u64::MAX)]);
    manifest.operators = BTreeMap::from([("Sum".into(), Operator { version: 1, held: Some(17) })]);
    let file = |output: &str, folder: &str, name: &str, event_time| LakeFile {
        kind: LakeKind::of_folder(folder),
        output: output.into(),
        folder: folder.into(),
        name: name.into(),
        staged: Place::whole(format!("_headway/gate/stage/3/1/{output}-0000")),
        rows: 2,
        bytes: 99,
        checksum: format!("{:032x}", 8),
        event_time,
        since: Epoch(1),
        fed: vec![Fed { input: InputIx(0), partition: Partition(0), from: Offset(0), next: Offset(100) }],
        replaces: Vec::new(),
    };
    let times = TimeRange { least: EventTime(-1), greatest: EventTime(1) };
    manifest.lake = vec![
        file("batch", "gate/", "batch_1_20181106_000000.csv.gz", Some(times)),
        file("dead-gate", "_dead/gate/", "dead_1_20181106_000000.ndjson.gz", None),
    ];
    manifest
}

/// [`epoch`] as format 1 has it.
fn epoch_v1() -> Manifest {
    let mut manifest = epoch(1);
    manifest.state = vec![StateEntry {
        generation: Generation(3),
        epoch: Epoch(1),
        worker: 1,
        part: 0,
        bytes: 4096,
        header_bytes: 0,
        checksum: format!("{:032x}", 7),
        place: Some(Place::whole("_headway/gate/state/3/1/Sum-0001-base.state")),
        v1: Some(StateV1 { operator: "Sum".into(), version: 1, base: true }),
    }];
    manifest
}

/// [`epoch`] with everything that format 2 has besides.
fn full() -> Manifest {
    let mut manifest = epoch(2);
    manifest.schemas = BTreeMap::from([("gate/batch".into(), format!("{:032x}", 5))]);
    manifest.began_ms = Some(1_541_462_399_000);
    manifest.members =
        Members { processes: 2, workers: 4, addresses: vec!["a:2101".into(), "b:2101".into()] };
    manifest.not_after_ms = Some(1_541_548_800_000);
    manifest.restarts = BTreeMap::from([("peer-lost".into(), 2)]);
    let input = &mut manifest.inputs[0];
    input.finished = Finished { partitions: 3, total: fates() };
    input.unjudged = Unjudged { records: 100, dead: 91, ..Unjudged::default() };
    let part = &mut input.partitions[1];
    part.last_read = Some(LastRead { offset: Offset(7), leader_epoch: 3 });
    part.content = Some(Content {
        bytes: 1_000,
        xxh3: format!("{:032x}", 6),
        at_end: false,
        begins: String::new(),
        gaps: Vec::new(),
    });
    part.quiet_since_ms = Some(1_541_462_000_000);
    part.limits = vec![Limit { from: Offset(9), limit_ms: 1_541_466_000_000 }];
    part.limit_ms = Some(1_541_466_000_000);
    manifest.watermarks =
        vec![InputsWatermark { inputs: vec![InputIx(0)], watermark: EventTime(1_541_462_399_000) }];
    manifest.sealed_up_to = Some(EventTime(1_538_352_000_000));
    manifest.unsealed = vec![EventTime(1_530_403_200_000)];
    manifest.operators.insert("Roll-dead-gate".into(), Operator { version: 2, held: None });
    manifest.dropped = BTreeMap::from([("Old".into(), Generation(2))]);
    let entry = |worker| StateEntry {
        generation: Generation(3),
        epoch: Epoch(1),
        worker,
        part: 0,
        bytes: 4096,
        header_bytes: 512,
        checksum: format!("{:032x}", 7),
        place: None,
        v1: None,
    };
    let range = Some(ByteRange { from: 0, to: 4096 });
    let bundled = Place { name: "_headway/gate/stage/3/1/0001".into(), range };
    let mut old = epoch_v1().state;
    old[0].generation = Generation(1);
    manifest.state = vec![old.remove(0), entry(0), StateEntry { place: Some(bundled), ..entry(1) }];
    manifest.lake[0].staged = Place {
        name: "_headway/gate/stage/3/1/0001".into(),
        range: Some(ByteRange { from: 4096, to: 4195 }),
    };
    manifest.lake[0].replaces = vec!["gate/batch_0_20181105_000000.csv.gz".into()];
    let view = View { keeps: 1, shows: 2, changed: Some(Seq(0)), from_epoch: Some(Epoch(1)) };
    manifest.views = BTreeMap::from([("day".into(), view)]);
    manifest.changes = Some(ManifestId { seq: Seq(0), nonce: claim(2).nonce });
    manifest.targets = BTreeMap::from([
        ("gold".into(), Target { acknowledged: Seq(0), rebuild: false }),
        ("pg".into(), Target { acknowledged: Seq(0), rebuild: true }),
    ]);
    manifest.released = vec!["gate/batch_0_20181104_000000.csv.gz".into()];
    manifest
}

/// [`claim`] of a job that expects something, as format 2 has it since expectations came in.
fn expecting() -> Manifest {
    let on = || Subject::View("day".into());
    let found = |severity, failures| Expectation { on: on(), severity, failures };
    let expectations = BTreeMap::from([
        ("one-a-day".into(), found(Severity::Fail, None)),
        ("known".into(), found(Severity::Warn, Some(3))),
    ]);
    Manifest { expectations, ..claim(2) }
}

#[test]
fn manifests_are_written_and_read_as_they_were_released() {
    let closed = Manifest { kind: Kind::Closed, lake: Vec::new(), released: Vec::new(), ..full() };
    let all = [
        ("claim.json", claim(2)),
        ("full.json", full()),
        ("closed.json", closed),
        ("expectations.json", expecting()),
    ];
    for (name, manifest) in all {
        as_released(name, &manifest.encode());
        assert_eq!(Manifest::decode(&released("v2", name)), Ok(manifest), "{name}");
    }
}

#[test]
fn manifests_of_format_1_say_what_they_said() {
    let mut found_again = epoch_v1();
    found_again.inputs[0].partitions[1].last_read = Some(LastRead { offset: Offset(7), leader_epoch: 3 });
    for (name, manifest) in
        [("claim.json", claim(1)), ("epoch.json", epoch_v1()), ("last-read.json", found_again)]
    {
        assert_eq!(Manifest::decode(&released("v1", name)), Ok(manifest), "{name}");
    }
}

#[test]
fn segments_are_read_as_they_were_released() {
    for (format, names_of, expected) in [
        ("v1", ["claim.json", "epoch.json"], [claim(1), epoch_v1()]),
        ("v2", ["claim.json", "full.json"], [claim(2), full()]),
    ] {
        let texts: Vec<String> =
            names_of.iter().map(|name| String::from_utf8(released(format, name)).unwrap()).collect();
        let pieces = headway::engine::format::pieces::fold(&texts);
        if format == "v2" {
            as_released("pieces.json", &pieces);
        }
        assert!(released(format, "pieces.json") == pieces, "{format}");
        // The compressed bytes may differ from one release of the compressor to the next; what is in them may not.
        let (folder, job) = (folder(), claim(2).job);
        let range = SeqRange { first: Seq(0), last: Seq(1) };
        let at = folder.path().join(names::segment(&job, range));
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::copy(golden(format, "segment.json.gz"), at).unwrap();
        let site = Site::new(Arc::new(Local::new(folder.path()).unwrap()), Arc::new(System::default()));
        assert_eq!(run(segment::read(&site, &job, range)).unwrap(), expected, "{format}");
    }
}
