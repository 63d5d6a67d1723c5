//! `headway status`: where a job stands, from its lake alone; the lag also from the brokers, if it is told how.

use super::lake::{self, At, Job};
use super::settings::kafka;
use super::settings::plan::flag_path;
use super::terminal::failure::Failure;
use super::terminal::form::Form;
use super::terminal::table::{self, counted, grouped};
use super::terminal::text::visible;
use super::units::{Millis, time};
use super::{dead, outcome};
use crate::connect::End;
use crate::engine::format::manifest::{Input, Manifest, PartitionEntry};
use clap::Args;
use headway_operators::record::Partition;
use headway_operators::time::EventTime;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

/// What `status` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(flatten)]
    at: At,
    /// Ask the brokers where topics end now: the Kafka client's settings. Else lag is as the running job saw it last
    #[arg(long, value_name = "FILE")]
    kafka_config: Option<PathBuf>,
    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

/// Describes the last commit on `out`.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    let job = flags.at.open()?;
    let manifest = job.head()?;
    let age_ms = lake::now_ms().saturating_sub(manifest.written_ms).max(0);
    let ends = ends(flags, &job, &manifest)?;
    match flags.output {
        Form::Text => text(&manifest, &ends, (age_ms, dead::example(&job, &manifest).as_deref()), out)?,
        Form::Json => {
            let mut answer = answer(&manifest, &ends, age_ms);
            answer["dead_example"] = json!(dead::example(&job, &manifest));
            writeln!(out, "{answer}")?;
        }
    }
    Ok(())
}

/// Where partitions end, for each input, as far as it is known.
type Ends = Vec<BTreeMap<Partition, End>>;

fn ends(flags: &Flags, job: &Job, manifest: &Manifest) -> Result<Ends, Failure> {
    let config = flags.kafka_config.as_deref().map(|path| flag_path("--kafka-config", path)).transpose()?;
    let sign = job.sign()?;
    let mut seen = sign.map(|sign| sign.ends).unwrap_or_default().into_iter();
    let mut ends = Ends::new();
    for input in &manifest.inputs {
        let seen = seen.next().unwrap_or_default().into_iter();
        let mut seen: BTreeMap<_, _> = seen.map(|end| (end.partition, end)).collect();
        if let (Some(config), "kafka") = (&config, input.kind.as_str()) {
            for info in kafka::connector(Some(config), &input.topic, None)?.partitions()? {
                let (partition, Some(offset)) = (info.partition, info.end) else { continue };
                seen.entry(partition).or_insert(End { partition, offset, stalled: false }).offset = offset;
            }
        }
        ends.push(seen);
    }
    Ok(ends)
}

/// How many offsets lie between what is committed and the partition's end, where that is known.
fn lag(part: &PartitionEntry, ends: &BTreeMap<Partition, End>) -> Option<i64> {
    ends.get(&part.partition).map(|end| (end.offset - part.next).max(0))
}

fn text(
    manifest: &Manifest,
    ends: &Ends,
    (age_ms, example): (i64, Option<&str>),
    out: &mut dyn Write,
) -> io::Result<()> {
    let settings: Vec<String> =
        manifest.fingerprint.iter().map(|(name, value)| format!("{name} {value}")).collect();
    writeln!(out, "job        {}: pipeline {}, {}", manifest.job, manifest.pipeline, settings.join(", "))?;
    writeln!(
        out,
        "committed  manifest {}, epoch {}, {} ago, by run {} with {}",
        manifest.seq,
        manifest.epoch,
        age(age_ms),
        manifest.generation,
        counted(manifest.members.total().into(), "worker")
    )?;
    for (input, ends) in manifest.inputs.iter().zip(ends) {
        writeln!(out)?;
        let ended = if input.ended { ", ended" } else { "" };
        writeln!(
            out,
            "input      {} ({} \"{}\"), watermark {}{ended}",
            input.name,
            input.kind,
            visible(&input.topic),
            time(input.watermark)
        )?;
        partitions(input, ends, out)?;
        let total = input.total();
        let read = counted(total.consumed, "record");
        writeln!(out, "records    {read}: {}", outcome::fates(&total))?;
        if let Some(top) = outcome::top(&total.dead) {
            writeln!(
                out,
                "dead       {}{}",
                visible(&top),
                example.map_or(String::new(), |e| format!("; {e}"))
            )?;
        }
    }
    writeln!(out, "\nrows       {} since the job's start", grouped(rows(manifest)))
}

