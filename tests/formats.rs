//! What a release has written, every later one reads: a golden lake of each format, and what is refused by its format.
//!
//! `tests/golden/v1` and `v2` hold a lake that a run left in the middle of its messages. These files never change.

use crate::cli::{folder, headway};
use headway::engine::format::manifest::Manifest;
use headway::engine::format::manifest_file::{seal, unseal};
use headway::engine::format::state::{self, Author};
use headway_operators::state::StateChange;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_128;

const JOB: &str = "turnstile";

/// How many state files the golden lake of format 2 has.
const V2_STATE_FILES: usize = 19;

/// The formats that this build reads.
const FORMATS: [&str; 2] = ["v1", "v2"];

fn golden(format: &str, name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", format, name].iter().collect()
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

#[test]
fn state_files_are_read_as_they_were_released() {
    for (format, count) in [("v1", 8), ("v2", V2_STATE_FILES)] {
        let files = files(&golden(format, "lake/_headway/turnstile/state"));
        assert_eq!(files.len(), count, "{format}");
        for path in files {
            let bytes = std::fs::read(&path).unwrap();
            let (header, sections) = state::decode(&bytes).expect("it is whole");
            assert!(!sections.is_empty(), "{}", path.display());
            if format == "v2" {
                assert_eq!(written_again(&bytes, |_| ()), bytes, "{}", path.display());
            }
            assert_eq!(header.job, JOB);
        }
    }
}

/// The same changes that made a state file of format 2, and the bytes they make.
fn written_again(bytes: &[u8], change: impl Fn(&mut StateChange)) -> Vec<u8> {
    let (header, sections) = state::decode(bytes).expect("it is whole");
    let mut changes: Vec<StateChange> = header
        .sections
        .list
        .iter()
        .zip(sections)
        .map(|(head, bytes)| {
            let operator = &header.sections.operators[usize::from(head.operator)];
            let (shard, kind, bytes) = (head.shard, head.kind, bytes.to_vec());
            StateChange { operator: operator.name.clone(), shard, version: operator.version, kind, bytes }
        })
        .collect();
    changes.iter_mut().for_each(change);
    let (generation, epoch, worker) = (header.generation, header.epoch, header.worker);
    let mut again = Vec::new();
    state::write(&mut again, Author { job: &header.job, generation, epoch, worker }, &changes)
        .expect("memory takes all bytes");
    again
}

/// A copy of a golden lake and its messages, gone when the value is.
fn copy(format: &str) -> tempfile::TempDir {
    let (folder, from) = (folder(), golden(format, ""));
    for path in files(&golden(format, "lake")).into_iter().chain(files(&golden(format, "messages"))) {
        let to = folder.path().join(path.strip_prefix(&from).expect("it is below it"));
        std::fs::create_dir_all(to.parent().expect("it has one")).expect("the folder can be made");
        std::fs::copy(&path, to).expect("the file can be copied");
    }
    folder
}

const RUN: [&str; 8] = ["run", JOB, "--source", "files:messages", "--until", "end", "--epoch-bytes", "1KiB"];

/// `line` without the fields that later releases added, where they are empty.
fn without_new(line: &str) -> String {
    let fields =
        ["limit", "key", "key_encoding", "headers", "columns"].map(|name| format!(",\"{name}\":null"));
    fields.iter().fold(line.to_string(), |line, field| line.replace(field, ""))
}

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
            rows.extend(lines.map(|line| (prefix.to_string(), without_new(line))));
        }
    }
    rows.sort_unstable();
    rows
}

