//! Writes generated messages where a job can read them: files of a folder, or any writer.

use crate::connect::error::Error;
use headway_operators::generate::{Generate, Message};
use headway_operators::record::{Offset, Partition};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many messages are written between two looks at pace and caller.
pub(super) const BATCH: u64 = 256;

/// The longest wait before progress is reported again.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(100);

/// How a message becomes a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Its value, without a newline at its end. A tombstone is an empty line: a line cannot say that there is none.
    Lines,
    /// An envelope as `kcat -J` writes it, of the topic named.
    Envelopes(String),
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Produced {
    /// Messages.
    pub messages: u64,
    /// Those without a value.
    pub tombstones: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl Produced {
    /// Counts a message.
    pub(super) fn add(&mut self, message: &Message) {
        self.messages += 1;
        self.tombstones += u64::from(message.value.is_none());
        let bytes = message.key.len() + message.value.as_ref().map_or(0, Vec::len);
        self.bytes += bytes as u64;
    }
}

/// How fast to write, and whom to tell.
pub struct Pace<'a> {
    /// Messages per second of the wall clock; `None` is as fast as possible.
    pub per_second: Option<f64>,
    /// Is told now and then what was written so far, and may end it.
    pub tell: &'a mut dyn FnMut(&Produced) -> ControlFlow<()>,
}

/// Files of a folder: one for each partition.
pub struct Folder {
    files: Vec<(PathBuf, BufWriter<File>)>,
    format: Format,
    line: Vec<u8>,
}

impl Folder {
    /// Makes `folder` if it is not there, and in it a file for each of `partitions`: `part-00000.txt`, or `.ndjson` for envelopes.
    ///
    /// # Errors
    /// If a file is already there or cannot be written.
    pub fn create(folder: &Path, partitions: u32, format: Format) -> Result<Folder, Error> {
        std::fs::create_dir_all(folder).map_err(|source| Error::unwritable(folder, source))?;
        let extension = if format == Format::Lines { "txt" } else { "ndjson" };
        let mut files = Vec::new();
        for partition in 0..partitions {
            let path = folder.join(format!("part-{partition:05}.{extension}"));
            let file = File::create_new(&path).map_err(|source| Error::unwritable(&path, source))?;
            files.push((path, BufWriter::new(file)));
        }
        Ok(Folder { files, format, line: Vec::new() })
    }

    /// Writes a message into the file of its partition.
    ///
    /// # Errors
    /// If the file cannot be written, or a value with a newline should become a line.
    pub fn write(&mut self, partition: Partition, offset: Offset, message: &Message) -> Result<(), Error> {
        let (path, file) = &mut self.files[partition.index()];
        write_line(&self.format, partition, offset, message, &mut self.line)?;
        file.write_all(&self.line).map_err(|source| Error::unwritable(path, source))
    }

    /// Lets readers see what was written.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        for (path, file) in &mut self.files {
            file.flush().map_err(|source| Error::unwritable(path, source))?;
        }
        Ok(())
    }
}

/// One writer for the messages of several inputs, which become lines.
pub struct Lines<'a> {
    out: BufWriter<&'a mut dyn Write>,
    name: &'static str,
    formats: Vec<Format>,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// Writes to `out`, which errors call `name`; messages of input number `i` become lines by `formats[i]`.
    pub fn new(out: &'a mut dyn Write, name: &'static str, formats: Vec<Format>) -> Lines<'a> {
        Lines { out: BufWriter::new(out), name, formats, line: Vec::new() }
    }

    /// Writes a message of input number `input`.
    ///
    /// # Errors
    /// If it cannot be written, or a value with a newline should become a line.
    pub fn write(
        &mut self,
        input: usize,
        partition: Partition,
        offset: Offset,
        message: &Message,
    ) -> Result<(), Error> {
        write_line(&self.formats[input], partition, offset, message, &mut self.line)?;
        self.out.write_all(&self.line).map_err(|source| Error::unwritable(Path::new(self.name), source))
    }

    /// Lets readers see what was written.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(|source| Error::unwritable(Path::new(self.name), source))
    }
}

/// Writes a file for each partition into `folder`, as [`Folder::create`] makes them.
///
/// # Errors
/// If a file is already there or cannot be written, or a value with a newline should become a line.
pub fn to_folder(
    generate: &dyn Generate,
    folder: &Path,
    format: &Format,
    pace: Pace<'_>,
) -> Result<Produced, Error> {
    let mut folder = Folder::create(folder, generate.partitions(), format.clone())?;
    let produced =
        produce(generate, pace, &mut |partition, offset, message| folder.write(partition, offset, message))?;
    folder.flush()?;
    Ok(produced)
}

