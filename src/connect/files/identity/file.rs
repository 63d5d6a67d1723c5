//! What a file of raw lines is called in manifests: by its name and by how it begins.
//!
//! A file that was replaced by another one of the same name, such as the next day's, has lines where the last run
//! stopped, but other ones: going on there would skip what comes before. So the name comes with a hash of the first
//! bytes (unpacked), of as many as there were when the file was met. Files may grow; how they begin stays.
//!
//! ```text
//! files:part-00000.txt@4096:1b2e7cf0a3d95c44
//! ```

use crate::connect::error::Error;
use crate::connect::files::place::Place;
use std::fmt;
use std::io::Read;
use xxhash_rust::xxh3::xxh3_64;

/// What comes before the name.
const KIND: &str = "files:";

/// How much of a file is looked at, in bytes.
const BYTES_MAX: u64 = 4096;

/// A file's name and how it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::connect::files) struct FileIdentity {
    /// Its path below the folder that is the input.
    pub(in crate::connect::files) name: String,
    /// How many bytes were looked at, and their hash; `None` if the name alone tells.
    begins: Option<(u64, u64)>,
}

/// The name of a file of lines, below the folder that is the input, by the identity of its partition; `None` if it is none.
pub fn name_of(identity: &str) -> Option<String> {
    FileIdentity::parse(identity).map(|file| file.name)
}

impl FileIdentity {
    /// The identity that a manifest has; `None` if it is none of a file of lines.
    pub(in crate::connect::files) fn parse(text: &str) -> Option<FileIdentity> {
        let name = text.strip_prefix(KIND)?;
        let begins = |(name, begins): (&str, &str)| {
            let (bytes, hash) = begins.split_once(':').filter(|(_, hash)| hash.len() == 16)?;
            Some((name.to_string(), (bytes.parse().ok()?, u64::from_str_radix(hash, 16).ok()?)))
        };
        Some(match name.rsplit_once('@').and_then(begins) {
            Some((name, begins)) => FileIdentity { name, begins: Some(begins) },
            None => FileIdentity { name: name.to_string(), begins: None },
        })
    }

    /// True if the file at `place`, whatever it is called, begins as this one did.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(in crate::connect::files) fn begins(&self, place: &Place) -> Result<bool, Error> {
        Ok(FileIdentity::of(place, Some(self))?.begins == self.begins)
    }

    /// The identity of the file at `place`, which is comparable with `earlier`, what it was called before.
    pub(in crate::connect::files) fn of(
        place: &Place,
        earlier: Option<&FileIdentity>,
    ) -> Result<FileIdentity, Error> {
        let bytes_max = match earlier {
            None => Some(BYTES_MAX),
            Some(earlier) => earlier.begins.map(|(bytes, _)| bytes),
        };
        let begins = |most| {
            let mut bytes = Vec::new();
            let read = place.bytes().take(most).read_to_end(&mut bytes);
            read.map_err(|source| place.unreadable(source))?;
            Ok((bytes.len() as u64, xxh3_64(&bytes)))
        };
        let begins = bytes_max.map(begins).transpose()?;
        Ok(FileIdentity { name: place.relative.clone(), begins })
    }
}

impl fmt::Display for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}{}", self.name)?;
        let Some((bytes, hash)) = self.begins else { return Ok(()) };
        write!(f, "@{bytes}:{hash:016x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::files::place::tests::place;

    #[test]
    fn identity_is_read_as_it_is_written() {
        for text in
            ["files:a.csv@0:2d06800538d394c2", "files:a@b:c.csv@4096:00000000000000ff", "files:a@b.csv"]
        {
            assert_eq!(FileIdentity::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(FileIdentity::parse("topic:x"), None);
    }

    #[test]
    fn file_that_grew_is_the_same_and_one_that_begins_otherwise_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let identity = |text: &str, earlier: Option<&FileIdentity>| {
            std::fs::write(&path, text).unwrap();
            FileIdentity::of(&place(&path), earlier).unwrap()
        };
        let long = "x".repeat(5000);
        // What was there when it was met, what is there later, and whether that is the same file.
        let cases = [
            ("one\n", "one\ntwo\n", true),
            ("one\n", "two\ntwo\n", false),
            ("one\n", "on", false),
            ("", "anything", true),
            (&long, &format!("{long}y"), true),
            (&long, &format!("y{long}"), false),
        ];
        for (then, now, same) in cases {
            let met = identity(then, None);
            assert_eq!(identity(now, Some(&met)) == met, same, "{then} {now}");
        }
        let by_name = FileIdentity::parse("files:a.csv").unwrap();
        assert_eq!(identity("anything", Some(&by_name)), by_name);
    }
}