#[test]
fn lake_of_each_format_is_resumed_by_any_number_of_workers_with_the_rows_of_an_uninterrupted_run() {
    for format in FORMATS {
        let whole = copy(format);
        std::fs::remove_dir_all(whole.path().join("lake")).unwrap();
        let limits = ["--not-after", "2030-01-01"];
        let run = headway(whole.path(), &[&RUN[..], &["--lake", "lake"], &limits].concat());
        assert_eq!(run.code, Some(0), "{}", run.err);
        let expected = rows(&whole.path().join("lake"));
        for workers in ["1", "2", "3"] {
            let folder = copy(format);
            let before = rows(&folder.path().join("lake"));
            assert!(before.len() > 10 && before.len() < expected.len());
            let run = headway(folder.path(), &[&RUN[..], &["--lake", "lake", "-w", workers]].concat());
            assert_eq!(run.code, Some(0), "{}", run.err);
            assert_eq!(rows(&folder.path().join("lake")), expected, "{format}, {workers} workers");
            let audit = headway(folder.path(), &["audit", "--lake", "lake", "--deep"]);
            assert_eq!(audit.code, Some(0), "{}{}", audit.out, audit.err);
            // From now on it is a lake of the newest format, which a build that reads format 1 alone refuses.
            let head = std::fs::read(manifest(&folder)).expect("the run has committed");
            assert_eq!(Manifest::decode(&head).map(|head| head.format), Ok(2));
        }
    }
}

/// The newest manifest of a copy.
fn manifest(folder: &tempfile::TempDir) -> PathBuf {
    files(&folder.path().join("lake/_headway/turnstile/manifest")).pop().expect("there is a head")
}

/// Changes the JSON of the copy's head, and makes its checksum right again.
fn tampered(format: &str, change: impl Fn(&mut serde_json::Value)) -> tempfile::TempDir {
    let folder = copy(format);
    let path = manifest(&folder);
    let body = unseal(&std::fs::read(&path).expect("the copy is whole")).expect("the copy is whole");
    let mut head = serde_json::from_slice(&body).expect("it is JSON");
    change(&mut head);
    std::fs::write(path, seal(serde_json::to_vec(&head).expect("it is JSON"))).expect("it can be written");
    folder
}