/// Rows since the job's start; dead letters and late records are none.
fn rows(manifest: &Manifest) -> u64 {
    let is_side = |output: &str| {
        let side = output.split_once('-');
        side.is_some_and(|(side, input)| {
            ["dead", "late"].contains(&side) && manifest.inputs.iter().any(|known| known.name == input)
        })
    };
    manifest.written.iter().filter(|(output, _)| !is_side(output)).map(|(_, rows)| rows).sum()
}

fn partitions(input: &Input, ends: &BTreeMap<Partition, End>, out: &mut dyn Write) -> io::Result<()> {
    // Only a source that can be asked for its ends has a lag to show.
    let known = !ends.is_empty();
    let lag_head = known.then_some("LAG");
    let head: Vec<&str> = ["PARTITION", "NEXT"]
        .into_iter()
        .chain(lag_head)
        .chain(["READ", "ACCEPTED", "DUPLICATE", "FILTERED", "LATE", "DEAD", "OWN WATERMARK", "STATE"])
        .collect();
    let row = |part: &PartitionEntry| {
        let fates = &part.total;
        let counts =
            [fates.consumed, fates.accepted, fates.duplicate, fates.filtered, fates.late, fates.dead_total()];
        let lag = || lag(part, ends).map_or(String::new(), grouped);
        let mut row = vec![part.partition.to_string(), part.next.to_string()];
        row.extend(known.then(lag));
        row.extend(counts.map(grouped));
        row.extend([time(part.own), state(part, ends).to_string()]);
        row
    };
    let rows: Vec<Vec<String>> = input.partitions.iter().map(row).collect();
    table::write(out, &head, &rows)
}

/// What a partition was doing when the manifest was written, or that a transaction has held it since.
fn state(part: &PartitionEntry, ends: &BTreeMap<Partition, End>) -> &'static str {
    let stalled = ends.get(&part.partition).is_some_and(|end| end.stalled);
    match part {
        PartitionEntry { ended: true, .. } => "ended",
        PartitionEntry { idle: true, .. } => "idle",
        _ if stalled => "stalled",
        PartitionEntry { joining: true, .. } => "joining",
        _ => "reading",
    }
}

/// A rough age: its two largest units.
fn age(ms: i64) -> Millis {
    Millis(match ms {
        ..10_000 => ms,
        10_000..3_600_000 => ms / 1_000 * 1_000,
        3_600_000..86_400_000 => ms / 60_000 * 60_000,
        _ => ms / 3_600_000 * 3_600_000,
    })
}

fn answer(manifest: &Manifest, ends: &Ends, age_ms: i64) -> Value {
    json!({
        "schema_version": 1,
        "job": manifest.job,
        "pipeline": manifest.pipeline,
        "settings": manifest.fingerprint,
        "seq": manifest.seq,
        "epoch": manifest.epoch,
        "generation": manifest.generation,
        "workers": manifest.members.total(),
        "written_ms": manifest.written_ms,
        "age_ms": age_ms,
        "rows": rows(manifest),
        "inputs": manifest.inputs.iter().zip(ends).map(input_answer).collect::<Vec<_>>(),
    })
}

fn input_answer((input, ends): (&Input, &BTreeMap<Partition, End>)) -> Value {
    let known = |time: EventTime| (time > EventTime::MIN).then_some(time.ms());
    let partition = |part: &PartitionEntry| {
        json!({
            "partition": part.partition,
            "identity": part.identity,
            "first": part.first,
            "next": part.next,
            "end": ends.get(&part.partition).map(|end| end.offset),
            "lag": lag(part, ends),
            "own_ms": known(part.own),
            "floor_ms": known(part.floor),
            "state": state(part, ends),
            "consumed": part.total.consumed,
            "accepted": part.total.accepted,
            "duplicate": part.total.duplicate,
            "filtered": part.total.filtered,
            "late": part.total.late,
            "dead": part.total.dead,
        })
    };
    json!({
        "name": input.name,
        "kind": input.kind,
        "topic": input.topic,
        "watermark_ms": known(input.watermark),
        "ended": input.ended,
        "total": input.total(),
        "partitions": input.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}
