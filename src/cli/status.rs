//! `headway status`: where a job stands, from its lake alone.

use super::Form;
use super::failure::Failure;
use super::lake::{self, At};
use super::table::{self, counted, grouped};
use super::units::{Millis, When};
use crate::engine::manifest::{Input, Manifest, PartitionEntry};
use clap::Args;
use headway_operators::time::EventTime;
use serde_json::{Value, json};
use std::io::{self, Write};

/// What `status` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(flatten)]
    at: At,
    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

/// Describes the last commit on `out`.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    let job = flags.at.open()?;
    let manifest = job.head()?;
    let age_ms = lake::now_ms().saturating_sub(manifest.written_ms).max(0);
    match flags.output {
        Form::Text => text(&manifest, age_ms, out)?,
        Form::Json => writeln!(out, "{}", answer(&manifest, age_ms))?,
    }
    Ok(())
}

fn text(manifest: &Manifest, age_ms: i64, out: &mut dyn Write) -> io::Result<()> {
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
        counted(manifest.workers.into(), "worker")
    )?;
    for input in &manifest.inputs {
        writeln!(out)?;
        let ended = if input.ended { ", ended" } else { "" };
        writeln!(
            out,
            "input      {} ({} \"{}\"), watermark {}{ended}",
            input.name,
            input.kind,
            input.topic,
            time(input.watermark)
        )?;
        partitions(input, out)?;
        let dead = dead_reasons(input);
        if !dead.is_empty() {
            writeln!(out, "dead       {}", dead.join(", "))?;
        }
    }
    Ok(())
}

fn partitions(input: &Input, out: &mut dyn Write) -> io::Result<()> {
    let head = [
        "PARTITION",
        "NEXT",
        "READ",
        "ACCEPTED",
        "DUPLICATE",
        "FILTERED",
        "LATE",
        "DEAD",
        "OWN WATERMARK",
        "STATE",
    ];
    let row = |part: &PartitionEntry| {
        let fates = &part.total;
        let counts =
            [fates.consumed, fates.accepted, fates.duplicate, fates.filtered, fates.late, fates.dead_total()];
        let mut row = vec![part.partition.to_string(), part.next.to_string()];
        row.extend(counts.map(grouped));
        row.extend([time(part.own), state(part).to_string()]);
        row
    };
    let rows: Vec<Vec<String>> = input.partitions.iter().map(row).collect();
    table::write(out, &head, &rows)
}

/// What a partition was doing when the manifest was written.
fn state(part: &PartitionEntry) -> &'static str {
    match part {
        PartitionEntry { ended: true, .. } => "ended",
        PartitionEntry { idle: true, .. } => "idle",
        PartitionEntry { joining: true, .. } => "joining",
        _ => "reading",
    }
}

/// Dead letters of all partitions by reason, the most frequent first.
pub(crate) fn dead_reasons(input: &Input) -> Vec<String> {
    let mut counts = std::collections::BTreeMap::<_, u64>::new();
    for (reason, count) in input.partitions.iter().flat_map(|part| &part.total.dead) {
        *counts.entry(*reason).or_default() += count;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    counts.into_iter().map(|(reason, count)| format!("{reason} {}", grouped(count))).collect()
}

/// An event time, or that there is none.
pub(crate) fn time(time: EventTime) -> String {
    if time == EventTime::MIN { "none yet".to_string() } else { When(time.ms()).to_string() }
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

fn answer(manifest: &Manifest, age_ms: i64) -> Value {
    json!({
        "schema_version": 1,
        "job": manifest.job,
        "pipeline": manifest.pipeline,
        "settings": manifest.fingerprint,
        "seq": manifest.seq,
        "epoch": manifest.epoch,
        "generation": manifest.generation,
        "workers": manifest.workers,
        "written_ms": manifest.written_ms,
        "age_ms": age_ms,
        "inputs": manifest.inputs.iter().map(input_answer).collect::<Vec<_>>(),
    })
}

fn input_answer(input: &Input) -> Value {
    let known = |time: EventTime| (time > EventTime::MIN).then_some(time.ms());
    let partition = |part: &PartitionEntry| {
        json!({
            "partition": part.partition,
            "identity": part.identity,
            "first": part.first,
            "next": part.next,
            "own_ms": known(part.own),
            "floor_ms": known(part.floor),
            "state": state(part),
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
        "partitions": input.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}
