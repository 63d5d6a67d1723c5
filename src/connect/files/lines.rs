//! Lines of a file, borrowed from a buffer; lines of any length in bounded memory.

use crate::connect::files::identity::mark::{BEGIN_BYTES, Mark};
use headway_operators::record::{Payload, TOO_LONG_HEAD, VALUE_BYTES_MAX};
use std::io::{self, ErrorKind, Read};
use xxhash_rust::xxh3::Xxh3;

/// What is read at once. Each open file holds one buffer of it, more where its lines are longer.
const BUFFER_BYTES: usize = 64 << 10;

/// A line that fits in so many bytes is given whole.
const WHOLE_BYTES_MAX: usize = VALUE_BYTES_MAX;

/// A line, or a piece of one, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A whole line.
    Whole(&'a [u8]),
    /// The next piece of a line that is longer than a buffer.
    Piece(&'a [u8]),
    /// The line that came in pieces ends here.
    End,
}

/// What becomes of a last line without a newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// It is a line.
    Counts,
    /// It is a line once its newline was written.
    Waits,
}

/// Splits what it reads into lines.
pub(super) struct Lines<R> {
    read: R,
    last: Last,
    buffer: Vec<u8>,
    /// The bytes that are read and not given yet: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Invariant: no newline lies in `buffer[start..searched]`.
    searched: usize,
    /// Pieces of a line were given, and its end was not.
    inside: bool,
    /// Nothing was given yet: a byte order mark here is no part of the first line.
    first: bool,
    /// The hash of everything that was given, where one is kept.
    given: Option<Box<Given>>,
}

/// Hashes what is given of a file, a buffer at a time.
struct Given {
    hash: Xxh3,
    bytes: u64,
    /// The first bytes.
    begin: Vec<u8>,
    /// Invariant: `buffer[hashed..start]` was given and is not hashed yet; all that was given before is.
    hashed: usize,
}

/// What some editors write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl<R: Read> Lines<R> {
    /// The lines of `read`.
    pub(super) fn new(read: R, last: Last) -> Lines<R> {
        let (start, end, searched) = (0, 0, 0);
        let (inside, first, given) = (false, true, None);
        Lines { read, last, buffer: Vec::new(), start, end, searched, inside, first, given }
    }

    /// The same lines, and a hash of all that was given of them.
    pub(super) fn hashed(self) -> Lines<R> {
        Lines {
            given: Some(Box::new(Given { hash: Xxh3::new(), bytes: 0, begin: Vec::new(), hashed: 0 })),
            ..self
        }
    }

    /// The first bytes of what was given when [`Lines::mark`] was called last.
    pub(super) fn begin(&self) -> &[u8] {
        self.given.as_ref().map_or(&[], |given| &given.begin)
    }

    /// Everything that was given so far, line ends included; `None` where no hash is kept.
    pub(super) fn mark(&mut self) -> Option<Mark> {
        self.hash_given();
        let given = self.given.as_ref()?;
        Some(Mark { bytes: given.bytes, hash: given.hash.digest128() })
    }

    fn hash_given(&mut self) {
        if let Some(given) = &mut self.given {
            let new = &self.buffer[given.hashed..self.start];
            given.hash.update(new);
            let missing = BEGIN_BYTES.saturating_sub(given.begin.len()).min(new.len());
            given.begin.extend_from_slice(&new[..missing]);
            given.bytes += new.len() as u64;
            given.hashed = self.start;
        }
    }

    /// Takes in that the buffer begins at `start` now.
    fn moved(&mut self) {
        if let Some(given) = &mut self.given {
            given.hashed = self.start;
        }
    }

    /// The next line, or piece of one; `None` at the end as of now. Reads at most one buffer at a time.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.skip_byte_order_mark();
            // 1. A newline ends a line.
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..self.end]) {
                let newline = self.searched + at;
                if self.inside && newline > self.start {
                    return Ok(Some(self.piece(newline)));
                }
                let line = self.start..newline;
                self.first = false;
                (self.start, self.searched) = (newline + 1, newline + 1);
                let ended = std::mem::take(&mut self.inside);
                return Ok(Some(if ended { Line::End } else { Line::Whole(&self.buffer[line]) }));
            }
            self.searched = self.end;
            // 2. A line that is too long goes in pieces.
            if self.end > self.start && (self.inside || self.end - self.start > WHOLE_BYTES_MAX) {
                self.inside = true;
                return Ok(Some(self.piece(self.end)));
            }
            // 3. Else read on.
            if self.fill()? == 0 {
                return Ok(self.rest());
            }
        }
    }

    /// True if no part of a line was read whose end was not.
    pub(super) fn is_between(&self) -> bool {
        self.start == self.end && !self.inside
    }

    fn skip_byte_order_mark(&mut self) {
        if self.first && self.end - self.start >= BYTE_ORDER_MARK.len() {
            self.first = false;
            if self.buffer[self.start..self.end].starts_with(BYTE_ORDER_MARK) {
                self.start += BYTE_ORDER_MARK.len();
                self.searched = self.searched.max(self.start);
            }
        }
    }

    fn piece(&mut self, end: usize) -> Line<'_> {
        let piece = self.start..end;
        (self.start, self.searched) = (end, end);
        Line::Piece(&self.buffer[piece])
    }

    /// What is left when nothing more comes.
    fn rest(&mut self) -> Option<Line<'_>> {
        let is_empty = self.start == self.end && !self.inside;
        if is_empty || self.last == Last::Waits {
            return None;
        }
        if std::mem::take(&mut self.inside) {
            return Some(Line::End);
        }
        let line = self.start..self.end;
        self.start = self.end;
        Some(Line::Whole(&self.buffer[line]))
    }

    /// Reads once, behind what is there; 0 at the end.
    fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end || self.end == self.buffer.len() {
            self.hash_given();
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            (self.start, self.searched) = (0, self.end);
            self.moved();
        }
        if self.end == self.buffer.len() {
            // A buffer holds more than one whole line at most, since a longer one leaves it in pieces.
            let longer = (self.buffer.len() * 2).clamp(BUFFER_BYTES, WHOLE_BYTES_MAX + BUFFER_BYTES);
            self.buffer.resize(longer, 0);
        }
        loop {
            match self.read.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => {
                    let read = read?;
                    self.end += read;
                    return Ok(read);
                }
            }
        }
    }
}

