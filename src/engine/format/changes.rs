//! A change file: what one commit changed in the views of a job.
//!
//! ```text
//! {"format":1,"job":…,"id":…,"after":…,"epoch":…,"views":[…],"updates":…,"bytes":…,"xxh3":…}\n    the header
//! gzip of the updates, one after the other                                                       the body
//! ```
//!
//! Change files form a chain of their own: each names the manifest of the changes before it. Whoever stands at `after` may
//! apply them, and stands at `id` then; whoever stands elsewhere has missed some, or comes from another history.

use crate::engine::format::manifest::ManifestId;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use headway_operators::spec::ViewSpec;
use headway_operators::time::Epoch;
use headway_operators::view::row::ViewUpdate;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use xxhash_rust::xxh3::xxh3_128;

/// The format that this build writes and reads.
const FORMAT: u32 = 1;

/// The longest body that is read, in bytes before compression.
const BODY_MAX: u64 = 4 << 30;

/// The longest header that is read, in bytes.
const HEADER_MAX: usize = 1 << 20;

/// What one commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The manifest that made them true.
    pub id: ManifestId,
    /// The manifest that made the changes before them true; `None` if there were none.
    pub after: Option<ManifestId>,
    /// The epoch that was committed.
    pub epoch: Epoch,
    /// One update for each row that came or went, by view, in the order of rows. A row that changed goes and comes.
    pub updates: Vec<ViewUpdate>,
}

/// A view as a change file names it, and as a target compares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ViewVersion {
    /// The view.
    pub name: String,
    /// The version of its rows.
    pub version: u32,
}

/// The header of a change file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: u32,
    job: String,
    id: ManifestId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<ManifestId>,
    epoch: Epoch,
    /// The views, by their numbers.
    views: Vec<ViewVersion>,
    updates: u64,
    /// Size and xxh3-128 of the body before compression.
    bytes: u64,
    xxh3: String,
}

/// A change file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeFile {
    /// The job.
    pub job: String,
    /// The views, by their numbers.
    pub views: Vec<ViewVersion>,
    /// What is in it.
    pub changes: Changes,
}

impl Changes {
    /// The updates of view `view`, by its number.
    pub fn of_view(&self, view: u16) -> &[ViewUpdate] {
        let first = self.updates.partition_point(|update| update.view < view);
        let last = self.updates.partition_point(|update| update.view <= view);
        &self.updates[first..last]
    }
}

/// The views of `specs` with their versions, by their numbers.
pub fn versions(specs: &[ViewSpec]) -> Vec<ViewVersion> {
    let version = |spec: &ViewSpec| ViewVersion { name: spec.name.to_string(), version: spec.version };
    specs.iter().map(version).collect()
}

/// Writes `changes` of `job`, whose views are `views`.
///
/// # Errors
/// If `out` does not take it.
pub fn encode(
    job: &str,
    views: Vec<ViewVersion>,
    changes: &Changes,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    let mut body = Vec::new();
    for update in &changes.updates {
        body = postcard::to_extend(update, body).expect("plain values encode");
    }
    let Changes { id, after, epoch, .. } = *changes;
    let header = Header {
        format: FORMAT,
        job: job.to_string(),
        id,
        after,
        epoch,
        views,
        updates: changes.updates.len() as u64,
        bytes: body.len() as u64,
        xxh3: format!("{:032x}", xxh3_128(&body)),
    };
    serde_json::to_writer(&mut *out, &header)?;
    out.write_all(b"\n")?;
    let mut packed = GzEncoder::new(out, Compression::fast());
    packed.write_all(&body)?;
    packed.finish()?;
    Ok(())
}

/// Reads a change file back.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<ChangeFile, String> {
    let end = bytes.iter().take(HEADER_MAX).position(|byte| *byte == b'\n');
    let end = end.ok_or("it has no header")?;
    let header: Header = serde_json::from_slice(&bytes[..end]).map_err(|error| error.to_string())?;
    if header.format != FORMAT {
        return Err(format!("it has format {}, and this release reads format {FORMAT}", header.format));
    }
    if header.bytes > BODY_MAX {
        return Err(format!("it says that it has {} bytes", header.bytes));
    }
    let mut body = Vec::new();
    let packed = GzDecoder::new(&bytes[end + 1..]);
    packed.take(header.bytes + 1).read_to_end(&mut body).map_err(|error| error.to_string())?;
    if body.len() as u64 != header.bytes || format!("{:032x}", xxh3_128(&body)) != header.xxh3 {
        return Err("its bytes are not those that were written".to_string());
    }
    let (mut updates, mut rest) = (Vec::new(), body.as_slice());
    while !rest.is_empty() {
        let (update, after) =
            postcard::take_from_bytes::<ViewUpdate>(rest).map_err(|error| error.to_string())?;
        if usize::from(update.view) >= header.views.len() || update.diff == 0 {
            return Err(format!("it has an update of view {} by {}", update.view, update.diff));
        }
        updates.push(update);
        rest = after;
    }
    if updates.len() as u64 != header.updates || !updates.is_sorted() {
        return Err(format!("it says that it has {} updates, and has {}", header.updates, updates.len()));
    }
    let Header { job, id, after, epoch, views, .. } = header;
    Ok(ChangeFile { job, views, changes: Changes { id, after, epoch, updates } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::Nonce;
    use crate::engine::format::names::Seq;
    use headway_operators::view::row::{Value, ViewRow};

    fn changes() -> Changes {
        let update = |view, number, diff| ViewUpdate { view, row: ViewRow(vec![Value::Int(number)]), diff };
        let id = |seq| ManifestId { seq: Seq(seq), nonce: Nonce(u128::from(seq)) };
        let updates = vec![update(0, 1, -1), update(0, 2, 1), update(2, 1, 1)];
        Changes { id: id(9), after: Some(id(7)), epoch: Epoch(40), updates }
    }

    fn views() -> Vec<ViewVersion> {
        ["a", "b", "c"].map(|name| ViewVersion { name: name.to_string(), version: 1 }).to_vec()
    }

    fn written(changes: &Changes) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode("gate", views(), changes, &mut bytes).expect("memory takes it");
        bytes
    }

    #[test]
    fn change_file_comes_back_as_it_was() {
        let file = ChangeFile { job: "gate".into(), views: views(), changes: changes() };
        assert_eq!(decode(&written(&changes())), Ok(file));
        let views: Vec<usize> = (0..3).map(|view| changes().of_view(view).len()).collect();
        assert_eq!(views, [2, 0, 1]);
        let first = Changes { after: None, ..changes() };
        assert_eq!(decode(&written(&first)).map(|file| file.changes), Ok(first));
    }

    #[test]
    fn change_file_with_a_flipped_or_missing_byte_is_refused() {
        let sound = written(&changes());
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            // A flip in the header or in gzip's own fields may leave the content as it was: then it must be whole.
            if let Ok(file) = decode(&bytes) {
                assert_eq!(file.changes.updates, changes().updates, "byte {at}");
            }
            assert!(decode(&sound[..at]).is_err(), "cut at {at}");
        }
        let swapped = Changes { updates: changes().updates.into_iter().rev().collect(), ..changes() };
        assert!(decode(&written(&swapped)).is_err(), "they are in order");
        let mut foreign = changes();
        foreign.updates[2].view = 3;
        assert!(decode(&written(&foreign)).is_err(), "there is no such view");
    }
}
