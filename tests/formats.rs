//! What a release has written, every later one reads: golden files of format 1, and what is refused by its format.
//!
//! `tests/golden/v1` holds a lake that a run left in the middle of its messages, and manifests with every field in use.
//! These files never change. A test that finds its file missing writes it under `REWRITE=1`; that is for new formats.

use crate::cli::{folder, headway};
use headway::engine::clock::System;
use headway::engine::commit::segment;
use headway::engine::commit::site::{Site, run};
use headway::engine::format::manifest::{
    Fates, Fed, Input, Kind, LakeFile, Manifest, Nonce, PartitionEntry, StateEntry,
};
use headway::engine::format::names;
use headway::engine::format::names::{Generation, Seq};
use headway::engine::format::state;
use headway::store::local::Local;
use headway_operators::ack::{InputIx, StateFile};
use headway_operators::error::Reason;
use headway_operators::record::{LastRead, Offset, Partition};
use headway_operators::state::StateChange;
use headway_operators::time::{Epoch, EventTime};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

const JOB: &str = "turnstile";

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "v1", name].iter().collect()
}

/// Compares a manifest with a golden file. In which order an object has its names means nothing, but changes the
/// checksum.
fn as_released_json(name: &str, bytes: &[u8]) {
    let json = |bytes: &[u8]| {
        let mut value = serde_json::from_slice::<serde_json::Value>(bytes).expect("it is JSON");
        assert!(value.as_object_mut().expect("it is an object").remove("xxh3").is_some(), "{name}");
        value
    };
    let released = std::fs::read(golden(name)).expect("the golden file is there");
    assert_eq!(json(&released), json(bytes), "{name} would be written differently than it was released");
}

/// Compares `bytes` with a golden file.
fn as_released(name: &str, bytes: &[u8]) {
    let path = golden(name);
    if !path.exists() && std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, bytes).expect("the golden file can be written");
    }
    let released = std::fs::read(&path).expect("the golden file is there");
    let text = String::from_utf8_lossy(bytes);
    assert!(released == bytes, "{name} would be written differently than it was released. Now:\n{text}");
}

/// The first manifest of a job, nothing known yet.
fn claim() -> Manifest {
    let partition = |partition| PartitionEntry {
        partition,
        identity: format!("part-{partition}.txt"),
        first: Offset(0),
        from: Offset(0),
        next: Offset(0),
        last_read: None,
        own: EventTime::MIN,
        floor: EventTime::MIN,
        floor_from: Offset(0),
        idle: false,
        joining: false,
        ended: false,
        fates: Fates::default(),
        total: Fates::default(),
    };
    Manifest {
        format: 1,
        job: "gate \"é\"".into(),
        pipeline: "gate".into(),
        pipeline_version: 1,
        fingerprint: BTreeMap::from([("window".into(), "300".into()), ("zone".into(), "UTC".into())]),
        program: "0.1.0".into(),
        seq: Seq(0),
        generation: Generation(1),
        nonce: Nonce(0x0123_4567_89ab_cdef_0011_2233_4455_6677),
        parent: None,
        kind: Kind::Claim,
        epoch: Epoch(0),
        workers: 2,
        written_ms: 1_541_462_400_000,
        not_after_ms: None,
        allowed: Vec::new(),
        inputs: vec![Input {
            name: "gate".into(),
            kind: "files".into(),
            topic: "gates".into(),
            watermark: EventTime::MIN,
            ended: false,
            partitions: vec![partition(Partition(0)), partition(Partition(7))],
        }],
        watermarks: Vec::new(),
        written: BTreeMap::new(),
        held: BTreeMap::new(),
        state: Vec::new(),
        lake: Vec::new(),
    }
}

/// The manifest after [`claim`], every field in use.
fn epoch() -> Manifest {
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
    ]
    .map(Reason::of);
    let fates = Fates {
        consumed: 100,
        accepted: 3,
        duplicate: 2,
        filtered: 1,
        late: 3,
        dead: reasons.into_iter().zip(1..).collect(),
    };
    let mut manifest = claim();
    manifest.parent = Some(manifest.nonce);
    (manifest.seq, manifest.nonce, manifest.kind, manifest.epoch) = (Seq(1), Nonce(2), Kind::Epoch, Epoch(1));
    (manifest.generation, manifest.not_after_ms) = (Generation(3), Some(-1));
    manifest.allowed = vec!["dropped-state Sum".into()];
    let input = &mut manifest.inputs[0];
    (input.watermark, input.ended) = (EventTime(1_541_462_399_999), true);
    (input.partitions[0].next, input.partitions[0].ended) = (Offset(100), true);
    input.partitions[0].fates = fates.clone();
    input.partitions[0].total = fates;
    let part = &mut input.partitions[1];
    (part.own, part.floor, part.floor_from) = (EventTime(-5), EventTime(1_541_462_399_999), Offset(9));
    (part.first, part.from, part.next, part.idle, part.joining) =
        (Offset(9), Offset(9), Offset(9), true, true);
    manifest.written = BTreeMap::from([("batch".into(), u64::MAX)]);
    manifest.held = BTreeMap::from([("Sum".into(), 17)]);
    manifest.state = vec![StateEntry {
        generation: Generation(3),
        epoch: Epoch(1),
        file: StateFile {
            operator: "Sum".into(),
            version: 1,
            worker: 1,
            base: true,
            path: names::state("gate", (Generation(3), Epoch(1)), ("Sum", 1), true),
            bytes: 4096,
            checksum: format!("{:032x}", 7),
            shards: 1024,
        },
    }];
    let file = |output: &str, path: &str, event_time| LakeFile {
        output: output.into(),
        path: path.into(),
        staged: names::staged("gate", (Generation(3), Epoch(1)), (output, 0)),
        rows: 2,
        bytes: 99,
        checksum: format!("{:032x}", 8),
        event_time,
        since: Epoch(1),
        fed: vec![Fed { input: InputIx(0), partition: Partition(0), from: Offset(0), next: Offset(100) }],
    };
    manifest.lake = vec![
        file("batch", "gate/batch_1_20181106_000000.csv.gz", Some((EventTime(-1), EventTime(1)))),
        file("dead-gate", "_dead/gate/dead_1_20181106_000000.ndjson.gz", None),
    ];
    manifest
}

