//! What a manifest that some run wrote can say: a file whose checksum is right may still lie, and must be refused by what
//! is wrong with it, not by a panic far away.

use crate::engine::format::manifest::{
    Fates, Input, LakeFile, Manifest, PartitionEntry, StateEntry, Unjudged,
};
use crate::engine::format::names;
use headway_operators::ack::{InputIx, Place};
use headway_operators::record::Offset;
use headway_operators::record::Partition;
use headway_operators::time::EventTime;

/// More than any count of a job, and so few that sums of them do not overflow.
const COUNT_MAX: u64 = 1 << 60;

/// More workers than a job can have.
const WORKERS_MAX: u32 = 1 << 16;

/// Later than the event time of any record. Windows and lateness can be added to it without an overflow.
const TIME_MAX: i64 = 1 << 60;

/// Says what no run can have written.
///
/// # Errors
/// The first thing that is impossible.
pub(crate) fn is_possible(manifest: &Manifest) -> Result<(), String> {
    for (what, number) in
        [("number", manifest.seq.0), ("generation", manifest.generation.0), ("epoch", manifest.epoch.0)]
    {
        within(what, number, COUNT_MAX)?;
    }
    let members = &manifest.members;
    let total = members.processes.checked_mul(members.workers);
    if total.is_none_or(|total| total == 0 || total > WORKERS_MAX) {
        return Err(format!("{} processes with {} workers each", members.processes, members.workers));
    }
    within("number of inputs", manifest.inputs.len() as u64, u64::from(u16::MAX))?;
    manifest.inputs.iter().try_for_each(input)?;
    if let Some(gap) = manifest.gaps.iter().find(|gap| gap.from < Offset(0) || gap.to <= gap.from) {
        return Err(format!("a gap of {gap}"));
    }
    for set in &manifest.watermarks {
        let known = |input: &InputIx| input.index() < manifest.inputs.len();
        if set.inputs.is_empty() || !set.inputs.is_sorted_by(|a, b| a < b) || !set.inputs.iter().all(known) {
            let inputs: Vec<usize> = set.inputs.iter().map(|input| input.index()).collect();
            return Err(format!("a watermark of inputs {inputs:?}"));
        }
    }
    for (name, operator) in &manifest.operators {
        within(&format!("what operator \"{name}\" holds"), operator.held.unwrap_or(0), COUNT_MAX)?;
    }
    manifest.state.iter().try_for_each(|entry| state(entry, manifest))?;
    if !manifest.state.is_sorted_by(|a, b| a.id() < b.id()) && manifest.format > 1 {
        return Err("its state files are not in their order".to_string());
    }
    manifest.lake.iter().try_for_each(lake)?;
    manifest.released.iter().try_for_each(|path| safe(path))
}

fn within(what: &str, number: u64, max: u64) -> Result<(), String> {
    if number <= max { Ok(()) } else { Err(format!("its {what} is {number}")) }
}

fn safe(path: &str) -> Result<(), String> {
    if names::is_safe(path) { Ok(()) } else { Err(format!("\"{path}\" is not a path in the lake")) }
}

fn place(place: &Place) -> Result<(), String> {
    safe(&place.name)?;
    match place.range {
        Some(range) if range.from > range.to || range.to > COUNT_MAX => {
            Err(format!("bytes {} to {} of \"{}\"", range.from, range.to, place.name))
        }
        _ => Ok(()),
    }
}

fn input(input: &Input) -> Result<(), String> {
    let of = |what: String| format!("in input \"{}\", {what}", input.name);
    is_time("watermark", input.watermark, EventTime::MAX).map_err(of)?;
    fates(&input.finished.total).map_err(of)?;
    within("number of finished partitions", input.finished.partitions, COUNT_MAX).map_err(of)?;
    let Unjudged { records, dead, unfiltered, late } = input.unjudged;
    let most = records.max(dead).max(unfiltered).max(late);
    within("unjudged records", most, COUNT_MAX).map_err(of)?;
    if !input.partitions.is_sorted_by(|a, b| a.partition < b.partition) {
        return Err(of("partitions are not in their order".to_string()));
    }
    input.partitions.iter().try_for_each(partition).map_err(of)
}

fn partition(part: &PartitionEntry) -> Result<(), String> {
    let of = |what: String| format!("partition {}: {what}", part.partition);
    if part.partition > Partition(i32::MAX.cast_unsigned()) {
        return Err(of("there is no such number".to_string()));
    }
    let offsets = [part.first, part.from, part.next, part.floor_from];
    if part.first < Offset(0)
        || part.next > Offset::MAX + 1
        || !(part.first <= part.from && part.from <= part.next)
    {
        return Err(of(format!("offsets {offsets:?}")));
    }
    // A floor is where all windows have closed, which may be the end of time; a record has a time of its own.
    for (what, time, max) in
        [("own watermark", part.own, EventTime(TIME_MAX)), ("floor", part.floor, EventTime::MAX)]
    {
        is_time(what, time, max).map_err(of)?;
    }
    if let Some(content) = &part.content {
        within("number of bytes", content.bytes, COUNT_MAX).map_err(of)?;
    }
    fates(&part.fates).and_then(|()| fates(&part.total)).map_err(of)
}

fn is_time(what: &str, time: EventTime, max: EventTime) -> Result<(), String> {
    // Before the first record, marks may stand anywhere below all times.
    if time.ms() <= TIME_MAX || time == max { Ok(()) } else { Err(format!("its {what} is {time}")) }
}

fn fates(fates: &Fates) -> Result<(), String> {
    let Fates { consumed, accepted, duplicate, filtered, late, dead } = fates;
    let counts = [consumed, accepted, duplicate, filtered, late];
    // A few counts each below a sixteenth of what fits: their sums fit.
    counts
        .into_iter()
        .chain(dead.values())
        .try_for_each(|count| within("count of records", *count, COUNT_MAX))?;
    let dead = dead.values().try_fold(0, |sum: u64, count| sum.checked_add(*count));
    within("count of dead letters", dead.unwrap_or(u64::MAX), COUNT_MAX)
}

fn state(entry: &StateEntry, manifest: &Manifest) -> Result<(), String> {
    let of = |what: String| format!("state file of epoch {}: {what}", entry.epoch);
    entry.place.iter().try_for_each(place).map_err(of)?;
    within("size", entry.bytes, COUNT_MAX).map_err(of)?;
    if entry.header_bytes > entry.bytes || (entry.header_bytes == 0) != entry.v1.is_some() {
        return Err(of(format!("a header of {} bytes in {}", entry.header_bytes, entry.bytes)));
    }
    if entry.generation > manifest.generation || entry.epoch > manifest.epoch {
        return Err(of("it is of a later epoch".to_string()));
    }
    Ok(())
}

fn lake(file: &LakeFile) -> Result<(), String> {
    safe(&file.path())?;
    place(&file.staged)?;
    file.replaces.iter().try_for_each(|path| safe(path))?;
    let of = |what: String| format!("lake file \"{}\": {what}", file.path());
    if !(file.folder.ends_with('/') || file.folder.is_empty()) || file.name.contains('/') {
        return Err(of("its folder and name do not make a path".to_string()));
    }
    within("rows", file.rows, COUNT_MAX).map_err(of)?;
    within("size", file.bytes, COUNT_MAX).map_err(of)?;
    match file.event_time {
        Some(range) if range.least > range.greatest => {
            Err(of("its event times are the wrong way round".into()))
        }
        _ => Ok(()),
    }
}
