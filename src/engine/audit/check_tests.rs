//! Tests of the audit: a sound lake passes, and each planted damage is the first thing it names.

use crate::engine::audit::{self, Report};
use crate::engine::clock::{Clock, Manual};
use crate::engine::commit::checkpoint::{Committer, Found, begin};
use crate::engine::commit::checkpoint_tests::{reads, stage, state, state_of};
use crate::engine::commit::job::tests::job;
use crate::engine::commit::test_store::TestStore;
use crate::engine::format::manifest::{Manifest, Operator};
use crate::engine::format::names;
use crate::engine::format::names::Generation;
use crate::engine::format::names::{Seq, SeqRange};
use crate::store::Store;
use flate2::Compression;
use flate2::write::GzEncoder;
use headway_operators::ack::{Ack, StagedFile};
use headway_operators::state::{SectionKind, Shard, StateChange};
use headway_operators::time::Epoch;
use std::io::Write;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

fn gz(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A lake file of two rows, one of which has a line break in it.
fn rows(store: &TestStore, epoch: u64) -> Ack {
    let Ack::Lake(file) = stage(store, (Generation(1), Epoch(epoch)), "") else { unreachable!() };
    let bytes = gz(&format!("A,B\n{epoch},1\n\"{epoch}\nagain\",2\n"));
    let (size, checksum) = (bytes.len() as u64, format!("{:032x}", xxh3_128(&bytes)));
    store.files().insert(file.staged.name.clone(), bytes.into());
    Ack::Lake(StagedFile { rows: 2, bytes: size, checksum, ..file })
}

/// The state of an operator that holds three entries.
fn saved(store: &TestStore, epoch: u64) -> [Ack; 2] {
    let held = Ack::Held { operator: "Sum".into(), worker: 0, entries: 3 };
    [state(store, (Generation(1), Epoch(epoch)), SectionKind::Base), held]
}

/// A lake of twelve epochs, the first six manifests of it folded.
fn lake() -> (TestStore, Committer) {
    let store = TestStore::default();
    let clock: Arc<dyn Clock> = Arc::new(Manual::default());
    let mut job = job(2);
    (job.folding.segment, job.folding.keep) = (3, 5);
    let (mut committer, _) = begin(Arc::new(store.clone()), clock, job, Found::default()).unwrap();
    for epoch in 1..=12 {
        let at = i64::try_from(epoch).unwrap() * 10;
        let mut acks = reads(0, at - 10, at);
        acks.push(rows(&store, epoch));
        acks.extend(saved(&store, epoch));
        committer.commit(Epoch(epoch), &acks).unwrap();
    }
    (store, committer)
}

fn audit(store: &TestStore, deep: bool) -> Report {
    let clock: Arc<dyn Clock> = Arc::new(Manual::default());
    let store: Arc<dyn Store> = Arc::new(store.clone());
    audit::run(&store, &clock, "job", deep).unwrap()
}

/// Writes manifest `seq` again, changed, with a right checksum.
fn forge(store: &TestStore, seq: u64, change: impl FnOnce(&mut Manifest)) {
    let name = names::manifest("job", Seq(seq));
    let mut manifest = Manifest::decode(&store.files()[&name].clone()).unwrap();
    change(&mut manifest);
    store.files().insert(name, manifest.encode().into());
}

#[test]
fn sound_lake_passes_and_is_counted_from_its_first_record() {
    let (store, _) = lake();
    for deep in [false, true] {
        let report = audit(&store, deep);
        assert_eq!(report.finding, None);
        assert_eq!((report.manifests, report.folded), (13, 6));
        assert_eq!((report.files, report.rows, report.records), (12, 24, 120));
        assert_eq!((report.state_files, report.unpublished), (1, 0));
    }
}

#[test]
fn each_planted_damage_is_named() {
    let cases: [(&str, bool, Damage); 12] = [
        ("is not there", false, |s| drop(s.files().remove("gate/batch_2_19700101_000000.csv.gz"))),
        ("was committed with", false, |s| {
            s.files().insert("gate/batch_2_19700101_000000.csv.gz".into(), b"x"[..].into());
        }),
        ("other bytes", true, |s| {
            let mut files = s.files();
            let bytes = files.get_mut("gate/batch_2_19700101_000000.csv.gz").unwrap();
            let mut changed = bytes.to_vec();
            changed[12] ^= 1;
            *bytes = changed.into();
        }),
        ("has 2 rows, and was committed with 3", true, |s| {
            forge(s, 9, |m| {
                m.lake[0].rows += 1;
                *m.written.get_mut("batch").unwrap() += 1;
            });
            (10..=12).for_each(|seq| forge(s, seq, |m| *m.written.get_mut("batch").unwrap() += 1));
        }),
        ("has 2 rows, and replaces files with 4", false, |s| {
            forge(s, 12, |m| {
                m.lake[0].replaces =
                    [2, 3].map(|epoch| format!("gate/batch_{epoch}_19700101_000000.csv.gz")).into();
                *m.written.get_mut("batch").unwrap() -= 2;
            });
        }),
        ("are in no manifest", false, |s| forge(s, 9, |m| m.inputs[0].partitions[0].from += 1)),
        ("are in two manifests", false, |s| forge(s, 9, |m| m.inputs[0].partitions[0].from += -1)),
        ("do not add up", false, |s| forge(s, 9, |m| m.inputs[0].partitions[0].fates.late += 1)),
        ("totals", false, |s| forge(s, 9, |m| m.inputs[0].partitions[0].total.accepted += 1)),
        ("manifest 8 is missing", false, |s| drop(s.files().remove(&names::manifest("job", Seq(8))))),
        ("is in no manifest", false, |s| {
            drop(s.files().insert("gate/sub/extra.csv.gz".into(), b"x"[..].into()))
        }),
        ("is in two manifests", false, |s| {
            forge(s, 9, |m| m.lake[0].name = "batch_8_19700101_000000.csv.gz".into())
        }),
    ];
    let lake_file = "gate/batch_2_19700101_000000.csv.gz";
    assert!(lake().0.files().contains_key(lake_file), "the cases damage it");
    named(&cases);
}

#[test]
fn each_planted_damage_to_state_and_history_is_named() {
    let cases: [(&str, bool, Damage); 8] = [
        ("state file", false, |s| s.files().retain(|name, _| !name.contains("/state/"))),
        ("has 5 bytes, not", false, |s| {
            s.files().insert("_headway/job/state/1/12/0000.state".into(), b"short"[..].into());
        }),
        ("its checksum does not match", false, |s| {
            let mut files = s.files();
            let bytes = files.get_mut("_headway/job/state/1/12/0000.state").unwrap();
            let mut changed = bytes.to_vec();
            changed[20] ^= 1;
            *bytes = changed.into();
        }),
        ("its checksum does not match", true, |s| {
            let mut files = s.files();
            let bytes = files.get_mut("_headway/job/state/1/12/0000.state").unwrap();
            let mut changed = bytes.to_vec();
            *changed.last_mut().unwrap() ^= 1;
            *bytes = changed.into();
        }),
        ("operator \"Sum\" holds 3 entries, and none", false, |s| forge(s, 12, |m| m.state.clear())),
        ("operator \"Other\" holds 1 entries, and none", false, |s| {
            forge(s, 12, |m| {
                m.operators.insert("Other".into(), Operator { version: 1, held: Some(1) });
            });
        }),
        ("no manifest: they were deleted", false, |s| {
            s.files().retain(|name, _| !name.contains("/manifest/") && !name.contains("/segment/"));
        }),
        ("leave out manifest", false, |s| {
            s.files().remove(&names::segment("job", SeqRange { first: Seq(0), last: Seq(2) }));
        }),
    ];
    named(&cases);
}

/// What a case does to a lake.
type Damage = fn(&TestStore);

/// Asserts of each case that the audit, deep or not, names the damage with these words.
fn named(cases: &[(&str, bool, Damage)]) {
    for (word, deep, damage) in cases {
        let (store, _) = lake();
        damage(&store);
        let finding = audit(&store, *deep).finding.unwrap_or_else(|| panic!("{word}: it was not found"));
        assert!(finding.what.contains(*word), "{word}: {}", finding.what);
    }
}

#[test]
fn head_that_waits_to_be_published_is_no_damage() {
    let (store, _) = lake();
    let bytes = store.files().remove("gate/batch_12_19700101_000000.csv.gz").unwrap();
    store.files().insert("_headway/job/stage/1/12/batch-0".into(), bytes);
    let report = audit(&store, true);
    assert_eq!((report.finding, report.unpublished), (None, 1));
}

#[test]
fn what_a_killed_start_left_in_a_prefix_is_no_finding() {
    let store = TestStore::default();
    let (shared, clock) =
        (Arc::new(store.clone()) as Arc<dyn Store>, Arc::new(Manual::default()) as Arc<dyn Clock>);
    drop(begin(Arc::clone(&shared), Arc::clone(&clock), job(1), Found::default()).unwrap());
    store.files().insert("gate/.tmp-1-2-3".into(), b"headway"[..].into());
    assert_eq!(audit::run(&shared, &clock, "job", true).unwrap().finding, None);
}

#[test]
fn operator_whose_state_was_replaced_by_an_empty_base_holds_nothing() {
    let (store, mut committer) = lake();
    let base = StateChange {
        operator: "Sum".into(),
        shard: Shard(1),
        version: 1,
        kind: SectionKind::Base,
        bytes: Vec::new(),
    };
    let mut acks = reads(0, 120, 121);
    acks.push(state_of(&store, (Generation(1), Epoch(13)), 0, &[base]));
    acks.push(Ack::Held { operator: "Sum".into(), worker: 0, entries: 0 });
    committer.commit(Epoch(13), &acks).unwrap();
    assert_eq!(audit(&store, true).finding, None);
    forge(&store, 13, |m| m.operators.get_mut("Sum").unwrap().held = Some(1));
    let finding = audit(&store, false).finding.expect("an empty base is no state");
    assert!(finding.what.contains("none of them is in a state file"), "{finding:?}");
}

#[test]
fn file_that_was_moved_away_is_accounted_for_where_a_manifest_says_so() {
    let (store, _) = lake();
    let moved = "gate/batch_2_19700101_000000.csv.gz";
    store.files().remove(moved).unwrap();
    assert!(audit(&store, true).finding.unwrap().what.contains("is not there"));
    forge(&store, 12, |m| m.released.push(moved.into()));
    assert_eq!(audit(&store, true).finding, None);
    forge(&store, 12, |m| m.released.push(moved.into()));
    assert!(audit(&store, true).finding.unwrap().what.contains("not there to be taken"), "twice");
    forge(&store, 12, |m| m.released = vec!["gate/batch_99.csv.gz".into()]);
    assert!(audit(&store, true).finding.unwrap().what.contains("not there to be taken"), "never committed");
}
