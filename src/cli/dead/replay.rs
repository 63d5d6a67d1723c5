//! `headway dead replay` and `headway late replay`: writes the original messages where another run can read them.

use super::side::{self, damaged, files_there};
use crate::cli::lake::At;
use crate::cli::settings::kafka;
use crate::cli::settings::place::flag_path;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::terminal::table::counted;
use crate::connect::files::name_of;
use crate::connect::original::{Folder, Original, Originals};
use crate::engine::format::manifest::{LakeFile, LakeKind, Manifest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use headway_operators::pipeline::Entry;
use headway_operators::record::{Offset, Partition};
use headway_operators::spec::{AcceptFile, roll_of};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The place that is a topic.
const KAFKA: &str = "kafka:";

/// A name that says nothing of what is in a file.
const ANY_NAME: &str = "part.csv";

/// What `late` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct LateFlags {
    #[command(subcommand)]
    what: Late,
}

#[derive(Subcommand, Clone, Debug)]
enum Late {
    /// Write the original messages to a folder or a topic, for another run
    Replay(Flags),
}

/// What a replay is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct Flags {
    #[command(flatten)]
    at: At,
    /// Where they go: a folder (envelopes as `kcat -J` writes them, a file a partition; lines of a file that has columns of its
    /// own, under its header; lines of a file whose name decides what they mean, in a file of that name), or kafka: for the topic
    #[arg(long, value_name = "WHERE")]
    to: String,
    /// Topic to write to, or named in envelopes [default: the one they came from]
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Kafka client settings: the .properties file that kcat and the Java tools take
    #[arg(long, value_name = "FILE")]
    kafka_config: Option<PathBuf>,
    /// Only those of this reason
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
}

/// Answers `late` on `out`.
pub(crate) fn late(
    flags: &LateFlags,
    catalogue: &'static [Entry],
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Late::Replay(flags) = &flags.what;
    run(flags, LakeKind::Late, catalogue, out)
}

/// Writes the originals of the side output `kind`, and says on `out` how many.
pub(crate) fn run(
    flags: &Flags,
    kind: LakeKind,
    catalogue: &'static [Entry],
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let is_topic = flags.to == KAFKA;
    if flags.kafka_config.is_some() && !is_topic {
        let what = format!("--kafka-config does not go with --to {}", flags.to);
        return Err(Failure::new(Code::CommandLine, what).hint("Use --to kafka: to write to a topic."));
    }
    let job = flags.at.open()?;
    let manifests = job.manifests()?;
    let mut places: BTreeMap<String, Box<dyn Originals>> = BTreeMap::new();
    let names = FileNames::of(&manifests, catalogue);
    let (mut written, mut cut, mut lines) = (0, 0, 0);
    for file in files_there(&manifests, kind) {
        for row in side::rows::<Row>(&job, file)? {
            let row = row?;
            if flags.reason.as_ref().is_some_and(|reason| *reason != row.reason) {
                continue;
            }
            let Some(mut original) = row.original(file)? else {
                cut += 1;
                continue;
            };
            original.file = names.decisive(&original);
            if is_topic && original.is_line() {
                lines += 1;
                continue;
            }
            if let Some(topic) = &flags.topic {
                original.topic.clone_from(topic);
            }
            // A folder takes messages of any topic, and each topic of a broker is written by itself.
            let place = if is_topic { original.topic.as_str() } else { "" };
            if !places.contains_key(place) {
                places.insert(place.to_string(), flags.open(&original.topic)?);
            }
            let to = places.get_mut(place).expect("it was opened where it was absent");
            to.write(&original)?;
            written += 1;
        }
    }
    places.values_mut().try_for_each(|place| place.finish())?;
    let place = match places.len() {
        _ if !is_topic => format!("\"{}\"", flags.to),
        0 | 1 => "the topic".to_string(),
        topics => format!("{topics} topics"),
    };
    writeln!(out, "wrote {} to {place}", counted(written, "message"))?;
    left_out(cut, lines, out)?;
    let held = held(&manifests, kind);
    if held > 0 {
        let messages = counted(held, "message");
        writeln!(
            out,
            "not in a file yet: {messages}; a run that ends, or a minute of a running job, writes them"
        )?;
    }
    Ok(())
}

/// Says on `out` how many messages were left out because they were too long, and how many because they are lines of files.
fn left_out(cut: u64, lines: u64, out: &mut dyn Write) -> Result<(), Failure> {
    if cut > 0 {
        let messages = counted(cut, "message");
        writeln!(out, "left out {messages}: a message that is too long is kept with its first 4 KiB only")?;
    }
    if lines > 0 {
        let lines = counted(lines, "line");
        writeln!(
            out,
            "left out {lines}: the header or the name of their file says what they mean, and a message has neither; --to FOLDER \
             writes them"
        )?;
    }
    Ok(())
}

