//! What saved state holds, for a person.

use crate::error::StateError;
use crate::kit::logic::Logic;
use crate::kit::per_key::section::{SavedEntry, Section};
use crate::state::{KeyHash, Saved, Shown};
use serde::Serialize;
use std::collections::BTreeMap;

/// What the sections of operator `name` hold, in the order of the keys' hashes.
pub(super) fn show<L: Logic>(name: &str, saved: &[Saved]) -> Result<Vec<Shown>, StateError> {
    let mut held: BTreeMap<KeyHash, Shown> = BTreeMap::new();
    for section in saved.iter().filter(|section| !section.bytes.is_empty()) {
        let malformed =
            |what| StateError::Malformed { operator: name.to_string(), shard: section.shard.0, what };
        let Section { deleted, entries, .. } =
            Section::decode(&section.bytes).ok_or_else(|| malformed("a section of keys and records"))?;
        for hash in deleted {
            held.remove(&hash);
        }
        for SavedEntry { key, touched, timers, state, .. } in entries {
            let hash = KeyHash::of(&key);
            let key: L::Key = postcard::from_bytes(&key).map_err(|_| malformed("a key"))?;
            let state: L::State = if section.version == L::VERSION {
                postcard::from_bytes(&state).map_err(|_| malformed("the state of a key"))?
            } else {
                let (operator, found) = (name.to_string(), section.version);
                let refused = StateError::NotMigrated { operator, found, known: L::VERSION };
                L::migrate(section.version, &state).ok_or(refused)?
            };
            let (key, state) = (json(&key), json(&state));
            held.insert(hash, Shown { key, version: section.version, touched, timers, state });
        }
    }
    Ok(held.into_values().collect())
}

/// A value as JSON; where JSON has no form for it, which map keys other than text may lack, what is wrong, as text.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("\"not shown: {error}\""))
}
