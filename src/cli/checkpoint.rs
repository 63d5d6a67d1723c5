//! `headway checkpoint`: the commits of a job, one by one.

use super::audit::audit;
use super::dead;
use super::lake::{At, Listing};
use super::run::outcome;
use super::terminal::failure::{Code, Failure};
use super::terminal::form::Form;
use super::terminal::table::{self, counted, grouped, members};
use super::terminal::text::{Reader, visible};
use super::units::{When, time};
use crate::engine::commit::job::FOLDING;
use crate::engine::commit::upkeep::Pruned;
use crate::engine::format::manifest::{Fates, Input, Kind, Manifest, PartitionEntry};
use crate::engine::format::names::Seq;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::{self, Write};

/// What `checkpoint` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// List commits, the newest last
    Ls {
        #[command(flatten)]
        at: At,
        /// Only the last N
        #[arg(short = 'n', long, value_name = "N")]
        last: Option<usize>,
        /// Form of the answer on standard output
        #[arg(short, long, value_name = "FORM", default_value = "text")]
        output: Form,
    },
    /// Read every commit and every file it names again: the same as audit --deep
    Verify(Listing),
    /// For a stopped job: compact old commits into few files, and delete leftovers of killed runs
    ///
    /// A running job does so by itself. Nothing is lost: folded commits are listed, shown and audited as before.
    Prune {
        #[command(flatten)]
        at: At,
        /// How many of the last commits keep a file of their own, at least 2
        #[arg(long, value_name = "N", default_value_t = FOLDING.keep, value_parser = clap::value_parser!(u64).range(2..))]
        keep: u64,
        /// Form of the answer on standard output
        #[arg(short, long, value_name = "FORM", default_value = "text")]
        output: Form,
    },
    /// Describe one commit in words
    Show {
        #[command(flatten)]
        at: At,
        /// The number of its manifest [default: the last one]
        seq: Option<u64>,
        /// Form of the answer on standard output
        #[arg(short, long, value_name = "FORM", default_value = "text")]
        output: Form,
    },
}

impl Flags {
    /// Whether the command goes on without a reader.
    pub(crate) fn reader(&self) -> Reader {
        match self.what {
            What::Verify(_) | What::Prune { .. } => Reader::MayLeave,
            What::Ls { .. } | What::Show { .. } => Reader::Listens,
        }
    }
}

/// Answers on `out`.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    match &flags.what {
        What::Ls { at, last, output } => {
            let job = at.open()?;
            let manifests = job.manifests()?;
            let from = manifests.len().saturating_sub(last.unwrap_or(usize::MAX));
            let inputs = &*manifests.last().expect("a job has a manifest").inputs;
            let examples = dead::examples(&job, &manifests, &[inputs]);
            list(&manifests[from..], examples[0].as_deref(), *output, out)
        }
        What::Verify(Listing { at, output }) => audit(at, true, *output, out),
        What::Prune { at, keep, output } => {
            let Pruned { folded, removed } = at.open()?.prune(*keep)?;
            match output {
                Form::Text => {
                    let (folded, removed) = (counted(folded, "commit"), counted(removed, "file"));
                    writeln!(out, "folded {folded}, removed {removed} that nothing names")?;
                }
                Form::Json => {
                    let answer = json!({ "schema_version": 1, "folded": folded, "removed": removed });
                    writeln!(out, "{answer}")?;
                }
            }
            Ok(())
        }
        What::Show { at, seq, output } => {
            let manifests = at.open()?.manifests()?;
            let found = match seq {
                None => manifests.last(),
                Some(seq) => manifests.iter().find(|manifest| manifest.seq == Seq(*seq)),
            };
            let Some(manifest) = found else {
                let last = manifests.last().map(|manifest| manifest.seq).unwrap_or_default();
                return Err(Failure::new(
                    Code::ManifestNotFound,
                    format!("there is no manifest {}", seq.unwrap_or_default()),
                )
                .hint(format!("The last one is {last}: see headway checkpoint ls.")));
            };
            match output {
                Form::Text => Ok(words(manifest, out)?),
                Form::Json => Ok(writeln!(out, "{}", answer(manifest))?),
            }
        }
    }
}

