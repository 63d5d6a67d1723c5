//! The views of the streamed job by whole runs: they are what its committed rows add up to, on any number of workers, after
//! kills, and after a restart that reads nothing.

use crate::cli::{files_in, folder, headway, killed_after, succeeds};
use crate::processes::head_of;
use crate::weekly::tables;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// A little more than a day of 300 turnstiles, in UTC.
pub(crate) const SOURCE: &str = "generate:messages=30000,rate=0.3,keys=300,seed=3";

/// A committed row: its station, its end in minutes since the first day began, entries and exits.
struct Passed {
    station: Vec<String>,
    day: String,
    end: String,
    people: [i128; 2],
}

/// The committed rows. A window of five minutes begins on the day before where it ends at midnight.
fn rows(lake: &Path) -> Vec<Passed> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(lake.join("turnstile")).expect("there are rows") {
        let file = File::open(entry.expect("an entry").path()).expect("the file is there");
        for row in csv::Reader::from_reader(MultiGzDecoder::new(file)).records() {
            let row = row.expect("a row");
            let (date, time) = (&row[6], &row[7]);
            let (month, day, year) = (&date[..2], &date[3..5], &date[6..]);
            let day: u32 = day.parse().expect("a day");
            // The generator begins on a sixth of January.
            let started = if time == "00:00:00" { day - 1 } else { day };
            all.push(Passed {
                station: row.iter().skip(3).take(3).map(str::to_string).collect(),
                day: format!("{year}-{month}-{started:02}"),
                end: format!("{year}-{month}-{day:02} {time}"),
                people: [9, 10].map(|at| row[at].parse().expect("a sum")),
            });
        }
    }
    all
}

/// Compares the views of `lake` with its rows.
pub(crate) fn same(lake: &Path, what: &str) {
    let (views, rows) = (tables(lake, "turnstile"), rows(lake));
    assert!(rows.len() > 5_000, "{what}");
    let mut by_day: BTreeMap<Vec<String>, [i128; 3]> = BTreeMap::new();
    let mut overall: BTreeMap<Vec<String>, i128> = BTreeMap::new();
    let mut by_end: BTreeMap<&str, BTreeMap<Vec<String>, [i128; 2]>> = BTreeMap::new();
    for Passed { station, day, end, people: [entries, exits] } in &rows {
        let key = [station.clone(), vec![day.clone()]].concat();
        let sums = by_day.entry(key).or_default();
        (sums[0], sums[1], sums[2]) = (sums[0] + entries, sums[1] + exits, sums[2] + 1);
        *overall.entry(station.clone()).or_default() += entries;
        let sums = by_end.entry(end).or_default().entry(station.clone()).or_default();
        (sums[0], sums[1]) = (sums[0] + entries, sums[1] + exits);
    }
    let row = |(key, [entries, exits, count]): (&Vec<String>, &[i128; 3])| {
        let count = count.to_string();
        let sums = [entries.to_string(), exits.to_string(), count.clone(), count.clone(), count];
        [key.clone(), sums.to_vec()].concat()
    };
    assert_eq!(views["station_day"], by_day.iter().map(row).collect::<Vec<_>>(), "station_day, {what}");
    let mut order: Vec<(i128, &Vec<String>)> = overall.iter().map(|(station, sum)| (-sum, station)).collect();
    order.sort();
    let mut found: Vec<_> =
        views["top_stations"].iter().filter(|row| row[0] == "entries" && row[1] == "overall").collect();
    found.sort_by_key(|row| row[2].parse::<u32>().expect("a rank"));
    let found: Vec<_> = found.into_iter().map(|row| row[3..].to_vec()).collect();
    let top = order.iter().take(10).map(|(sum, name)| [(*name).clone(), vec![(-sum).to_string()]].concat());
    assert_eq!(found, top.collect::<Vec<_>>(), "top_stations, {what}");
    let (_, newest) = by_end.last_key_value().expect("a window");
    let mut order: Vec<_> = newest.iter().map(|(station, [i, o])| (-(i + o), -i, station)).collect();
    order.sort();
    let (people, entries, station) = order[0];
    let first = views["busiest_now"].iter().find(|row| row[0] == "1").expect("a first place");
    let sums = [(-entries).to_string(), (entries - people).to_string()];
    assert_eq!(first[2..], [&station[..], &sums].concat(), "busiest_now, {what}");
}

