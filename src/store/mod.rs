//! What we ask of storage, and nothing more: whole files under relative names, made once, never overwritten. The one
//! exception is a table that is written whole: it may be replaced in one step.
//!
//! Every write has four outcomes: applied or not, reported or not. An [`Error`] says which of them is excluded:
//! [`Error::Unknown`] means that the write may have happened, and the caller must look.

use std::io;

/// A file's name relative to the root, with `/` between its parts; never absolute, never with `..`.
pub type Name<'a> = &'a str;

/// A place for files: the lake's root.
pub trait Store: Send + Sync {
    /// Durably writes `bytes` under `name` if nothing is there: the file, then the folders above it.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it may or may not have happened.
    fn create(&self, name: Name<'_>, bytes: &[u8]) -> Result<Created, Error>;

    /// The whole of a file; `None` if there is none. A file longer than `bytes_max` is an error.
    ///
    /// # Errors
    /// If the file is there but cannot be read.
    fn read(&self, name: Name<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, Error>;

    /// The bytes `from..to` of a file; fewer where it ends before, `None` if there is no file.
    ///
    /// # Errors
    /// If the file is there but cannot be read.
    fn read_range(&self, name: Name<'_>, from: u64, to: u64) -> Result<Option<Vec<u8>>, Error>;

    /// Opens a file for reading from its start; `None` if there is none.
    ///
    /// # Errors
    /// If the file is there but cannot be read.
    fn open(&self, name: Name<'_>) -> Result<Option<Box<dyn io::Read + Send>>, Error>;

    /// The size of a file in bytes; `None` if there is none.
    ///
    /// # Errors
    /// If the answer cannot be had.
    fn size(&self, name: Name<'_>) -> Result<Option<u64>, Error>;

    /// Names directly in `folder` (not below), sorted; empty if there is no such folder. Folders end in `/`, `folder`
    /// too; the root is the empty name.
    ///
    /// # Errors
    /// If the folder is there but cannot be read.
    fn list(&self, folder: Name<'_>) -> Result<Vec<String>, Error>;

    /// A new file that no reader is told of until [`Store::publish`]. Replaces litter of the same name.
    ///
    /// # Errors
    /// If it cannot be made.
    fn stage(&self, name: Name<'_>) -> Result<Box<dyn Staged>, Error>;

    /// Gives the staged file `from` its final name `to`, only if nothing is there (link or RENAME_NOREPLACE).
    /// Durable once [`Store::sync_folder`] of `to`'s folder returns. `from` may stay behind as litter, and must not be
    /// taken away before that.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it may or may not have happened.
    fn publish(&self, from: Name<'_>, to: Name<'_>) -> Result<Published, Error>;

    /// Gives the staged file `from` the name `to`, in the place of whatever is there: a reader sees the old file or the new
    /// one. The only way to replace a file, for tables that are whole in each of their versions. Durable as
    /// [`Store::publish`] is.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it may or may not have happened.
    fn replace(&self, from: Name<'_>, to: Name<'_>) -> Result<(), Error>;

    /// Makes the names in `folder`, and the folders above it, durable.
    ///
    /// # Errors
    /// If the medium refuses: fatal, never retried.
    fn sync_folder(&self, folder: Name<'_>) -> Result<(), Error>;

    /// Removes a file, or an empty folder; nothing there is success.
    ///
    /// # Errors
    /// If it is there and stays.
    fn delete(&self, name: Name<'_>) -> Result<(), Error>;

    /// How a person would name `name`: the path or URI, for messages.
    fn describe(&self, name: Name<'_>) -> String;
}

/// A file being written where no reader looks.
pub trait Staged: io::Write + Send {
    /// Makes the bytes and the name durable, and closes the file.
    ///
    /// # Errors
    /// If the medium refuses: fatal for the job, never retried.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// What became of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The file is ours and durable.
    Yes,
    /// Something with that name was there before, and stays as it was.
    Exists,
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The final name is the staged file.
    Yes,
    /// Something has the final name already; success only if size and checksum match.
    Exists,
    /// Neither: there is no staged file. Success only if the final name is there and matches.
    Missing,
}

/// Why storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not happen.
    #[error("could not {verb} \"{name}\"")]
    Failed {
        /// What was tried: `read`, `create`, `list`, …
        verb: &'static str,
        /// The path or URI.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// No answer: it may or may not have happened.
    #[error("could not tell whether \"{name}\" was written")]
    Unknown {
        /// The path or URI.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The medium could not make something durable. Nothing may be assumed of it; the job stops (`disk-sync-failed`).
    #[error("could not sync \"{name}\"")]
    Sync {
        /// The path or URI.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A folder of the lake is on another file system than the lake, so that files cannot be linked into it.
    #[error("\"{name}\" is on another file system than the lake \"{root}\"")]
    OtherFileSystem {
        /// The folder, or the file that was to get a name in it.
        name: String,
        /// The lake.
        root: String,
    },
    /// A symbolic link where a lake has none: what is behind it may be anywhere.
    #[error("\"{name}\" is a symbolic link, which a lake must not have")]
    Symlink {
        /// The path.
        name: String,
    },
    /// A file is longer than it can be.
    #[error("\"{name}\" has {bytes} bytes, more than the {bytes_max} it may have")]
    TooLong {
        /// The path or URI.
        name: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
}

pub mod faulty;
pub mod local;
pub mod memory;

#[cfg(test)]
mod contract_tests;