/// A manifest of a partition whose last record can be found again.
fn found_again() -> Manifest {
    let mut manifest = epoch();
    manifest.inputs[0].partitions[1].last_read = Some(LastRead { offset: Offset(7), leader_epoch: 3 });
    manifest
}

#[test]
fn manifests_are_written_and_read_as_they_were_released() {
    let manifests = [("claim.json", claim()), ("epoch.json", epoch()), ("last-read.json", found_again())];
    for (name, manifest) in manifests {
        as_released_json(name, &manifest.encode());
        let released = std::fs::read(golden(name)).expect("it was just compared");
        assert_eq!(Manifest::decode(&released), Ok(manifest), "{name}");
    }
}

#[test]
fn segments_are_read_as_they_were_released() {
    let released = |name| std::fs::read_to_string(golden(name)).expect("the golden file is there");
    let texts = ["claim.json", "epoch.json"].map(released);
    as_released("pieces.json", &headway::engine::format::pieces::fold(&texts));
    // The compressed bytes may differ from one release of the compressor to the next; what is in them may not.
    let (folder, job) = (folder(), claim().job);
    let at = folder.path().join(names::segment(&job, (Seq(0), Seq(1))));
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::copy(golden("segment.json.gz"), at).unwrap();
    let site = Site::new(Arc::new(Local::new(folder.path()).unwrap()), Arc::new(System::default()));
    assert_eq!(run(segment::read(&site, &job, (Seq(0), Seq(1)))).unwrap(), [claim(), epoch()]);
}

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort_unstable();
    found
}

/// The same changes that made a state file, and the bytes they make.
fn written_again(bytes: &[u8], change: impl Fn(&mut StateChange)) -> Vec<u8> {
    let (header, saved) = state::decode(bytes).expect("it is whole");
    let mut changes: Vec<StateChange> = saved
        .into_iter()
        .map(|saved| StateChange {
            operator: header.operator.clone(),
            shard: saved.shard,
            version: header.version,
            kind: saved.kind,
            bytes: saved.bytes,
        })
        .collect();
    changes.iter_mut().for_each(change);
    let author = state::Author {
        job: &header.job,
        generation: header.generation,
        epoch: header.epoch,
        worker: header.worker,
    };
    let mut again = Vec::new();
    state::write(&mut again, author, &changes).expect("memory takes all bytes");
    again
}

#[test]
fn state_files_are_written_and_read_as_they_were_released() {
    let files = files(&golden("lake/_headway/turnstile/state"));
    assert_eq!(files.len(), 8);
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(written_again(&bytes, |_| ()), bytes, "{}", path.display());
    }
}

/// A copy of the golden lake and its messages, gone when the value is.
fn copy() -> tempfile::TempDir {
    let (folder, from) = (folder(), golden(""));
    for path in files(&golden("lake")).into_iter().chain(files(&golden("messages"))) {
        let to = folder.path().join(path.strip_prefix(&from).expect("it is below it"));
        std::fs::create_dir_all(to.parent().expect("it has one")).expect("the folder can be made");
        std::fs::copy(&path, to).expect("the file can be copied");
    }
    folder
}

const RUN: [&str; 8] = ["run", JOB, "--source", "files:messages", "--until", "end", "--epoch-bytes", "1KiB"];

/// The rows of every visible file but the header's, sorted, by the folder they are in. A field that later releases added
/// is left out where it is empty.
fn rows(lake: &Path) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for prefix in [JOB, "_dead/turnstile", "_late/turnstile"] {
        for path in files(&lake.join(prefix)) {
            let mut text = String::new();
            let mut file =
                flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).expect("it is there"));
            std::io::Read::read_to_string(&mut file, &mut text).expect("it is gzipped text");
            let lines = text.lines().filter(|line| !line.starts_with("CA,UNIT"));
            rows.extend(lines.map(|line| (prefix.to_string(), line.replace(",\"limit\":null", ""))));
        }
    }
    rows.sort_unstable();
    rows
}

