//! The syntax of a `.properties` file, as `java.util.Properties.load` reads it.
//!
//! - A line that begins with `#` or `!` is a comment. Blanks (space, tab, form feed) at the beginning of a line do not count.
//! - A line that ends with an odd number of backslashes goes on in the next line. A comment never does.
//! - A name ends at the first `=`, `:` or blank that has no backslash before it. Blanks around the separator do not count;
//!   blanks at the end of a value do. A name without a separator has an empty value.
//! - `\t`, `\n`, `\r`, `\f` and `\u` with four hexadecimal digits stand for a character. Elsewhere a backslash is dropped, and
//!   the character behind it stands for itself.
//!
//! Java reads the bytes as Latin-1, and tools that write UTF-8 are common. So bytes that are valid UTF-8 are UTF-8 here, with
//! or without a byte order mark, and all others are Latin-1. A file that holds nothing but ASCII is the same in all of them.

use std::borrow::Cow;
use std::iter::Peekable;

/// The way out where an escape is malformed.
const ESCAPES: &str = "Write \\\\ for one backslash, and \\uXXXX for a character: four hexadecimal digits.";

/// What Java takes for a blank.
pub(super) const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// A name and its value.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The name, escapes resolved.
    pub(super) name: String,
    /// The value, escapes resolved.
    pub(super) value: String,
    /// The value as it was written, continued lines joined.
    pub(super) written: String,
    /// The line where it begins, from 1.
    pub(super) line: usize,
}

/// A line that Java refuses, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Its number, from 1.
    pub(super) line: usize,
    /// What does not fit.
    pub(super) why: &'static str,
    /// The way out.
    pub(super) hint: &'static str,
}

/// The text that `bytes` hold.
///
/// # Errors
/// If they are UTF-16: every second byte would be a NUL.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    if bytes.starts_with(&[0xfe, 0xff]) || bytes.starts_with(&[0xff, 0xfe]) {
        return Err(Malformed { line: 1, why: "the file is UTF-16", hint: "Save it as UTF-8." });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    })
}

/// All entries of `text`, in the order of their lines.
///
/// # Errors
/// If an escape is malformed.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, Malformed> {
    // Java's lines end at a lone carriage return, too.
    let text = match text.contains('\r') {
        true => Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(text),
    };
    let mut lines = text.lines().zip(1..).peekable();
    let mut entries = Vec::new();
    while let Some((logical, line)) = logical(&mut lines) {
        let (name, written) = split(&logical);
        let resolve = |text| resolve(text).map_err(|why| Malformed { line, why, hint: ESCAPES });
        let (name, value) = (resolve(name)?, resolve(written)?);
        entries.push(Entry { name, value, written: written.to_string(), line });
    }
    Ok(entries)
}

/// The next line that is no comment and not empty, joined with those it goes on in, and where it begins.
fn logical<'a>(lines: &mut Peekable<impl Iterator<Item = (&'a str, usize)>>) -> Option<(String, usize)> {
    let mut joined = String::new();
    let mut begin = 0;
    while let Some((text, number)) = lines.next() {
        let text = text.trim_start_matches(BLANKS);
        if joined.is_empty() {
            if text.is_empty() || text.starts_with(['#', '!']) {
                continue;
            }
            begin = number;
        }
        let backslashes = text.len() - text.trim_end_matches('\\').len();
        let goes_on = backslashes % 2 == 1;
        joined.push_str(&text[..text.len() - usize::from(goes_on)]);
        // One that would go on and has no next line ends here.
        if !joined.is_empty() && (!goes_on || lines.peek().is_none()) {
            return Some((joined, begin));
        }
    }
    None
}

/// A name and its value, as they are written in `logical`.
fn split(logical: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = logical.find(|letter: char| {
        let ends = !escaped && (letter == '=' || letter == ':' || BLANKS.contains(&letter));
        escaped = letter == '\\' && !escaped;
        ends
    });
    let (name, rest) = logical.split_at(end.unwrap_or(logical.len()));
    let rest = rest.trim_start_matches(BLANKS);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (name, rest.trim_start_matches(BLANKS))
}

/// `written` without its escapes.
fn resolve(written: &str) -> Result<String, &'static str> {
    if !written.contains('\\') {
        return Ok(written.to_string());
    }
    // Characters beyond the first 65,536 are escaped as two halves.
    let mut units = Vec::with_capacity(written.len());
    let mut letters = written.chars();
    while let Some(letter) = letters.next() {
        let plain = match (letter, if letter == '\\' { letters.next() } else { None }) {
            ('\\', Some('u')) => {
                let digits =
                    letters.as_str().get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
                let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
                units.push(unit.ok_or("the escape \\u is without four hexadecimal digits")?);
                letters = letters.as_str()[4..].chars();
                continue;
            }
            ('\\', Some('t')) => '\t',
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('f')) => '\u{c}',
            ('\\', Some(itself)) => itself,
            (plain, _) => plain,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).map_err(|_| "an escape \\u is one half of a character without the other")
}