/// Every view is what `headway views verify` recomputes from the facts, which are the rows.
fn verified(at: &Path, lake: &str) {
    let verify = headway(at, &["views", "verify", "--lake", lake, "-o", "json"]);
    assert_eq!(verify.code, Some(0), "{lake}: {}{}", verify.out, verify.err);
    assert_eq!(verify.out.lines().count(), tables(&at.join(lake), "turnstile").len(), "{}", verify.out);
    // What is left out is in no fact.
    let unchecked = verify.out.lines().filter(|line| line.contains("\"ok\":null"));
    assert!(unchecked.eq(verify.out.lines().filter(|line| line.contains("anomalies"))), "{}", verify.out);
    let facts = headway(at, &["lake", "files", "--lake", lake, "-o", "json"]);
    let count = |output: &str| -> u64 {
        let files =
            facts.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        files
            .filter(|file| file["output"] == output)
            .map(|file| file["rows"].as_u64().expect("a count"))
            .sum()
    };
    assert_eq!(count("fact_turnstile"), count("turnstile"), "{lake}");
}

#[test]
fn view_that_is_not_what_was_committed_is_found() {
    let folder = folder();
    let at = folder.path();
    for (lake, seed) in [("lake", "1"), ("other", "2")] {
        let source = format!("generate:messages=3000,rate=0.3,keys=30,seed={seed}");
        let run = headway(
            at,
            &["run", "turnstile", "--source", &source, "--views", "--until", "end", "--lake", lake],
        );
        assert_eq!(run.code, Some(0), "{}", run.err);
        verified(at, lake);
    }
    let table = "gold/turnstile/station_slot.parquet";
    std::fs::copy(at.join("other").join(table), at.join("lake").join(table)).expect("a table can be copied");
    let verify = headway(at, &["views", "verify", "--lake", "lake"]);
    assert_eq!((verify.code, verify.err.contains("views-differ")), (Some(1), true), "{}", verify.err);
    assert!(
        verify.out.contains("differs  station_slot") && verify.out.contains("ok       station_day"),
        "{}",
        verify.out
    );
    // Facts that were merged are the same facts; facts that were moved away are asked for by name.
    let compact = headway(at, &["lake", "compact", "--lake", "other"]);
    assert_eq!(compact.code, Some(0), "{}", compact.err);
    verified(at, "other");
    std::fs::remove_dir_all(at.join("other/fact_turnstile")).expect("facts can be removed");
    let release = headway(at, &["lake", "release", "--lake", "other"]);
    assert_eq!(release.code, Some(0), "{}", release.err);
    let verify = headway(at, &["views", "verify", "--lake", "other"]);
    assert_eq!((verify.code, verify.err.contains("was moved away")), (Some(4), true), "{}", verify.err);
}

#[test]
fn views_of_a_stream_are_what_its_rows_add_up_to() {
    let folder = folder();
    let at = folder.path();
    for workers in ["1", "3"] {
        let lake = format!("lake-{workers}");
        let args = ["run", "turnstile", "--source", SOURCE, "--views", "--until", "end", "-w", workers];
        let run = headway(at, &[&args[..], &["--lake", &lake]].concat());
        assert_eq!(run.code, Some(0), "{}", run.err);
        same(&at.join(&lake), &format!("{workers} workers"));
        verified(at, &lake);
    }
    // Killed now and then, with another number of workers each time.
    let job = ["turnstile", "--source", SOURCE, "--views", "--until", "end", "--lake", "killed"];
    let job =
        [&job[..], &["--if-running", "take-over", "--epoch", "50ms", "--epoch-bytes", "64KiB"]].concat();
    let manifests = at.join("killed/_headway/turnstile/manifest");
    for workers in ["2", "1", "3"] {
        let args = [&["run"], &job[..], &["-w", workers]].concat();
        killed_after(at, &args, &manifests, files_in(&manifests) + 4);
    }
    let run = |more: &[&str]| {
        let run = headway(at, &[&["run"], &job[..], more].concat());
        assert_eq!(run.code, Some(0), "{}", run.err);
    };
    run(&["-w", "2"]);
    same(&at.join("killed"), "killed three times");
    // What is restored is shown as it was.
    std::fs::remove_dir_all(at.join("killed/gold")).expect("the tables can be removed");
    run(&["-w", "3"]);
    same(&at.join("killed"), "after a restart without records");
    verified(at, "killed");
    let audit = headway(at, &["audit", "--lake", "killed", "--deep"]);
    assert_eq!(audit.code, Some(0), "{}", audit.err);
}

