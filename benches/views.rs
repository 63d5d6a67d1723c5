//! What do views cost? The real weekly files into all views of the weekly job, and a corrected file after them, against a loop
//! written by hand that computes one view from scratch.
//!
//! ```text
//! cargo bench --bench views [-- FOLDER|epoch]
//! ```
//!
//! FOLDER holds weekly files of the MTA, of which the first two are read; without it, the sample of the tests is. The job runs in
//! process on one worker, into a lake on disk with its tables in Parquet. Contestants take turns. `station_day` was found equal
//! on both sides before any figure is printed, and again after the corrections.
//!
//! `epoch` measures one epoch of 5,000 changes instead, without files.

#![allow(clippy::print_stdout, reason = "a measurement is told on stdout")]

mod figures;
mod one_epoch;
mod weeks_by_hand;

use figures::{cpu_seconds, median, spread};
use flate2::read::MultiGzDecoder;
use headway::connect::formats::parquet;
use headway::engine::run::launch::{self, Launch};
use headway::store::local::Local;
use headway::{Control, Files, FilesOptions, Until};
use headway_operators::row::Cell;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use weeks_by_hand::{Days, Week};

const TURNS: usize = 9;

/// Every so many lines, one is corrected.
const CORRECTED: usize = 100;

/// The length of an epoch while files are followed; the job that ends has the usual one. It is most of the time that a small
/// file takes to its commit: one epoch ends when the file is found, and the next one has its lines.
const EPOCH: Duration = Duration::from_millis(10);

/// One timed run.
struct Took {
    cpu: f64,
    wall: f64,
}

fn main() {
    let asked = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    if asked.as_deref() == Some("epoch") {
        return one_epoch::measure();
    }
    let folder =
        asked.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples"), PathBuf::from);
    let weeks = read(&folder);
    let lines: usize = weeks.iter().map(|week| week.text.lines().count() - 1).sum();
    let input = tempfile::tempdir().expect("a temporary folder can be made");
    weeks.iter().for_each(|week| put(input.path(), week));

    // 1. Equal days, or there is nothing to compare. This also warms everything up.
    let want = weeks_by_hand::station_days(&weeks);
    let (days, views) = whole(input.path());
    assert!(days == want, "the job has {} days, the loop {}", days.len(), want.len());
    println!(
        "{} files, {lines} readings, {} rows of station_day, equal on both sides; {views} views",
        weeks.len(),
        want.len()
    );

    // 2. All files into all views, against one view by hand.
    let (mut job, mut hand) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        hand.push(timed(|| drop(weeks_by_hand::station_days(&weeks))));
        job.push(timed(|| drop(whole(input.path()))));
    }
    told("loop by hand, one view", &hand);
    told("the job, all views", &job);
    let ratio: Vec<f64> = job.iter().zip(&hand).map(|(job, hand)| job.wall / hand.wall).collect();
    println!("wall, job / loop  {}", spread(&ratio, 2));

    // 3. Corrected files, while the job runs.
    let from_scratch = median(&hand.iter().map(|took| took.wall).collect::<Vec<_>>());
    corrections(&weeks, from_scratch);
}

/// The first two weekly files of a folder.
fn read(folder: &Path) -> Vec<Week> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort();
    let week = |path: &PathBuf| {
        let date = path.file_name()?.to_str()?.strip_suffix(".csv.gz")?.parse().ok()?;
        let mut text = String::new();
        MultiGzDecoder::new(File::open(path).ok()?).read_to_string(&mut text).expect("it is packed text");
        Some(Week { date, text })
    };
    let weeks: Vec<Week> = paths.iter().filter_map(week).take(2).collect();
    assert!(!weeks.is_empty(), "{} has no file such as 240106.csv.gz", folder.display());
    weeks
}

/// Puts a week where the job looks, whole at once.
fn put(folder: &Path, week: &Week) {
    let hidden = folder.join(format!(".{}", week.date));
    std::fs::write(&hidden, &week.text).expect("the file can be written");
    std::fs::rename(&hidden, folder.join(format!("{}.csv", week.date))).expect("it can be renamed");
}

/// The weekly job on `input`, into `lake`.
fn job(input: &Path, lake: &Path, until: Until) -> Launch {
    let entry = headway_pipelines::find("turnstile-weekly").expect("the catalogue has the weekly pipeline");
    let made = entry.configure([]).expect("the default settings make a job");
    let spec = made.pipeline.inputs().remove(0);
    let follow = matches!(until, Until::Forever);
    let files = Files::new(FilesOptions { follow, ..FilesOptions::new(input, &spec) });
    Launch {
        sources: vec![launch::Source {
            discover_every: follow.then_some(Duration::from_millis(5)),
            ..launch::Source::new(Arc::new(files), spec.topic)
        }],
        until,
        epoch: if follow { EPOCH } else { Duration::from_secs(1) },
        ..Launch::new(made, [], Arc::new(Local::new(lake).expect("the lake can be written")))
    }
}

/// Runs the job to the end of its input; what `station_day` is then, and how many views there are.
fn whole(input: &Path) -> (Days, usize) {
    let lake = tempfile::tempdir().expect("a temporary folder can be made");
    let summary =
        headway::launch(job(input, lake.path(), Until::End), &Control::new()).expect("the job ends well");
    (station_days(lake.path()), summary.views.len())
}

