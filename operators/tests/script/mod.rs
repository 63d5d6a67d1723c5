//! The language of the cases.
//!
//! ```text
//! # What the case is about.
//! window tumbling=60s lateness=30s          or sliding=60s/20s; flush=600s
//! partitions 2                              default 1
//! inputs 0 | 1 2                            the partitions of each input, if there are several
//! ingest 10:00:05 A002 140 | 10:00:50 A002 13 id7 | 1: 10:00:01 B7 2
//! ingest 1: idle=70s                        also joining, ended
//! ```
//!
//! One `ingest` line is one epoch. A record is a time, a key, an amount and, optionally, an ID.

use super::support::{Case, Item, Outcome, Row};
use headway_operators::kit::script::Flags;
use headway_operators::record::Partition;
use headway_operators::stream::window::Grid;
use headway_operators::time::Epoch;
use std::fmt::Write;

pub(crate) fn parse(text: &str) -> Result<Case, String> {
    let mut case = Case {
        grid: Grid::tumbling(60_000),
        lateness_ms: 0,
        flush_ms: None,
        partitions: 1,
        inputs: vec![],
        epochs: vec![],
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" => {}
            "window" => window(&mut case, rest)?,
            "partitions" => {
                case.partitions = rest.trim().parse().map_err(|_| format!("not a number: {rest}"))?
            }
            "inputs" => inputs(&mut case, rest)?,
            "ingest" => {
                let items = rest.split('|').map(str::trim).filter(|item| !item.is_empty());
                case.epochs.push(items.map(item).collect::<Result<_, _>>()?);
            }
            _ => return Err(format!("not a directive: {line}")),
        }
    }
    Ok(case)
}

fn window(case: &mut Case, rest: &str) -> Result<(), String> {
    for word in rest.split_whitespace() {
        let (name, value) = word.split_once('=').ok_or(format!("not name=value: {word}"))?;
        match name {
            "tumbling" => case.grid = Grid::tumbling(seconds(value)?),
            "sliding" => {
                let (size, slide) = value.split_once('/').ok_or("sliding=SIZE/SLIDE")?;
                case.grid = Grid::sliding(seconds(size)?, seconds(slide)?);
            }
            "lateness" => case.lateness_ms = seconds(value)?,
            "flush" => case.flush_ms = Some(seconds(value)?.unsigned_abs()),
            _ => return Err(format!("not a setting: {name}")),
        }
    }
    Ok(())
}

fn inputs(case: &mut Case, rest: &str) -> Result<(), String> {
    for input in rest.split('|') {
        let number = |text: &str| text.parse().map(Partition).map_err(|_| format!("not a partition: {text}"));
        case.inputs.push(input.split_whitespace().map(number).collect::<Result<Vec<_>, _>>()?);
    }
    let all = case.inputs.iter().flatten().max();
    case.partitions = all.map_or(0, |last| last.0 + 1);
    Ok(())
}

fn seconds(text: &str) -> Result<i64, String> {
    let number = text.strip_suffix('s').ok_or(format!("not seconds: {text}"))?;
    Ok(number.parse::<i64>().map_err(|_| format!("not seconds: {text}"))? * 1000)
}

fn item(text: &str) -> Result<Item, String> {
    let (partition, rest) = match text.split_once(": ") {
        Some((partition, rest)) => {
            (partition.parse().map_err(|_| format!("not a partition: {partition}"))?, rest)
        }
        None => (0, text),
    };
    let mut flags = Flags::default();
    match rest.split_once('=').unwrap_or((rest, "")) {
        ("joining", _) => flags.joining = true,
        ("ended", _) => flags.ended = true,
        ("idle", value) => flags.idle_ms = Some(seconds(value)?.unsigned_abs()),
        _ => return Ok(Item::Message(Partition(partition), rest.to_string())),
    }
    Ok(Item::Flags(Partition(partition), flags))
}

pub(crate) fn print(case: &Case, outcome: &Outcome) -> String {
    let mut out = String::new();
    let last = Epoch(case.epochs.len() as u64);
    for row in &outcome.rows {
        let Row { epoch, start, end, key, sum } = row;
        let when = if *epoch >= last { "held   ".to_string() } else { format!("epoch {epoch}") };
        writeln!(out, "{when}  {}..{}  {key}  {sum}", clock(*start), clock(*end)).unwrap();
    }
    for (partition, text) in &outcome.late {
        writeln!(out, "late     {partition}: {text}").unwrap();
    }
    for (partition, text, reason) in &outcome.dead {
        writeln!(out, "dead     {partition}: {text}  {reason}").unwrap();
    }
    let fates = &outcome.fates;
    let (consumed, accepted, duplicate) = (fates.consumed, fates.accepted, fates.duplicate);
    writeln!(
        out,
        "fates    {consumed} consumed = {accepted} accepted + {duplicate} duplicate + {} late + {} dead",
        fates.late, fates.dead
    )
    .unwrap();
    out
}

fn clock(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    format!(
        "{:02}:{:02}:{:02}",
        seconds.div_euclid(3600),
        seconds.rem_euclid(3600) / 60,
        seconds.rem_euclid(60)
    )
}