/// Changes the bytes of the newest state file that the copy's head names and that has state of `Aggregate`, and the head
/// with it, so that every checksum is right.
fn tampered_state(format: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> tempfile::TempDir {
    let lake = golden(format, "lake");
    let read = |name: &str| std::fs::read(lake.join(name)).expect("the golden file is there");
    let has_sums = |name: &String| {
        let bytes = read(name);
        let (header, _) = state::decode(&bytes).expect("it is whole");
        header.sections.operators.iter().any(|operator| operator.name == "Aggregate")
    };
    let head = files(&lake.join("_headway/turnstile/manifest")).pop().expect("there is a head");
    let head = Manifest::decode(&std::fs::read(head).expect("it is there")).expect("it is whole");
    let names: Vec<String> = head.state.iter().map(|entry| entry.place(JOB).name).collect();
    let at = names.iter().rposition(has_sums).expect("it has sums");
    let changed = change(read(&names[at]));
    let (bytes, checksum) = (changed.len() as u64, format!("{:032x}", xxh3_128(&changed)));
    // One of a later format says nothing that is understood.
    let header_bytes =
        state::header_bytes(&changed).or(state::header_bytes(&read(&names[at]))).expect("it is whole");
    let folder = tampered(format, |head| {
        let entry = &mut head["state"][at];
        (entry["bytes"], entry["checksum"]) = (bytes.into(), checksum.clone().into());
        if format != "v1" {
            entry["header_bytes"] = header_bytes.into();
        }
    });
    std::fs::write(folder.path().join("lake").join(&names[at]), changed).expect("it can be written");
    folder
}

/// Runs on `folder`, which must be refused with `code` by `words`, and changes no row; gives how many claims that left.
fn refused(folder: &tempfile::TempDir, code: i32, words: &[&str]) -> usize {
    let manifests = || files(&folder.path().join("lake/_headway/turnstile/manifest")).len();
    let (before, were) = (rows(&folder.path().join("lake")), manifests());
    for workers in ["1", "3"] {
        let run = headway(folder.path(), &[&RUN[..], &["--lake", "lake", "-w", workers]].concat());
        assert_eq!(run.code, Some(code), "{}", run.err);
        for word in words {
            assert!(run.err.contains(word), "{word} is not in {}", run.err);
        }
        assert!(!run.err.contains("panicked"), "{}", run.err);
    }
    assert_eq!(rows(&folder.path().join("lake")), before);
    manifests() - were
}

#[test]
fn manifest_of_a_later_format_is_refused_with_exit_code_4() {
    for format in FORMATS {
        let folder = tampered(format, |head| head["format"] = 3.into());
        let claims = refused(&folder, 4, &["checkpoint-newer", ".json", "format 3"]);
        assert_eq!(claims, 0, "a run that can go on is left alone");
    }
}

#[test]
fn state_file_of_a_later_format_is_refused_with_exit_code_4() {
    for format in FORMATS {
        let folder = tampered_state(format, |mut bytes| {
            bytes[8] = 3;
            bytes
        });
        let claims = refused(&folder, 4, &["checkpoint-newer", ".state", "format 3"]);
        assert_eq!(claims, 0, "a run that can go on is left alone");
    }
}

#[test]
fn state_of_a_later_version_of_an_operator_is_refused_with_exit_code_4() {
    let later = |change: &mut StateChange| {
        if change.operator == "Aggregate" {
            change.version = 9;
        }
    };
    let folder = tampered_state("v2", |bytes| written_again(&bytes, later));
    let claims = refused(&folder, 4, &["checkpoint-newer", "operator \"Aggregate\"", "version 9"]);
    assert_eq!(claims, 0, "a run that can go on is left alone");
}

#[test]
fn state_that_does_not_decode_is_refused_with_exit_code_5_and_not_by_a_panic() {
    let folder = tampered_state("v2", |bytes| {
        written_again(&bytes, |change| change.bytes.iter_mut().for_each(|byte| *byte = 0xff))
    });
    refused(&folder, 5, &["checkpoint-invalid", "operator \"", "does not decode"]);
}

#[test]
fn state_that_lacks_what_was_held_is_refused_with_exit_code_5() {
    let folder = tampered("v2", |head| {
        let held = head["operators"]["Aggregate"]["held"].as_u64().expect("it says what is held");
        head["operators"]["Aggregate"]["held"] = (held + 1).into();
    });
    refused(&folder, 5, &["checkpoint-invalid", "operator \"Aggregate\" held", "came back"]);
}

#[test]
fn section_of_a_shard_that_does_not_exist_is_refused_under_right_checksums() {
    for format in FORMATS {
        let folder = tampered_state(format, past_the_last_shard);
        let claims = refused(&folder, 5, &["checkpoint-invalid", "shard 1024"]);
        assert_eq!(claims, 0, "a run that can go on is left alone");
    }
}

/// The state file with the shard of its last section changed to 1024, one past the last, and checksums that are right.
fn past_the_last_shard(file: Vec<u8>) -> Vec<u8> {
    let (header, _) = state::decode(&file).expect("it is whole");
    let last = header.sections.list.last().expect("it has sections");
    let mut list = header.sections.list.clone();
    list.last_mut().expect("it has sections").shard.0 = 1024;
    let at = state::header_bytes(&file).expect("it is whole") as usize - 16;
    let (start, rest) = file.split_at(at);
    if file[8] == 1 {
        // Shard and length of the last section end the header; both shards take two bytes, if it is 128 or more.
        assert!(last.shard.0 >= 128 && last.bytes < 1 << 14, "the golden file lends itself to it");
        let length = postcard::to_stdvec(&last.bytes).expect("a number encodes").len();
        let mut content = file[..file.len() - 16].to_vec();
        let shard = at - length - 2;
        content[shard..shard + 2].copy_from_slice(&postcard::to_stdvec(&1024_u16).expect("a number encodes"));
        let checksum = xxh3_128(&content).to_le_bytes();
        return [&content[..], &checksum].concat();
    }
    let lying = state::Header {
        sections: headway_operators::state::Sections { list, ..header.sections.clone() },
        ..header
    };
    let lying = postcard::to_stdvec(&lying).expect("a header encodes");
    let length = (lying.len() as u32).to_le_bytes();
    let start = [&start[..12], &length, &lying].concat();
    let checksum = xxh3_128(&start).to_le_bytes();
    [&start[..], &checksum, &rest[16..]].concat()
}
