//! Messages as they were sent, written again where another run can read them.
//!
//! In a folder they are envelopes as `kcat -J` writes them, a file for each partition. JSON has no word for bytes that are
//! not UTF-8: they stand in the strings as they are, and [`crate::connect::files`] reads them so.
//!
//! A line of a file whose header names columns of its own means something under that header only. Such lines are written as
//! lines again, below the header, a file for each partition and header. So are lines of files whose name decides what they mean:
//! the file has that name again.

use crate::connect::error::Error;
use headway_operators::record::{Offset, Partition};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A message as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its topic.
    pub topic: String,
    /// The partition it came from.
    pub partition: Partition,
    /// Its place there.
    pub offset: Offset,
    /// Its time stamp, in milliseconds.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its headers: name and value of each.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The header of its file, a line of CSV, where that names columns of its own.
    pub columns: Option<String>,
    /// The name of its file, where that decides what the line means.
    pub file: Option<String>,
}

impl Original {
    /// True if it is written as the line of a file, since a message has no word for what it needs.
    pub fn is_line(&self) -> bool {
        self.columns.is_some() || self.file.is_some()
    }
}

/// Where originals are written.
pub trait Originals {
    /// Writes a message. Those of one partition come in rising offsets.
    ///
    /// # Errors
    /// If it cannot be written.
    fn write(&mut self, original: &Original) -> Result<(), Error>;

    /// Returns when everything is durable.
    ///
    /// # Errors
    /// If something is not.
    fn finish(&mut self) -> Result<(), Error>;
}

/// Originals as files of a folder.
pub struct Folder {
    path: PathBuf,
    files: BTreeMap<Key, Target>,
    line: Vec<u8>,
}

/// Which messages share a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    topic: String,
    partition: Partition,
    columns: Option<String>,
    file: Option<String>,
}

impl Key {
    /// How the file is called: what its names begin with, and what they end with.
    fn name(&self) -> (String, &'static str) {
        let is_line = self.columns.is_some() || self.file.is_some();
        let suffix = if is_line { "csv" } else { "ndjson" };
        let Some(file) = &self.file else { return (format!("part-{:05}", self.partition.0), suffix) };
        // It is not packed any more.
        let mut name = Path::new(file);
        if name.extension().is_some_and(|packed| packed == "gz" || packed == "zst") {
            name = Path::new(name.file_stem().unwrap_or_default());
        }
        (name.file_stem().unwrap_or_default().to_string_lossy().into_owned(), suffix)
    }
}

/// The file of a partition.
struct Target {
    path: PathBuf,
    file: BufWriter<File>,
    newest: Offset,
}

impl Folder {
    /// The folder at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(path: &Path) -> Result<Folder, Error> {
        std::fs::create_dir_all(path).map_err(|source| Error::unwritable(path, source))?;
        Ok(Folder { path: path.to_path_buf(), files: BTreeMap::new(), line: Vec::new() })
    }

    fn target(&mut self, original: &Original) -> Result<&mut Target, Error> {
        let (topic, partition) = (original.topic.clone(), original.partition);
        let (columns, file) = (original.columns.clone(), original.file.clone());
        let key = Key { topic, partition, columns, file };
        if !self.files.contains_key(&key) {
            let (name, suffix) = key.name();
            let others = self.files.keys().filter(|other| other.name().0 == name).count();
            let more = if others == 0 { String::new() } else { format!("-{others}") };
            let path = self.path.join(format!("{name}{more}.{suffix}"));
            let file = File::create_new(&path).map_err(|source| Error::unwritable(&path, source))?;
            let mut target = Target { path, file: BufWriter::new(file), newest: Offset(-1) };
            if let Some(columns) = &key.columns {
                writeln!(target.file, "{columns}")
                    .map_err(|source| Error::unwritable(&target.path, source))?;
            }
            self.files.insert(key.clone(), target);
        }
        Ok(self.files.get_mut(&key).expect("it was put there where it was absent"))
    }
}

impl Originals for Folder {
    fn write(&mut self, original: &Original) -> Result<(), Error> {
        let mut line = std::mem::take(&mut self.line);
        if original.is_line() {
            line.clear();
            line.extend_from_slice(original.value.as_deref().unwrap_or_default());
            line.push(b'\n');
        } else {
            envelope(original, &mut line);
        }
        let target = self.target(original)?;
        if original.offset <= target.newest {
            let what = format!("offset {} does not follow {}", original.offset, target.newest);
            return Err(Error::unwritable(&target.path, io::Error::other(what)));
        }
        target.newest = original.offset;
        target.file.write_all(&line).map_err(|source| Error::unwritable(&target.path, source))?;
        self.line = line;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        for target in self.files.values_mut() {
            let synced = target.file.flush().and_then(|()| target.file.get_ref().sync_all());
            synced.map_err(|source| Error::unwritable(&target.path, source))?;
        }
        Ok(())
    }
}

