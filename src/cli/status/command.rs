//! `headway status`: where a job stands, from its lake alone; the lag also from the brokers, if it is told how.

use super::expectations;
use super::holder::holder;
use super::life::Life;
use crate::cli::dead;
use crate::cli::lake::{self, At, Job};
use crate::cli::run::outcome;
use crate::cli::settings::kafka;
use crate::cli::settings::place::flag_path;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::terminal::form::StatusForm;
use crate::cli::terminal::table::{self, counted, grouped, members};
use crate::cli::terminal::text::visible;
use crate::cli::units::{Millis, When, age, time};
use crate::connect::End;
use crate::engine::commit::alive::Alive;
use crate::engine::commit::refused::Refused;
use crate::engine::commit::standby::Sign;
use crate::engine::format::board::{MemoryUse, Snapshot, TargetLag};
use crate::engine::format::manifest::{Input, Manifest, PartitionEntry};
use crate::serve::metrics::Moment;
use crate::serve::textfile;
use clap::Args;
use headway_operators::record::Partition;
use headway_operators::time::EventTime;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

/// What `status` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(flatten)]
    at: At,
    /// Ask the brokers where topics end now: the Kafka client's settings. Else lag is as the running job saw it last
    #[arg(long, value_name = "FILE")]
    kafka_config: Option<PathBuf>,
    /// Answer again and again, each time after EVERY, such as 2s
    #[arg(long, value_name = "EVERY", num_args = 0..=1, default_missing_value = "2s")]
    watch: Option<Millis>,
    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: StatusForm,
}

/// Says on `out` whether the job lives, and describes its last commit.
///
/// # Errors
/// Exit 3, after the answer, if the job failed or does not respond; else if the lake cannot be read.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    let job = flags.at.open()?;
    if let Some(every) = flags.watch {
        return watch(flags, &job, every, out);
    }
    let seen = Seen::look(flags, &job)?;
    seen.write(flags.output, out)?;
    if seen.life.is_well() {
        return Ok(());
    }
    let words = seen.life.words(seen.sign.as_ref(), seen.now_ms);
    Err(Failure::new(Code::NotAlive, format!("job \"{}\" does not run as it should", seen.head.job))
        .detail(format!("{}: {words}.", seen.life.word())))
}

/// Answers again and again, until nobody reads it or the process is told to end.
fn watch(flags: &Flags, job: &Job, every: Millis, out: &mut dyn Write) -> Result<(), Failure> {
    let is_terminal = io::stdout().is_terminal();
    loop {
        let seen = Seen::look(flags, job)?;
        let mut page = Vec::new();
        seen.write(flags.output, &mut page)?;
        if is_terminal && flags.output == StatusForm::Text {
            // To the upper left, and what was there before is gone.
            print_raw("\x1b[H\x1b[2J")?;
        }
        out.write_all(&page)?;
        if !is_terminal && flags.output == StatusForm::Text {
            writeln!(out)?;
        }
        out.flush()?;
        std::thread::sleep(Duration::from_millis(u64::try_from(every.0.max(100)).unwrap_or(100)));
    }
}