/// `station_day` of a lake, without days on which nobody was counted.
fn station_days(lake: &Path) -> Days {
    let file =
        std::fs::read(lake.join("gold/turnstile-weekly/station_day.parquet")).expect("the table is there");
    let (columns, _) = parquet::describe(file.clone()).expect("it is Parquet");
    let place =
        |name: &str| columns.iter().position(|column| column.name == name).expect("it has the column");
    let [station, lines, division, day, entries, exits] =
        ["station", "lines", "division", "day", "entries", "exits"].map(place);
    let mut days = Days::new();
    let mut row = |cells: &[Cell<'_>]| {
        let text = |at: usize| match &cells[at] {
            Cell::Text(text) => text.to_string(),
            other => panic!("{other:?} is no text"),
        };
        let sum = |at: usize| match cells[at] {
            Cell::Wide(sum) => i64::try_from(sum).expect("people are few"),
            ref other => panic!("{other:?} is no sum"),
        };
        let key = ([station, lines, division].map(text), text(day));
        days.insert(key, [sum(entries), sum(exits)]);
    };
    parquet::read(file, &mut row).expect("it can be read");
    days.retain(|_, sums| *sums != [0, 0]);
    days
}

/// Corrects one of [`CORRECTED`] lines of the last week, again and again: in a file with all lines, and in one with these alone.
fn corrections(weeks: &[Week], from_scratch: f64) {
    let (input, lake) = (tempfile::tempdir(), tempfile::tempdir());
    let (input, lake) = (input.expect("a folder can be made"), lake.expect("a folder can be made"));
    let mut weeks = weeks.to_vec();
    weeks.iter().for_each(|week| put(input.path(), week));
    let mut job = job(input.path(), lake.path(), Until::Forever);
    let (send, commits) = mpsc::channel();
    job.on_commit = Box::new(move |_, manifest| {
        let parts = manifest.inputs.iter().flat_map(|input| &input.partitions);
        // Nobody listens any more once all corrections were seen.
        let _ = send.send(parts.map(|part| part.fates.accepted).sum());
    });
    let control = Control::new();
    let running = control.clone();
    let thread = std::thread::spawn(move || headway::launch(job, &running).expect("the job ends well"));
    wait(&commits, weeks.iter().map(readings).sum());
    let last = weeks.last().expect("there is a week").clone();
    let mut days = 0;
    for (what, is_whole) in [("all its lines", true), ("these lines alone", false)] {
        let mut took = Vec::new();
        for _ in 0..TURNS {
            days += 1;
            let next = corrected(&last, days, is_whole);
            let began = (cpu_seconds(), Instant::now());
            put(input.path(), &next);
            wait(&commits, readings(&next));
            took.push(Took { cpu: cpu_seconds() - began.0, wall: began.1.elapsed().as_secs_f64() });
            weeks.push(next);
        }
        let walls: Vec<f64> = took.iter().map(|took| took.wall * 1e3).collect();
        let cpu: f64 = took.iter().map(|took| took.cpu).sum::<f64>() * 1e3 / took.len() as f64;
        println!(
            "1 of {CORRECTED} lines corrected, a file of {what}: {} ms to its commit, {cpu:.0} ms of processor time, {:.2} of one view from scratch",
            spread(&walls, 0),
            median(&walls) / 1e3 / from_scratch
        );
    }
    control.drain();
    thread.join().expect("the job does not panic");
    let (days, want) = (station_days(lake.path()), weeks_by_hand::station_days(&weeks));
    assert!(days == want, "after the corrections the job has other days than the loop");
    println!("equal on both sides after {} corrections", 2 * TURNS);
}

fn readings(week: &Week) -> u64 {
    week.text.lines().count() as u64 - 1
}

/// Waits until `readings` more were committed.
fn wait(commits: &Receiver<u64>, readings: u64) {
    let mut seen = 0;
    while seen < readings {
        seen += commits.recv_timeout(Duration::from_secs(60)).expect("the job commits");
    }
    assert_eq!(seen, readings, "more was committed than there is");
}

/// `week` so many days later, with one of [`CORRECTED`] lines higher by as many entries; the others too, if it is `whole`.
fn corrected(week: &Week, days: u32, whole: bool) -> Week {
    let (mut text, mut lines) = (String::new(), week.text.lines());
    text.extend([lines.next().expect("a header"), "\n"]);
    for (number, line) in lines.enumerate() {
        let is_corrected = number % CORRECTED == 0;
        if !is_corrected && !whole {
            continue;
        }
        let mut cells: Vec<String> = line.split(',').map(str::to_string).collect();
        let entries = cells.len() - 2;
        let register: i64 = cells[entries].trim().parse().expect("a register is a number");
        cells[entries] = (register + i64::from(is_corrected) * i64::from(days)).to_string();
        text.extend([cells.join(",").as_str(), "\n"]);
    }
    Week { date: week.date + days, text }
}

fn timed(run: impl FnOnce()) -> Took {
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    run();
    Took { cpu: cpu_seconds() - cpu, wall: wall.elapsed().as_secs_f64() }
}

fn told(name: &str, took: &[Took]) {
    let of = |figure: fn(&Took) -> f64| spread(&took.iter().map(figure).collect::<Vec<_>>(), 2);
    println!("{name:24} CPU {} s, wall {} s", of(|took| took.cpu), of(|took| took.wall));
}
