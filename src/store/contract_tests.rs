//! What every store answers: the same cases on a local folder and in memory.

use crate::store::local::{Local, TEMPORARY};
use crate::store::memory::Memory;
use crate::store::{Created, Error, Published, Store};
use std::io::{Read, Write};
use std::path::Path;

fn on_every_store(case: fn(&dyn Store)) {
    case(&Memory::new());
    let folder = tempfile::tempdir().unwrap();
    case(&Local::new(folder.path()).unwrap());
}

fn staged(store: &dyn Store, name: &str, bytes: &[u8]) {
    let mut file = store.stage(name).unwrap();
    file.write_all(bytes).unwrap();
    file.finish().unwrap();
}

fn text(store: &dyn Store, name: &str) -> Option<String> {
    store.read(name, 1 << 20).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn file_is_made_once_and_stays_as_it_was() {
    on_every_store(|store| {
        assert_eq!(store.create("a/b/c.json", b"first").unwrap(), Created::Yes);
        assert_eq!(store.create("a/b/c.json", b"second").unwrap(), Created::Exists);
        assert_eq!(text(store, "a/b/c.json").as_deref(), Some("first"));
        assert_eq!(store.size("a/b/c.json").unwrap(), Some(5));
        assert_eq!(store.list("a/b/").unwrap(), ["c.json"]);
    });
}

#[test]
fn nothing_there_is_told_apart_from_failure() {
    on_every_store(|store| {
        assert!(store.read("a/b", 9).unwrap().is_none());
        assert!(store.open("a/b").unwrap().is_none());
        assert_eq!(store.size("a/b").unwrap(), None);
        assert!(store.list("a/").unwrap().is_empty());
        assert!(store.list("").unwrap().is_empty());
        store.delete("a/b").unwrap();
        store.delete("a/").unwrap();
        assert_eq!(store.publish("a/b", "c/d").unwrap(), Published::Missing);
        assert_eq!(store.publish("a/b", "d").unwrap(), Published::Missing);
    });
}

#[test]
fn table_takes_the_place_of_the_one_before_it() {
    on_every_store(|store| {
        for content in ["one", "two"] {
            staged(store, "stage/x", content.as_bytes());
            store.replace("stage/x", "gold/x").unwrap();
            store.sync_folder("gold/").unwrap();
            assert_eq!(text(store, "gold/x").as_deref(), Some(content));
            assert_eq!(text(store, "stage/x"), None);
        }
        assert!(store.replace("stage/x", "gold/x").is_err());
        assert_eq!(text(store, "gold/x").as_deref(), Some("two"));
    });
}

#[test]
fn staged_file_is_published_once() {
    on_every_store(|store| {
        staged(store, "stage/1/x", b"one");
        assert_eq!(store.publish("stage/1/x", "out/x").unwrap(), Published::Yes);
        store.sync_folder("out/").unwrap();
        staged(store, "stage/2/x", b"two");
        assert_eq!(store.publish("stage/2/x", "out/x").unwrap(), Published::Exists);
        assert_eq!(text(store, "out/x").as_deref(), Some("one"));
        assert_eq!(store.publish("stage/3/x", "out/x").unwrap(), Published::Missing);
    });
}

#[test]
fn litter_is_replaced_and_what_was_published_of_it_is_not() {
    on_every_store(|store| {
        staged(store, "stage/x", b"published");
        assert_eq!(store.publish("stage/x", "out/x").unwrap(), Published::Yes);
        staged(store, "stage/x", b"again");
        assert_eq!(text(store, "stage/x").as_deref(), Some("again"));
        assert_eq!(text(store, "out/x").as_deref(), Some("published"));
    });
}

#[test]
fn list_is_sorted_and_marks_folders() {
    on_every_store(|store| {
        for name in ["f/b", "f/a", "f/c/d", "f/a.d/e", "g"] {
            store.create(name, b"").unwrap();
        }
        assert_eq!(store.list("f/").unwrap(), ["a", "a.d/", "b", "c/"]);
        assert_eq!(store.list("").unwrap(), ["f/", "g"]);
    });
}

#[test]
fn folder_is_deleted_when_it_is_empty_and_not_before() {
    on_every_store(|store| {
        store.create("f/a", b"").unwrap();
        assert!(matches!(store.delete("f/"), Err(Error::Failed { .. })));
        store.delete("f/a").unwrap();
        store.delete("f/").unwrap();
        assert!(store.list("").unwrap().is_empty());
        assert_eq!(store.create("f/a", b"new").unwrap(), Created::Yes);
        staged(store, "f/g/h", b"");
    });
}

#[test]
fn file_longer_than_its_limit_is_refused() {
    on_every_store(|store| {
        store.create("a", b"12345").unwrap();
        assert_eq!(store.read("a", 5).unwrap().as_deref(), Some(&b"12345"[..]));
        assert!(matches!(store.read("a", 4), Err(Error::TooLong { bytes: 5, bytes_max: 4, .. })));
        let mut all = Vec::new();
        store.open("a").unwrap().unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all, b"12345");
    });
}

