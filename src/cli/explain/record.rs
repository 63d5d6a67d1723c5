//! `headway explain late P:O` and `headway explain dead P:O`: why one record was refused, from what the lake keeps of it.

use crate::cli::dead::side;
use crate::cli::lake::{At, Job};
use crate::cli::program::program;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::terminal::form::Form;
use crate::cli::terminal::text::visible;
use crate::cli::units::When;
use crate::engine::format::manifest::{Fed, Input, LakeKind, Manifest, PartitionEntry};
use crate::engine::run::outcome::excerpt;
use base64::Engine;
use headway_operators::duration;
use headway_operators::error::Reason;
use headway_operators::pipeline::{DeadLetter, Entry, Fault};
use headway_operators::record::{Columns, Offset, Partition};
use headway_operators::stream::window::Grid;
use headway_operators::time::EventTime;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use std::io::Write;

/// A record by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    partition: Partition,
    offset: Offset,
}

/// What a side output keeps of a record.
#[derive(Deserialize)]
struct Row {
    topic: String,
    partition: u32,
    offset: i64,
    reason: String,
    payload: Option<String>,
    encoding: Option<String>,
    /// How many bytes it had, if it was too long to be kept.
    length: Option<u64>,
    /// Of a late record.
    event_time: Option<i64>,
    stamp: Option<i64>,
    /// Of a record that lies too far in the future.
    limit: Option<i64>,
    /// Of a line whose file has a header of its own. Rows that earlier releases wrote have none.
    #[serde(default)]
    columns: Option<String>,
}

impl Row {
    /// The bytes of the record, if it has a value.
    fn message(&self) -> Option<Vec<u8>> {
        let payload = self.payload.as_ref()?;
        match self.encoding.as_deref() {
            Some("base64") => base64::engine::general_purpose::STANDARD.decode(payload).ok(),
            _ => Some(payload.clone().into_bytes()),
        }
    }
}

/// Where a record was read.
struct ReadIn<'a> {
    manifest: &'a Manifest,
    input: &'a Input,
    part: &'a PartitionEntry,
}

/// What is to be said: a sentence, the evidence, and the command that takes the record back.
struct Story {
    sentence: String,
    evidence: Vec<String>,
    next: String,
}

/// Which record is asked about.
pub(crate) struct Question<'a> {
    /// Whether it is a late record or a dead letter.
    pub(crate) kind: LakeKind,
    /// Its place.
    pub(crate) place: Option<&'a str>,
    /// The job.
    pub(crate) at: &'a At,
    /// The pipelines, which know the fields of their messages.
    pub(crate) catalogue: &'a [Entry],
}

/// Says why the record at the place, written `PARTITION:OFFSET`, is late or a dead letter.
///
/// # Errors
/// Exit 1 if the lake has no such record; exit 2 if the place is none; exits 3 to 5 as `dead show`.
pub(crate) fn run(question: &Question<'_>, output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    let Question { kind, place, at, catalogue } = *question;
    let word = side::word(kind);
    let Some(spot) = place.and_then(spot) else {
        let what = format!("explain {word} needs the place of a record, such as 0:1234");
        let hint = format!(
            "Write PARTITION:OFFSET. headway dead show{} lists places.",
            if word == "late" { " --late" } else { "" }
        );
        return Err(Failure::new(Code::CommandLine, what).hint(hint));
    };
    let job = at.open()?;
    let manifests = job.manifests()?;
    let rows = rows(&job, &manifests, kind, spot)?;
    if rows.is_empty() {
        return Err(absent(&manifests, word, spot));
    }
    let head = manifests.last();
    let pipeline = head.and_then(|head| catalogue.iter().find(|entry| entry.name == head.pipeline));
    for row in &rows {
        let read = readings(&manifests, spot).find(|read| read.input.topic == row.topic);
        let story = match kind {
            LakeKind::Late => late(row, read.as_ref(), &manifests),
            LakeKind::Rows | LakeKind::Changes | LakeKind::Dead => {
                dead(row, read.as_ref().zip(pipeline).and_then(|(read, pipeline)| fault(row, read, pipeline)))
            }
        };
        tell(row, read.as_ref(), &story, output, out)?;
    }
    Ok(())
}

fn spot(text: &str) -> Option<Spot> {
    let (partition, offset) = text.split_once(':')?;
    Some(Spot { partition: Partition(partition.parse().ok()?), offset: Offset(offset.parse().ok()?) })
}

/// The refused records at `spot`: one for each input that has one.
fn rows(job: &Job, manifests: &[Manifest], kind: LakeKind, spot: Spot) -> Result<Vec<Row>, Failure> {
    let mut found = Vec::new();
    for file in side::files_there(manifests, kind) {
        // Which offsets fed it is known of most files.
        let may_have =
            |fed: &Fed| fed.partition == spot.partition && (fed.from..fed.next).contains(&spot.offset);
        if !file.fed.is_empty() && !file.fed.iter().any(may_have) {
            continue;
        }
        for row in side::rows::<Row>(job, file)? {
            let row = row?;
            if (row.partition, row.offset) == (spot.partition.0, spot.offset.0) {
                found.push(row);
            }
        }
    }
    Ok(found)
}

