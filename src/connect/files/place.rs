//! Which files an input has, and the bytes of one: up to where it ended, or as it grows.

use crate::connect::error::Error;
use crate::connect::files::lines::{Last, Lines};
use flate2::read::MultiGzDecoder;
use headway_operators::error::Reason;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

/// How gzip begins (RFC 1952).
const GZ: [u8; 2] = [0x1f, 0x8b];

/// The bytes of a file, unpacked.
pub(super) type Bytes = Box<dyn Read + Send>;

/// A file that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its path below the folder that is the input: part of a partition's identity.
    pub(super) relative: String,
    /// Where it ends; `None` where it is followed as it grows.
    pub(super) bytes: Option<u64>,
}

impl Place {
    /// The file's bytes, unpacked.
    pub(super) fn bytes(&self) -> Result<Bytes, Error> {
        let unreadable = |source| self.unreadable(source);
        let mut file = File::open(&self.path).map_err(unreadable)?;
        let is_gz = is_gz(&mut file).map_err(unreadable)?;
        Ok(match self.bytes {
            None if is_gz => return Err(self.cannot_be_followed()),
            None => Box::new(Growing { file, read: 0 }),
            Some(bytes) if is_gz => Box::new(MultiGzDecoder::new(Exactly { file, left: bytes })),
            Some(bytes) => Box::new(Exactly { file, left: bytes }),
        })
    }

    /// The file's lines.
    pub(super) fn lines(&self) -> Result<Lines<Bytes>, Error> {
        let last = if self.bytes.is_some() { Last::Counts } else { Last::Waits };
        Ok(Lines::new(self.bytes()?, last))
    }

    pub(super) fn unreadable(&self, source: io::Error) -> Error {
        Error::Unreadable { path: self.path.clone(), source }
    }

    fn cannot_be_followed(&self) -> Error {
        Error::Unusable {
            what: self.path.display().to_string(),
            why: "a compressed file cannot be followed".into(),
            hint: "Leave out --follow, or unpack it.".into(),
        }
    }

    /// The error for a first header, in line `line` from 0, that cannot be used for `reason`.
    pub(super) fn bad_header(&self, line: u64, reason: &Reason, header: &[u8]) -> Error {
        let header = String::from_utf8_lossy(header).trim().to_string();
        let detail = format!("It is refused as \"{reason}\": {header:?}.");
        Error::BadHeader { path: self.path.clone(), line: line + 1, detail }
    }

    /// The error for a header, in line `line` from 0, that names `found` in a file that has `before`.
    pub(super) fn header_changed(&self, line: u64, before: &str, found: &str) -> Error {
        let (path, line) = (self.path.clone(), line + 1);
        Error::HeaderChanged { path, line, before: before.to_string(), found: found.to_string() }
    }

    /// The error for line `line`, counted from 0.
    pub(super) fn unusable(&self, line: u64, why: impl ToString) -> Error {
        Error::Unusable {
            what: format!("{}:{}", self.path.display(), line + 1),
            why: why.to_string(),
            hint: "A file holds raw lines, or envelopes of kcat -J with each partition's offsets rising."
                .into(),
        }
    }
}

/// The files there are now, in the order of their names.
pub(super) fn list(root: &Path, follow: bool) -> Result<Vec<Place>, Error> {
    let unreadable = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Unreadable { path, source }
    };
    let mut paths = Vec::new();
    if std::fs::metadata(root).map_err(unreadable(root))?.is_dir() {
        for entry in std::fs::read_dir(root).map_err(unreadable(root))? {
            paths.push(entry.map_err(unreadable(root))?.path());
        }
    } else {
        paths.push(root.to_path_buf());
    }
    let mut places = Vec::new();
    for path in paths {
        let is_root = path == root;
        let file = std::fs::metadata(&path).map_err(unreadable(&path))?;
        let name = path.file_name().and_then(|name| name.to_str());
        let refuse = |why: &str, hint: &str| {
            let (what, why, hint) = (path.display().to_string(), why.to_string(), hint.to_string());
            Err(Error::Unusable { what, why, hint })
        };
        match name {
            None => return refuse("its name is not UTF-8", "Rename it: the name becomes part of the state."),
            Some(name) if !is_root && (name.starts_with(['.', '_']) || !file.is_file()) => {}
            Some(_) if !file.is_file() => return refuse("it is no file", "Give a file or a folder."),
            Some(name) => {
                let (relative, bytes) = (name.to_string(), (!follow).then_some(file.len()));
                places.push(Place { path, relative, bytes });
            }
        }
    }
    places.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok(places)
}

/// True if the file begins as gzip does, whatever its name is. Its next byte is the first again.
fn is_gz(file: &mut File) -> io::Result<bool> {
    let mut first = Vec::with_capacity(GZ.len());
    file.take(GZ.len() as u64).read_to_end(&mut first)?;
    file.rewind()?;
    Ok(first == GZ)
}

fn shorter() -> io::Error {
    io::Error::other("the file became shorter while it was read")
}

/// A file up to the length it had.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let read = self.file.read(&mut out[..most])?;
        self.left -= read as u64;
        if read == 0 && most > 0 { Err(shorter()) } else { Ok(read) }
    }
}

/// A file that grows.
struct Growing {
    file: File,
    read: u64,
}

impl Read for Growing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(out)?;
        self.read += read as u64;
        if read == 0 && self.file.metadata()?.len() < self.read { Err(shorter()) } else { Ok(read) }
    }
}
