//! Every view of the weekly job at every epoch: what a slow twin makes of the lines that were read until then, whatever files they
//! are of and however those were cut, on any number of workers, after any kill.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../../tests/weekly/autumn.rs"]
mod autumn;
#[path = "../../tests/weekly/twin.rs"]
mod twin;

use autumn::{Draws, autumn};
use headway_operators::ack::InputIx;
use headway_operators::kit::script::{Dataflow, Flags, Item, Play, PlayInput, Played, Source};
use headway_operators::pipeline::Pipeline;
use headway_operators::record::{File, Partition};
use headway_operators::time::Epoch;
use headway_operators::view::row::{Value, ViewRow};
use std::collections::BTreeMap;
use std::sync::Arc;
use twin::{Row, Week};

/// A partition: the file that it is, and its lines.
struct Part {
    published: u32,
    earlier: u32,
    /// Its place among the parts of that file.
    place: usize,
    lines: Vec<String>,
}

/// A week in four parts, one of which begins where the clock goes back; the same week with corrections; and a week that was
/// published later, which has some of its readings again.
fn parts(draws: &mut Draws) -> Vec<Part> {
    let week = autumn(draws);
    let goes_back = |two: &[String]| two[0].contains(",01:45:00,") && two[1].contains(",01:00:00,");
    let back = week.windows(2).position(goes_back).expect("a turnstile reports every quarter") + 1;
    let mut cuts = [0, back, 30 + draws.below(40) as usize, 170 + draws.below(90) as usize, week.len()];
    cuts.sort_unstable();
    let mut parts: Vec<Part> = cuts
        .windows(2)
        .enumerate()
        .map(|(place, cut)| {
            let lines = week[cut[0]..cut[1]].to_vec();
            Part { published: 241_109, earlier: 0, place, lines }
        })
        .collect();
    // Another last digit of the exits; and some readings are left out, which stay.
    let corrected = |line: &String| match line.strip_suffix('7') {
        Some(line) => format!("{line}3"),
        None => line.clone(),
    };
    let mut some = |share: u64| -> Vec<String> {
        week.iter().filter(|_| draws.below(10) < share).map(corrected).collect()
    };
    parts.push(Part { published: 241_109, earlier: 1, place: 0, lines: some(9) });
    parts.push(Part { published: 241_116, earlier: 0, place: 0, lines: some(3) });
    // Which partition has which part says nothing of their order.
    for at in (1..parts.len()).rev() {
        parts.swap(at, draws.below(at as u64 + 1) as usize);
    }
    parts
}

/// What is read in each epoch: how many lines of each part more than in the epoch before.
fn epochs(parts: &[Part], longest: u64, draws: &mut Draws) -> Vec<Vec<usize>> {
    let mut read = vec![0; parts.len()];
    let mut epochs = Vec::new();
    while read.iter().zip(parts).any(|(read, part)| *read < part.lines.len()) {
        let more: Vec<usize> = read
            .iter()
            .zip(parts)
            // A part rests now and then.
            .map(|(read, part)| {
                let more = if draws.below(3) == 0 { 0 } else { draws.below(longest) as usize };
                more.min(part.lines.len() - read)
            })
            .collect();
        read.iter_mut().zip(&more).for_each(|(read, more)| *read += more);
        epochs.push(more);
    }
    epochs
}

fn play(pipeline: &dyn Pipeline, parts: &[Part], epochs: &[Vec<usize>]) -> Play {
    let source = |at: usize| Source { input: InputIx(0), partition: Partition(u32::try_from(at).unwrap()) };
    let mut read = vec![0; parts.len()];
    let mut lines = Vec::new();
    for more in epochs {
        let mut line = Vec::new();
        for (at, more) in more.iter().enumerate() {
            let values = &parts[at].lines[read[at]..read[at] + more];
            read[at] += more;
            line.extend(values.iter().map(|value| Item::Message {
                source: source(at),
                value: Some(value.clone().into_bytes()),
                timestamp_ms: None,
            }));
        }
        lines.push(line);
    }
    let flags = Flags { ended: true, ..Flags::default() };
    lines.push((0..parts.len()).map(|at| Item::Flags { source: source(at), flags }).collect());
    let input = pipeline.inputs().remove(0);
    let partitions = u32::try_from(parts.len()).unwrap();
    Play { inputs: vec![PlayInput { spec: input, partitions }], lines, flush_ms: None }
}