/// Writes the messages of all partitions to `lines`, as its first input, in the order in which they were sent.
///
/// # Errors
/// As [`Lines::write`].
pub fn to_writer(generate: &dyn Generate, mut lines: Lines<'_>, pace: Pace<'_>) -> Result<Produced, Error> {
    let produced = produce(generate, pace, &mut |partition, offset, message| {
        lines.write(0, partition, offset, message)
    })?;
    lines.flush()?;
    Ok(produced)
}

/// Takes a message with its partition and offset.
pub(super) type Give<'a> = dyn FnMut(Partition, Offset, &Message) -> Result<(), Error> + 'a;

/// Gives the messages of all partitions, the first of each, then the second of each, and so on.
pub(super) fn produce(
    generate: &dyn Generate,
    pace: Pace<'_>,
    give: &mut Give<'_>,
) -> Result<Produced, Error> {
    let (began, mut produced) = (Instant::now(), Produced::default());
    let mut message = Message::default();
    for offset in (0..).map(Offset) {
        let mut is_over = true;
        for partition in (0..generate.partitions()).map(Partition) {
            if generate.end(partition).is_some_and(|end| offset >= end) {
                continue;
            }
            is_over = false;
            generate.message(partition, offset, &mut message);
            give(partition, offset, &message)?;
            produced.add(&message);
            if produced.messages.is_multiple_of(BATCH) && (pace.tell)(&produced).is_break() {
                return Ok(produced);
            }
            // The next message may be due much later, and the caller may want to end it before.
            while let Some(wait) = pace.per_second.and_then(|rate| wait(began, produced.messages, rate)) {
                if (pace.tell)(&produced).is_break() {
                    return Ok(produced);
                }
                std::thread::sleep(wait.min(WAIT_MAX));
            }
        }
        if is_over {
            break;
        }
    }
    Ok(produced)
}

/// How long to wait until `messages` may be written; `None` if they may be now.
fn wait(began: Instant, messages: u64, per_second: f64) -> Option<Duration> {
    let due = Duration::try_from_secs_f64(messages as f64 / per_second).unwrap_or(Duration::MAX);
    due.checked_sub(began.elapsed()).filter(|wait| !wait.is_zero())
}

