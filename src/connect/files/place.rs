//! A file that is read: its bytes, unpacked, up to where it ended, or as it grows.

use crate::connect::error::Error;
use crate::connect::files::content::{HEAD_BYTES, Refusal, packing, unpacked};
use crate::connect::files::descriptors::{Descriptors, Handle, Spot};
use crate::connect::files::folder::Found;
use crate::connect::files::lines::{Last, Lines};
use crate::connect::files::unpack::{Bytes, Packing};
use headway_operators::error::Reason;
use headway_operators::spec::FileRefusal;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// A file that is read.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Where it is now.
    pub(super) spot: Arc<Spot>,
    /// Its path below the folder that is the input: part of a partition's identity.
    pub(super) relative: String,
    /// Where it ends; `None` where it is followed as it grows.
    pub(super) bytes: Option<u64>,
    /// How it is packed.
    pub(super) packing: Packing,
    descriptors: Descriptors,
}

/// What a look at the beginning of a file found.
pub(super) enum Look {
    /// A file that can be read.
    Place(Place),
    /// A file that cannot be an input.
    Refused(Refusal),
}

impl Place {
    /// Looks at the beginning of the file that was `found`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn look(found: &Found, follow: bool, descriptors: &Descriptors) -> Result<Look, Error> {
        let mut place = Place {
            spot: Spot::new(&found.path, found.inode),
            relative: found.relative.clone(),
            bytes: (!follow).then_some(found.bytes),
            packing: Packing::Plain,
            descriptors: descriptors.clone(),
        };
        place.packing = match packing(&place.head()?) {
            Ok(packing) => packing,
            Err(refusal) => return Ok(Look::Refused(refusal)),
        };
        if place.packing == Packing::Plain {
            return Ok(Look::Place(place));
        }
        if follow {
            let (line, why) = (None, "it is packed, and a packed file cannot be followed".to_string());
            return Ok(Look::Refused(Refusal { line, why, hint: "Leave out --follow, or unpack it." }));
        }
        Ok(match unpacked(&place.head()?) {
            Ok(()) => Look::Place(place),
            Err(refusal) => Look::Refused(refusal),
        })
    }

    /// Its first bytes, unpacked.
    fn head(&self) -> Result<Vec<u8>, Error> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let read = self.bytes().take(HEAD_BYTES as u64).read_to_end(&mut head);
        read.map_err(|source| self.unreadable(source))?;
        Ok(head)
    }

    /// Where it is now.
    pub(super) fn path(&self) -> PathBuf {
        self.spot.path()
    }

    /// The file's bytes, unpacked.
    pub(super) fn bytes(&self) -> Bytes {
        let handle = self.descriptors.handle(&self.spot);
        match self.bytes {
            None => Box::new(Growing { handle, begin: Vec::new(), at_end: false }),
            Some(bytes) => self.packing.unpack(Exactly { handle, bytes }),
        }
    }

    /// The file's lines.
    pub(super) fn lines(&self) -> Lines<Bytes> {
        Lines::new(self.bytes(), if self.bytes.is_some() { Last::Counts } else { Last::Waits })
    }

    pub(super) fn unreadable(&self, source: io::Error) -> Error {
        Error::Unreadable { path: self.path(), source }
    }

    /// The error for a first header, in line `line` from 0, that cannot be used for `reason`.
    pub(super) fn bad_header(&self, line: u64, reason: &Reason, header: &[u8]) -> Error {
        let header = String::from_utf8_lossy(header).trim().to_string();
        let detail = format!("It is refused as \"{reason}\": {header:?}.");
        Error::BadHeader { path: self.path(), line: line + 1, detail }
    }

    /// The error for a file that the input does not accept, by its line `line` from 0.
    pub(super) fn not_accepted(&self, line: u64, refusal: &FileRefusal) -> Error {
        let FileRefusal { why, hint } = refusal;
        self.refused(&Refusal { line: Some(line), why: why.to_string(), hint })
    }

    /// The error for a header, in line `line` from 0, that names `found` in a file that has `before`.
    pub(super) fn header_changed(&self, line: u64, before: &str, found: &str) -> Error {
        let (path, line) = (self.path(), line + 1);
        Error::HeaderChanged { path, line, before: before.to_string(), found: found.to_string() }
    }

    /// The error for line `line`, counted from 0.
    pub(super) fn unusable(&self, line: u64, why: impl ToString) -> Error {
        self.refused(&Refusal {
            line: Some(line),
            why: why.to_string(),
            hint: "A file holds raw lines, or envelopes of kcat -J with each partition's offsets rising.",
        })
    }

    /// The error that `refusal` is.
    pub(super) fn refused(&self, refusal: &Refusal) -> Error {
        refused(&self.path(), refusal)
    }
}

/// The error that `refusal` of the file at `path` is.
pub(super) fn refused(path: &std::path::Path, refusal: &Refusal) -> Error {
    let line = refusal.line.map_or(String::new(), |line| format!(":{}", line + 1));
    Error::Unusable {
        what: format!("{}{line}", path.display()),
        why: refusal.why.clone(),
        hint: refusal.hint.to_string(),
    }
}

/// Not of a kind that a decoder has for a damaged file.
fn shorter() -> io::Error {
    io::Error::other("the file became shorter while it was read")
}

/// A file up to the length it had.
struct Exactly {
    handle: Handle,
    bytes: u64,
}

impl Read for Exactly {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes - self.handle.at();
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        if most == 0 {
            return Ok(0);
        }
        match self.handle.read(&mut out[..most])? {
            0 => Err(shorter()),
            read => Ok(read),
        }
    }
}

/// How much of the beginning of a file that grows is looked at again.
const BEGIN_BYTES: usize = 4096;

/// A file that was cut, or written anew, while it was followed: what comes now is another file.
#[derive(Debug, thiserror::Error)]
#[error("it was cut or written anew while it was read")]
pub(super) struct Replaced;

/// True if `error` says that another file has taken the place of the one that was read, or that it is gone.
pub(super) fn is_replaced(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Replaced>())
}

/// A file that grows.
struct Growing {
    handle: Handle,
    /// Its first bytes, as they were read.
    begin: Vec<u8>,
    /// There was nothing more when it was looked at last.
    at_end: bool,
}

impl Growing {
    /// Refuses to go on where the file does not begin as it did, or is shorter than what was read.
    fn check(&mut self) -> io::Result<()> {
        let mut begin = vec![0; self.begin.len()];
        let is_same = self.handle.size()? >= self.handle.at()
            && self.handle.read_beginning(&mut begin)? == begin.len()
            && begin == self.begin;
        if is_same { Ok(()) } else { Err(io::Error::other(Replaced)) }
    }
}

impl Read for Growing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at_end {
            // Most looks end here: many files may be followed, and few of them are open.
            if self.handle.size()? == self.handle.at() {
                return Ok(0);
            }
            self.check()?;
        }
        let read = self.handle.read(out)?;
        let missing = BEGIN_BYTES.saturating_sub(self.begin.len()).min(read);
        self.begin.extend_from_slice(&out[..missing]);
        self.at_end = read == 0;
        // What was read came from the file that began so, if it still does: nothing of another one is ever given.
        self.check()?;
        Ok(read)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::connect::files::folder::Root;
    use std::path::Path;

    /// The file at `path`, read to its end.
    pub(in crate::connect::files) fn place(path: &Path) -> Place {
        let found = Root::of(path).list().unwrap().files.remove(0);
        match Place::look(&found, false, &Descriptors::default()).unwrap() {
            Look::Place(place) => place,
            Look::Refused(refusal) => panic!("{refusal:?}"),
        }
    }
}