#[test]
fn name_that_could_leave_the_root_is_refused() {
    on_every_store(|store| {
        for name in ["", "/etc/x", "../x", "a/../x", "a//b", "./a", "a/", "a\0b"] {
            assert!(matches!(store.create(name, b""), Err(Error::Failed { .. })), "create {name:?}");
            assert!(matches!(store.read(name, 9), Err(Error::Failed { .. })), "read {name:?}");
            assert!(store.stage(name).is_err(), "stage {name:?}");
            assert!(store.publish(name, "x").is_err(), "publish {name:?}");
        }
        for name in ["..", "../", "/", "a//"] {
            assert!(store.list(name).is_err(), "list {name:?}");
            assert!(store.delete(name).is_err(), "delete {name:?}");
        }
        assert!(store.delete("").is_err());
    });
}

#[test]
fn what_was_not_synced_is_lost_in_a_power_cut() {
    let store = Memory::new();
    staged(&store, "stage/x", b"one");
    drop(store.stage("stage/y").unwrap());
    store.publish("stage/x", "out/x").unwrap();
    store.publish("stage/x", "kept/x").unwrap();
    store.sync_folder("kept/").unwrap();
    store.power_cut();
    assert_eq!(store.files().into_keys().collect::<Vec<_>>(), ["kept/x", "stage/x"]);
}

fn folder() -> (tempfile::TempDir, Local) {
    let folder = tempfile::tempdir().unwrap();
    let local = Local::new(&folder.path().join("new/lake")).unwrap();
    (folder, local)
}

#[test]
fn no_symbolic_link_leads_out_of_the_root() {
    let (folder, local) = folder();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "x").unwrap();
    std::os::unix::fs::symlink(&outside, folder.path().join("new/lake/rows")).unwrap();
    assert!(matches!(local.create("rows/x", b""), Err(Error::Symlink { .. })));
    assert!(matches!(local.read("rows/secret", 9), Err(Error::Symlink { .. })));
    assert!(matches!(local.list("rows/"), Err(Error::Symlink { .. })));
    let refused = local.probe(&["_headway/job/stage/", "rows/"]).unwrap_err();
    assert!(matches!(&refused, Error::Symlink { name } if name.ends_with("lake/rows")), "{refused}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn probe_accepts_a_lake_and_leaves_nothing_behind() {
    let (_folder, local) = folder();
    local.probe(&["_headway/job/stage/", "rows/", "_dead/rows/"]).unwrap();
    assert!(local.list("").unwrap().is_empty());
}

#[test]
fn folder_on_another_file_system_is_refused_by_name() {
    let (_folder, local) = folder();
    let shm = Path::new("/dev/shm");
    let Ok(other) = tempfile::tempdir_in(shm) else {
        println!("skipped: there is no second file system at {}", shm.display());
        return;
    };
    // A mount needs rights that tests do not have everywhere; the check is the same for a folder reached otherwise.
    let probe = other.path().join("probe");
    std::fs::write(&probe, "x").unwrap();
    let refused = local.check_link(&probe, Path::new(&local.describe("")));
    assert!(matches!(refused, Err(Error::OtherFileSystem { .. })), "{refused:?}");
}

#[test]
fn folder_that_was_taken_away_is_made_again() {
    let (folder, local) = folder();
    staged(&local, "stage/1/7/x", b"one");
    std::fs::remove_dir_all(folder.path().join("new/lake/stage")).unwrap();
    staged(&local, "stage/1/7/x", b"two");
    assert_eq!(text(&local, "stage/1/7/x").as_deref(), Some("two"));
}

#[test]
fn create_leaves_no_litter() {
    let (_folder, local) = folder();
    local.create("m/1", b"x").unwrap();
    local.create("m/1", b"y").unwrap();
    assert!(!local.list("m/").unwrap().iter().any(|name| name.starts_with(TEMPORARY)));
}

#[test]
fn only_one_of_many_makes_the_file() {
    let (_folder, local) = folder();
    let made: usize = std::thread::scope(|scope| {
        let local = &local;
        let threads: Vec<_> = (0..8u8).map(|n| scope.spawn(move || local.create("m/1", &[n; 100]))).collect();
        let made = threads.into_iter().map(|thread| thread.join().unwrap().unwrap());
        made.filter(|created| *created == Created::Yes).count()
    });
    assert_eq!(made, 1);
    let bytes = local.read("m/1", 100).unwrap().unwrap();
    assert!(bytes.len() == 100 && bytes.iter().all(|byte| *byte == bytes[0]));
}

#[test]
fn root_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let refused = Local::new(&folder.path().join("file/lake")).unwrap_err();
    assert!(refused.to_string().ends_with("/file\""), "{refused}");
    assert!(Local::existing(&folder.path().join("absent")).is_err());
}

#[test]
fn part_of_a_file_is_what_there_is_of_it() {
    on_every_store(|store| {
        store.create("a/b", b"0123456789").unwrap();
        let part =
            |from, to| store.read_range("a/b", from, to).unwrap().map(|b| String::from_utf8(b).unwrap());
        for (from, to, expected) in
            [(0, 10, "0123456789"), (3, 5, "34"), (8, 99, "89"), (10, 12, ""), (99, 100, "")]
        {
            assert_eq!(part(from, to).as_deref(), Some(expected), "{from}..{to}");
        }
        assert_eq!(part(7, 7).as_deref(), Some(""));
        assert_eq!(store.read_range("a/c", 0, 1).unwrap(), None);
    });
}
