//! Writes files of a copy: staged, synced and read back first, then given their names.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::inconsistency::Inconsistency;
use crate::engine::commit::site::Site;
use crate::engine::commit::staged;
use crate::engine::format::names;
use crate::store::{Error as StoreError, Published};
use headway_operators::ack::Place;
use std::collections::BTreeSet;
use std::io::{self, Read};

/// How many files have their names before these are made durable.
const BATCH_MAX: usize = 1_000;

/// Copies files from one lake to another.
pub(super) struct Copier<'a> {
    from: &'a Site,
    to: &'a Site,
    job: &'a str,
    /// Unique to this backup, so that two of them at a time do not take each other's staged files.
    own: String,
    next: u64,
    staged: Vec<String>,
    folders: BTreeSet<String>,
    /// Files that were copied.
    pub(super) files: u64,
    /// Their size in bytes.
    pub(super) bytes: u64,
}

/// A file that is durable in the copy and does not have its name yet.
pub(super) struct Draft {
    staged: String,
    path: String,
    bytes: u64,
}

/// What a file must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    /// Its size.
    pub(super) bytes: u64,
    /// Its xxh3-128, in hexadecimal.
    pub(super) checksum: &'a str,
}

impl<'a> Copier<'a> {
    pub(super) fn new(from: &'a Site, to: &'a Site, job: &'a str) -> Copier<'a> {
        let own = from.nonce().to_string();
        Copier {
            from,
            to,
            job,
            own,
            next: 0,
            staged: Vec::new(),
            folders: BTreeSet::new(),
            files: 0,
            bytes: 0,
        }
    }

    /// Copies what is at `place` to `path`; false if it is not there.
    ///
    /// # Errors
    /// If it is not what is expected, or cannot be read or written.
    pub(super) async fn copy(
        &mut self,
        place: &Place,
        path: &str,
        expected: Option<Expected<'_>>,
    ) -> Result<bool, CheckpointError> {
        let Some(draft) = self.draft(place, path, expected).await? else { return Ok(false) };
        self.name(draft).await?;
        if self.staged.len() >= BATCH_MAX {
            self.settle().await?;
        }
        Ok(true)
    }

    /// Copies what is at `place`, to be called `path`; `None` if it is not there.
    ///
    /// # Errors
    /// As [`Copier::copy`].
    pub(super) async fn draft(
        &mut self,
        place: &Place,
        path: &str,
        expected: Option<Expected<'_>>,
    ) -> Result<Option<Draft>, CheckpointError> {
        let reader: Box<dyn Read + Send> = match place.range {
            None => match self.from.store().open(&place.name)? {
                Some(reader) => reader,
                None => return Ok(None),
            },
            Some(_) => match self.from.read_place(place).await? {
                Some(bytes) => Box::new(io::Cursor::new(bytes)),
                None => return Ok(None),
            },
        };
        let name = self.from.describe(&place.name);
        let (staged, found) = self.write(&name, reader)?;
        let is_it = expected.is_none_or(|e| (e.bytes, e.checksum) == (found.0, found.1.as_str()));
        if !is_it {
            self.to.delete(&staged).await?;
            return Err(Inconsistency::CannotCopy { path: name }.into());
        }
        Ok(Some(Draft { staged, path: path.to_string(), bytes: found.0 }))
    }

    /// A file with `bytes`, to be called `path`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn draft_of(&mut self, bytes: &[u8], path: &str) -> Result<Draft, CheckpointError> {
        let (staged, (bytes, _)) = self.write(path, Box::new(bytes))?;
        Ok(Draft { staged, path: path.to_string(), bytes })
    }

    /// Stages what `reader` gives of the file that people know as `name`; where it is, its size and its checksum.
    fn write(
        &mut self,
        name: &str,
        mut reader: Box<dyn Read + Send + '_>,
    ) -> Result<(String, (u64, String)), CheckpointError> {
        self.next += 1;
        let staged = names::staged_copy(self.job, &format!("{}-{}", self.own, self.next));
        // What cannot be read is no fault of the copy.
        let mut unread = None;
        let written = staged::write(self.to.store().as_ref(), &staged, |out| {
            let mut buffer = vec![0; 64 << 10];
            loop {
                match reader.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(read) => out.write_all(&buffer[..read])?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        unread = Some(error);
                        return Err(io::Error::other("what is copied cannot be read"));
                    }
                }
            }
        });
        match unread {
            Some(source) => Err(StoreError::Failed { verb: "read", name: name.to_string(), source }.into()),
            None => Ok((staged, written?)),
        }
    }

    /// Gives a file its name in the copy.
    ///
    /// # Errors
    /// If another file has it.
    pub(super) async fn name(&mut self, draft: Draft) -> Result<(), CheckpointError> {
        let Draft { staged, path, bytes } = draft;
        let published = self.to.publish(&staged, &path).await?;
        let is_there = match published {
            Published::Yes => true,
            // It was copied before, or by another backup at the same time.
            Published::Exists | Published::Missing => self.to.size(&path).await? == Some(bytes),
        };
        if !is_there {
            let (path, staged) = (self.to.describe(&path), self.to.describe(&staged));
            return Err(Inconsistency::NameTaken { path, staged }.into());
        }
        self.folders.insert(names::parent(&path).to_string());
        self.staged.push(staged);
        (self.files, self.bytes) = (self.files + 1, self.bytes + bytes);
        Ok(())
    }

    /// Gives a table that is whole in each version the place of the one before it.
    ///
    /// # Errors
    /// If it cannot be replaced.
    pub(super) fn replace(&mut self, draft: Draft) -> Result<(), CheckpointError> {
        self.to.store().replace(&draft.staged, &draft.path)?;
        self.folders.insert(names::parent(&draft.path).to_string());
        (self.files, self.bytes) = (self.files + 1, self.bytes + draft.bytes);
        Ok(())
    }

    /// Makes all names durable that were given, and only then takes the staged ones away.
    ///
    /// # Errors
    /// If the medium refuses.
    pub(super) async fn settle(&mut self) -> Result<(), CheckpointError> {
        for folder in std::mem::take(&mut self.folders) {
            self.to.sync_folder(&folder).await?;
        }
        for staged in std::mem::take(&mut self.staged) {
            self.to.delete(&staged).await?;
        }
        Ok(())
    }
}
