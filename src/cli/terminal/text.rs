//! Makes text that came from others safe to look at.
//!
//! A topic's name, a reason, a payload or a file's name may hold characters that move the cursor, change colours or
//! the order of letters. A terminal would obey them, and a person would read something else than what is there. Every
//! command prints through [`Screen`], so none can forget it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};

/// True for a character that a terminal obeys instead of showing it, or that cannot be seen: controls (C0, DEL, C1),
/// marks that change the direction of letters, line separators, and characters without width.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` with every hidden character written as JSON writes it: `\n`, `\t`, `\u001b`, `\u202e`. Inside a JSON string
/// the value stays the same.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            c if is_hidden(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(shown, "\\u{unit:04x}");
                }
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The same for text of several lines: line ends stay.
pub(crate) fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// The same for one event of the log: one line, whatever its fields hold. The formatter colours it, and has escaped the
/// escape characters of its fields itself.
pub(crate) fn visible_event(text: &str) -> String {
    let (event, end) = text.strip_suffix('\n').map_or((text, ""), |event| (event, "\n"));
    event.split('\u{1b}').map(visible).collect::<Vec<_>>().join("\u{1b}") + end
}

/// What happens to an answer whose reader has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The command stops: the answer was all it had to give.
    Listens,
    /// The command goes on: what it does, and its exit code, matter without a reader too.
    MayLeave,
}

/// Standard output for people and programs: complete characters only, hidden ones escaped.
pub(crate) struct Screen<W: Write> {
    to: W,
    reader: Reader,
    /// The beginning of a character whose rest has not been written yet.
    begun: Vec<u8>,
    /// Why nothing more can be written.
    lost: Option<io::Error>,
}

impl<W: Write> Screen<W> {
    /// A screen that writes to `to`.
    pub(crate) fn new(to: W, reader: Reader) -> Screen<W> {
        Screen { to, reader, begun: Vec::new(), lost: None }
    }

    /// Writes what is left, and says whether everything was written. A reader who has left is no error where he may.
    pub(crate) fn end(mut self) -> io::Result<()> {
        let begun = std::mem::take(&mut self.begun);
        let rest = String::from_utf8_lossy(&begun).into_owned();
        self.put(&rest)?;
        self.flush()?;
        match self.lost {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        if self.lost.is_some() || text.is_empty() {
            return Ok(());
        }
        let written = self.to.write_all(visible_lines(text).as_bytes());
        self.settle(written)
    }

    /// Keeps the first error where the reader may leave.
    fn settle(&mut self, result: io::Result<()>) -> io::Result<()> {
        match (result, self.reader) {
            (Err(error), Reader::MayLeave) => {
                self.lost.get_or_insert(error);
                Ok(())
            }
            (result, _) => result,
        }
    }
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        // Only the last character can be incomplete: a chunk may end inside of it.
        let text = loop {
            match std::str::from_utf8(&all) {
                Ok(text) => break text.to_string(),
                Err(error) if error.error_len().is_none() => {
                    self.begun = all.split_off(error.valid_up_to());
                }
                Err(_) => break String::from_utf8_lossy(&all).into_owned(),
            }
        };
        self.put(&text)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.lost.is_some() {
            return Ok(());
        }
        let flushed = self.to.flush();
        self.settle(flushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let cases = [
            ("plain, ümlaut, 駅, 🚇", "plain, ümlaut, 駅, 🚇"),
            ("\u{1b}[2Jgone", "\\u001b[2Jgone"),
            ("a\u{7}\u{8}\u{7f}", "a\\u0007\\u0008\\u007f"),
            ("\u{9b}31m C1", "\\u009b31m C1"),
            ("abc\u{202e}cba\u{2066}x\u{2069}", "abc\\u202ecba\\u2066x\\u2069"),
            ("one\ntwo\r\tthree", "one\\ntwo\\r\\tthree"),
            ("\u{feff}a\u{200b}b\u{2028}c", "\\ufeffa\\u200bb\\u2028c"),
            ("tag \u{e0041}", "tag \\udb40\\udc41"),
        ];
        for (text, shown) in cases {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn event_of_the_log_stays_one_line() {
        assert_eq!(visible_event("\u{1b}[2ma\u{1b}[0m b\nc\u{202e}\n"), "\u{1b}[2ma\u{1b}[0m b\\nc\\u202e\n");
        assert_eq!(visible_event("a"), "a");
    }

    #[test]
    fn reader_who_leaves_ends_a_listing_and_nothing_else() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut listing = Screen::new(Gone, Reader::Listens);
        assert_eq!(writeln!(listing, "a").map_err(|error| error.kind()), Err(ErrorKind::BrokenPipe));
        let mut story = Screen::new(Gone, Reader::MayLeave);
        assert!(writeln!(story, "a").and_then(|()| writeln!(story, "b")).is_ok());
        assert!(story.end().is_ok());
    }

    #[test]
    fn full_disk_under_an_answer_is_an_error_in_the_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut story = Screen::new(Full, Reader::MayLeave);
        assert!(writeln!(story, "a").is_ok());
        assert_eq!(story.end().map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
    }

    proptest! {
        #[test]
        fn json_means_the_same_on_the_screen(text in any::<String>(), cut in 0usize..40) {
            let line = serde_json::to_string(&text).expect("text is JSON");
            let mut out = Vec::new();
            let mut screen = Screen::new(&mut out, Reader::Listens);
            let (one, two) = line.as_bytes().split_at(cut.min(line.len()));
            screen.write_all(one).and_then(|()| screen.write_all(two)).expect("memory can be written");
            screen.end().expect("memory can be written");
            let shown = String::from_utf8(out).expect("text");
            prop_assert!(!shown.contains(is_hidden), "{shown:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&shown).expect("JSON"), text);
        }
    }
}