#[test]
fn sealed_days_leave_memory_and_their_files_are_those_of_a_job_that_seals_nothing() {
    let folder = folder();
    let at = folder.path();
    // Eight days of 40 turnstiles.
    let source = "generate:messages=4000,rate=0.006,keys=40,seed=5";
    let job = |lake: &'static str, seal_after: &'static str| {
        let args = ["turnstile", "--source", source, "--views", "--until", "end", "--window", "1h"];
        let more = ["--lake", lake, "--seal-after", seal_after, "--epoch", "50ms", "--epoch-bytes", "16KiB"];
        [&args[..], &more, &["--if-running", "take-over"]].concat()
    };
    let run = |args: &[&str]| {
        let run = headway(at, &[&["run"], args].concat());
        assert_eq!(run.code, Some(0), "{}", run.err);
    };
    run(&job("kept", "35d"));
    let whole = tables(&at.join("kept"), "turnstile");
    let held = |lake: &str| {
        let held = head_of(&at.join(lake)).expect("a manifest")["operators"]["StationDay"]["held"].as_u64();
        held.expect("a count") as usize
    };
    assert_eq!(held("kept"), whole["station_day"].len(), "all days are in memory");
    for (lake, workers) in [("one", "1"), ("three", "3")] {
        run(&[&job(lake, "1d")[..], &["-w", workers]].concat());
    }
    // Killed now and then, with another number of workers each time.
    let manifests = at.join("killed/_headway/turnstile/manifest");
    for workers in ["2", "1", "3"] {
        let args = [&["run"], &job("killed", "1d")[..], &["-w", workers]].concat();
        killed_after(at, &args, &manifests, files_in(&manifests) + 5);
    }
    run(&[&job("killed", "1d")[..], &["-w", "2"]].concat());
    for lake in ["one", "three", "killed"] {
        let found = tables(&at.join(lake), "turnstile");
        assert_eq!(found.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>(), "{lake}");
        for (view, rows) in &whole {
            assert!(found[view] == *rows, "{view} of {lake} is another table where days are sealed");
        }
        let days = files_in(&at.join(lake).join("gold/turnstile/station_day"));
        // Two or three of eight days are in memory.
        assert!(days >= 8 && held(lake) * 2 < whole["station_day"].len(), "{lake}: {days} {}", held(lake));
        succeeds(&headway(at, &["views", "verify", "--lake", lake]));
        succeeds(&headway(at, &["audit", "--lake", lake]));
    }
    // Days that have left are what they were, also after a restart that seals later.
    run(&job("one", "35d"));
    assert!(tables(&at.join("one"), "turnstile") == whole);
    let args = [&["run"], &job("new", "30m")[..]].concat();
    let refused = headway(at, &args);
    assert_eq!(refused.code, Some(2), "{}{}", refused.out, refused.err);
}

#[test]
fn build_says_what_became_of_each_view() {
    let folder = folder();
    let at = folder.path();
    let build = |more: &[&str]| {
        let source = "generate:messages=3000,rate=0.3,keys=30,seed=1";
        headway(at, &[&["build", "turnstile", "--source", source, "--lake", "lake"], more].concat())
    };
    let first = build(&["--verify", "-o", "json"]);
    assert_eq!(first.code, Some(0), "{}", first.err);
    let lines: Vec<serde_json::Value> =
        first.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (summary, views) = lines.split_last().expect("a line a view, and a summary");
    assert_eq!((views.len(), &summary["consumed"]), (9, &3000.into()), "{}", first.out);
    for view in views {
        let wanted = if view["view"] == "anomalies" { "ok" } else { "changed" };
        assert!(view["status"] == wanted && view["rows"].as_u64() <= view["changes"].as_u64(), "{view}");
    }
    // Nothing is new: the tables are what they were.
    let again = build(&[]);
    assert_eq!((again.code, again.out.matches("OK").count()), (Some(0), 9), "{}{}", again.out, again.err);
    assert!(again.out.contains("9 of 9  OK"), "{}", again.out);
    // A job that does not go on builds none.
    let refused = build(&["--window", "1m"]);
    assert_eq!((refused.code, refused.out.matches("ERROR").count()), (Some(4), 9), "{}", refused.out);
    let none = build(&["--views=false"]);
    assert_eq!((none.code, none.err.contains("view-unknown")), (Some(2), true), "{}", none.err);
}
