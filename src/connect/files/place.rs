//! Which files an input has, and the bytes of one: up to where it ended, or as it grows.

use crate::connect::error::Error;
use crate::connect::files::lines::{Last, Lines};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

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
        let file = File::open(&self.path).map_err(|source| self.unreadable(source))?;
        Ok(match self.bytes {
            None => Box::new(Growing { file, read: 0 }),
            // No bytes are no member, and hold no lines.
            Some(bytes) if is_gz(&self.path) && bytes > 0 => {
                Box::new(MultiGzDecoder::new(Exactly { file, left: bytes }))
            }
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
            Some(_) if follow && is_gz(&path) => {
                return refuse("a compressed file cannot be followed", "Leave out --follow, or unpack it.");
            }
            Some(name) => {
                let (relative, bytes) = (name.to_string(), (!follow).then_some(file.len()));
                places.push(Place { path, relative, bytes });
            }
        }
    }
    places.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok(places)
}

/// True if the file's name says that it is compressed.
fn is_gz(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

fn shorter() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the file became shorter while it was read")
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
