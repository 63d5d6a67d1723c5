//! Rows in the binary form of `COPY`: what the server takes without parsing text.

use headway_operators::view::row::Value;
use std::io::{self, Write};

/// Milliseconds from the Unix epoch to the beginning of the year 2000, from which PostgreSQL counts.
const EPOCH_2000_MS: i64 = 946_684_800_000;

/// Digits of a `numeric` are in groups of four.
const GROUP: u128 = 10_000;

/// What begins the stream: the signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Writes rows to `out`.
pub(super) struct Rows<W: Write> {
    out: W,
    row: Vec<u8>,
}

impl<W: Write> Rows<W> {
    /// Begins the stream.
    pub(super) fn begin(mut out: W) -> io::Result<Rows<W>> {
        out.write_all(HEADER)?;
        Ok(Rows { out, row: Vec::new() })
    }

    /// Writes one row.
    pub(super) fn row(&mut self, values: &[Value]) -> io::Result<()> {
        self.row.clear();
        let columns = i16::try_from(values.len()).map_err(io::Error::other)?;
        self.row.extend(columns.to_be_bytes());
        for value in values {
            field(value, &mut self.row);
        }
        self.out.write_all(&self.row)
    }

    /// Ends the stream.
    pub(super) fn end(mut self) -> io::Result<W> {
        self.out.write_all(&(-1_i16).to_be_bytes())?;
        Ok(self.out)
    }
}

/// A field: its length, then its bytes; −1 for none.
fn field(value: &Value, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend((-1_i32).to_be_bytes());
    match value {
        Value::Null => return,
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Int(number) => out.extend(number.to_be_bytes()),
        Value::Wide(sum) => numeric(*sum, out),
        // PostgreSQL has no character of this number in a text.
        Value::Text(text) if text.contains('\0') => out.extend(text.replace('\0', "\u{fffd}").as_bytes()),
        Value::Text(text) => out.extend(text.as_bytes()),
        Value::Time(time) => out.extend(instant(time.ms()).to_be_bytes()),
    }
    let length = i32::try_from(out.len() - at - 4).expect("a value is shorter than 2 GiB");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Microseconds since the beginning of the year 2000; what does not fit is infinite.
fn instant(ms: i64) -> i64 {
    let since = i128::from(ms) - i128::from(EPOCH_2000_MS);
    let micros = since * 1_000;
    i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
}

/// An integer as `numeric` in groups of four decimal digits, the highest first; zeros at the end are left out.
fn numeric(sum: i128, out: &mut Vec<u8>) {
    let mut groups: Vec<u16> = Vec::new();
    let mut rest = sum.unsigned_abs();
    while rest > 0 {
        groups.push(u16::try_from(rest % GROUP).expect("a remainder is small"));
        rest /= GROUP;
    }
    groups.reverse();
    let weight = i16::try_from(groups.len()).expect("an integer has few groups") - 1;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let count = i16::try_from(groups.len()).expect("an integer has few groups");
    let sign: u16 = if sum < 0 { 0x4000 } else { 0 };
    out.extend(count.to_be_bytes());
    out.extend(if count == 0 { 0 } else { weight }.to_be_bytes());
    out.extend(sign.to_be_bytes());
    out.extend(0_u16.to_be_bytes());
    groups.iter().for_each(|group| out.extend(group.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::time::EventTime;

    /// The number that the bytes of a `numeric` stand for.
    fn number(bytes: &[u8]) -> i128 {
        let part = |at: usize| i16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let (count, weight) = (part(0), part(2));
        assert_eq!(bytes.len(), 8 + 2 * usize::try_from(count).unwrap());
        let mut sum = 0_i128;
        for group in 0..=weight.max(-1) {
            let digits =
                if group < count { i128::from(part(8 + 2 * usize::try_from(group).unwrap())) } else { 0 };
            sum = sum.checked_mul(10_000).and_then(|sum| sum.checked_add(digits)).unwrap();
        }
        if part(4) == 0x4000 { -sum } else { sum }
    }

    #[test]
    fn numeric_is_the_number_it_stands_for() {
        let cases = [
            0,
            1,
            -1,
            9_999,
            10_000,
            10_001,
            -120_000_000,
            100_000_000,
            i128::from(i64::MAX),
            10_i128.pow(37) + 7,
        ];
        for sum in cases {
            let mut bytes = Vec::new();
            numeric(sum, &mut bytes);
            assert_eq!(number(&bytes), sum);
        }
    }

    #[test]
    fn instant_counts_microseconds_from_the_year_2000() {
        assert_eq!(instant(EPOCH_2000_MS), 0);
        assert_eq!(instant(EPOCH_2000_MS - 1), -1_000);
        assert_eq!((instant(i64::MIN), instant(i64::MAX)), (i64::MIN, i64::MAX), "infinity");
    }

    #[test]
    fn row_is_framed_as_the_manual_says() {
        let values =
            [Value::Int(7), Value::Null, Value::Text("a\0b".into()), Value::Time(EventTime(EPOCH_2000_MS))];
        let mut rows = Rows::begin(Vec::new()).unwrap();
        rows.row(&values).unwrap();
        let bytes = rows.end().unwrap();
        let mut expected = HEADER.to_vec();
        expected.extend(4_i16.to_be_bytes());
        expected.extend(8_i32.to_be_bytes());
        expected.extend(7_i64.to_be_bytes());
        expected.extend((-1_i32).to_be_bytes());
        expected.extend(5_i32.to_be_bytes());
        expected.extend("a\u{fffd}b".as_bytes());
        expected.extend(8_i32.to_be_bytes());
        expected.extend(0_i64.to_be_bytes());
        expected.extend((-1_i16).to_be_bytes());
        assert_eq!(bytes, expected);
        assert_eq!(HEADER.len(), 19);
    }
}
