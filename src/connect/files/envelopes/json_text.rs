//! JSON strings as bytes: what their escapes stand for, lone surrogates too.

use crate::connect::files::envelopes::malformed::Malformed;
use crate::connect::files::lines::Value;

/// Puts the bytes that `text` stands for, a JSON string in its quotes, into `out`; false if it is no string.
pub(in crate::connect::files) fn unquote(text: &str, out: &mut Value) -> Result<bool, Malformed> {
    let Some(inside) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return Ok(false);
    };
    let mut unescape = Unescape::default();
    unescape.add(inside.as_bytes(), out)?;
    unescape.end(out)?;
    Ok(true)
}

/// Undoes the escapes of a JSON string that comes in pieces.
#[derive(Default)]
pub(in crate::connect::files) struct Unescape {
    state: State,
    /// The first half of a surrogate pair.
    high: Option<u16>,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Plain,
    Backslash,
    Hex {
        digits: u8,
        unit: u16,
    },
}

impl Unescape {
    /// Adds what `piece`, the next of a string without its quotes, stands for to `out`.
    pub(in crate::connect::files) fn add(
        &mut self,
        mut piece: &[u8],
        out: &mut Value,
    ) -> Result<(), Malformed> {
        while let Some(byte) = piece.first().copied() {
            let mut used = 1;
            match self.state {
                State::Plain => {
                    used = memchr::memchr(b'\\', piece).unwrap_or(piece.len());
                    let (run, rest) = piece.split_at(used);
                    if let Some(control) = run.iter().find(|byte| **byte < b' ') {
                        return Err(Malformed(format!("a string in it holds the control byte {control}")));
                    }
                    if !run.is_empty() {
                        self.end_pair(out);
                        out.add(run);
                    }
                    if !rest.is_empty() {
                        self.state = State::Backslash;
                        used += 1;
                    }
                }
                State::Backslash if byte == b'u' => self.state = State::Hex { digits: 0, unit: 0 },
                State::Backslash => {
                    self.end_pair(out);
                    out.add(&[simple(byte)?]);
                    self.state = State::Plain;
                }
                State::Hex { digits, unit } => {
                    let digit = char::from(byte).to_digit(16).ok_or_else(bad_escape)?;
                    let unit = unit << 4 | digit as u16;
                    self.state = State::Hex { digits: digits + 1, unit };
                    if digits == 3 {
                        self.state = State::Plain;
                        self.unit(unit, out);
                    }
                }
            }
            piece = &piece[used..];
        }
        Ok(())
    }

    /// Ends the string.
    pub(in crate::connect::files) fn end(&mut self, out: &mut Value) -> Result<(), Malformed> {
        self.end_pair(out);
        let state = std::mem::take(&mut self.state);
        if matches!(state, State::Plain) { Ok(()) } else { Err(bad_escape()) }
    }

    /// Adds a UTF-16 code unit.
    fn unit(&mut self, unit: u16, out: &mut Value) {
        let low = (0xDC00..0xE000).contains(&unit);
        if let Some(high) = self.high.filter(|_| low) {
            self.high = None;
            let pair = 0x1_0000 + (u32::from(high) - 0xD800) * 0x400 + (u32::from(unit) - 0xDC00);
            code_point(pair, out);
            return;
        }
        self.end_pair(out);
        if (0xD800..0xDC00).contains(&unit) {
            self.high = Some(unit);
        } else {
            code_point(u32::from(unit), out);
        }
    }

    /// Adds the first half of a pair that has no second.
    fn end_pair(&mut self, out: &mut Value) {
        if let Some(high) = self.high.take() {
            code_point(u32::from(high), out);
        }
    }
}

fn bad_escape() -> Malformed {
    Malformed("a string in it has an escape that JSON does not know".into())
}

/// The byte that a backslash and `byte` stand for.
fn simple(byte: u8) -> Result<u8, Malformed> {
    Ok(match byte {
        b'"' | b'\\' | b'/' => byte,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return Err(bad_escape()),
    })
}

/// Adds `code` as UTF-8; a surrogate in the same pattern of bits, which is not UTF-8, and thus seen to be none.
fn code_point(code: u32, out: &mut Value) {
    if let Some(char) = char::from_u32(code) {
        return out.add(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    out.add(&[0xE0 | (code >> 12) as u8, 0x80 | (code >> 6 & 0x3F) as u8, 0x80 | (code & 0x3F) as u8]);
}
