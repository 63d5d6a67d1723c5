//! Writes a file that no manifest names yet, and reads it back to check it.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::inconsistency::Inconsistency;
use crate::engine::failpoint;
use crate::store::{self, Store};
use std::io::{self, Read, Write};
use xxhash_rust::xxh3::Xxh3;

/// Writes what `content` gives as file `name`, syncs it and reads it back; its size, and its xxh3-128 in hexadecimal.
///
/// # Errors
/// If it could not be written or synced, or reads back differently.
pub fn write(
    store: &dyn Store,
    name: &str,
    content: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
) -> Result<(u64, String), CheckpointError> {
    let failed = |verb| move |source| store::Error::Failed { verb, name: store.describe(name), source };
    // 1. Write and sync.
    let mut staged = Counted { inner: store.stage(name)?, hash: Xxh3::new(), bytes: 0 };
    failpoint::at("stage.opened");
    content(&mut staged).map_err(failed("write"))?;
    failpoint::at("stage.written");
    let (written, checksum) = (staged.bytes, staged.hash.digest128());
    staged.inner.finish()?;
    failpoint::at("stage.synced");
    // 2. What a reader would see is what was meant.
    let found = store.open(name)?.map(digest).transpose().map_err(failed("read"))?;
    if found != Some((written, checksum)) {
        return Err(Inconsistency::ReadsBackDifferently { name: store.describe(name) }.into());
    }
    Ok((written, format!("{checksum:032x}")))
}

/// Length and xxh3-128 of what `reader` gives.
pub(crate) fn digest(mut reader: Box<dyn Read + Send>) -> io::Result<(u64, u128)> {
    let (mut hash, mut bytes, mut buffer) = (Xxh3::new(), 0, vec![0; 64 << 10]);
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hash.digest128())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Counts and hashes what passes.
struct Counted {
    inner: Box<dyn store::Staged>,
    hash: Xxh3,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