/// Writes a message into `out` as a line.
fn write_line(
    format: &Format,
    partition: Partition,
    offset: Offset,
    message: &Message,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.clear();
    let value = message.value.as_deref();
    match format {
        Format::Lines => {
            let value = value.unwrap_or_default();
            // A value that ends a line by itself is that line.
            let value = value.strip_suffix(b"\n").unwrap_or(value);
            if memchr::memchr(b'\n', value).is_some() {
                return Err(Error::Unusable {
                    what: format!("message {offset} of partition {partition}"),
                    why: "it holds a newline, and a line cannot".into(),
                    hint: "Write envelopes.".into(),
                });
            }
            out.extend_from_slice(value);
        }
        Format::Envelopes(topic) => {
            out.extend_from_slice(br#"{"topic":"#);
            json_string(topic.as_bytes(), out);
            let at = format!(",\"partition\":{partition},\"offset\":{offset}");
            let ts = format!(",\"tstype\":\"create\",\"ts\":{},\"broker\":0,\"key\":", message.timestamp_ms);
            out.extend_from_slice(at.as_bytes());
            out.extend_from_slice(ts.as_bytes());
            json_string(&message.key, out);
            out.extend_from_slice(br#","payload":"#);
            match value {
                Some(value) => json_string(value, out),
                None => out.extend_from_slice(b"null"),
            }
            out.push(b'}');
        }
    }
    out.push(b'\n');
    Ok(())
}

/// Writes `text` as a JSON string. JSON has no word for bytes that are not UTF-8: each becomes half a surrogate pair,
/// `\udc80` to `\udcff`, which is no more text than the byte was.
fn json_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' | '\\' => out.extend_from_slice(&[b'\\', char as u8]),
                '\n' => out.extend_from_slice(b"\\n"),
                '\0'..' ' => out.extend_from_slice(format!("\\u{:04x}", u32::from(char)).as_bytes()),
                _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\udc{byte:02x}").as_bytes());
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::Connector;
    use crate::connect::drain::{Drained, drain};
    use crate::connect::files::{Files, Options};
    use crate::connect::generator::Generator;
    use std::sync::Arc;

    /// A few messages with what lines and envelopes have trouble with.
    struct Few(&'static [Option<&'static [u8]>]);

    const ALL: Few =
        Few(&[Some(b"\"a\\n\",b"), None, Some(b"two\nlines\r\0\x1f"), Some("é😀".as_bytes()), Some(b"")]);
    const PLAIN: Few = Few(&[Some(b"\"a\\n\",b"), Some("é😀\r".as_bytes()), Some(b"\xff\xfe"), Some(b"")]);

    impl Generate for Few {
        fn identity(&self) -> String {
            "few".into()
        }

        fn partitions(&self) -> u32 {
            2
        }

        fn end(&self, partition: Partition) -> Option<Offset> {
            Some(Offset(self.0.len() as i64 - i64::from(partition.0)))
        }

        fn message(&self, partition: Partition, offset: Offset, out: &mut Message) {
            out.value = self.0[offset.0 as usize + partition.index()].map(<[u8]>::to_vec);
            out.key = b"k".to_vec();
            out.timestamp_ms = offset.0 * 10;
        }
    }

    fn fast(tell: &mut dyn FnMut(&Produced) -> ControlFlow<()>) -> Pace<'_> {
        Pace { per_second: None, tell }
    }

    fn read(connector: &dyn Connector) -> Drained {
        let starts: Vec<_> =
            connector.partitions().unwrap().iter().map(|info| (info.partition, Offset(0))).collect();
        drain(connector.open(&starts, Box::new(|| {})).unwrap().as_mut(), 100).unwrap()
    }

    fn round_trip(few: Few, format: &Format) -> (Drained, Drained) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let produced = to_folder(&few, &path, format, fast(&mut |_| ControlFlow::Continue(()))).unwrap();
        let (messages, tombstones) =
            (few.0.len() as u64 * 2 - 1, few.0.iter().filter(|v| v.is_none()).count());
        assert_eq!((produced.messages, produced.tombstones), (messages, 2 * tombstones as u64));
        let again = to_folder(&few, &path, format, fast(&mut |_| ControlFlow::Continue(())));
        assert!(matches!(again, Err(Error::Unwritable { .. })), "nothing is written over");
        (
            read(&Files::new(Options { path, follow: false, topic: None, header: None })),
            read(&Generator::new(Arc::new(few))),
        )
    }

    #[test]
    fn envelopes_give_back_what_was_generated() {
        let (found, made) = round_trip(ALL, &Format::Envelopes("t\"x".into()));
        assert_eq!((found.messages, found.caught_up), (made.messages, made.caught_up));
    }

    #[test]
    fn lines_give_back_values_that_have_no_newline() {
        let (found, made) = round_trip(PLAIN, &Format::Lines);
        let values = |drained: &Drained| {
            let values = drained.messages.values().map(|list| list.iter().map(|m| m.2.clone()).collect());
            values.collect::<Vec<Vec<_>>>()
        };
        assert_eq!(values(&found), values(&made));
        let folder = tempfile::tempdir().unwrap();
        let refused =
            to_folder(&ALL, folder.path(), &Format::Lines, fast(&mut |_| ControlFlow::Continue(())));
        assert!(matches!(refused, Err(Error::Unusable { .. })), "a value with a newline inside is no line");
        let mut out = Vec::new();
        let ended = Few(&[Some(b"{}\n"), Some(b"\n"), Some(b"a\n\n")]);
        let written = to_writer(
            &ended,
            Lines::new(&mut out, "-", vec![Format::Lines]),
            fast(&mut |_| ControlFlow::Continue(())),
        );
        assert!(matches!(written, Err(Error::Unusable { .. })), "two newlines are two lines");
        assert_eq!(out, b"{}\n\n\n", "a newline at the end is that of the line");
    }

    #[test]
    fn writer_gets_messages_in_the_order_they_were_sent() {
        let mut out = Vec::new();
        let format = Format::Envelopes("t".into());
        to_writer(&PLAIN, Lines::new(&mut out, "-", vec![format]), fast(&mut |_| ControlFlow::Continue(())))
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let first = r#"{"topic":"t","partition":0,"offset":0,"tstype":"create","ts":0,"broker":0,"key":"k","payload":"\"a\\n\",b"}"#;
        assert_eq!(lines[0], first);
        assert!(lines[1].contains(r#""partition":1,"offset":0,"#));
        assert!(lines[3].ends_with(r#""payload":"\udcff\udcfe"}"#), "{}", lines[3]);
        assert_eq!(lines.len(), 7);
    }

    #[test]
    fn pace_is_held_and_the_caller_may_end_it() {
        struct Endless;
        impl Generate for Endless {
            fn identity(&self) -> String {
                String::new()
            }
            fn partitions(&self) -> u32 {
                3
            }
            fn end(&self, _partition: Partition) -> Option<Offset> {
                None
            }
            fn message(&self, _partition: Partition, _offset: Offset, out: &mut Message) {
                out.value = Some(b"x".to_vec());
            }
        }
        let mut tell = |produced: &Produced| match produced.messages {
            0..1000 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        let mut out = Vec::new();
        let began = Instant::now();
        let pace = Pace { per_second: Some(50_000.0), tell: &mut tell };
        let produced = to_writer(&Endless, Lines::new(&mut out, "-", vec![Format::Lines]), pace).unwrap();
        assert!(produced.messages >= 1000 && produced.messages < 1000 + BATCH);
        assert_eq!(out.len() as u64, 2 * produced.messages);
        assert!(began.elapsed() >= Duration::from_millis(19), "a thousand messages at 50 a millisecond");
    }
}
