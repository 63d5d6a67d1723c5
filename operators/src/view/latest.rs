//! Keeps the latest value of each key.
//!
//! # Input
//! Candidates `(key, (order, value))`: insert-only, by type. The greatest order wins; of equal orders the greatest value.
//! # Output
//! A table of `(key, (order, value))`: one row a key.
//! # State
//! The latest candidate of each key.
//! # Progress
//! As [`keep`](crate::view::keep).
//! # Late and bad data
//! A candidate that comes late loses by its order, not by its arrival: nothing is dropped. A retraction cannot be
//! expressed: what an earlier candidate was is not kept.
//! # Restart
//! As [`keep`](crate::view::keep).
//! # Cost
//! A hash probe a candidate.

use crate::view::keep::Fold;
use crate::view::table::Key;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use timely::ExchangeData;

/// The greatest `(order, value)` of each key, as a [`Fold`]. A latch that keeps the first is the same with
/// [`std::cmp::Reverse`] around the order.
///
/// ```rust
/// use headway_operators::view::keep::Fold;
/// use headway_operators::view::latest::Latest;
///
/// let latest = Latest::<String, u32, String>::default();
/// let mut value = None;
/// for (order, level) in [(3, "paid"), (1, "free"), (3, "free")] {
///     latest.fold(&mut value, (order, level.to_string()));
/// }
/// assert_eq!(value, Some((3, "paid".to_string())));
/// ```
pub struct Latest<K, O, V>(PhantomData<(K, O, V)>);

impl<K, O, V> Default for Latest<K, O, V> {
    fn default() -> Self {
        Latest(PhantomData)
    }
}

impl<K, O, V> Fold for Latest<K, O, V>
where
    K: Key,
    O: ExchangeData + Clone + Ord + DeserializeOwned,
    V: ExchangeData + Clone + Ord + DeserializeOwned,
{
    type Key = K;
    type Change = (O, V);
    type Value = (O, V);

    const VERSION: u32 = 1;

    fn fold(&self, value: &mut Option<(O, V)>, candidate: (O, V)) {
        if value.as_ref().is_none_or(|known| *known < candidate) {
            *value = Some(candidate);
        }
    }
}