fn print_raw(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// What one look at a job shows.
struct Seen {
    head: Manifest,
    ends: Ends,
    sign: Option<Alive>,
    life: Life,
    now_ms: i64,
    /// The size that the next claim is to have, in the form 3x2, if a person has asked for another.
    asked: Option<String>,
    /// The processes that the job does without.
    standbys: Vec<Sign>,
    /// A dead letter of each input, for example.
    examples: Vec<Option<String>>,
    /// A start after the last run that came to nothing.
    refused: Option<Refused>,
}

impl Seen {
    fn look(flags: &Flags, job: &Job) -> Result<Seen, Failure> {
        let head = job.head()?;
        let sign = job.sign()?;
        let ends = ends(flags, &head, sign.as_ref())?;
        let now_ms = lake::now_ms();
        let life = Life::look(sign.as_ref(), now_ms);
        let is_dead = |input: &Input| input.total().dead_total() > 0;
        let manifests = if head.inputs.iter().any(is_dead) { job.manifests() } else { Ok(Vec::new()) };
        let inputs: Vec<&[Input]> = head.inputs.iter().map(std::slice::from_ref).collect();
        let examples = dead::examples(job, &manifests.unwrap_or_default(), &inputs);
        let request = job.request()?.filter(|request| request.after == head.generation);
        let asked = request.map(|request| request.members.size());
        let refused = job.refused(sign.as_ref())?;
        Ok(Seen { head, ends, sign, life, now_ms, asked, standbys: job.standbys()?, examples, refused })
    }

    fn write(&self, form: StatusForm, out: &mut dyn Write) -> io::Result<()> {
        match form {
            StatusForm::Text => text(self, out),
            StatusForm::Json => writeln!(out, "{}", answer(self)),
            StatusForm::Prometheus => {
                let idle = Snapshot::default();
                let (board, state) = (self.board().unwrap_or(&idle), self.life.word());
                let moment = Moment { head: &self.head, board, now_ms: self.now_ms, groups: &[], state };
                out.write_all(textfile::text(&moment).as_bytes())
            }
        }
    }

    /// What the run does, by its last sign of life; `None` if it does not run.
    fn board(&self) -> Option<&Snapshot> {
        self.life.board(self.sign.as_ref())
    }

    /// The records that a running job commits in a second; `None` while that is not known.
    fn records_per_second(&self) -> Option<f64> {
        self.board()?.recent.records_per_second()
    }

    /// For how long the first record of a partition of input number `input` that is not committed has been there, in milliseconds.
    fn lag_ms(&self, input: usize, partition: Partition) -> Option<i64> {
        let lag = self.board()?.lags.iter().find(|lag| (lag.input, lag.partition) == (input, partition))?;
        Some(lag.age_ms(self.now_ms))
    }

    /// How fast a running job reads, and what waits.
    fn pace(&self) -> Option<String> {
        let rate = grouped(self.records_per_second()?.round() as i64);
        let lags = || self.board().into_iter().flat_map(|board| &board.lags).filter(|lag| lag.records > 0);
        let waiting: i64 = lags().map(|lag| lag.records).sum();
        let oldest = lags().map(|lag| lag.age_ms(self.now_ms)).max();
        let waits = match oldest {
            None if self.board()?.lags.is_empty() => String::new(),
            None => "; none waits".to_string(),
            Some(oldest) => format!("; {} not committed, the oldest for {}", grouped(waiting), age(oldest)),
        };
        Some(format!("{rate} records a second{waits}"))
    }

    /// How far target `name` is behind, by the last sign of life.
    fn lag_of(&self, name: &str) -> Option<&TargetLag> {
        self.board()?.targets.iter().find(|lag| lag.name == name)
    }

    fn age_ms(&self) -> i64 {
        self.now_ms.saturating_sub(self.head.written_ms).max(0)
    }
}

/// Where partitions end, for each input, as far as it is known.
type Ends = Vec<BTreeMap<Partition, End>>;

fn ends(flags: &Flags, manifest: &Manifest, sign: Option<&Alive>) -> Result<Ends, Failure> {
    let config = flags.kafka_config.as_deref().map(|path| flag_path("--kafka-config", path)).transpose()?;
    let mut seen = sign.map(|sign| sign.ends.clone()).unwrap_or_default().into_iter();
    let mut ends = Ends::new();
    for input in &manifest.inputs {
        let seen = seen.next().unwrap_or_default().into_iter();
        let mut seen: BTreeMap<_, _> = seen.map(|end| (end.partition, end)).collect();
        if let (Some(config), "kafka") = (&config, input.kind.as_str()) {
            for info in kafka::connector(Some(config), &input.topic, None)?.partitions()? {
                let (partition, Some(offset)) = (info.partition, info.end) else { continue };
                seen.entry(partition).or_insert(End::at(partition, offset)).offset = offset;
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

/// Where the words of a line begin, behind its label.
const WORDS: usize = 11;

/// The answer for people: it fits into a terminal of 80 columns.
fn text(seen: &Seen, out: &mut dyn Write) -> io::Result<()> {
    let mut text = Vec::new();
    lines(seen, &mut text)?;
    out.write_all(table::wrapped(&String::from_utf8_lossy(&text), WORDS).as_bytes())
}

fn lines(seen: &Seen, out: &mut dyn Write) -> io::Result<()> {
    let Seen { head: manifest, ends, .. } = seen;
    writeln!(out, "{:<11}{}", seen.life.word(), visible(&seen.life.words(seen.sign.as_ref(), seen.now_ms)))?;
    if let Some(Refused { time_ms, code, why, .. }) = &seen.refused {
        let (at, ago) = (When(*time_ms), age(seen.now_ms.saturating_sub(*time_ms).max(0)));
        writeln!(out, "refused    a start at {at}, {ago} ago, with {code}: {}", visible(why))?;
    }
    let settings: Vec<String> =
        manifest.fingerprint.iter().map(|(name, value)| format!("{name} {value}")).collect();
    writeln!(out, "job        {}: pipeline {}, {}", manifest.job, manifest.pipeline, settings.join(", "))?;
    writeln!(
        out,
        "committed  manifest {}, epoch {}, {} ago, by run {} with {}",
        manifest.seq,
        manifest.epoch,
        age(seen.age_ms()),
        manifest.generation,
        members(&manifest.members)
    )?;
    let size = manifest.members.size();
    if let Some(before) = seen.board().and_then(|board| board.rescaled_from.as_ref()) {
        writeln!(out, "size       {} → {size} when this run began", visible(before))?;
    }
    if let Some(asked) = &seen.asked {
        writeln!(out, "rescale    {size} → {asked} asked for: the next claim takes it")?;
    }
    if let Some(pace) = seen.pace() {
        writeln!(out, "rate       {pace}")?;
    }
    if !manifest.restarts.is_empty() {
        let restarts = manifest.restarts.iter().map(|(code, count)| format!("{code} {}", grouped(*count)));
        writeln!(out, "restarted  after: {}", restarts.collect::<Vec<_>>().join(", "))?;
    }
    for Sign { process, host, why, .. } in &seen.standbys {
        writeln!(out, "standby    process {process} on \"{}\": {}", visible(host), visible(why))?;
    }
    for (process, memory) in memory(seen) {
        let of = if process > 0 { format!(" in process {process}") } else { String::new() };
        let paused = if memory.paused { ": sources are paused" } else { "" };
        let (resident, limit) = (memory.resident >> 20, memory.limit >> 20);
        writeln!(out, "memory     {} of {} MiB{of}{paused}", grouped(resident), grouped(limit))?;
    }
    for ((input, ends), example) in manifest.inputs.iter().zip(ends).zip(&seen.examples) {
        input_text(input, ends, example.as_deref(), out)?;
    }
    for (name, target) in &manifest.targets {
        let lag = seen.lag_of(name);
        let behind = lag.filter(|lag| lag.commits > 0).map_or(String::new(), |lag| {
            let what = lag.error.as_deref().unwrap_or(&lag.doing);
            format!(", {} behind for {}: {}", counted(lag.commits, "commit"), age(lag.for_ms), visible(what))
        });
        let rebuild = if target.rebuild { ", has to be rebuilt" } else { "" };
        writeln!(out, "\ntarget     {name} has manifest {}{behind}{rebuild}", target.acknowledged)?;
    }
    for (at, line) in expectations::lines(&manifest.expectations).iter().enumerate() {
        let (gap, label) = if at == 0 { ("\n", "expects") } else { ("", "") };
        writeln!(out, "{gap}{label:<11}{line}")?;
    }
    writeln!(out, "\nrows       {} since the job's start", grouped(rows(manifest)))
}

/// What there is to say of one input, and an example of its dead letters.
fn input_text(
    input: &Input,
    ends: &BTreeMap<Partition, End>,
    example: Option<&str>,
    out: &mut dyn Write,
) -> io::Result<()> {
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
    if let Some(holder) = holder(input, None) {
        writeln!(out, "windows    {holder}")?;
    }
    if input.finished.partitions > 0 {
        let files = counted(input.finished.partitions, "partition");
        writeln!(out, "finished   {files} read to the end and gone")?;
    }
    let total = input.total();
    let read = counted(total.consumed, "record");
    writeln!(out, "records    {read}: {}", outcome::fates(&total))?;
    if let Some(top) = outcome::top(&total.dead) {
        writeln!(out, "dead       {}{}", visible(&top), example.map_or(String::new(), |e| format!("; {e}")))?;
    }
    Ok(())
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
        .chain(["READ", "LATE", "DEAD", "WATERMARK", "STATE"])
        .collect();
    let row = |part: &PartitionEntry, number: fn(i128) -> String| {
        let fates = &part.total;
        // Each fate is in the line of all partitions, and in JSON: a row has 80 columns.
        let counts = [fates.consumed, fates.late, fates.dead_total()];
        let lag = || lag(part, ends).map_or(String::new(), |lag| number(lag.into()));
        let mut row = vec![part.partition.to_string(), part.next.to_string()];
        row.extend(known.then(lag));
        row.extend(counts.map(|count| number(count.into())));
        row.extend([time(part.own), state(part, ends).to_string()]);
        row
    };
    let rows = |number| input.partitions.iter().map(|part| row(part, number)).collect::<Vec<_>>();
    let exact = rows(grouped);
    if table::width(&head, &exact) <= table::WIDTH {
        return table::write(out, &head, &exact);
    }
    // JSON has all digits.
    let head: Vec<&str> = ["PART"].into_iter().chain(head.into_iter().skip(1)).collect();
    table::write(out, &head, &rows(table::short))
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

fn answer(seen: &Seen) -> Value {
    let Seen { head: manifest, ends, .. } = seen;
    json!({
        "schema_version": 1,
        "life": seen.life.answer(seen.sign.as_ref()),
        "refused": seen.refused,
        "restarts": manifest.restarts,
        "dead_example": seen.examples.iter().flatten().next(),
        "job": manifest.job,
        "pipeline": manifest.pipeline,
        "settings": manifest.fingerprint,
        "seq": manifest.seq,
        "epoch": manifest.epoch,
        "generation": manifest.generation,
        "processes": manifest.members.processes,
        "workers": manifest.members.total(),
        "rescaled_from": seen.board().and_then(|board| board.rescaled_from.as_ref()),
        "rescale_to": seen.asked,
        "written_ms": manifest.written_ms,
        "age_ms": seen.age_ms(),
        "rows": rows(manifest),
        "records_per_second": seen.records_per_second(),
        "targets": manifest.targets.iter().map(|(name, target)| json!({
            "name": name,
            "acknowledged": target.acknowledged,
            "rebuild": target.rebuild,
            "lag": seen.lag_of(name),
        })).collect::<Vec<_>>(),
        "standby": seen.standbys,
        "memory": seen.board().and_then(|board| board.memory),
        "memory_elsewhere": memory(seen).into_iter().filter(|(process, _)| *process > 0).map(|(process, memory)| json!({
            "process": process,
            "resident": memory.resident,
            "limit": memory.limit,
            "paused": memory.paused,
        })).collect::<Vec<_>>(),
        "expectations": expectations::answer(&manifest.expectations),
        "inputs": manifest.inputs.iter().zip(ends).enumerate().map(|(at, (input, ends))| input_answer(seen, at, input, ends)).collect::<Vec<_>>(),
    })
}

/// The memory of each process that has a limit, by its number.
fn memory(seen: &Seen) -> Vec<(u32, MemoryUse)> {
    let Some(board) = seen.board() else { return Vec::new() };
    board.all().filter_map(|(process, board)| Some((process, board.memory?))).collect()
}

fn input_answer(seen: &Seen, at: usize, input: &Input, ends: &BTreeMap<Partition, End>) -> Value {
    let known = |time: EventTime| (time > EventTime::MIN).then_some(time.ms());
    let partition = |part: &PartitionEntry| {
        json!({
            "partition": part.partition,
            "identity": part.identity,
            "first": part.first,
            "next": part.next,
            "end": ends.get(&part.partition).map(|end| end.offset),
            "lag": lag(part, ends),
            "lag_ms": seen.lag_ms(at, part.partition),
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
        "held_open_by": holder(input, None),
        "total": input.total(),
        "finished": input.finished,
        "partitions": input.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::board::Lag;
    use crate::engine::format::manifest::Target;
    use crate::engine::format::manifest::tests::first;
    use crate::engine::format::names::Seq;
    use headway_operators::error::Reason;
    use headway_operators::record::Offset;

    /// A job in the state of `life`, of which there is as much to say as there can be, with long names and large numbers.
    fn seen(life: Life, ending: Value) -> Seen {
        const MANY: u64 = 123_456_789_012_345;
        let long = |word: &str| word.repeat(40).trim_end().to_string();
        let mut head = first(3);
        head.fingerprint.extend((0..20).map(|n| (format!("setting_{n}"), long("value"))));
        head.fingerprint.insert("words".into(), long("some words "));
        head.restarts.insert("process-gone".into(), MANY);
        head.restarts.insert("peer-lost".into(), MANY);
        let input = &mut head.inputs[0];
        input.topic = long("topic-");
        for part in &mut input.partitions {
            (part.next, part.own) =
                (Offset(MANY as i64), EventTime(1_706_618_000_000 + i64::from(part.partition.0) * 90_000));
            part.total.consumed = MANY;
            (part.total.late, part.total.accepted) = (MANY / 3, MANY / 3);
            part.total.dead.insert(Reason::FUTURE_EVENT_TIME, MANY / 3);
        }
        head.targets.insert("postgres".into(), Target { acknowledged: Seq(MANY), rebuild: true });
        let ends = input
            .partitions
            .iter()
            .map(|part| (part.partition, End::at(part.partition, Offset(i64::MAX / 2))));
        let ends = vec![ends.collect()];
        let lag = |partition: u32| Lag {
            input: 0,
            partition: Partition(partition),
            end: Offset(i64::MAX / 2),
            records: MANY as i64,
            for_ms: 90_000_000,
            stalled: true,
            first_ms: None,
        };
        let target = TargetLag {
            name: "postgres".into(),
            commits: MANY,
            for_ms: 1_000_000_000,
            error: Some(long("no route to host ")),
            ..TargetLag::default()
        };
        let board = Snapshot {
            lags: (0..3).map(lag).collect(),
            targets: vec![target],
            memory: Some(MemoryUse { resident: u64::MAX / 2, limit: u64::MAX / 2, paused: true }),
            ..Snapshot::default()
        };
        let sign = json!({
            "generation": 123_456, "pid": 4_194_304, "host": long("host."), "time_ms": 100_000, "ending": ending, "board": board,
        });
        let sign = serde_json::from_value(sign).expect("it is a sign");
        let refused =
            json!({ "time_ms": 300_000, "code": "source-unreachable", "why": long("no broker "), "pid": 7 });
        let refused = serde_json::from_value(refused).expect("it is a start");
        let examples = vec![Some(long("an example of a dead letter "))];
        Seen {
            head,
            ends,
            sign: Some(sign),
            life,
            now_ms: 400_000,
            asked: Some("3x2".into()),
            standbys: Vec::new(),
            examples,
            refused: Some(refused),
        }
    }

    #[test]
    fn status_fits_80_columns_in_every_state() {
        let failed = |code: &str| Life::Failed(code.to_string());
        let why = "the disk is gone and it said so at some length ".repeat(5);
        let cases = [
            (Life::Running, Value::Null),
            (Life::Unresponsive, Value::Null),
            (Life::Stopped, json!({ "code": null, "why": null })),
            (failed("process-gone"), Value::Null),
            (failed("store-failed"), json!({ "code": "store-failed", "why": why })),
        ];
        for (life, ending) in cases {
            let seen = seen(life, ending);
            let mut out = Vec::new();
            text(&seen, &mut out).expect("memory takes it");
            let text = String::from_utf8(out).expect("it is UTF-8");
            assert!(text.starts_with(seen.life.word()) && text.lines().count() > 10, "{text}");
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{} columns: {line}\n{text}", line.chars().count());
            }
        }
    }
}
