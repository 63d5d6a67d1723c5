//! The files that settings of the cluster name.

use crate::cli::settings::origin::Origin;
use crate::cli::settings::place::Surroundings;
use crate::cli::terminal::failure::Failure;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The key of a setting in the section of the cluster, and its flag.
pub(in crate::cli) type Setting<'a> = (&'a str, &'a str);

/// The text of the file.
///
/// # Errors
/// Exit 2 if it cannot be read.
pub(in crate::cli) fn text(
    path: &Path,
    setting: Setting<'_>,
    origin: &Origin<'_>,
) -> Result<String, Failure> {
    found(path, setting, origin, fs::read_to_string)
}

/// The bytes of the file.
///
/// # Errors
/// Exit 2 if it cannot be read.
pub(in crate::cli) fn bytes(
    path: &Path,
    setting: Setting<'_>,
    origin: &Origin<'_>,
) -> Result<Vec<u8>, Failure> {
    found(path, setting, origin, fs::read)
}

fn found<T>(
    path: &Path,
    (key, flag): Setting<'_>,
    origin: &Origin<'_>,
    read: impl FnOnce(PathBuf) -> io::Result<T>,
) -> Result<T, Failure> {
    let refuse = |what: String| origin.refuse("cluster", key, flag, what);
    let shown = path.to_string_lossy();
    let path = Surroundings::here()
        .path(&shown)
        .map_err(|no| refuse(format!("\"{shown}\" is no path: {}", no.why)).hint(no.hint))?;
    read(path).map_err(|error| {
        refuse(format!("\"{shown}\" cannot be read")).detail(format!("The system says: {error}."))
    })
}