/// How many refused records the job still holds.
fn held(manifests: &[Manifest], kind: LakeKind) -> u64 {
    let Some(head) = manifests.last() else { return 0 };
    let side = side::word(kind);
    head.inputs.iter().filter_map(|input| head.held(&roll_of(&format!("{side}-{}", input.name)))).sum()
}

impl Flags {
    /// Opens the place that messages of `topic` go to.
    fn open(&self, topic: &str) -> Result<Box<dyn Originals>, Failure> {
        if self.to == KAFKA {
            let config = self.kafka_config.as_deref();
            let config = config.map(|path| flag_path("--kafka-config", path)).transpose()?;
            return kafka::originals(config.as_deref(), topic);
        }
        Ok(Box::new(Folder::new(&flag_path("--to", Path::new(&self.to))?)?))
    }
}

/// Which files the pipeline of a job reads, and what they were called.
struct FileNames<'a> {
    manifests: &'a [Manifest],
    /// By topic. Empty if this program does not have the pipeline.
    accept: BTreeMap<&'a str, AcceptFile>,
}

impl<'a> FileNames<'a> {
    fn of(manifests: &'a [Manifest], catalogue: &'static [Entry]) -> FileNames<'a> {
        let made = manifests.last().and_then(|head| {
            let entry = catalogue.iter().find(|entry| entry.name == head.pipeline)?;
            Some((head, entry.configure_as_noted(&head.fingerprint).ok()?.pipeline.inputs()))
        });
        let accept = made.into_iter().flat_map(|(head, specs)| {
            head.inputs.iter().filter_map(move |input| {
                let header = specs.iter().find(|spec| spec.name == input.name)?.header?;
                Some((input.topic.as_str(), header.accept))
            })
        });
        FileNames { manifests, accept: accept.collect() }
    }

    /// The name of the file of `original`, if its pipeline would not read the line in a file of any name.
    fn decisive(&self, original: &Original) -> Option<String> {
        let accept = self.accept.get(original.topic.as_str())?;
        let line = original.columns.as_ref().map(String::as_bytes).or(original.value.as_deref())?;
        if accept(ANY_NAME, line).is_ok() {
            return None;
        }
        // A file that was read to its end may be in earlier manifests only.
        let inputs = self.manifests.iter().rev().flat_map(|manifest| &manifest.inputs);
        let mut parts =
            inputs.filter(|input| input.topic == original.topic).flat_map(|input| &input.partitions);
        let part = parts.find(|part| part.partition == original.partition)?;
        name_of(&part.identity).filter(|name| accept(name, line).is_ok())
    }
}

/// A row of a side output.
#[derive(Deserialize)]
struct Row {
    topic: String,
    partition: u32,
    offset: i64,
    timestamp: Option<i64>,
    reason: String,
    encoding: Option<String>,
    payload: Option<String>,
    /// Of a value that is not kept whole.
    length: Option<u64>,
    // Rows that earlier releases wrote have none of these.
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    key_encoding: Option<String>,
    #[serde(default)]
    headers: Option<String>,
    #[serde(default)]
    columns: Option<String>,
}

impl Row {
    /// The message as it was sent; `None` if it was not kept whole.
    fn original(self, file: &LakeFile) -> Result<Option<Original>, Failure> {
        if self.length.is_some() {
            return Ok(None);
        }
        let bytes = |text: Option<String>, encoding: Option<&str>| match (text, encoding) {
            (None, _) => Ok(None),
            (Some(text), Some("base64")) => decoded(&text, file).map(Some),
            (Some(text), _) => Ok(Some(text.into_bytes())),
        };
        Ok(Some(Original {
            partition: Partition(self.partition),
            offset: Offset(self.offset),
            timestamp_ms: self.timestamp,
            key: bytes(self.key, self.key_encoding.as_deref())?,
            headers: self.headers.map_or(Ok(Vec::new()), |text| headers(&text, file))?,
            value: bytes(self.payload, self.encoding.as_deref())?,
            columns: self.columns,
            file: None,
            topic: self.topic,
        }))
    }
}

fn decoded(text: &str, file: &LakeFile) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(text).map_err(|error| damaged(file, error.to_string()))
}

/// A header: its name, and its value if it has one.
type Header = (String, Option<Vec<u8>>);

/// Headers from a JSON array of names and values in base64.
fn headers(text: &str, file: &LakeFile) -> Result<Vec<Header>, Failure> {
    let parts: Vec<Option<String>> =
        serde_json::from_str(text).map_err(|error| damaged(file, error.to_string()))?;
    let header = |pair: &[Option<String>]| {
        let [Some(name), value] = pair else {
            return Err(damaged(file, "a header has no name".to_string()));
        };
        let name = String::from_utf8(decoded(name, file)?);
        let name = name.map_err(|error| damaged(file, error.to_string()))?;
        Ok((name, value.as_deref().map(|value| decoded(value, file)).transpose()?))
    };
    parts.chunks(2).map(header).collect()
}