#[test]
fn lake_of_format_1_is_resumed_by_any_number_of_workers_with_the_rows_of_an_uninterrupted_run() {
    let whole = copy();
    std::fs::remove_dir_all(whole.path().join("lake")).unwrap();
    let told = headway(whole.path(), &[&RUN[..], &["--lake", "lake", "--not-after", "2030-01-01"]].concat());
    assert_eq!(told.code, Some(0), "{}", told.err);
    let expected = rows(&whole.path().join("lake"));
    for workers in ["1", "2", "3"] {
        let folder = copy();
        let before = rows(&folder.path().join("lake"));
        assert!(before.len() > 10 && before.len() < expected.len());
        let told = headway(folder.path(), &[&RUN[..], &["--lake", "lake", "-w", workers]].concat());
        assert_eq!(told.code, Some(0), "{}", told.err);
        assert_eq!(rows(&folder.path().join("lake")), expected, "{workers} workers");
        let audit = headway(folder.path(), &["audit", "--lake", "lake", "--deep"]);
        assert_eq!(audit.code, Some(0), "{}{}", audit.out, audit.err);
    }
}

/// Changes the last state file that the head of the copy names, and the head with it, so that every checksum is right.
fn tampered(manifest: impl Fn(&mut Manifest), bytes: impl Fn(Vec<u8>) -> Vec<u8>) -> tempfile::TempDir {
    let folder = copy();
    let lake = folder.path().join("lake");
    let path = files(&lake.join("_headway/turnstile/manifest")).pop().expect("there is a head");
    let mut head =
        Manifest::decode(&std::fs::read(&path).expect("the copy is whole")).expect("the copy is whole");
    manifest(&mut head);
    let entry = head.state.iter_mut().find(|entry| entry.file.operator == "Aggregate").expect("it has state");
    let state = lake.join(&entry.file.path);
    let changed = bytes(std::fs::read(&state).expect("the copy is whole"));
    (entry.file.bytes, entry.file.checksum) = (changed.len() as u64, format!("{:032x}", xxh3_128(&changed)));
    std::fs::write(state, changed).expect("the copy is whole");
    std::fs::write(path, head.encode()).expect("the copy is whole");
    folder
}

/// Runs on `folder`, which must be refused with `code` by `words`, and changes no row; gives how many claims that left.
fn refused(folder: &tempfile::TempDir, code: i32, words: &[&str]) -> usize {
    let manifests = || files(&folder.path().join("lake/_headway/turnstile/manifest")).len();
    let (before, were) = (rows(&folder.path().join("lake")), manifests());
    for workers in ["1", "3"] {
        let told = headway(folder.path(), &[&RUN[..], &["--lake", "lake", "-w", workers]].concat());
        assert_eq!(told.code, Some(code), "{}", told.err);
        for word in words {
            assert!(told.err.contains(word), "{word} is not in {}", told.err);
        }
        assert!(!told.err.contains("panicked"), "{}", told.err);
    }
    assert_eq!(rows(&folder.path().join("lake")), before);
    manifests() - were
}

#[test]
fn manifest_of_a_later_format_is_refused_with_exit_code_4() {
    let folder = tampered(|head| head.format = 2, |bytes| bytes);
    let claims = refused(&folder, 4, &["checkpoint-newer", "0000000017.json", "format 2"]);
    assert_eq!(claims, 0, "a run that can go on is left alone");
}

#[test]
fn state_file_of_a_later_format_is_refused_with_exit_code_4() {
    let later = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() - 16);
        bytes[8] = 2;
        let checksum = xxh3_128(&bytes).to_le_bytes();
        [bytes.as_slice(), &checksum].concat()
    };
    let folder = tampered(|_| (), later);
    let claims = refused(&folder, 4, &["checkpoint-newer", "Aggregate-0000-base.state", "format 2"]);
    assert_eq!(claims, 0, "a run that can go on is left alone");
}

#[test]
fn state_of_a_later_version_of_an_operator_is_refused_with_exit_code_4() {
    let later = |head: &mut Manifest| {
        head.state.iter_mut().filter(|e| e.file.operator == "Aggregate").for_each(|e| e.file.version = 9);
    };
    let folder = tampered(later, |bytes| written_again(&bytes, |change| change.version = 9));
    let claims = refused(&folder, 4, &["checkpoint-newer", "operator \"Aggregate\"", "version 9"]);
    assert_eq!(claims, 0, "a run that can go on is left alone");
}

#[test]
fn state_that_does_not_decode_is_refused_with_exit_code_5_and_not_by_a_panic() {
    let folder = tampered(
        |_| (),
        |bytes| written_again(&bytes, |change| change.bytes.iter_mut().for_each(|byte| *byte = 0xff)),
    );
    refused(&folder, 5, &["checkpoint-invalid", "operator \"Aggregate\"", "does not decode"]);
}
