//! A file that is read: its bytes, unpacked, up to where it ended, or as it grows.

use crate::connect::error::Error;
use crate::connect::files::content::{HEAD_BYTES, Refusal, packing, unpacked};
use crate::connect::files::descriptors::{Descriptors, Handle, Spot};
use crate::connect::files::folder::Found;
use crate::connect::files::growing::{Evidence, Growing};
use crate::connect::files::lines::{Last, Lines};
use crate::connect::files::unpack::{Bytes, Packing};
use headway_operators::error::Reason;
use headway_operators::spec::FileRefusal;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

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
            None => Box::new(Growing::new(handle, Arc::default())),
            Some(bytes) => self.packing.unpack(Exactly { handle, bytes }),
        }
    }

    /// The file's lines. If it is followed, `evidence` keeps what is needed to confirm later that it is still the same file.
    pub(super) fn lines_with(&self, evidence: &Arc<Mutex<Evidence>>) -> Lines<Bytes> {
        let Some(_) = self.bytes else {
            let growing = Growing::new(self.descriptors.handle(&self.spot), Arc::clone(evidence));
            return Lines::new(Box::new(growing), Last::Waits);
        };
        self.lines()
    }

    /// The file's lines.
    pub(super) fn lines(&self) -> Lines<Bytes> {
        Lines::new(self.bytes(), if self.bytes.is_some() { Last::Counts } else { Last::Waits })
    }

    /// Unpacks a packed file to its end: damage is found before anything of the file is read.
    ///
    /// # Errors
    /// If it is damaged, or cannot be read.
    pub(super) fn check_packing(&self) -> Result<(), Error> {
        if self.packing == Packing::Plain {
            return Ok(());
        }
        io::copy(&mut self.bytes(), &mut io::sink()).map(drop).map_err(|source| self.unreadable(source))
    }

    /// True if it has more than `bytes` unpacked bytes, or may get more.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn has_more_than(&self, bytes: u64) -> Result<bool, Error> {
        let mut unpacked = self.bytes();
        let is_packed = self.packing != Packing::Plain;
        let passed =
            if is_packed { io::copy(&mut unpacked.by_ref().take(bytes), &mut io::sink()) } else { Ok(0) };
        passed
            .and_then(|_| self.has_more_after(bytes, &mut unpacked))
            .map_err(|source| self.unreadable(source))
    }

    /// The same, if `unpacked` has given the first `bytes` bytes.
    pub(super) fn has_more_after(&self, bytes: u64, unpacked: &mut Bytes) -> io::Result<bool> {
        match self.bytes {
            None => Ok(true),
            Some(here) if self.packing == Packing::Plain => Ok(here > bytes),
            Some(_) => Ok(io::copy(&mut unpacked.by_ref().take(1), &mut io::sink())? > 0),
        }
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
