//! Which file continues which partition of an earlier run.
//!
//! 1. A file is known if name and beginning agree, and what was read of it is still there.
//! 2. Where the known name is gone, or begins otherwise, a file continues it whose first bytes, as many as were read and
//!    at least one, have the hash that was kept of everything read: it was renamed, packed or copied.
//! 3. A file of the known name that begins as it did, and has not all that was read, was shortened or changed: the start is
//!    refused. So it is where nothing was kept by which the file that was read could be found.
//!
//! Anything else is a new file. No file continues two partitions, and no partition goes on in two files.

use crate::connect::PartitionInfo;
use crate::connect::error::Error;
use crate::connect::files::identity::file::FileIdentity;
use crate::connect::files::identity::mark::{BEGIN_BYTES, Begins, Mark};
use crate::connect::files::place::Place;
use crate::connect::files::scan::fewer_lines;
use headway_operators::record::{Offset, Partition};
use std::collections::BTreeMap;
use std::io::Read;

/// A file of raw lines as an earlier run left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::connect::files) struct Before {
    /// Its partition.
    pub(in crate::connect::files) partition: Partition,
    /// What it is called in manifests.
    pub(in crate::connect::files) identity: FileIdentity,
    /// The next offset to read.
    pub(in crate::connect::files) next: Offset,
    /// What was read of it; `None` where the run kept no hash of it.
    pub(in crate::connect::files) read: Option<Mark>,
    /// The file ended there.
    pub(in crate::connect::files) at_end: bool,
    /// How it began.
    pub(in crate::connect::files) begins: Begins,
}

/// A file of an earlier run that was found again.
#[derive(Clone, Debug)]
pub(in crate::connect::files) struct Recalled {
    /// What the earlier run left.
    pub(in crate::connect::files) before: Before,
    fit: Fit,
}

/// What is known of a file that fits an earlier one.
#[derive(Clone, Copy, Debug)]
struct Fit {
    /// Whether it has more than was read, if the search has seen that: packed files are unpacked for it.
    has_more: Option<bool>,
}

impl Fit {
    /// Of a file in which what was read was not looked for.
    const UNREAD: Fit = Fit { has_more: None };
}

/// Which of `places`, by their number, continues which of `before`.
///
/// # Errors
/// If a file cannot be read.
pub(in crate::connect::files) fn recall(
    before: &[Before],
    places: &[Place],
) -> Result<BTreeMap<usize, Recalled>, Error> {
    let mut found = BTreeMap::new();
    let recalled = |before: &Before, fit| Recalled { before: before.clone(), fit };
    let mut missing = Vec::new();
    // 1. Name and beginning.
    for old in before {
        match find(places, &found, |place| is_as_known(old, place))? {
            Some((place, fit)) => drop(found.insert(place, recalled(old, fit))),
            None => missing.push(old),
        }
    }
    // 2. Everything that was read.
    let mut named = Vec::new();
    for old in missing {
        let Some(read) = old.read.filter(|read| read.bytes > 0) else {
            named.push(old);
            continue;
        };
        match find(places, &found, |place| compare(place, read))? {
            Some((place, fit)) => drop(found.insert(place, recalled(old, fit))),
            None => named.push(old),
        }
    }
    // 3. The name: what is there shows that it is another one, or was changed.
    for old in named {
        let is_it = |place: &Place| {
            let may_be = place.relative == old.identity.name;
            let is_it = may_be && (old.read.is_none_or(|read| read.bytes == 0) || is_changed(old, place)?);
            Ok(is_it.then_some(Fit::UNREAD))
        };
        if let Some((place, fit)) = find(places, &found, is_it)? {
            found.insert(place, recalled(&Before { read: None, ..old.clone() }, fit));
        }
    }
    Ok(found)
}

/// The number of the first of `places` that is not taken and `fits`, and how.
fn find(
    places: &[Place],
    taken: &BTreeMap<usize, Recalled>,
    mut fits: impl FnMut(&Place) -> Result<Option<Fit>, Error>,
) -> Result<Option<(usize, Fit)>, Error> {
    for (number, place) in places.iter().enumerate().filter(|(number, _)| !taken.contains_key(number)) {
        if let Some(fit) = fits(place)? {
            return Ok(Some((number, fit)));
        }
    }
    Ok(None)
}

