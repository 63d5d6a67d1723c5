//! Whether a file that appears in a folder is new, or has the lines of one that is known.
//!
//! 1. A file that begins with everything that was read of a followed one is a copy of it. It is passed over while the
//!    other one is there, and takes its place when that is cut or goes away: whoever rotates a log by copying it and
//!    cutting it loses no line and doubles none.
//! 2. A file that is all in the beginning of a followed one is a copy that is being made.
//! 3. A file that begins with everything that was read of a finished partition of its name has come back.

use crate::connect::error::Error;
use crate::connect::files::identity::file::FileIdentity;
use crate::connect::files::identity::mark::Mark;
use crate::connect::files::identity::recall::{Before, begins_with};
use crate::connect::files::place::Place;

/// A followed file, as it is compared with a new one.
pub(in crate::connect::files) struct Followed<'a> {
    /// What it was called when it was met, and how it began then; `None` of a capture, which is no partition.
    pub(in crate::connect::files) identity: Option<FileIdentity>,
    /// Where it is read.
    pub(in crate::connect::files) place: &'a Place,
    /// Everything that was read of it.
    pub(in crate::connect::files) read: Mark,
    /// It is no longer there as it was read.
    pub(in crate::connect::files) is_away: bool,
}

/// What a file is to a followed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::connect::files) enum Relation {
    /// Nothing.
    None,
    /// A copy, or the beginning of one.
    Copy,
    /// The copy of one that is away: it takes its place.
    Continues,
}

/// What `place`, which had `bytes` bytes, is to `followed`.
///
/// # Errors
/// If one of the files cannot be read.
pub(in crate::connect::files) fn relation(
    place: &Place,
    bytes: u64,
    followed: &Followed<'_>,
) -> Result<Relation, Error> {
    let Followed { identity, place: other, read, is_away } = followed;
    if bytes < read.bytes {
        if *is_away || bytes == 0 {
            return Ok(Relation::None);
        }
        let here = Mark::of(place.bytes(), bytes).map_err(|source| place.unreadable(source))?;
        // One that cannot be read any more is away: the next look will say so.
        let there = Mark::of(other.bytes(), bytes).ok();
        return Ok(if there == Some(here) { Relation::Copy } else { Relation::None });
    }
    let begins = identity.as_ref().map_or(Ok(true), |identity| identity.begins(place))?;
    if !begins || !begins_with(place, *read)? {
        return Ok(Relation::None);
    }
    Ok(if *is_away { Relation::Continues } else { Relation::Copy })
}

/// Why `place`, which had `bytes` bytes, is passed over as one of the `finished` files that has come back; `None` if it is
/// none of them.
///
/// # Errors
/// If it cannot be read.
pub(in crate::connect::files) fn came_back(
    place: &Place,
    bytes: u64,
    finished: &[Before],
) -> Result<Option<String>, Error> {
    for old in finished.iter().filter(|old| old.identity.name == place.relative) {
        let Some(read) = old.read else { continue };
        if !old.identity.begins(place)? || !begins_with(place, read)? {
            continue;
        }
        let grown = place.packing.name().is_none() && bytes > read.bytes;
        let rest = if grown { "; it has more lines now, which are not read" } else { "" };
        return Ok(Some(format!("it was read to its end by an earlier run, and was gone{rest}")));
    }
    Ok(None)
}
