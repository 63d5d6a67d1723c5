//! Writes texts that repeat each other's parts in few bytes, and gives each back byte for byte.
//!
//! Manifests that follow each other name mostly the same state files, further apart than gzip looks back. So each
//! text is cut after every `},`; a piece that was seen before is written as its number, neighbours as one range. One
//! line a text: a JSON array of pieces (strings) and ranges of earlier ones (`[first, count]`).

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A part of a text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Piece {
    /// Seen for the first time: it gets the next number.
    New(String),
    /// `count` pieces from number `first` on.
    Seen(usize, usize),
}

/// Encodes `texts` as lines.
pub fn fold(texts: &[String]) -> Vec<u8> {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut lines = Vec::new();
    for text in texts {
        let mut line: Vec<Piece> = Vec::new();
        for part in cut(text) {
            let next = numbers.len();
            match (numbers.get(part), line.last_mut()) {
                (Some(number), Some(Piece::Seen(first, count))) if *number == *first + *count => *count += 1,
                (Some(number), _) => line.push(Piece::Seen(*number, 1)),
                (None, _) => {
                    numbers.insert(part, next);
                    line.push(Piece::New(part.to_string()));
                }
            }
        }
        lines.extend(serde_json::to_vec(&line).expect("texts and numbers encode"));
        lines.push(b'\n');
    }
    lines
}

/// Decodes `lines` into texts of at most `bytes_max` bytes together; `None` if they are not encoded texts.
pub fn unfold(lines: &[u8], bytes_max: usize) -> Option<Vec<String>> {
    let mut known: Vec<String> = Vec::new();
    let (mut texts, mut bytes) = (Vec::new(), 0_usize);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let line: Vec<Piece> = serde_json::from_slice(line.strip_suffix(b"\n")?).ok()?;
        let mut text = String::new();
        for piece in line {
            match piece {
                Piece::New(part) => {
                    text.push_str(&part);
                    known.push(part);
                }
                Piece::Seen(first, count) => {
                    let parts = known.get(first..first.checked_add(count)?)?;
                    bytes = parts.iter().try_fold(bytes, |bytes, part| bytes.checked_add(part.len()))?;
                    if bytes > bytes_max {
                        return None;
                    }
                    parts.iter().for_each(|part| text.push_str(part));
                }
            }
        }
        texts.push(text);
    }
    Some(texts)
}

/// The parts of `text`, each but the last ending in `},`.
fn cut(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let at = rest.find("},").map_or(rest.len(), |at| at + 2);
        let (part, more) = rest.split_at(at);
        rest = more;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_come_back_byte_for_byte(texts in prop::collection::vec("[ab{},\\n\"é]{0,40}", 0..20)) {
            prop_assert_eq!(unfold(&fold(&texts), usize::MAX), Some(texts));
        }
    }

    #[test]
    fn what_is_repeated_is_written_once() {
        let state: String = (0..100).map(|n| format!("{{\"path\":\"{n}\"}},")).collect();
        let texts: Vec<String> = (0..50).map(|n| format!("{{\"seq\":{n}}},{state}")).collect();
        let lines = fold(&texts);
        assert!(lines.len() < 2 * texts[0].len() + 50 * 40, "{} bytes", lines.len());
        assert_eq!(unfold(&lines, usize::MAX), Some(texts));
    }

    #[test]
    fn lines_that_lie_give_nothing_and_allocate_nothing() {
        for lie in [
            "[[0,1]]\n",
            "[\"a\",[0,18446744073709551615]]\n",
            "[\"a\",[1,1]]\n",
            "[\"a\"]",
            "{}\n",
            "[[0]]\n",
        ] {
            assert_eq!(unfold(lie.as_bytes(), 1 << 20), None, "{lie}");
        }
        let mut bomb = b"[\"aaaaaaaaaa\"]\n".to_vec();
        (0..100).for_each(|_| bomb.extend(b"[[0,1],[0,1],[0,1],[0,1]]\n"));
        assert_eq!(unfold(&bomb, 1_000), None);
    }
}