/// As [`compare`], for a file whose name and beginning are those that are known.
fn is_as_known(old: &Before, place: &Place) -> Result<Option<Fit>, Error> {
    let is_it =
        place.relative == old.identity.name && FileIdentity::of(place, Some(&old.identity))? == old.identity;
    match old.read {
        _ if !is_it => Ok(None),
        Some(read) => compare(place, read),
        None => Ok(Some(Fit::UNREAD)),
    }
}

/// True if a file that has not all that was read begins so much like it that it is no other one.
fn is_changed(old: &Before, place: &Place) -> Result<bool, Error> {
    let mut begin = Vec::with_capacity(BEGIN_BYTES);
    let read = place.bytes().take(BEGIN_BYTES as u64).read_to_end(&mut begin);
    read.map_err(|source| place.unreadable(source))?;
    Ok(Begins::of(&begin).are_alike(&old.begins))
}

/// True if the first bytes of a file are those that were read.
///
/// # Errors
/// If the file cannot be read.
pub(in crate::connect::files) fn begins_with(place: &Place, read: Mark) -> Result<bool, Error> {
    Ok(compare(place, read)?.is_some())
}

/// How a file fits whose first bytes are those that were read; `None` if they are others.
fn compare(place: &Place, read: Mark) -> Result<Option<Fit>, Error> {
    let mut bytes = place.bytes();
    let found = Mark::of(&mut bytes, read.bytes).map_err(|source| place.unreadable(source))?;
    // Damage after these bytes is found again when the file is read on.
    Ok((found == read).then(|| Fit { has_more: place.has_more_after(read.bytes, &mut bytes).ok() }))
}

