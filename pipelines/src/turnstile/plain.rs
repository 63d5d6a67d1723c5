//! The short way through a message: one that is nothing but fields with commas between is cut where it lies.
//!
//! Whatever is in doubt (quotes inside, escapes, control characters, a header) is left to [`super::sheet`]. Where
//! both ways apply they agree.

use super::columns::is_header;
use super::record::{FIELDS, Fields, When};

/// The fields of a message that needs no CSV reader; `None` for any message in doubt.
pub(super) fn plain(value: &[u8]) -> Option<Fields<'_>> {
    let text = match value {
        [text @ .., b'\n' | b'\r'] => trim_line_end(text),
        text => text,
    };
    let text = match text {
        [b'"', text @ .., b'"'] => text,
        text => text,
    };
    let Cut { ends, special, high } = cut(text)?;
    if special || (high && !is_clean(text)) {
        return None;
    }
    let mut from = 0;
    let each = ends.map(|end| {
        let field = trim(&text[from..end]);
        from = end + 1;
        field
    });
    if is_header(each[0]) {
        return None;
    }
    let [ca, unit, scp, station, linename, division, _, _, desc, entries, exits, id, timestamp] = each;
    let key = [ca, unit, scp, station, linename, division, desc];
    let is_untrimmed = key[..6].iter().map(|field| field.len()).sum::<usize>() + 5 == ends[5];
    let joined = is_untrimmed.then_some(&text[..ends[5]]);
    Some(Fields { key, joined, is_clean: true, entries, exits, id, when: When::Timestamp(timestamp) })
}

#[cold]
fn trim_line_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
    &text[..end.map_or(0, |last| last + 1)]
}

/// The first byte that may be part of a control character beyond the ones below the space.
const DEL: u8 = 0x7f;

/// True for text without control characters that does not begin with a byte order mark.
#[cold]
fn is_clean(text: &[u8]) -> bool {
    std::str::from_utf8(text)
        .is_ok_and(|text| !text.starts_with('\u{feff}') && !text.chars().any(char::is_control))
}

/// Cuts spaces off both ends, of which there are seldom any.
fn trim(field: &[u8]) -> &[u8] {
    match field {
        [b' ', ..] | [.., b' '] => trim_spaces(field),
        field => field,
    }
}

#[cold]
fn trim_spaces(mut field: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = field {
        field = rest;
    }
    field
}

/// True for a byte that means something to CSV or JSON beyond itself, the comma apart.
fn is_special(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// What one look at all bytes of a message shows.
struct Cut {
    /// Where each field ends.
    ends: [usize; FIELDS.len()],
    /// A byte means something to CSV or JSON beyond itself.
    special: bool,
    /// A byte may be part of a control character beyond the ones below the space.
    high: bool,
}

/// Looks at `text`; `None` if it has more fields or fewer than a message.
fn cut(text: &[u8]) -> Option<Cut> {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    // Whole blocks only, filled up with what means nothing: the compiler then looks at many bytes at once, to the last.
    let mut last = [b' '; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    let mut cut = Cut { ends: [text.len(); FIELDS.len()], special: false, high: false };
    let (mut at, mut n) = (0, 0);
    for block in blocks.iter().chain([&last]) {
        (cut.special, cut.high) = block.iter().fold((cut.special, cut.high), |(special, high), byte| {
            (special | is_special(*byte), high | (*byte >= DEL))
        });
        let mut found = commas(block);
        while found != 0 {
            *cut.ends.get_mut(n)? = at + found.trailing_zeros() as usize;
            n += 1;
            found &= found - 1;
        }
        at += BLOCK;
    }
    (n + 1 == FIELDS.len()).then_some(cut)
}

/// As many bytes as a mask of them has bits.
const BLOCK: usize = 64;

/// A mask of the commas in `block`, the first byte lowest: eight bytes at a time, without a branch.
///
/// A byte of `x` is zero exactly where `!(((x & 0x7f..) + 0x7f..) | x | 0x7f..)` has its highest bit (Henry S. Warren,
/// "Hacker's Delight", 6-1). The product moves bit 8 i to bit 56 + i, for each i; no two of its terms meet.
fn commas(block: &[u8; BLOCK]) -> u64 {
    const COMMAS: u64 = u64::from_le_bytes([b','; 8]);
    const LOW: u64 = u64::from_le_bytes([0x7f; 8]);
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (words, _) = block.as_chunks::<8>();
    words.iter().rev().fold(0, |mask, word| {
        let x = u64::from_le_bytes(*word) ^ COMMAS;
        let zeros = !(((x & LOW) + LOW) | x | LOW);
        (mask << 8) | ((zeros >> 7).wrapping_mul(GATHER) >> 56)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_end_at_commas_and_at_the_end(
            fields in prop::collection::vec(prop::collection::vec(prop::sample::select(&b"a\x2d\xac\0"[..]), 0..20), 1..16)
        ) {
            let text = fields.join(&b',');
            let commas = text.iter().enumerate().filter(|(_, byte)| **byte == b',').map(|(at, _)| at);
            let ends: Vec<usize> = commas.chain([text.len()]).collect();
            let (special, high) = (text.contains(&0), text.contains(&0xac));
            let found = cut(&text).map(|cut| (cut.ends, cut.special, cut.high));
            prop_assert_eq!(found, ends.try_into().ok().map(|ends| (ends, special, high)));
        }
    }
}
