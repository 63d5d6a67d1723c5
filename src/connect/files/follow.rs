//! What the reader of a followed file and the look at its folder say to each other.
//!
//! The reader says what it has read. The look finds files that begin like that: copies. When the file is cut or goes away,
//! the look gives the reader the copy, and the reader goes on in it where it was.

use crate::connect::files::descriptors::Spot;
use crate::connect::files::growing::Evidence;
use crate::connect::files::identity::mark::Mark;
use crate::connect::files::place::Place;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// A followed file, as its reader and the look at its folder share it.
#[derive(Debug, Default)]
pub(super) struct Follow {
    /// Everything that was read when the end was seen last.
    read: Mutex<Option<Mark>>,
    /// Where the reader is to go on.
    other: Mutex<Option<Place>>,
    /// There is such a place.
    goes_on: AtomicBool,
    /// By what the file is confirmed.
    evidence: Arc<Mutex<Evidence>>,
}

impl Follow {
    /// Everything that was read when the end was seen last.
    pub(super) fn read(&self) -> Option<Mark> {
        *lock(&self.read)
    }

    /// Notes what was read up to the end.
    pub(super) fn note(&self, mark: Option<Mark>) {
        *lock(&self.read) = mark;
    }

    /// By what the file is confirmed; whoever reads it adds to that.
    pub(super) fn evidence(&self) -> &Arc<Mutex<Evidence>> {
        &self.evidence
    }

    /// Notes that the file at `spot` is another one now, if that is so.
    pub(super) fn confirm(&self, spot: &Spot) {
        lock(&self.evidence).confirm(spot);
    }

    /// Lets the reader go on in `place`, which begins with everything that was read.
    pub(super) fn go_on(&self, place: Place) {
        *lock(&self.other) = Some(place);
        self.goes_on.store(true, Ordering::SeqCst);
    }

    /// Where the reader is to go on from now on.
    pub(super) fn take(&self) -> Option<Place> {
        if self.goes_on.swap(false, Ordering::SeqCst) { lock(&self.other).take() } else { None }
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().expect("no thread panicked with this lock held")
}
