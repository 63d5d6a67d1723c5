//! The life of a folder that is followed: files are renamed, replaced, cut and deleted while they are read.

use crate::connect::drain::{Drained, drain, poll};
use crate::connect::error::Error;
use crate::connect::files::content::Holds;
use crate::connect::files::descriptors::Descriptors;
use crate::connect::files::folder::Root;
use crate::connect::files::known::Known;
use crate::connect::files::place::{Look, Place};
use crate::connect::files::unpack::tests::gz;
use crate::connect::files::{Files, Options};
use crate::connect::{Connector, Earlier, PartitionInfo, Source};
use headway_operators::record::{Offset, Partition};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_128;

/// A reader that has not read on for so long never will.
const PATIENCE: Duration = Duration::from_secs(30);

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
        let began = Instant::now();
        while self.drained.caught_up.get(&partition) != Some(&(count as i64)) {
            assert!(began.elapsed() < PATIENCE, "partition {partition} is at {:?}", self.drained.caught_up);
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

/// `from` written over the beginning of the file, which keeps its length and its inode.
fn overwrite(path: &Path, text: &str) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn file_that_is_written_anew_at_the_same_length_is_a_new_one() {
    let long = |last: &str| format!("{}{last}\n", "head\n".repeat(2_000));
    // Another beginning; the same beginning, longer than what is compared of it, and another end.
    for (before, after) in [("1\n2\n".to_string(), "3\n4\n".to_string()), (long("1"), long("2"))] {
        let mut life = Life::of(&before);
        let count = before.lines().count();
        overwrite(&life.at("app.csv"), &after);
        for _ in 0..1_000_000 {
            poll(life.source.as_mut(), 1 << 20, &mut life.drained).unwrap();
            life.look();
            if life.known.contains_key(&Partition(1)) {
                break;
            }
        }
        assert_eq!(life.read(1, count), after.lines().collect::<Vec<_>>());
        assert_eq!(life.count(), 2 * count);
    }
}

#[test]
fn file_that_is_written_anew_while_its_reader_waits_is_noticed_before_a_commit() {
    let mut life = Life::of("1\n2\n");
    life.source.pause(Partition(0), true);
    life.files.confirm().unwrap();
    life.look();
    assert!(!life.known.contains_key(&Partition(1)), "it is the same");
    overwrite(&life.at("app.csv"), "3\n4\n");
    life.files.confirm().unwrap();
    life.look();
    assert_eq!(life.read(1, 2), ["3", "4"]);
}

#[test]
fn file_that_is_copied_and_cut_loses_no_line_and_doubles_none() {
    let mut life = Life::of("head\n1\n2\n");
    // The copy is seen while the file is there, once when it is half made.
    life.append("app.csv.1", "head\n1");
    life.look();
    life.append("app.csv.1", "\n2\n");
    life.look();
    assert!(!life.known.contains_key(&Partition(1)), "a copy is no file of its own");
    // Lines come between the last look and the cut: they are in the copy alone.
    life.append("app.csv", "3\n");
    life.read(0, 4);
    fs::remove_file(life.at("app.csv.1")).unwrap();
    fs::write(life.at("app.csv.1"), "head\n1\n2\n3\n4\n5\n").unwrap();
    fs::write(life.at("app.csv"), "head\n6\n").unwrap();
    while !life.known.contains_key(&Partition(1)) {
        poll(life.source.as_mut(), 100, &mut life.drained).unwrap();
        life.look();
    }
    assert_eq!(life.read(0, 6), ["head", "1", "2", "3", "4", "5"]);
    assert_eq!(life.read(1, 2), ["head", "6"]);
    // And once more: the copy is renamed, and the next one has its name.
    fs::rename(life.at("app.csv.1"), life.at("app.csv.2")).unwrap();
    fs::copy(life.at("app.csv"), life.at("app.csv.1")).unwrap();
    fs::write(life.at("app.csv"), "head\n7\n8\n").unwrap();
    while !life.known.contains_key(&Partition(2)) {
        poll(life.source.as_mut(), 100, &mut life.drained).unwrap();
        life.look();
    }
    assert_eq!(life.read(2, 3), ["head", "7", "8"]);
    assert_eq!(life.count(), 11, "nothing is read twice");
}

#[test]
fn file_that_begins_as_a_known_one_and_goes_on_otherwise_is_a_new_one() {
    let mut life = Life::of("head\n1\n2\n");
    life.append("b.csv", "head\n");
    life.look();
    assert!(!life.known.contains_key(&Partition(1)), "it may become a copy");
    life.append("b.csv", "3\n");
    life.look();
    assert_eq!(life.read(1, 2), ["head", "3"]);
    assert_eq!(life.count(), 5);
}

/// The envelopes of `offsets` of partition 0.
fn capture(offsets: std::ops::Range<i64>) -> String {
    offsets.map(|offset| envelope(0, offset, "x")).collect()
}

impl Life {
    /// Reads and looks until partition 0 was read up to `count`; the offsets of its messages.
    fn follow(&mut self, count: i64) -> Vec<i64> {
        let began = Instant::now();
        while self.drained.caught_up.get(&0) != Some(&count) {
            assert!(began.elapsed() < PATIENCE, "partition 0 is at {:?}", self.drained.caught_up);
            poll(self.source.as_mut(), 100, &mut self.drained).unwrap();
            self.look();
        }
        self.drained.messages[&0].iter().map(|message| message.0).collect()
    }

    /// Why an entry is passed over; empty if it is read.
    fn why(&self, name: &str) -> String {
        let entries = self.files.entries();
        let entry = entries.into_iter().find(|entry| entry.name == name && !entry.read);
        entry.map_or(String::new(), |entry| entry.what)
    }
}

#[test]
fn followed_capture_goes_on_through_all_files_that_one_look_has_found() {
    let mut life = Life::of(&capture(0..2));
    for hour in 1..4 {
        life.append(&format!("hour {hour}"), &capture(2 * hour..2 * hour + 2));
    }
    life.look();
    assert_eq!(life.read(0, 8).len(), 8);
}

#[test]
fn followed_capture_goes_on_in_the_next_hour_and_after_a_rotation() {
    let mut life = Life::of(&capture(0..2));
    life.append("hour 2", &capture(2..4));
    assert_eq!(life.follow(4), [0, 1, 2, 3]);
    // The newest file is renamed and still written to for a while; the next one has its name.
    fs::rename(life.at("hour 2"), life.at("hour 2.1")).unwrap();
    life.append("hour 2.1", &capture(4..5));
    life.append("hour 2", &capture(5..7));
    assert_eq!(life.follow(7), (0..7).collect::<Vec<_>>());
    // Two hours come at once, and the second has another partition, too.
    life.append("hour 4", &hour(9..10));
    life.append("hour 3", &capture(7..9));
    assert_eq!(life.follow(10), (0..10).collect::<Vec<_>>());
    assert_eq!(life.read(1, 10), ["y9"]);
    life.append("hour 4", &hour(10..12));
    assert_eq!(life.follow(12), (0..12).collect::<Vec<_>>());
    assert_eq!(life.read(1, 12), ["y9", "y10", "y11"]);
    // Each of the two partitions has its own reader of the file that is copied and cut.
    fs::write(life.at("hour 4.1"), hour(9..13)).unwrap();
    fs::write(life.at("hour 4"), hour(13..14)).unwrap();
    assert_eq!(life.follow(14), (0..14).collect::<Vec<_>>());
    assert_eq!(life.read(1, 14), ["y9", "y10", "y11", "y12", "y13"]);
}

#[test]
fn followed_capture_that_is_copied_cut_or_deleted_loses_no_record_and_doubles_none() {
    let mut life = Life::of(&capture(0..3));
    life.append("copy", &capture(0..3));
    life.look();
    assert!(life.why("copy").contains("it is a copy of \"app.csv\""), "{}", life.why("copy"));
    life.append("app.csv", &capture(3..4));
    assert_eq!(life.follow(4), [0, 1, 2, 3]);
    // Records come between the last look and the cut: they are in the copy alone.
    fs::write(life.at("app.csv.1"), capture(0..6)).unwrap();
    fs::write(life.at("app.csv"), capture(6..8)).unwrap();
    assert_eq!(life.follow(8), (0..8).collect::<Vec<_>>());
    fs::remove_file(life.at("app.csv")).unwrap();
    fs::remove_file(life.at("app.csv.1")).unwrap();
    life.look();
    life.append("next", &capture(8..9));
    assert_eq!(life.follow(9), (0..9).collect::<Vec<_>>());
}

#[test]
fn odd_capture_that_appears_is_passed_over_by_name_and_the_job_goes_on() {
    let mut life = Life::of(&capture(0..8));
    life.append("early", &capture(0..2).replace('x', "z"));
    life.append("again", &capture(7..9));
    life.append("falling", &(capture(9..10) + &capture(8..9)));
    life.append("next", &capture(8..9));
    assert_eq!(life.follow(9), (0..9).collect::<Vec<_>>());
    for (name, words) in [
        ("early", "it begins with offset 0 of partition 0, and offset 7 was found before it"),
        ("again", "it begins with offset 7 of partition 0"),
        ("falling", "falling:2"),
    ] {
        assert!(life.why(name).contains(words), "{name}: {}", life.why(name));
    }
}

#[test]
fn files_that_vanish_after_they_were_looked_into_were_never_there() {
    let mut life = Life::of("1\n2\n");
    let [gone, here] = ["gone.csv", "here.csv"].map(|name| life.at(name));
    for follow in [true, false] {
        let path = life.folder.path().join("in");
        let mut known = Known::new(Options { path, follow, topic: None, header: None });
        known.look().unwrap();
        fs::write(&gone, "1\n2\n3\n").unwrap();
        fs::write(&here, "4\n").unwrap();
        let listing = Root::of(&life.folder.path().join("in")).list().unwrap().files;
        let new = listing.iter().filter(|found| found.relative != "app.csv").map(|found| {
            let Look::Place(place) = Place::look(found, follow, &Descriptors::default()).unwrap() else {
                panic!("{found:?} is a file of lines");
            };
            (found, place, Holds::Lines)
        });
        let new: Vec<_> = new.collect();
        fs::remove_file(&gone).unwrap();
        known.take_in(new, &listing).unwrap();
        let names: Vec<String> = known.entries().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["app.csv", "here.csv"]);
        fs::remove_file(&here).unwrap();
    }
    life.look();
    assert_eq!(life.count(), 2);
}

