//! The store of a run, which notes on the board which calls are under way, and how long they take.

use crate::engine::run::board::Board;
use crate::store::{Created, Error, Name, Published, Staged, Store};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// A store that says on `board` what it is asked.
pub(super) struct WatchedStore {
    inner: Arc<dyn Store>,
    board: Board,
}

impl WatchedStore {
    /// The store `inner`, noted on `board`.
    pub(super) fn of(inner: Arc<dyn Store>, board: Board) -> Arc<dyn Store> {
        Arc::new(WatchedStore { inner, board })
    }

    fn note<T>(&self, verb: &'static str, name: Name<'_>, call: impl FnOnce(&dyn Store) -> T) -> T {
        let number = self.board.store_call(verb, name);
        let answer = call(self.inner.as_ref());
        self.board.store_answers(number);
        answer
    }
}

impl Store for WatchedStore {
    fn create(&self, name: Name<'_>, bytes: &[u8]) -> Result<Created, Error> {
        self.note("create", name, |store| store.create(name, bytes))
    }

    fn read(&self, name: Name<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.note("read", name, |store| store.read(name, bytes_max))
    }

    fn read_range(&self, name: Name<'_>, from: u64, to: u64) -> Result<Option<Vec<u8>>, Error> {
        self.note("read", name, |store| store.read_range(name, from, to))
    }

    fn open(&self, name: Name<'_>) -> Result<Option<Box<dyn Read + Send>>, Error> {
        self.note("open", name, |store| store.open(name))
    }

    fn size(&self, name: Name<'_>) -> Result<Option<u64>, Error> {
        self.note("look at", name, |store| store.size(name))
    }

    fn list(&self, folder: Name<'_>) -> Result<Vec<String>, Error> {
        self.note("list", folder, |store| store.list(folder))
    }

    fn stage(&self, name: Name<'_>) -> Result<Box<dyn Staged>, Error> {
        let file = self.note("open", name, |store| store.stage(name))?;
        Ok(Box::new(WatchedFile { file, name: name.to_string(), board: self.board.clone() }))
    }

    fn publish(&self, from: Name<'_>, to: Name<'_>) -> Result<Published, Error> {
        self.note("publish", to, |store| store.publish(from, to))
    }

    fn replace(&self, from: Name<'_>, to: Name<'_>) -> Result<(), Error> {
        self.note("replace", to, |store| store.replace(from, to))
    }

    fn sync_folder(&self, folder: Name<'_>) -> Result<(), Error> {
        self.note("sync", folder, |store| store.sync_folder(folder))
    }

    fn delete(&self, name: Name<'_>) -> Result<(), Error> {
        self.note("delete", name, |store| store.delete(name))
    }

    fn describe(&self, name: Name<'_>) -> String {
        self.inner.describe(name)
    }
}

/// A file that is being written.
struct WatchedFile {
    file: Box<dyn Staged>,
    name: String,
    board: Board,
}

impl Write for WatchedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let call = self.board.store_call("write", &self.name);
        let written = self.file.write(bytes);
        self.board.store_answers(call);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        let call = self.board.store_call("write", &self.name);
        let flushed = self.file.flush();
        self.board.store_answers(call);
        flushed
    }
}

impl Staged for WatchedFile {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        let WatchedFile { file, name, board } = *self;
        let call = board.store_call("sync", &name);
        let finished = file.finish();
        board.store_answers(call);
        finished
    }
}
