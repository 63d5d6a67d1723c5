//! What is in the folder that is the input: which of its entries are files to read, and which are passed over, and why.
//!
//! Nothing is opened here, and nothing is followed but a symbolic link to a file. An entry that vanishes between two
//! looks was never there.

use crate::connect::error::Error;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The end of a path whose subfolders are read, too.
const BELOW: &str = "**";

/// How deep folders are looked into: deeper ones are a mistake, or a link that goes round.
const DEPTH_MAX: usize = 32;

/// How a name ends that a program gives to a file it has not finished, or to a copy of its own.
const UNFINISHED: [&str; 10] =
    ["~", ".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".swp", ".swo", ".swx"];

/// A file, a folder, or a folder with those below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    path: PathBuf,
    below: bool,
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its path below the folder that is the input: part of a partition's identity.
    pub(super) relative: String,
    /// Which file of its disk it is.
    pub(super) inode: Inode,
    /// Its size in bytes.
    pub(super) bytes: u64,
}

/// A file by device and inode, independent of its name. A later file may get the inode of a deleted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    /// The file that `metadata` is about.
    pub(super) fn of(metadata: &Metadata) -> Inode {
        Inode { device: metadata.dev(), number: metadata.ino() }
    }
}

/// An entry that is not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PassedOver {
    /// Its path below the folder that is the input.
    pub(super) name: String,
    /// Why, as a sentence about it: `it is a folder`.
    pub(super) why: String,
}

/// What a look at the folder found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// The files, in the order of their names.
    pub(super) files: Vec<Found>,
    /// All other entries, in the order of their names.
    pub(super) passed_over: Vec<PassedOver>,
}

impl Root {
    /// The input at `path`; `FOLDER/**` has the folders below it too.
    pub(super) fn of(path: &Path) -> Root {
        match path.parent() {
            Some(folder) if path.ends_with(BELOW) => {
                let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                Root { path: folder.to_path_buf(), below: true }
            }
            _ => Root { path: path.to_path_buf(), below: false },
        }
    }

    /// True if it is a folder now.
    pub(super) fn is_folder(&self) -> bool {
        self.below || self.path.is_dir()
    }

    /// What it is called.
    pub(super) fn describe(&self) -> String {
        self.path.display().to_string()
    }

    /// What there is now.
    ///
    /// # Errors
    /// If it cannot be looked at, or is neither a folder nor a file.
    pub(super) fn list(&self) -> Result<Listing, Error> {
        let unreadable = |source| Error::Unreadable { path: self.path.clone(), source };
        let metadata = std::fs::metadata(&self.path).map_err(unreadable)?;
        let mut listing = Listing::default();
        if metadata.is_dir() {
            self.look_into(&mut listing, "", 0).map_err(unreadable)?;
            listing.files.sort_by(|a, b| a.relative.cmp(&b.relative));
            listing.passed_over.sort();
            return Ok(listing);
        }
        let what = self.path.display().to_string();
        let refuse = |why: String, hint: &str| {
            let (what, hint) = (what.clone(), hint.to_string());
            Err(Error::Unusable { what, why, hint })
        };
        if let Some(odd) = odd(&metadata) {
            return refuse(
                odd.to_string(),
                "Give a file or a folder; what a pipe gives must be saved first.",
            );
        }
        if self.below {
            return refuse("it is a file, and ** stands for folders".into(), "Leave out /**.");
        }
        match self.path.file_name().and_then(|name| name.to_str()) {
            None => refuse(NOT_UTF8.into(), "Rename it: the name becomes part of the state."),
            Some(name) => {
                let (path, relative) = (self.path.clone(), name.to_string());
                let (inode, bytes) = (Inode::of(&metadata), metadata.len());
                listing.files.push(Found { path, relative, inode, bytes });
                Ok(listing)
            }
        }
    }

    /// Adds the entries of the folder `below` the root.
    fn look_into(&self, listing: &mut Listing, below: &str, depth: usize) -> io::Result<()> {
        for entry in std::fs::read_dir(self.path.join(below))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let relative = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            let mut pass_over = |why: &str| {
                listing.passed_over.push(PassedOver { name: relative.clone(), why: why.to_string() });
            };
            if path.file_name().and_then(|name| name.to_str()).is_none() {
                pass_over(NOT_UTF8);
                continue;
            }
            if let Some(why) = by_name(&name) {
                pass_over(why);
                continue;
            }
            let is_link = path.is_symlink();
            match std::fs::metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound && !is_link => {}
                Err(error) if error.kind() == ErrorKind::NotFound => pass_over("it is a link to nowhere"),
                Err(error) => pass_over(&format!("it cannot be looked at: {error}")),
                Ok(metadata) if metadata.is_dir() && !self.below => {
                    pass_over("it is a folder; FOLDER/** reads the files in it");
                }
                Ok(metadata) if metadata.is_dir() && is_link => pass_over("it is a link to a folder"),
                Ok(metadata) if metadata.is_dir() && depth == DEPTH_MAX => pass_over("it lies too deep"),
                Ok(metadata) if metadata.is_dir() => {
                    if let Err(error) = self.look_into(listing, &relative, depth + 1)
                        && error.kind() != ErrorKind::NotFound
                    {
                        let why = format!("it cannot be looked into: {error}");
                        listing.passed_over.push(PassedOver { name: relative, why });
                    }
                }
                Ok(metadata) => match odd(&metadata) {
                    Some(why) => pass_over(why),
                    None => {
                        let (inode, bytes) = (Inode::of(&metadata), metadata.len());
                        listing.files.push(Found { path, relative, inode, bytes });
                    }
                },
            }
        }
        Ok(())
    }
}