/// What a run of the folder knows at its end, for the next one.
fn read_all(files: &Files) -> Vec<Earlier> {
    let partitions = files.partitions().unwrap();
    let starts: Vec<_> = partitions.iter().map(|info| (info.partition, Offset(0))).collect();
    let mut source = files.open(&starts, Box::new(|| {})).unwrap();
    let drained = drain(source.as_mut(), 10).unwrap();
    let earlier = |info: &PartitionInfo| {
        let next = Offset(drained.caught_up[&info.partition.0]);
        let content = source.content(info.partition, next);
        let (partition, identity) = (info.partition, info.identity.clone());
        Earlier { partition, identity, next, last_read: None, content, finished: false, is_new: false }
    };
    partitions.iter().map(earlier).collect()
}

fn folder_of(path: &Path) -> Files {
    Files::new(Options { path: path.to_path_buf(), follow: false, topic: None, header: None })
}

#[test]
fn content_is_all_that_was_given_and_says_whether_the_file_ended_there() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\u{FEFF}1\n22\n333";
    fs::write(folder.path().join("a"), text).unwrap();
    let mut source = folder_of(folder.path()).open(&[(Partition(0), Offset(0))], Box::new(|| {})).unwrap();
    let mut drained = Drained::default();
    poll(source.as_mut(), 1, &mut drained).unwrap();
    let content = source.content(Partition(0), Offset(1)).unwrap();
    assert_eq!((content.bytes, content.at_end), (5, false));
    assert_eq!(content.xxh3, format!("{:032x}", xxh3_128(&text.as_bytes()[..5])));
    assert_eq!(source.content(Partition(0), Offset(1)), None, "it has not changed");
    let drained = drain(source.as_mut(), 100).unwrap();
    assert_eq!(drained.caught_up, [(0, 3)].into());
    assert_eq!(source.content(Partition(0), Offset(2)), None, "more was given than was handed on");
    let content = source.content(Partition(0), Offset(3)).unwrap();
    assert_eq!((content.bytes, content.at_end), (text.len() as u64, true));
    assert_eq!(content.xxh3, format!("{:032x}", xxh3_128(text.as_bytes())));
}