/// Collects a value that comes in pieces. Holds at most the longest value that is decoded.
#[derive(Default)]
pub(super) struct Value {
    /// The value; of one that is too long, its head.
    kept: Vec<u8>,
    bytes: u64,
    /// The hash of a value that is too long.
    hash: Option<Box<Xxh3>>,
}

impl Value {
    /// Forgets the value; keeps the buffer.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
        self.hash = None;
    }

    /// How long the value is so far, in bytes.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// Adds the next piece.
    pub(super) fn add(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(piece);
        } else if self.kept.len() + piece.len() <= VALUE_BYTES_MAX {
            self.kept.extend_from_slice(piece);
        } else {
            let mut hash = Box::new(Xxh3::new());
            hash.update(&self.kept);
            hash.update(piece);
            self.hash = Some(hash);
            let missing = TOO_LONG_HEAD.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&piece[..missing.min(piece.len())]);
            self.kept.truncate(TOO_LONG_HEAD);
        }
    }

    /// The value as a payload.
    pub(super) fn payload(&self) -> Payload<'_> {
        match &self.hash {
            None => Payload::Bytes(&self.kept),
            Some(hash) => Payload::TooLong { head: &self.kept, bytes: self.bytes, hash: hash.digest128() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// Gives its bytes in pieces of the given sizes, over and over.
    struct Pieces<'a>(&'a [u8], Vec<usize>, usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let size = self.1[self.2 % self.1.len()].min(out.len()).min(self.0.len());
            self.2 += 1;
            out[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    /// Gives what is written, up to each rest of the writer.
    struct Rests(VecDeque<Vec<u8>>);

    impl Read for Rests {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some(written) = self.0.front_mut() else { return Ok(0) };
            let size = written.len().min(out.len());
            out[..size].copy_from_slice(&written[..size]);
            written.drain(..size);
            if written.is_empty() && size < out.len() {
                self.0.pop_front();
            }
            Ok(size)
        }
    }

    fn lines(bytes: &[u8], sizes: Vec<usize>, last: Last) -> (Vec<Vec<u8>>, usize) {
        let mut lines = Lines::new(Pieces(bytes, sizes, 0), last);
        let (mut found, mut long, mut pieces) = (Vec::new(), Vec::new(), 0);
        while let Some(line) = lines.next().unwrap() {
            match line {
                Line::Whole(line) => found.push(line.to_vec()),
                Line::Piece(piece) => {
                    pieces += 1;
                    long.extend_from_slice(piece);
                }
                Line::End => found.push(std::mem::take(&mut long)),
            }
        }
        assert!(lines.buffer.len() <= WHOLE_BYTES_MAX + BUFFER_BYTES, "memory is bounded");
        (found, pieces)
    }

    #[test]
    fn last_line_counts_or_waits_for_its_newline() {
        assert_eq!(lines(b"a\n\nb", vec![1], Last::Counts).0, [&b"a"[..], b"", b"b"]);
        assert_eq!(lines(b"a\n\nb", vec![2], Last::Waits).0, [&b"a"[..], b""]);
        assert_eq!(lines(b"", vec![1], Last::Counts).0, Vec::<Vec<u8>>::new());
        assert_eq!(lines(b"\r\n", vec![1], Last::Counts).0, [b"\r"]);
    }

    #[test]
    fn byte_order_mark_is_no_part_of_the_first_line() {
        let cases: [(&[u8], &[&[u8]]); 5] = [
            (b"\xEF\xBB\xBFa\nb\n", &[b"a", b"b"]),
            (b"\xEF\xBB\xBF", &[]),
            (b"\xEF\xBB\xBF\nb", &[b"", b"b"]),
            (b"a\n\xEF\xBB\xBFb", &[b"a", b"\xEF\xBB\xBFb"]),
            (b"\n\xEF\xBB\xBFb", &[b"", b"\xEF\xBB\xBFb"]),
        ];
        for (text, expected) in cases {
            for size in [1, 2, 100] {
                assert_eq!(lines(text, vec![size], Last::Counts).0, expected, "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn line_in_pieces_goes_on_when_more_of_it_is_written() {
        // Nothing more comes for now: 0 bytes, as at the end of a file that grows.
        let begin = vec![b'x'; 2 * WHOLE_BYTES_MAX];
        let rests = [&begin[..], b"", b"yz", b"", b"\nnext\n"];
        let mut lines = Lines::new(Rests(rests.map(<[u8]>::to_vec).into()), Last::Waits);
        let (mut found, mut long, mut waits) = (Vec::new(), Vec::new(), 0);
        while found.len() < 2 {
            match lines.next().unwrap() {
                Some(Line::Piece(piece)) => long.extend_from_slice(piece),
                Some(Line::End) => found.push(std::mem::take(&mut long)),
                Some(Line::Whole(line)) => found.push(line.to_vec()),
                None => waits += 1,
            }
        }
        assert!(found[0] == [&begin[..], b"yz"].concat(), "it is one line of {} bytes", found[0].len());
        assert_eq!((found[1].as_slice(), waits), (&b"next"[..], 2));
    }

    #[test]
    fn line_longer_than_a_value_comes_in_pieces() {
        for bytes in [WHOLE_BYTES_MAX - 1, WHOLE_BYTES_MAX, 5 * WHOLE_BYTES_MAX + 3] {
            for end in [&b""[..], b"\n", b"\nnext"] {
                let text = [&vec![b'x'; bytes][..], end].concat();
                let (found, pieces) = lines(&text, vec![10_000, 70_000], Last::Counts);
                assert_eq!(found[0].len(), bytes);
                assert_eq!(found.len(), 1 + usize::from(end == b"\nnext"));
                assert_eq!(pieces > 0, bytes > WHOLE_BYTES_MAX, "{bytes} bytes in {pieces} pieces");
            }
        }
    }

    #[test]
    fn value_in_pieces_is_the_payload_of_the_whole() {
        for bytes in [0, 1, VALUE_BYTES_MAX - 1, VALUE_BYTES_MAX, VALUE_BYTES_MAX + 1, 3 * VALUE_BYTES_MAX] {
            let whole: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
            for size in [bytes.max(1), 1000, 1 << 19] {
                let mut value = Value::default();
                value.add(b"before");
                value.clear();
                whole.chunks(size).for_each(|piece| value.add(piece));
                assert_eq!(value.payload(), Payload::of(Some(&whole)), "{bytes} bytes in pieces of {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn lines_are_what_a_split_gives(
            words in proptest::collection::vec("[a\r]{0,6}", 0..40),
            sizes in proptest::collection::vec(1_usize..9, 1..5),
            newline in any::<bool>(),
        ) {
            let mut text = words.join("\n").into_bytes();
            if newline && !text.is_empty() {
                text.push(b'\n');
            }
            let mut expected: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
            if expected.last() == Some(&&b""[..]) {
                expected.pop();
            }
            prop_assert_eq!(lines(&text, sizes, Last::Counts).0, expected);
        }
    }
}