fn list(
    manifests: &[Manifest],
    example: Option<&str>,
    output: Form,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if output == Form::Json {
        for manifest in manifests {
            writeln!(out, "{}", answer(manifest))?;
        }
        return Ok(());
    }
    let row = |manifest: &Manifest| {
        let mut fates = Fates::default();
        manifest.inputs.iter().for_each(|input| fates.add(&input.fates()));
        let kind = match manifest.kind {
            Kind::Claim => "start",
            Kind::Commit => "epoch",
            Kind::Closed => "end",
        };
        vec![
            manifest.seq.to_string(),
            kind.to_string(),
            manifest.epoch.to_string(),
            manifest.generation.to_string(),
            When(manifest.written_ms).to_string(),
            grouped(fates.consumed),
            grouped(fates.accepted),
            grouped(fates.duplicate),
            grouped(fates.late),
            grouped(fates.dead_total()),
            grouped(fates.filtered),
            grouped(manifest.rows()),
            grouped(manifest.lake.len() as u64),
            grouped(manifest.lake.iter().map(|file| file.bytes).sum::<u64>()),
        ]
    };
    let rows: Vec<Vec<String>> = manifests.iter().map(row).collect();
    let head = [
        "SEQ",
        "KIND",
        "EPOCH",
        "RUN",
        "WRITTEN",
        "READ",
        "ACCEPTED",
        "DUPLICATE",
        "LATE",
        "DEAD",
        "FILTERED",
        "ROWS",
        "FILES",
        "BYTES",
    ];
    table::write(out, &head, &rows)?;
    let mut dead = Fates::default();
    manifests.iter().flat_map(|manifest| &manifest.inputs).for_each(|input| dead.add(&input.fates()));
    if let Some(top) = outcome::top(&dead.dead) {
        let example = example.map_or(String::new(), |example| format!("; {example}"));
        writeln!(out, "dead: {}{example}", visible(&top))?;
    }
    Ok(())
}

fn words(manifest: &Manifest, out: &mut dyn Write) -> io::Result<()> {
    let Manifest { seq, epoch, job, pipeline, generation, program, nonce, .. } = manifest;
    let written = When(manifest.written_ms);
    match manifest.kind {
        Kind::Claim => writeln!(out, "Manifest {seq} of job {job}: run {generation} started at {written}.")?,
        Kind::Commit => writeln!(
            out,
            "Manifest {seq} of job {job}: run {generation} committed epoch {epoch} at {written}."
        )?,
        Kind::Closed => writeln!(
            out,
            "Manifest {seq} of job {job}: run {generation} ended at {written}, after epoch {epoch}."
        )?,
    }
    let parent = manifest.parent.map_or("none".to_string(), |parent| parent.to_string());
    writeln!(out, "Its nonce is {nonce}, its parent's {parent}.")?;
    let settings: Vec<String> =
        manifest.fingerprint.iter().map(|(name, value)| format!("{name} {value}")).collect();
    writeln!(
        out,
        "Pipeline {pipeline} {}, {}; {} {}, {}.",
        manifest.pipeline_version,
        settings.join(", "),
        program.name,
        program.build,
        members(&manifest.members)
    )?;
    for input in &manifest.inputs {
        input_words(input, out)?;
    }
    for gap in &manifest.gaps {
        writeln!(out, "Passed over, since a person accepted it: {}.", visible(&gap.to_string()))?;
    }
    let bytes: u64 = manifest.state.iter().map(|entry| entry.bytes).sum();
    writeln!(out, "\nState: {} bytes in {}.", grouped(bytes), counted(manifest.state.len() as u64, "file"))?;
    writeln!(
        out,
        "It made {} in {}{}",
        counted(manifest.rows(), "row"),
        counted(manifest.lake.len() as u64, "file"),
        if manifest.lake.is_empty() { "." } else { ":" }
    )?;
    for file in &manifest.lake {
        // Dead letters and late records are no rows.
        let noun = if file.is_side() { "record" } else { "row" };
        writeln!(out, "  {}: {}, {} bytes", file.path(), counted(file.rows, noun), grouped(file.bytes))?;
    }
    Ok(())
}

fn input_words(input: &Input, out: &mut dyn Write) -> io::Result<()> {
    let ended = if input.ended { "; it has ended, and every window was closed" } else { "" };
    writeln!(
        out,
        "\nInput {} ({} \"{}\"): watermark {}{ended}.",
        input.name,
        input.kind,
        visible(&input.topic),
        time(input.watermark)
    )?;
    for part in &input.partitions {
        let PartitionEntry { partition, from, next, fates, .. } = part;
        writeln!(
            out,
            "  Partition {partition}: offsets {from} to before {next}; {}: {} accepted, {} duplicate, {} filtered, {} late, {} dead.",
            counted(fates.consumed, "record"),
            grouped(fates.accepted),
            grouped(fates.duplicate),
            grouped(fates.filtered),
            grouped(fates.late),
            grouped(fates.dead_total())
        )?;
    }
    match outcome::top(&input.total().dead) {
        None => Ok(()),
        Some(top) => writeln!(out, "  Dead since the job's start: {}.", visible(&top)),
    }
}

fn answer(manifest: &Manifest) -> Value {
    json!({
        "schema_version": 1,
        "seq": manifest.seq,
        "kind": manifest.kind,
        "epoch": manifest.epoch,
        "generation": manifest.generation,
        "written_ms": manifest.written_ms,
        "rows": manifest.rows(),
        "gaps": manifest.gaps,
        "files": manifest.lake.iter().map(|file| json!({
            "path": file.path(),
            "rows": file.rows,
            "bytes": file.bytes,
            "xxh3": file.checksum,
        })).collect::<Vec<_>>(),
        "partitions": manifest.inputs.iter().flat_map(|input| input.partitions.iter().map(|part| json!({
            "input": input.name,
            "partition": part.partition,
            "from": part.from,
            "next": part.next,
            "fates": part.fates,
        }))).collect::<Vec<_>>(),
    })
}