#[test]
fn file_that_was_read_is_known_again_at_the_next_start_whatever_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a.csv"), "head\n1\n2\n").unwrap();
    fs::write(at("b.csv"), "head\n3\n").unwrap();
    let earlier = read_all(&folder_of(folder.path()));
    let found = |earlier: &[Earlier]| -> Vec<(u32, String)> {
        let files = folder_of(folder.path());
        files.remember(earlier);
        let name = |identity: &str| identity.split('@').next().unwrap().to_string();
        files.partitions().unwrap().iter().map(|info| (info.partition.0, name(&info.identity))).collect()
    };
    let of = |names: &[(u32, &str)]| -> Vec<(u32, String)> {
        names.iter().map(|(number, name)| (*number, format!("files:{name}"))).collect()
    };
    assert_eq!(found(&earlier), of(&[(0, "a.csv"), (1, "b.csv")]));
    // One is packed under another name, another one takes its name; one is gone.
    fs::write(at("a.csv.1.gz"), gz(&[b"head\n1\n2\n"])).unwrap();
    fs::write(at("a.csv"), "head\n7\n").unwrap();
    fs::remove_file(at("b.csv")).unwrap();
    assert_eq!(found(&earlier), of(&[(0, "a.csv"), (2, "a.csv")]));
    // What is finished is passed over when it comes back, and no file takes its number.
    let gone = Earlier { finished: true, ..earlier[1].clone() };
    fs::write(at("b.csv"), "head\n3\n").unwrap();
    assert_eq!(found(&[earlier[0].clone(), gone.clone()]), of(&[(0, "a.csv"), (2, "a.csv")]));
    fs::write(at("b.csv"), "head\n4\n").unwrap();
    let another = of(&[(0, "a.csv"), (2, "a.csv"), (3, "b.csv")]);
    assert_eq!(found(&[earlier[0].clone(), gone]), another);
}

