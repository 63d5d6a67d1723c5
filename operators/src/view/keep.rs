//! Keeps a value for each key and emits its changes: the operator that saves the state of a view.
//!
//! # Input
//! Changes `(key, change)`, exchanged by the shard of the key. A [`Fold`] says what they make of the key's value.
//! # Output
//! A table of `(key, value)`: at the close of an epoch the old value of each changed key goes and the new one comes.
//! # State
//! The value of each key that has one, and nothing else: no row that a value was made of.
//! # Progress
//! As the keyed driver: the changes of epoch e leave at e, consolidated: at most one update with −1 and one with +1 a key.
//! # Late and bad data
//! None here: whatever arrives counts. A change that a fold refuses is a broken invariant, and stops the job.
//! A keep by day removes the keys of a sealed day in the epoch after the one that seals the day: see [`seal`](crate::view::seal).
//! # Restart
//! The restored table leaves at the committed epoch e0. Input at times up to e0 is dropped where the manifest knows the
//! operator: it is in that table already. A keep that is new takes it as its beginning. A keep by day takes it for days that a
//! person has unsealed, in place of what was saved of these days.
//! # Cost
//! A hash probe a change, two updates a changed key and epoch. It emits old and new itself, so nothing has to be
//! arranged for it.

use crate::error::StateError;
use crate::keyed::{Fates, Keyed};
use crate::progress::Tick;
use crate::snapshots::Wanted;
use crate::state::{Saved, Shard};
use crate::stream::decode::Definition;
use crate::time::{Epoch, Watermark};
use crate::view::kept::Kept;
use crate::view::seal::Sealed;
use crate::view::table::{Key, Update, shard_of};
use serde::de::DeserializeOwned;
use timely::ExchangeData;

/// What the changes of a key make of its value.
///
/// ```rust
/// use headway_operators::view::keep::Fold;
///
/// /// Counts tickets; a key without tickets has no value.
/// struct Tickets;
///
/// impl Fold for Tickets {
///     type Key = String;
///     type Change = i64;
///     type Value = i64;
///
///     const VERSION: u32 = 1;
///
///     fn fold(&self, value: &mut Option<i64>, change: i64) {
///         *value = Some(value.unwrap_or(0) + change).filter(|tickets| *tickets != 0);
///     }
/// }
///
/// let mut value = None;
/// for change in [2, 3, -5] {
///     Tickets.fold(&mut value, change);
/// }
/// assert_eq!(value, None);
/// ```
pub trait Fold: 'static {
    /// Whose value it is.
    type Key: Key;
    /// What arrives.
    type Change: ExchangeData + Clone;
    /// What is kept and shown.
    type Value: ExchangeData + Clone + Eq + DeserializeOwned;

    /// The version of what is kept.
    const VERSION: u32;

    /// Applies a change to the value of a key; `None` is no value. The order of changes must not matter.
    fn fold(&self, value: &mut Option<Self::Value>, change: Self::Change);

    /// True if readers of the table see no difference between two values of a key: then no update leaves.
    fn is_same(&self, before: &Self::Value, after: &Self::Value) -> bool {
        before == after
    }
}

/// The operator.
pub struct Keep<F: Fold> {
    name: String,
    fold: F,
    committed: Epoch,
    kept: Kept<F::Key, F::Value>,
    /// The keys that were changed in this epoch, each with the value that it had before.
    changed: Vec<(F::Key, Option<F::Value>)>,
    leaving: Option<Leaving<F::Key>>,
}

/// When keys leave because their day is sealed: in the epoch after the one that seals it.
struct Leaving<K> {
    sealed: Sealed,
    day: Box<dyn Fn(&K) -> i64>,
    /// The keys of days before this one have left.
    left: Option<i64>,
    /// What was saved of unsealed days is here still: it goes before anything comes.
    is_stale: bool,
}