/// Where records at `spot` were read.
fn readings(manifests: &[Manifest], spot: Spot) -> impl Iterator<Item = ReadIn<'_>> {
    let inputs =
        manifests.iter().flat_map(|manifest| manifest.inputs.iter().map(move |input| (manifest, input)));
    inputs.filter_map(move |(manifest, input)| {
        let is_it = |part: &&PartitionEntry| {
            part.partition == spot.partition && (part.from..part.next).contains(&spot.offset)
        };
        input.partitions.iter().find(is_it).map(|part| ReadIn { manifest, input, part })
    })
}

fn absent(manifests: &[Manifest], word: &str, spot: Spot) -> Failure {
    let Spot { partition, offset } = spot;
    let words = |ReadIn { manifest, input, .. }: ReadIn<'_>| {
        format!("epoch {} of \"{}\"", manifest.epoch, input.topic)
    };
    let read: Vec<String> = readings(manifests, spot).map(words).collect();
    let detail = if read.is_empty() {
        "No commit has read that offset.".to_string()
    } else {
        format!(
            "It was read in {}. It was accepted there, or its file was moved away or is not written yet: that takes up to a minute.",
            read.join(" and ")
        )
    };
    let what = format!("no {word} record is kept of offset {offset} of partition {partition}");
    Failure::new(Code::RecordNotFound, what).detail(detail)
}

fn number(manifest: &Manifest, key: &str) -> Option<i64> {
    manifest.fingerprint.get(key)?.parse().ok()
}

/// Which window, when it had closed, and by what.
fn late(row: &Row, read: Option<&ReadIn<'_>>, manifests: &[Manifest]) -> Story {
    let head = manifests.last().expect("a job with a late record has a manifest");
    let (time, stamp) = (row.event_time.unwrap_or(i64::MIN), row.stamp.unwrap_or(i64::MIN));
    let lateness = number(head, "lateness_ms");
    let grid = number(head, "window_ms").zip(number(head, "slide_ms"));
    let grid = grid
        .filter(|(size, slide)| 0 < *slide && slide <= size)
        .map(|(size, slide)| Grid::sliding(size, slide));
    let end = grid.map(|grid| grid.last_end(EventTime(time)));
    let sentence = match (grid, end) {
        (Some(grid), Some(end)) => format!(
            "The record happened at {}. The last window that takes it, {} to {}, had closed: its partition was at {}.",
            When(time),
            When(grid.span(end).start.ms()),
            When(end.ms()),
            When(stamp)
        ),
        _ => format!(
            "The record happened at {}, and its partition was at {} already.",
            When(time),
            When(stamp)
        ),
    };
    let mut evidence = Vec::new();
    let by_floor =
        read.is_some_and(|read| read.part.floor.ms() == stamp && read.part.floor_from.0 <= row.offset);
    evidence.push(match lateness {
        _ if by_floor => format!(
            "the floor of the partition, {}: it joined or woke after the others had come so far",
            When(stamp)
        ),
        Some(lateness) => format!(
            "a record of the same partition at {}, read before it, less the lateness of {}",
            When(stamp.saturating_add(lateness)),
            duration::show(lateness)
        ),
        None => "a newer record of the same partition, read before it".to_string(),
    });
    if let (Some(end), Some(read)) = (end, read) {
        let closes = |manifest: &&Manifest| {
            manifest.inputs.iter().any(|input| input.name == read.input.name && input.watermark >= end)
        };
        if let Some(closed) = manifests.iter().find(closes) {
            let written = When(closed.written_ms);
            evidence.push(format!(
                "the window's rows were final in epoch {}, manifest {}, {written}",
                closed.epoch, closed.seq
            ));
        }
        if let Some(lateness) = lateness.filter(|_| !by_floor) {
            let needed = stamp.saturating_add(lateness).saturating_sub(end.ms());
            evidence.push(format!("a lateness of more than {} would have kept it", duration::show(needed)));
        }
    }
    let (program, pipeline) = (program().name, visible(&head.pipeline));
    let next = format!(
        "{program} late replay --lake LAKE --to again, then {program} run {pipeline} --source files:again --lake ANOTHER"
    );
    Story { sentence, evidence, next }
}

/// The field for which it is a dead letter.
fn fault(row: &Row, read: &ReadIn<'_>, pipeline: &Entry) -> Option<Fault> {
    let message = row.message()?;
    let columns: Option<Columns> = row.columns.as_deref().and_then(names).map(Into::into);
    let (input, columns) = (read.input.name.as_str(), columns.as_ref());
    (pipeline.fault)(&DeadLetter { input, message: &message, columns, reason: &row.reason })
}

/// The names in a line of CSV.
fn names(line: &str) -> Option<Vec<String>> {
    let mut lines = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
    Some(lines.records().next()?.ok()?.iter().map(str::to_string).collect())
}

