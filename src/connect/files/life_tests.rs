//! The life of a folder that is followed: files are renamed, replaced, cut and deleted while they are read.

use crate::connect::drain::{Drained, poll};
use crate::connect::error::Error;
use crate::connect::files::{Files, Options};
use crate::connect::{Connector, Source};
use headway_operators::record::{Offset, Partition};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use tempfile::TempDir;

/// A folder that is followed, step by step.
struct Life {
    folder: TempDir,
    files: Files,
    source: Box<dyn Source>,
    known: BTreeMap<Partition, String>,
    drained: Drained,
}

impl Life {
    /// Of a folder with one file `app.csv` that has these lines, all of which were read.
    fn of(lines: &str) -> Life {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("app.csv"), lines).unwrap();
        let files = Files::new(Options { path, follow: true, topic: None, header: None });
        let source = files.open(&[], Box::new(|| {})).unwrap();
        let (known, drained) = (BTreeMap::new(), Drained::default());
        let mut life = Life { folder, files, source, known, drained };
        life.look();
        life.read(0, lines.lines().count());
        life
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join("in").join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let file = fs::OpenOptions::new().create(true).append(true).open(self.at(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Looks for files, as the engine does once a second: no partition may become another one.
    fn look(&mut self) {
        for info in self.files.partitions().unwrap() {
            let identity = self.known.entry(info.partition).or_insert_with(|| {
                self.source.assign(info.partition, Offset(0)).unwrap();
                info.identity.clone()
            });
            assert_eq!(*identity, info.identity);
        }
    }

    /// Reads until `partition` has `count` messages; all of them.
    fn read(&mut self, partition: u32, count: usize) -> Vec<String> {
        while self.drained.caught_up.get(&partition) != Some(&(count as i64)) {
            poll(self.source.as_mut(), 100, &mut self.drained).unwrap();
        }
        let messages = self.drained.messages.get(&partition).into_iter().flatten();
        messages.map(|message| String::from_utf8(message.2.clone().unwrap()).unwrap()).collect()
    }

    fn count(&self) -> usize {
        self.drained.messages.values().map(Vec::len).sum()
    }
}

#[test]
fn file_that_is_rotated_by_renaming_is_read_on_and_the_new_one_too() {
    let mut life = Life::of("1\n2\n");
    fs::rename(life.at("app.csv"), life.at("app.csv.1")).unwrap();
    // Whoever writes it goes on for a while.
    life.append("app.csv.1", "3\n");
    life.append("app.csv", "other 1\n");
    life.look();
    assert_eq!(life.read(1, 1), ["other 1"]);
    assert_eq!(life.read(0, 3), ["1", "2", "3"]);
    // And once more, with the name of a file that is read.
    fs::rename(life.at("app.csv.1"), life.at("app.csv.2")).unwrap();
    fs::rename(life.at("app.csv"), life.at("app.csv.1")).unwrap();
    life.append("app.csv", "another 1\n");
    life.append("app.csv.1", "other 2\n");
    life.append("app.csv.2", "4\n");
    life.look();
    assert_eq!(life.read(2, 1), ["another 1"]);
    assert_eq!(life.read(1, 2), ["other 1", "other 2"]);
    assert_eq!(life.read(0, 4).last().unwrap(), "4");
    assert_eq!(life.count(), 7, "nothing is read twice");
}

#[test]
fn file_that_is_replaced_in_one_step_is_a_new_one() {
    let mut life = Life::of("1\n2\n");
    life.append("next", "other 1\nother 2\nother 3\n");
    fs::rename(life.at("next"), life.at("app.csv")).unwrap();
    life.look();
    assert_eq!(life.read(1, 3), ["other 1", "other 2", "other 3"]);
    life.append("app.csv", "other 4\n");
    assert_eq!(life.read(1, 4).len(), 4);
    assert_eq!(life.count(), 6);
}

#[test]
fn file_that_is_cut_and_written_anew_is_a_new_one_however_long_it_has_become() {
    for text in ["x\n", "other 1\n", "other 1\nother 2\nother 3\n"] {
        let mut life = Life::of("1\n2\n");
        fs::write(life.at("app.csv"), text).unwrap();
        // The reader notices first, and then the next look finds a new file.
        let count = text.lines().count();
        while !life.known.contains_key(&Partition(1)) {
            poll(life.source.as_mut(), 100, &mut life.drained).unwrap();
            life.look();
        }
        assert_eq!(life.read(1, count), text.lines().collect::<Vec<_>>());
        assert_eq!(life.count(), 2 + count, "{text}");
    }
}

#[test]
fn file_that_is_deleted_or_away_ends_nothing() {
    let mut life = Life::of("1\n2\n");
    fs::rename(life.at("app.csv"), life.at("../away.csv")).unwrap();
    life.append("b.csv", "b\n");
    life.look();
    assert_eq!(life.read(1, 1), ["b"]);
    fs::rename(life.at("../away.csv"), life.at("app.csv")).unwrap();
    life.append("app.csv", "3\n");
    life.look();
    assert_eq!(life.read(0, 3), ["1", "2", "3"]);
    fs::remove_file(life.at("app.csv")).unwrap();
    life.append("b.csv", "b\n");
    life.look();
    assert_eq!(life.read(1, 2).len(), 2);
    assert_eq!(life.count(), 5);
}

#[test]
fn folder_that_is_away_for_a_while_is_waited_for() {
    let mut life = Life::of("1\n2\n");
    let [path, away] = ["in", "away"].map(|name| life.folder.path().join(name));
    fs::rename(&path, &away).unwrap();
    let error = life.files.partitions().unwrap_err();
    fs::rename(&away, &path).unwrap();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}: the engine asks again");
    life.append("app.csv", "3\n");
    life.look();
    assert_eq!(life.read(0, 3), ["1", "2", "3"]);
}

#[test]
fn file_that_is_cut_in_the_middle_of_a_line_stops_the_job_by_name() {
    let mut life = Life::of("1\n2\n");
    life.append("app.csv", "half a li");
    for _ in 0..3 {
        life.append("b.csv", "b\n");
        life.look();
        let count = fs::read_to_string(life.at("b.csv")).unwrap().lines().count();
        life.read(1, count);
    }
    fs::write(life.at("app.csv"), "").unwrap();
    let error = loop {
        if let Err(error) = poll(life.source.as_mut(), 100, &mut life.drained) {
            break error;
        }
    };
    assert!(matches!(&error, Error::Unreadable { path, .. } if path.ends_with("app.csv")), "{error:?}");
}