/// The partition that a file of raw lines is: number `number`, unless it continues an `old` one.
pub(in crate::connect::files) fn partition(
    place: &Place,
    number: Partition,
    old: Option<Recalled>,
) -> Result<PartitionInfo, Error> {
    let Some(Recalled { before: old, fit }) = old else {
        let identity = FileIdentity::of(place, None)?.to_string();
        return Ok(PartitionInfo { partition: number, identity, first: Offset(0), end: None });
    };
    let partition = old.partition;
    if let Some(read) = old.read {
        // It is what was read, whatever it is called now. Where nothing was added since, its end is known.
        let identity = old.identity.to_string();
        let has_more = fit.has_more.map_or_else(|| place.has_more_than(read.bytes), Ok)?;
        let end = (!has_more).then_some(old.next);
        return Ok(PartitionInfo { partition, identity, first: Offset(0), end });
    }
    let mut identity = FileIdentity::of(place, Some(&old.identity))?.to_string();
    // Here an end is reported only if it shows that the file is not the one that was read.
    let end = fewer_lines(place, old.next)?;
    if end.is_none() && identity == old.identity.to_string() && old.begins != Begins::default() {
        identity.push_str(", changed in what was read of it");
    }
    Ok(PartitionInfo { partition, identity, first: Offset(0), end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::files::place::tests::place;
    use crate::connect::files::unpack::tests::gz;
    use std::fs;
    use xxhash_rust::xxh3::xxh3_128;

    /// Of a file called `name` that began with `text`, all of which was read.
    fn before(partition: Partition, name: &str, text: &str) -> Before {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        let identity = FileIdentity::of(&place(&folder.path().join(name)), None).unwrap();
        let read = Some(Mark { bytes: text.len() as u64, hash: xxh3_128(text.as_bytes()) });
        Before {
            partition,
            identity,
            next: Offset(text.lines().count() as i64),
            read,
            at_end: true,
            begins: Begins::of(text.as_bytes()),
        }
    }

    /// The names of the files that continue partitions, with their numbers.
    fn recalled(before: &[Before], files: &[(&str, &[u8])]) -> Vec<(String, Partition)> {
        let folder = tempfile::tempdir().unwrap();
        let write = |(name, bytes): &(&str, &[u8])| {
            fs::write(folder.path().join(name), bytes).unwrap();
            place(&folder.path().join(name))
        };
        let places: Vec<Place> = files.iter().map(write).collect();
        let found = recall(before, &places).unwrap();
        found.into_iter().map(|(at, old)| (places[at].relative.clone(), old.before.partition)).collect()
    }

    fn of(names: &[(&str, Partition)]) -> Vec<(String, Partition)> {
        names.iter().map(|(name, partition)| ((*name).to_string(), *partition)).collect()
    }

    #[test]
    fn file_is_known_again_by_its_name_or_by_what_was_read_of_it() {
        let old = before(Partition(0), "app.csv", "head\n1\n2\n");
        let one = std::slice::from_ref(&old);
        // It is there, it has grown, it was renamed, packed, copied and cut, replaced, or is gone.
        assert_eq!(recalled(one, &[("app.csv", b"head\n1\n2\n")]), of(&[("app.csv", Partition(0))]));
        assert_eq!(recalled(one, &[("app.csv", b"head\n1\n2\n3\n")]), of(&[("app.csv", Partition(0))]));
        let renamed: [(&str, &[u8]); 2] = [("app.csv", b"head\n5\n"), ("app.csv.1", b"head\n1\n2\n3\n")];
        assert_eq!(recalled(one, &renamed), of(&[("app.csv.1", Partition(0))]));
        let packed = gz(&[b"head\n1\n", b"2\n3\n"]);
        assert_eq!(recalled(one, &[("app.csv.1.gz", &packed)]), of(&[("app.csv.1.gz", Partition(0))]));
        let cut: [(&str, &[u8]); 2] = [("app.csv", b""), ("copy", b"head\n1\n2\n")];
        assert_eq!(recalled(one, &cut), of(&[("copy", Partition(0))]));
        assert_eq!(recalled(one, &[("app.csv", b"head\n5\n6\n7\n")]), of(&[]));
        assert_eq!(recalled(one, &[("other.csv", b"head\n1\n")]), of(&[]));
    }

    #[test]
    fn file_that_was_shortened_or_changed_is_no_other_one() {
        let lines = |from: u32, to: u32| (from..to).map(|n| format!("line {n:04}\n")).collect::<String>();
        for all in [40, 200, 1_000] {
            let old = before(Partition(0), "app.csv", &lines(0, all));
            let found = |text: &str| recalled(std::slice::from_ref(&old), &[("app.csv", text.as_bytes())]);
            let same = of(&[("app.csv", Partition(0))]);
            assert_eq!(found(&lines(0, all - 1)), same, "one line less than {all}");
            assert_eq!(found(&lines(0, 30)), same, "30 lines of {all}");
            assert_eq!(found(&(lines(0, all - 1) + &lines(7, 9))), same, "the last line of {all} is another");
            assert_eq!(found(&lines(1, all)), of(&[]), "it begins otherwise");
        }
    }

    #[test]
    fn two_files_of_one_name_are_told_apart() {
        let both =
            [before(Partition(0), "app.csv", "head\n1\n"), before(Partition(3), "app.csv", "head\n2\n")];
        let files: [(&str, &[u8]); 2] = [("app.csv", b"head\n2\n3\n"), ("app.csv.1", b"head\n1\n")];
        assert_eq!(recalled(&both, &files), of(&[("app.csv", Partition(3)), ("app.csv.1", Partition(0))]));
        let files: [(&str, &[u8]); 2] = [("app.csv.1", b"head\n2\n3\n"), ("app.csv.2", b"head\n1\n")];
        assert_eq!(recalled(&both, &files), of(&[("app.csv.1", Partition(3)), ("app.csv.2", Partition(0))]));
    }

    #[test]
    fn nothing_that_was_read_is_no_evidence() {
        let empty = before(Partition(0), "a", "");
        assert_eq!(recalled(std::slice::from_ref(&empty), &[("b", b"1\n")]), of(&[]));
        assert_eq!(recalled(&[empty], &[("a", b"1\n")]), of(&[("a", Partition(0))]));
        // A run that kept no hash knows its files by name: another one under it is shown to be another one.
        let by_name = Before { read: None, ..before(Partition(0), "a", "1\n") };
        assert_eq!(recalled(std::slice::from_ref(&by_name), &[("a", b"2\n")]), of(&[("a", Partition(0))]));
        assert_eq!(recalled(&[by_name], &[("b", b"1\n")]), of(&[]));
    }
}