/// A line of a capture.
fn envelope(partition: u32, offset: i64, text: &str) -> String {
    format!("{{\"partition\":{partition},\"offset\":{offset},\"payload\":\"{text}{offset}\"}}\n")
}

/// A capture of `offsets` of partition 0, and of the same of partition 1.
fn hour(offsets: std::ops::Range<i64>) -> String {
    offsets.map(|offset| envelope(0, offset, "x") + &envelope(1, offset, "y")).collect()
}

/// Reads what is new of the captures of a folder; how many records that were, and what the next run must know.
fn read_hours(path: &Path, earlier: &[Earlier]) -> Result<(usize, Vec<Earlier>), Error> {
    let files = folder_of(path);
    files.remember(earlier);
    let partitions = files.partitions()?;
    let known = |info: &PartitionInfo| earlier.iter().find(|old| old.partition == info.partition);
    let next = |info: &PartitionInfo| known(info).map_or(info.first, |old| old.next);
    for info in &partitions {
        assert!(known(info).is_none_or(|old| old.identity == info.identity), "{}", info.identity);
        assert!(info.first <= next(info) && info.end >= Some(next(info)), "{info:?}");
    }
    let starts: Vec<_> = partitions.iter().map(|info| (info.partition, next(info))).collect();
    let mut source = files.open(&starts, Box::new(|| {}))?;
    let drained = drain(source.as_mut(), 50)?;
    let after = |info: &PartitionInfo| {
        let next = Offset(drained.caught_up[&info.partition.0]);
        let content = source.content(info.partition, next);
        let content = content.or_else(|| known(info)?.content.clone());
        let (partition, identity) = (info.partition, info.identity.clone());
        Earlier { partition, identity, next, last_read: None, content, finished: false, is_new: false }
    };
    let after = partitions.iter().map(after).collect();
    for messages in drained.messages.values() {
        assert!(messages.is_sorted_by(|a, b| a.0 < b.0), "offsets rise");
    }
    Ok((drained.messages.values().map(Vec::len).sum(), after))
}

