//! A file that grows, and the evidence that it is still the file that was read.
//!
//! 1. A look at a file whose size and times are those of the look before finds nothing. Times are coarse: a write may leave
//!    them as they are, so a look is repeated once after they have changed.
//! 2. Any other look compares the beginning of the file, and the last bytes that were read of it, with what was read. If
//!    they differ, the file was cut or written anew, at whatever length, and what it holds now is another file.
//! 3. The same is done before each commit, also for a file that is not read at the moment.

use crate::connect::files::descriptors::{Handle, Spot, Version, has, open};
use crate::connect::files::folder::Inode;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard};

/// How much of the beginning of a file that grows, and of the end of what was read, is looked at again.
const KEPT_BYTES: usize = 4096;

/// A file that was cut, or written anew, while it was followed: what comes now is another file.
#[derive(Debug, thiserror::Error)]
#[error("it was cut or written anew while it was read")]
pub(super) struct Replaced;

/// True if `error` says that another file has taken the place of the one that was read, or that it is gone.
pub(super) fn is_replaced(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Replaced>())
}

/// What was read of a file, as far as it is kept to be compared.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Its first bytes.
    begin: Vec<u8>,
    /// The last bytes that were read.
    end: Vec<u8>,
    /// How many bytes were read.
    at: u64,
    /// Its last look by whoever reads it.
    read: Compared,
    /// Its last look before a commit.
    confirmed: Compared,
}

/// A file when it was compared last.
#[derive(Debug, Default)]
struct Compared {
    /// Its size and times.
    version: Option<Version>,
    /// The size or times had changed at the last comparison. They are coarse: the file may have been written to since without changing
    /// them again, so the next look compares once more.
    is_fresh: bool,
}

impl Compared {
    /// True if the file was not written to since it was compared last, as far as `version` tells.
    fn is_as_before(&mut self, version: Version) -> bool {
        let is_same = self.version == Some(version);
        let is_settled = is_same && !self.is_fresh;
        (self.version, self.is_fresh) = (Some(version), !is_same);
        is_settled
    }
}

impl Evidence {
    /// Adds what was read.
    fn add(&mut self, bytes: &[u8]) {
        let missing = KEPT_BYTES.saturating_sub(self.begin.len()).min(bytes.len());
        self.begin.extend_from_slice(&bytes[..missing]);
        self.end.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT_BYTES)..]);
        let surplus = self.end.len().saturating_sub(KEPT_BYTES);
        self.end.drain(..surplus);
        self.at += bytes.len() as u64;
    }

    /// True if `file`, which had `bytes` bytes, is the one that was read.
    fn fits(&self, file: &File, bytes: u64) -> io::Result<bool> {
        let end = self.at - self.end.len() as u64;
        Ok(bytes >= self.at && has(file, &self.begin, 0)? && has(file, &self.end, end)?)
    }

    /// Notes that the file at `spot` is another one now if that is so. One that is not where it was, or cannot be looked
    /// at, is left to whoever reads it.
    pub(super) fn confirm(&mut self, spot: &Spot) {
        if spot.is_replaced() || self.at == 0 {
            return;
        }
        let Ok(metadata) = std::fs::metadata(spot.path()) else { return };
        let version = Version::of(&metadata);
        if Inode::of(&metadata) != spot.inode || self.confirmed.is_as_before(version) {
            return;
        }
        let Ok(file) = open(&spot.path()) else { return };
        if self.fits(&file, version.bytes).is_ok_and(|fits| !fits) {
            spot.replace();
        }
    }
}

/// Reads a file that grows.
pub(super) struct Growing {
    handle: Handle,
    /// What was read.
    evidence: Arc<Mutex<Evidence>>,
    /// There was nothing more when it was looked at last.
    at_end: bool,
}

impl Growing {
    /// Reads the file of `handle` from its beginning on, and notes in `evidence` what that was.
    pub(super) fn new(handle: Handle, evidence: Arc<Mutex<Evidence>>) -> Growing {
        *lock(&evidence) = Evidence::default();
        Growing { handle, evidence, at_end: false }
    }

    /// Refuses to go on where the file is not the one that was read any more.
    fn check(&self, bytes: u64) -> io::Result<()> {
        match self.handle.with(|file| lock(&self.evidence).fits(file, bytes))? {
            true => Ok(()),
            false => Err(io::Error::other(Replaced)),
        }
    }
}

impl Read for Growing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.handle.is_replaced() {
            return Err(io::Error::other(Replaced));
        }
        if self.at_end {
            // Most looks end here: many files may be followed, and few of them are open.
            let version = self.handle.version()?;
            if version.bytes == self.handle.at() && lock(&self.evidence).read.is_as_before(version) {
                return Ok(0);
            }
            self.check(version.bytes)?;
        }
        let read = self.handle.read(out)?;
        self.at_end = read == 0;
        lock(&self.evidence).add(&out[..read]);
        // What was read came from the file that began so, if it still does: nothing of another one is ever given.
        self.check(self.handle.version()?.bytes)?;
        Ok(read)
    }
}

fn lock(evidence: &Mutex<Evidence>) -> MutexGuard<'_, Evidence> {
    evidence.lock().expect("no thread panicked with this lock held")
}