const NOT_UTF8: &str = "its name is not UTF-8";

/// Why a name alone says that an entry is not read.
fn by_name(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    if name.starts_with('.') {
        return Some("its name is hidden: it begins with .");
    }
    if name.starts_with('_') {
        return Some("its name begins with _");
    }
    if name.starts_with("~$") || (name.len() > 1 && name.starts_with('#') && name.ends_with('#')) {
        return Some("it belongs to an editor");
    }
    let ending = UNFINISHED.iter().find(|ending| lower.ends_with(**ending))?;
    Some(match *ending {
        "~" | ".swp" | ".swo" | ".swx" => "it belongs to an editor",
        _ => "its name says that it is not finished",
    })
}

/// Why something that is no folder is no file either.
fn odd(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_fifo() => Some("it is a pipe"),
        () if kind.is_socket() => Some("it is a socket"),
        () => Some("it is a device"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    /// Makes a pipe.
    pub(in crate::connect::files) fn pipe(path: &Path) {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).unwrap();
    }

    fn names(listing: &Listing) -> Vec<&str> {
        listing.files.iter().map(|found| found.relative.as_str()).collect()
    }

    #[test]
    fn odd_entries_are_passed_over_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b.csv", "a.csv", "no suffix", "c.CSV.GZ", "#1", "a.swpx", "tmp", "é"] {
            fs::write(at(name), "x").unwrap();
        }
        let by_name = [
            ".hidden",
            "_SUCCESS",
            "a.csv~",
            "#a.csv#",
            "a.csv.swp",
            "a.csv.tmp",
            "A.PART",
            "~$a.csv",
            "a.temp",
        ];
        for name in by_name {
            fs::write(at(name), "x").unwrap();
        }
        symlink("someone@host.1234:5678", at(".#a.csv")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        symlink("a.csv", at("link.csv")).unwrap();
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("sub/d.csv"), "x").unwrap();
        pipe(&at("pipe"));
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"\xFF.csv")), "x").unwrap();
        let listing = Root::of(folder.path()).list().unwrap();
        let read = ["#1", "a.csv", "a.swpx", "b.csv", "c.CSV.GZ", "link.csv", "no suffix", "tmp", "é"];
        assert_eq!(names(&listing), read);
        let why = |name: &str| {
            let entry = listing.passed_over.iter().find(|entry| entry.name == name);
            entry.unwrap_or_else(|| panic!("{name} is not named")).why.clone()
        };
        for (name, word) in [
            ("dangling", "nowhere"),
            ("sub", "folder"),
            ("pipe", "pipe"),
            ("socket", "socket"),
            ("\u{FFFD}.csv", "UTF-8"),
            (".#a.csv", "hidden"),
            ("a.csv~", "editor"),
            ("A.PART", "not finished"),
        ] {
            assert!(why(name).contains(word), "{name}: {}", why(name));
        }
        assert_eq!(listing.passed_over.len(), by_name.len() + 6);
    }

    #[test]
    fn folders_below_are_read_where_they_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["day=1/hour=2", "day=1/hour=1", "_temporary/0", ".git"] {
            fs::create_dir_all(at(name)).unwrap();
            fs::write(at(name).join("x.csv"), "x").unwrap();
        }
        fs::write(at("a.csv"), "x").unwrap();
        symlink(folder.path(), at("round")).unwrap();
        let listing = Root::of(&at("**")).list().unwrap();
        assert_eq!(names(&listing), ["a.csv", "day=1/hour=1/x.csv", "day=1/hour=2/x.csv"]);
        let passed: Vec<&str> = listing.passed_over.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(passed, [".git", "_temporary", "round"]);
        assert_eq!(names(&Root::of(folder.path()).list().unwrap()), ["a.csv"]);
        assert_eq!(Root::of(Path::new("**")), Root { path: ".".into(), below: true });
    }

    #[test]
    fn input_that_is_neither_file_nor_folder_is_refused_without_opening_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        pipe(&path);
        let refusal = |path: &Path| Root::of(path).list().unwrap_err().to_string();
        assert!(refusal(&path).contains("it is a pipe"));
        assert!(refusal(&folder.path().join("absent")).contains("could not read"));
        fs::write(folder.path().join(".hidden"), "x").unwrap();
        assert_eq!(names(&Root::of(&folder.path().join(".hidden")).list().unwrap()), [".hidden"]);
        assert!(refusal(&folder.path().join(".hidden/**")).contains("it is a file"));
    }
}