#[test]
fn capture_an_hour_is_read_in_the_order_of_offsets_whichever_files_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // The names say nothing of the order.
    fs::write(at("b"), hour(100..150)).unwrap();
    fs::write(at("c.gz"), gz(&[hour(50..100).as_bytes()])).unwrap();
    fs::write(at("a"), hour(150..160)).unwrap();
    let (count, earlier) = read_hours(folder.path(), &[]).unwrap();
    assert_eq!((count, earlier[0].next), (220, Offset(160)));
    // The next hour comes, and those that were read may stay, or go.
    fs::write(at("0"), hour(160..200)).unwrap();
    fs::remove_file(at("a")).unwrap();
    let (count, earlier) = read_hours(folder.path(), &earlier).unwrap();
    assert_eq!(count, 80);
    ["0", "b", "c.gz"].iter().for_each(|name| fs::remove_file(at(name)).unwrap());
    let (count, earlier) = read_hours(folder.path(), &earlier).unwrap();
    assert_eq!(count, 0);
    // An hour is missing and comes too late; what was read before and comes back is passed over.
    fs::write(at("late"), hour(300..310)).unwrap();
    fs::write(at("c"), hour(50..100)).unwrap();
    let (count, earlier) = read_hours(folder.path(), &earlier).unwrap();
    assert_eq!((count, earlier[1].next), (20, Offset(310)));
    for (name, offsets) in [("missing", 200..300), ("before", 0..50), ("in between", 220..230)] {
        fs::write(at(name), hour(offsets.clone())).unwrap();
        let error = read_hours(folder.path(), &earlier).unwrap_err();
        assert_eq!(error.code(), "file-below-position");
        let range = format!("offsets {}..{} of partition 0", offsets.start, offsets.end);
        assert!(error.to_string().contains(&range) && error.to_string().contains(name), "{error}");
        fs::remove_file(at(name)).unwrap();
    }
    read_hours(folder.path(), &earlier).unwrap();
}

#[test]
fn capture_that_was_replaced_or_not_read_to_its_end_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a"), hour(0..50)).unwrap();
    let (_, earlier) = read_hours(folder.path(), &[]).unwrap();
    let found = |earlier: &[Earlier]| {
        let files = folder_of(folder.path());
        files.remember(earlier);
        files.partitions().unwrap().remove(0)
    };
    // It has grown: it is the same. Another record is in its place: it is not. It is shorter: it ends too early.
    fs::write(at("a"), hour(0..60)).unwrap();
    assert_eq!(found(&earlier).identity, earlier[0].identity);
    fs::write(at("a"), hour(0..60).replace("x49", "z")).unwrap();
    assert!(found(&earlier).identity.ends_with("with another record at offset 49"));
    fs::write(at("a"), hour(0..40)).unwrap();
    assert_eq!(found(&earlier).end, Some(Offset(40)));
    // What was not read to its end may not go.
    let mut half = earlier.clone();
    half.iter_mut().for_each(|part| part.content.as_mut().unwrap().at_end = false);
    fs::remove_file(at("a")).unwrap();
    let files = folder_of(folder.path());
    files.remember(&half);
    assert_eq!(files.partitions().unwrap(), []);
    assert_eq!(found(&earlier).end, Some(Offset(50)));
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