/// What was wrong with it.
fn dead(row: &Row, fault: Option<Fault>) -> Story {
    let why = meaning(&row.reason).map_or_else(
        || match Reason::rule_of(&row.reason) {
            Some(rule) => format!("It breaks the expectation \"{}\" of its input.", visible(rule)),
            None => format!("Its pipeline refuses it as {}.", visible(&row.reason)),
        },
        |meaning| format!("{meaning} ({}).", row.reason),
    );
    let mut evidence = Vec::new();
    if let Some(Fault { field, found }) = fault {
        let found = if found.is_empty() { "nothing".to_string() } else { excerpt(&found) };
        evidence.push(format!("the field {} has {}", visible(&field), visible(&found)));
    }
    evidence.extend(row.message().and_then(|message| form(&row.reason, &message)));
    if let Some(bytes) = row.length {
        evidence.push(format!("it had {bytes} bytes, of which only the first are kept"));
    }
    if let Some(limit) = row.limit {
        evidence.push(format!("the newest event time that was allowed: {}", When(limit)));
    }
    evidence.push(match (&row.payload, row.encoding.as_deref()) {
        (None, _) => "it has no value".to_string(),
        (Some(payload), Some("base64")) => format!("its bytes in base64: {}", excerpt(payload)),
        (Some(payload), _) => format!("its text: {}", visible(&excerpt(payload))),
    });
    Story { sentence: why, evidence, next: replay(row) }
}

/// How a dead letter becomes a record after all.
fn replay(row: &Row) -> String {
    if row.length.is_some() {
        let Row { topic, partition, offset, .. } = row;
        let topic = visible(topic);
        return format!(
            "make a shorter message of the one at offset {offset} of partition {partition} of \"{topic}\", where it was read from"
        );
    }
    let (program, reason) = (program().name, visible(&row.reason));
    format!(
        "mend what refused it, then {program} dead replay --lake LAKE --reason {reason} --to again, and let a job of another lake read files:again"
    )
}

/// What is wrong with the form of a message, where it is no field.
fn form(reason: &str, message: &[u8]) -> Option<String> {
    match reason {
        "not-utf8" => {
            let valid = std::str::from_utf8(message).err()?.valid_up_to();
            Some(format!("byte {} of {} is {:#04x}", valid + 1, message.len(), message[valid]))
        }
        "bad-json" | "cut-off" => {
            let error = serde_json::from_slice::<IgnoredAny>(message).err()?;
            Some(format!("a reader of JSON stops there: {}", visible(&error.to_string())))
        }
        "wrong-field-count" => {
            let mut lines = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(message);
            let fields = lines.byte_records().next()?.ok()?.len();
            Some(format!(
                "cut at its commas it has {fields} {}",
                if fields == 1 { "field" } else { "fields" }
            ))
        }
        _ => None,
    }
}

/// What the reasons mean that operators and decoders have.
fn meaning(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "null-value" => "The message has no value",
        "too-long" => "The message is longer than a record may be",
        "not-utf8" => "The message is no UTF-8 text",
        "empty" => "The message is empty",
        "bad-csv" => "The message is no CSV line: a quote is not closed, or stands where none may",
        "bad-json" => "The message is no JSON of the expected form",
        "wrong-field-count" => "The line has more or fewer fields than a record has",
        "bad-header" => "The header line of its file lacks a column, or has one twice",
        "too-many-records" => "The message has more than one record",
        "control-character" => "A field that must be plain text has a control character",
        "no-file-date" => "The name of its file does not say when it was published",
        "not-an-object" => "The message is JSON, and no object",
        "cut-off" => "The message is JSON that ends in the middle of a value",
        "wrong-type" => "A field has another type than the record has, or the message is no object",
        "missing-field" => "A field that a record must have is missing or empty",
        "bad-number" => "A field that must be a whole number is none, or does not fit",
        "bad-timestamp" => {
            "The time of the record is none, is not there, or names a moment that the clock skipped"
        }
        "future-event-time" => "The record lies further in the future than is allowed",
        _ => return None,
    })
}

fn tell(
    row: &Row,
    read: Option<&ReadIn<'_>>,
    story: &Story,
    output: Form,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Story { sentence, evidence, next } = story;
    if output == Form::Json {
        let answer = json!({
            "schema_version": 1,
            "topic": row.topic,
            "partition": row.partition,
            "offset": row.offset,
            "reason": row.reason,
            "epoch": read.map(|read| read.manifest.epoch),
            "seq": read.map(|read| read.manifest.seq),
            "sentence": sentence,
            "evidence": evidence,
            "next": next,
        });
        return Ok(writeln!(out, "{answer}")?);
    }
    let Row { partition, offset, topic, .. } = row;
    writeln!(
        out,
        "Offset {offset} of partition {partition} of \"{}\" is {}.",
        visible(topic),
        visible(&row.reason)
    )?;
    writeln!(out, "{sentence}")?;
    for evidence in evidence {
        writeln!(out, "  seen  {evidence}")?;
    }
    if let Some(ReadIn { manifest, .. }) = read {
        writeln!(out, "  read  in epoch {}, manifest {}", manifest.epoch, manifest.seq)?;
    }
    Ok(writeln!(out, "  next  {next}")?)
}