impl<F: Fold> Keep<F> {
    /// A keep that has nothing yet. `name` is the operator's in manifests, `committed` the epoch that the run starts from.
    pub fn new(name: &str, fold: F, committed: Epoch) -> Keep<F> {
        Keep {
            name: name.to_string(),
            fold,
            committed,
            kept: Kept::default(),
            changed: Vec::new(),
            leaving: None,
        }
    }

    /// The same keep, but it removes the keys of sealed days. `sealed` has the days that are sealed as of the committed epoch; `day`
    /// gives the day of a key.
    #[must_use]
    pub fn leaving(self, sealed: Sealed, day: impl Fn(&F::Key) -> i64 + 'static) -> Keep<F> {
        Keep { leaving: Some(Leaving { sealed, day: Box::new(day), left: None, is_stale: true }), ..self }
    }

    /// True if the day of `key` was unsealed by a person.
    fn is_unsealed(&self, key: &F::Key) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.sealed.is_unsealed((leaving.day)(key)))
    }

    /// Removes what was saved of unsealed days, once: the committed facts of these days come, and are all there is of them. A
    /// day may have been saved in part, where the run before was killed between sealing it and giving it up.
    fn make_way(&mut self) {
        let Some(leaving) = self.leaving.as_mut().filter(|leaving| leaving.is_stale) else { return };
        leaving.is_stale = false;
        self.kept.remove(|key| leaving.sealed.is_unsealed((leaving.day)(key)));
    }
}

impl<K> Leaving<K> {
    /// True if days have been sealed since keys left last.
    fn is_due(&mut self) -> bool {
        let first_open = self.sealed.first_open();
        let is_due = first_open > self.left;
        self.left = first_open;
        is_due
    }
}

impl<F: Fold> Keyed for Keep<F> {
    type In = (F::Key, F::Change);
    type Key = ();
    type Out = Update<(F::Key, F::Value)>;

    const VERSION: u32 = F::VERSION;

    fn name(&self) -> &str {
        &self.name
    }

    fn shard((key, _): &Self::In) -> Shard {
        shard_of(key)
    }

    fn define(&mut self, _definition: Definition<()>) {}

    fn enters(&self, (key, _): &Self::In) -> bool {
        self.is_unsealed(key)
    }

    fn apply(&mut self, _epoch: Epoch, batch: &mut Vec<Self::In>, _fates: &mut Fates) {
        self.make_way();
        for (key, change) in batch.drain(..) {
            self.kept.note(&key, &mut self.changed, |value| self.fold.fold(value, change));
        }
    }

    fn close(&mut self, epoch: Epoch, tick: &Tick, out: &mut Vec<Self::Out>) {
        self.make_way();
        for (key, before) in self.changed.drain(..) {
            let after = self.kept.noted(&key);
            let is_same = match (&before, after) {
                (Some(before), Some(after)) => self.fold.is_same(before, after),
                (before, after) => before.is_none() && after.is_none(),
            };
            if is_same {
                continue;
            }
            if let Some(after) = after {
                out.push(((key.clone(), after.clone()), epoch, 1));
            }
            if let Some(before) = before {
                out.push(((key, before), epoch, -1));
            }
        }
        let Some(leaving) = self.leaving.as_mut().filter(|_| epoch > self.committed) else { return };
        // Remove the keys of days that earlier epochs have sealed, with the values that they have after this epoch.
        if leaving.is_due() {
            let gone = self.kept.remove(|key| leaving.sealed.has((leaving.day)(key)));
            out.extend(gone.into_iter().map(|row| (row, epoch, -1)));
        }
        leaving.sealed.close(tick.watermark);
    }

    fn snapshot(&mut self, wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        self.kept.snapshot(wanted, put);
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
        self.kept.restore(&self.name, saved)
    }

    fn restored(&mut self, _watermark: Watermark, out: &mut Vec<Self::Out>) {
        let row = |(key, value): (&F::Key, &F::Value)| ((key.clone(), value.clone()), self.committed, 1);
        out.extend(self.kept.iter().filter(|(key, _)| !self.is_unsealed(key)).map(row));
    }

    fn held(&self) -> u64 {
        self.kept.len()
    }
}
