//! Reads saved state back: headers first, which say what is live, then the live sections.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::site::Site;
use crate::engine::commit::state_files::{Headers, StateFiles};
use crate::engine::format::manifest::{Manifest, StateEntry, StateId};
use crate::engine::format::state::{self, FrameError, Header};
use headway_operators::ack::{ByteRange, Place};
use headway_operators::state::{Saved, SectionHead, SectionKind, Shard};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// How many unneeded bytes of a file may be read, if that saves a call.
const GAP_MAX: u64 = 256 << 10;

/// Saved state by operator; the sections of a shard in the order base, merged change, changes.
pub type SavedState = BTreeMap<String, Vec<Saved>>;

/// Reads the headers of the files that `manifest` names, unless they are `known`.
///
/// # Errors
/// If a file is gone or is not what was written.
pub async fn headers(site: &Site, manifest: &Manifest, known: &Headers) -> Result<Headers, CheckpointError> {
    let mut headers = Headers::new();
    for entry in &manifest.state {
        let id = entry.id();
        let sections = match known.get(&id) {
            Some(sections) => sections.clone(),
            None => header(site, &manifest.job, entry).await?.sections,
        };
        headers.insert(id, sections);
    }
    Ok(headers)
}

/// The header of one file.
///
/// # Errors
/// As [`headers`].
pub async fn header(site: &Site, job: &str, entry: &StateEntry) -> Result<Header, CheckpointError> {
    let place = entry.place(job);
    if entry.v1.is_some() {
        return Ok(whole(site, job, entry).await?.0);
    }
    let bytes = part(site, &place, 0, entry.header_bytes).await?;
    let header = state::decode_header(&bytes).map_err(|error| refuse(site, &place, error))?;
    check(site, job, entry, header)
}

/// A whole file: its header, and the bytes of its sections.
///
/// # Errors
/// As [`headers`].
pub async fn whole(
    site: &Site,
    job: &str,
    entry: &StateEntry,
) -> Result<(Header, Vec<Vec<u8>>), CheckpointError> {
    let place = entry.place(job);
    let bytes = part(site, &place, 0, entry.bytes).await?;
    if format!("{:032x}", xxh3_128(&bytes)) != entry.checksum {
        return Err(refuse(site, &place, FrameError::Checksum));
    }
    let (header, sections) = state::decode(&bytes).map_err(|error| refuse(site, &place, error))?;
    let header = check(site, job, entry, header)?;
    Ok((header, sections.into_iter().map(<[u8]>::to_vec).collect()))
}

/// Refuses a file that is another one than `entry` says.
fn check(site: &Site, job: &str, entry: &StateEntry, header: Header) -> Result<Header, CheckpointError> {
    let is = (header.job.as_str(), header.generation, header.epoch, header.worker);
    let same = is == (job, entry.generation, entry.epoch, entry.worker);
    let same_v1 = entry.v1.as_ref().is_none_or(|v1| {
        let [operator] = &header.sections.operators[..] else { return false };
        let bases = header.sections.list.iter().all(|section| (section.kind == SectionKind::Base) == v1.base);
        (&operator.name, operator.version) == (&v1.operator, v1.version) && bases
    });
    match same && same_v1 {
        true => Ok(header),
        false => Err(refuse(site, &entry.place(job), FrameError::Header)),
    }
}

/// Exactly `length` bytes of a file from `from` on.
async fn part(site: &Site, place: &Place, from: u64, length: u64) -> Result<Vec<u8>, CheckpointError> {
    let invalid =
        |what: &str| CheckpointError::Invalid { file: site.describe(&place.name), what: what.to_string() };
    if length > state::BYTES_MAX {
        return Err(invalid("it is longer than any that is written"));
    }
    let start = place.range.map_or(0, |range| range.from) + from;
    let end = start + length;
    if place.range.is_some_and(|range| end > range.to) {
        return Err(invalid("it is shorter than its manifest says"));
    }
    let bytes = site.read_range(&place.name, ByteRange { from: start, to: end }).await?;
    match bytes {
        None => Err(invalid("it is not there")),
        Some(bytes) if bytes.len() as u64 == length => Ok(bytes),
        Some(_) => Err(invalid("it is shorter than its manifest says")),
    }
}

/// The error of a file that does not decode.
fn refuse(site: &Site, place: &Place, error: FrameError) -> CheckpointError {
    let (file, what) = (site.describe(&place.name), error.to_string());
    match error {
        FrameError::Newer { .. } => CheckpointError::Newer { file, what },
        FrameError::NotAStateFile | FrameError::Checksum | FrameError::Header | FrameError::Shard { .. } => {
            CheckpointError::Invalid { file, what }
        }
    }
}

