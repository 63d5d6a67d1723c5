//! Everything that was read of a file, as a length and a hash: by it a file is known again whatever it is called.

use headway_operators::ack::Content;
use std::io::{self, Read};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Everything that was read of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::connect::files) struct Mark {
    /// How many unpacked bytes.
    pub(in crate::connect::files) bytes: u64,
    /// xxh3-128 of them.
    pub(in crate::connect::files) hash: u128,
}

impl Mark {
    /// Up to `bytes_max` bytes of a file.
    pub(in crate::connect::files) fn of(file: impl Read, bytes_max: u64) -> io::Result<Mark> {
        let mut marks = Marks::default();
        let bytes = io::copy(&mut file.take(bytes_max), &mut marks)?;
        Ok(Mark { bytes, hash: marks.0.digest128() })
    }

    /// What a manifest says; `None` if it is no hash.
    pub(in crate::connect::files) fn parse(content: &Content) -> Option<Mark> {
        let hash = u128::from_str_radix(&content.xxh3, 16).ok()?;
        Some(Mark { bytes: content.bytes, hash })
    }

    /// The same for a manifest. `begin` is how the file begins; `at_end`: it ended there.
    pub(in crate::connect::files) fn content(self, begin: &[u8], at_end: bool) -> Content {
        let begins = Begins::of(begin).0.iter().map(|hash| format!("{hash:016x}")).collect();
        Content { bytes: self.bytes, xxh3: format!("{:032x}", self.hash), at_end, begins, gaps: Vec::new() }
    }
}

/// After how many bytes it is noted how a file begins.
const BEGINS: [usize; 3] = [256, 1024, BEGIN_BYTES];

/// How much of the beginning of a file is kept for that.
pub(in crate::connect::files) const BEGIN_BYTES: usize = 4096;

/// How a file begins: hashes of its first bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::connect::files) struct Begins(Vec<u64>);

impl Begins {
    /// Of a file that begins with `begin`.
    pub(in crate::connect::files) fn of(begin: &[u8]) -> Begins {
        let hash = |bytes: &usize| begin.get(..*bytes).map(xxh3_64);
        Begins(BEGINS.iter().map_while(hash).collect())
    }

    /// What a manifest says.
    pub(in crate::connect::files) fn parse(content: &Content) -> Begins {
        let hash = |at: usize| u64::from_str_radix(content.begins.get(at * 16..at * 16 + 16)?, 16).ok();
        Begins((0..BEGINS.len()).map_while(hash).collect())
    }

    /// True if two files have so much of their beginning in common that one is the other, changed.
    pub(in crate::connect::files) fn are_alike(&self, other: &Begins) -> bool {
        let last = self.0.len().min(other.0.len());
        last > 0 && self.0[last - 1] == other.0[last - 1]
    }
}

/// Hashes what is written to it.
#[derive(Default)]
struct Marks(Xxh3);

impl io::Write for Marks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