/// Writes `original` into `out` as an envelope, a line.
fn envelope(original: &Original, out: &mut Vec<u8>) {
    let Original { topic, partition, offset, timestamp_ms, key, headers, value, columns: _, file: _ } =
        original;
    out.clear();
    out.extend_from_slice(b"{\"topic\":");
    string(topic.as_bytes(), out);
    let (kind, ts) = timestamp_ms.map_or(("unknown", -1), |ms| ("create", ms));
    let numbers = format!(",\"partition\":{partition},\"offset\":{offset},\"tstype\":\"{kind}\",\"ts\":{ts}");
    out.extend_from_slice(numbers.as_bytes());
    out.extend_from_slice(b",\"broker\":0");
    if !headers.is_empty() {
        for (number, (name, value)) in headers.iter().enumerate() {
            out.extend_from_slice(if number == 0 { b",\"headers\":[" } else { b"," });
            string(name.as_bytes(), out);
            out.push(b',');
            optional(value.as_deref(), out);
        }
        out.push(b']');
    }
    out.extend_from_slice(b",\"key\":");
    optional(key.as_deref(), out);
    out.extend_from_slice(b",\"payload\":");
    optional(value.as_deref(), out);
    out.extend_from_slice(b"}\n");
}

fn optional(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        Some(bytes) => string(bytes, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Writes `bytes` as a JSON string, in which bytes that are not UTF-8 stand as they are.
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0..=0x1F | 0x7F => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::files::{Files, Options};
    use crate::connect::{Connector, Event, Polled};
    use headway_operators::record::Payload;
    use proptest::prelude::*;

    /// What is read of the folder at `path`.
    fn read(path: &Path) -> Vec<Original> {
        let files =
            Files::new(Options { path: path.to_path_buf(), follow: false, topic: None, header: None });
        let starts: Vec<_> =
            files.partitions().unwrap().iter().map(|info| (info.partition, info.first)).collect();
        let mut source = files.open(&starts, Box::new(|| {})).unwrap();
        let mut found = Vec::new();
        loop {
            let polled = source.poll(1 << 16, &mut |event| {
                let Event::Message(raw, _) = event else { return };
                let Payload::Null = raw.payload else {
                    let Payload::Bytes(value) = raw.payload else { panic!("{:?}", raw.payload) };
                    return found.push(original(&raw, Some(value.to_vec())));
                };
                found.push(original(&raw, None));
            });
            if polled.unwrap() == Polled::Nothing {
                return found;
            }
        }
    }

    fn original(raw: &headway_operators::record::Raw<'_>, value: Option<Vec<u8>>) -> Original {
        Original {
            topic: "t".into(),
            partition: raw.partition,
            offset: raw.offset,
            timestamp_ms: raw.timestamp_ms,
            key: raw.key.map(<[u8]>::to_vec),
            headers: raw
                .headers
                .iter()
                .map(|header| (header.name.to_string(), header.value.map(<[u8]>::to_vec)))
                .collect(),
            value,
            columns: None,
            file: None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_message_comes_back_from_a_folder_as_it_was(
            messages in proptest::collection::vec(
                (
                    0_u32..3,
                    proptest::option::of(0_i64..1 << 40),
                    proptest::option::of(any::<Vec<u8>>()),
                    proptest::collection::vec((any::<String>(), proptest::option::of(any::<Vec<u8>>())), 0..3),
                    proptest::option::of(any::<Vec<u8>>()),
                ),
                1..20,
            ),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("new");
            let mut out = Folder::new(&path).unwrap();
            let mut written: Vec<Original> = Vec::new();
            for (offset, (partition, timestamp_ms, key, headers, value)) in (0..).zip(messages) {
                let (topic, partition, offset) = ("t".to_string(), Partition(partition), Offset(offset));
                let columns = None;
                let file = None;
                written.push(Original { topic, partition, offset, timestamp_ms, key, headers, value, columns, file });
                out.write(written.last().unwrap()).unwrap();
            }
            out.finish().unwrap();
            let sorted = |mut all: Vec<Original>| {
                all.sort_by_key(|one| (one.partition, one.offset));
                all
            };
            prop_assert_eq!(sorted(read(&path)), sorted(written));
        }
    }

    #[test]
    fn nothing_is_written_over_and_offsets_rise() {
        let folder = tempfile::tempdir().unwrap();
        let one = |offset| Original {
            topic: "t".into(),
            partition: Partition(0),
            offset: Offset(offset),
            timestamp_ms: None,
            key: None,
            headers: Vec::new(),
            value: None,
            columns: None,
            file: None,
        };
        let mut out = Folder::new(folder.path()).unwrap();
        out.write(&one(5)).unwrap();
        assert!(out.write(&one(5)).is_err());
        assert!(Folder::new(folder.path()).unwrap().write(&one(6)).is_err());
    }
}