/// Reads the live sections of the operators and shards that are `mine`, of the state that `manifest` names; `headers` are all of its
/// files'.
///
/// # Errors
/// If a file is gone or is not what was written.
pub async fn sections(
    site: &Site,
    manifest: &Manifest,
    headers: &Headers,
    mine: impl Fn(&str, Shard) -> bool,
) -> Result<SavedState, CheckpointError> {
    Ok(sections_within(site, manifest, headers, mine, &|_| true).await?.unwrap_or_default())
}

/// The same, if there is `room` for it, which is asked before each read with its bytes; `None` if there is none.
///
/// # Errors
/// If a file is gone or is not what was written.
pub async fn sections_within(
    site: &Site,
    manifest: &Manifest,
    headers: &Headers,
    mine: impl Fn(&str, Shard) -> bool,
    room: &dyn Fn(u64) -> bool,
) -> Result<Option<SavedState>, CheckpointError> {
    let live = StateFiles::of(headers, &manifest.dropped).live();
    // 1. Which sections of each file are needed?
    let mut wanted: BTreeMap<StateId, Vec<usize>> = BTreeMap::new();
    let mut at: BTreeMap<(StateId, &str, Shard), usize> = BTreeMap::new();
    for (id, sections) in headers {
        for (number, head) in sections.list.iter().enumerate() {
            at.insert((*id, &sections.operators[usize::from(head.operator)].name, head.shard), number);
        }
    }
    let live: Vec<_> = live.into_iter().filter(|section| mine(&section.operator, section.shard)).collect();
    for section in &live {
        let number = at[&(section.file, section.operator.as_str(), section.shard)];
        wanted.entry(section.file).or_default().push(number);
    }
    // 2. Read those of one file after the other.
    let mut bytes: BTreeMap<(StateId, usize), Vec<u8>> = BTreeMap::new();
    for entry in &manifest.state {
        let Some(mut numbers) = wanted.remove(&entry.id()) else { continue };
        numbers.sort_unstable();
        let heads = &headers[&entry.id()].list;
        let Some(all) = read(site, &manifest.job, entry, Numbered { heads, numbers: &numbers }, room).await?
        else {
            return Ok(None);
        };
        bytes.extend(all.into_iter().map(|(number, read)| ((entry.id(), number), read)));
    }
    // 3. Hand them out in their order.
    let files: BTreeMap<StateId, u32> = headers.keys().copied().zip(0..).collect();
    let mut saved = SavedState::new();
    for section in live {
        let number = at[&(section.file, section.operator.as_str(), section.shard)];
        let head = headers[&section.file].list[number];
        let version = headers[&section.file].operators[usize::from(head.operator)].version;
        let bytes = bytes.remove(&(section.file, number)).unwrap_or_default();
        let (shard, kind, file) = (section.shard, section.kind, files[&section.file]);
        saved.entry(section.operator).or_default().push(Saved { shard, version, kind, file, bytes });
    }
    Ok(Some(saved))
}

/// Some sections of a file.
struct Numbered<'a> {
    /// The heads of all its sections.
    heads: &'a [SectionHead],
    /// The numbers of the wanted ones, rising.
    numbers: &'a [usize],
}

/// The wanted sections of a file, with their numbers, if there is `room` for each read; neighbours are read together.
async fn read(
    site: &Site,
    job: &str,
    entry: &StateEntry,
    Numbered { heads, numbers }: Numbered<'_>,
    room: &dyn Fn(u64) -> bool,
) -> Result<Option<Vec<(usize, Vec<u8>)>>, CheckpointError> {
    if entry.v1.is_some() {
        if !room(entry.bytes) {
            return Ok(None);
        }
        let (_, sections) = whole(site, job, entry).await?;
        return Ok(Some(sections.into_iter().enumerate().filter(|(at, _)| numbers.contains(at)).collect()));
    }
    let place = entry.place(job);
    let mut offset = entry.header_bytes;
    let offsets: Vec<ByteRange> = heads
        .iter()
        .map(|head| {
            let from = offset;
            offset += head.bytes;
            ByteRange { from, to: offset }
        })
        .collect();
    if offset != entry.bytes {
        return Err(refuse(site, &place, FrameError::Header));
    }
    let mut sections = Vec::new();
    let mut rest = numbers;
    while let Some(first) = rest.first() {
        let near = |pair: &[usize]| offsets[pair[1]].from - offsets[pair[0]].to <= GAP_MAX;
        let count = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
        let (run, more) = rest.split_at(count);
        let (from, to) = (offsets[*first].from, offsets[run[count - 1]].to);
        if !room(to - from) {
            return Ok(None);
        }
        let bytes = part(site, &place, from, to - from).await?;
        for number in run {
            let ByteRange { from: start, to: end } = offsets[*number];
            let section = &bytes[(start - from) as usize..(end - from) as usize];
            if xxh3_64(section) != heads[*number].xxh3 {
                return Err(refuse(site, &place, FrameError::Checksum));
            }
            sections.push((*number, section.to_vec()));
        }
        rest = more;
    }
    Ok(Some(sections))
}