/// What the twin makes of the lines that were read in the first `count` epochs. Parts of a file are one file to it.
fn wanted(parts: &[Part], epochs: &[Vec<usize>], count: usize) -> BTreeMap<String, Vec<Row>> {
    let read = |at: usize| epochs[..count].iter().map(|more| more[at]).sum::<usize>();
    let mut files: BTreeMap<(u32, u32), BTreeMap<usize, &[String]>> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        let file = files.entry((part.published, part.earlier)).or_default();
        file.insert(part.place, &part.lines[..read(at)]);
    }
    let files: Vec<((u32, u32), Vec<String>)> = files
        .into_iter()
        .map(|(file, parts)| (file, parts.into_values().flatten().cloned().collect()))
        .collect();
    let weeks: Vec<Week<'_>> = files
        .iter()
        .map(|((published, met), lines)| Week { published: *published, met: *met, lines })
        .collect();
    let mut tables = twin::tables(&weeks);
    tables.retain(|_, rows| !rows.is_empty());
    tables
}

/// What the views hold as of `epoch`, as the twin has it.
fn found(played: &Played, epoch: Epoch) -> BTreeMap<String, Vec<Row>> {
    let cell = |value: &Value| match value {
        Value::Null => "null".to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Wide(sum) => sum.to_string(),
        Value::Text(text) => text.as_str().to_string(),
        Value::Time(time) => time.ms().to_string(),
    };
    let row = |(row, copies): (&ViewRow, &i64)| {
        assert_eq!(*copies, 1, "{row:?}");
        row.0.iter().map(cell).collect::<Row>()
    };
    let content = played.views_at(epoch);
    let tables = content.iter().map(|(view, rows)| {
        let mut rows: Vec<Row> = rows.iter().map(row).collect();
        rows.sort();
        (view.to_string(), rows)
    });
    tables.collect()
}

fn check(played: &Played, parts: &[Part], epochs: &[Vec<usize>], what: &str) {
    for count in 0..=epochs.len() {
        let (found, wanted) = (found(played, Epoch(count as u64)), wanted(parts, epochs, count));
        for (view, rows) in &wanted {
            assert_eq!(found.get(view), Some(rows), "{view} at epoch {count} (left), {what}");
        }
        assert_eq!(found.len(), wanted.len(), "at epoch {count}, {what}");
    }
}

#[test]
fn every_view_is_what_the_lines_add_up_to_at_every_epoch() {
    let entry = headway_pipelines::find("turnstile-weekly").expect("in the catalogue");
    let mut gone = BTreeMap::new();
    for seed in 1..=4 {
        let pipeline: Arc<dyn Pipeline> = entry.configure([("zone", "America/New_York")]).unwrap().pipeline;
        let built = Arc::clone(&pipeline);
        let mut dataflow = Dataflow::of(move |build| built.build(build));
        let draws = &mut Draws(seed);
        let parts = parts(draws);
        let file = |part: &Part| File {
            name: format!("{}-{}.csv.gz", part.place, part.published).into(),
            earlier: part.earlier,
        };
        dataflow.files = Arc::new(parts.iter().map(file).collect());
        for (workers, longest) in [(1, 60), (2, 25), (3, 90)] {
            let epochs = epochs(&parts, longest, draws);
            let play = play(pipeline.as_ref(), &parts, &epochs);
            let what = format!("seed {seed}, {workers} workers, up to {longest} lines of a part an epoch");
            let played = play.run(&dataflow, workers, seed);
            check(&played, &parts, &epochs, &what);
            let kills: Vec<usize> = (1..play.lines.len()).step_by(3).collect();
            let killed = play.run_with_kills(&dataflow, &[2, 1, 3], &kills);
            check(&killed, &parts, &epochs, &format!("{what}, killed {} times", kills.len()));
            for change in played.views.iter().filter(|change| change.diff < 0) {
                *gone.entry(change.view).or_insert(0) += 1;
            }
        }
    }
    // Corrections take rows back, in every view whose rows can change.
    for view in ["anomalies", "fact_turnstile", "station_day", "top_stations", "turnstile_health"] {
        assert!(gone.get(view).is_some_and(|count| *count > 10), "{view}: {gone:?}");
    }
}
