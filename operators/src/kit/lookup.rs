//! Joins records with a table that does not change while the job runs.
//!
//! # Input
//! Records of the kit, and a [`Table`] that was read before the job started.
//! # Output
//! One record for each record for which the author's function gives something.
//! # State
//! None. The dry build finds the table, and the manifest keeps its name and digest beside the settings.
//! # Progress
//! Records leave at once, in their epoch.
//! # Late and bad data
//! A key that the table does not have is given to the author's function as `None`.
//! # Restart
//! A start with another table is refused, as one with another setting is: rows of one lake never come from two tables.
//! # Cost
//! One hash probe a record; the table is in memory once for all workers.

use crate::flow::Flow;
use crate::kit::record::Record;
use crate::pace::TableSpec;
use crate::state::KeyHash;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use serde::de::DeserializeOwned;
use std::hash::Hash;
use std::sync::Arc;

/// A table in memory, by key, with the name and the digest of the file that it was read from.
///
/// ```rust
/// use headway_operators::kit::lookup::Table;
/// use serde::Deserialize;
///
/// #[derive(Clone, Deserialize)]
/// struct Station {
///     id: String,
///     borough: String,
/// }
///
/// let file = b"{\"id\": \"S1\", \"borough\": \"Bronx\"}\n";
/// let stations = Table::ndjson("stations.ndjson", file, |station: &Station| station.id.clone())?;
/// assert_eq!(stations.get(&"S1".to_string()).map(|station| station.borough.as_str()), Some("Bronx"));
/// # Ok::<(), headway_operators::kit::lookup::TableError>(())
/// ```
#[derive(Debug)]
pub struct Table<K, V> {
    name: String,
    digest: KeyHash,
    rows: Arc<HashMap<K, V, FxBuildHasher>>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Table { name: self.name.clone(), digest: self.digest, rows: Arc::clone(&self.rows) }
    }
}

/// A file that is no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not read table \"{name}\", line {line}: {what}")]
pub struct TableError {
    /// The file's name.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl<K: Eq + Hash, V: DeserializeOwned> Table<K, V> {
    /// The table of a file with one JSON object a line. `name` and `content` are those of the file.
    ///
    /// # Errors
    /// A line that is no row, or two rows with one key.
    pub fn ndjson(name: &str, content: &[u8], key: impl Fn(&V) -> K) -> Result<Table<K, V>, TableError> {
        let mut rows = HashMap::default();
        for (line, text) in (1..).zip(content.split(|byte| *byte == b'\n')) {
            if text.trim_ascii().is_empty() {
                continue;
            }
            let error = |what: String| TableError { name: name.to_string(), line, what };
            let row: V = serde_json::from_slice(text).map_err(|what| error(what.to_string()))?;
            if rows.insert(key(&row), row).is_some() {
                return Err(error("its key is there twice".to_string()));
            }
        }
        Ok(Table { name: name.to_string(), digest: KeyHash::of(content), rows: Arc::new(rows) })
    }
}

impl<K, V> Table<K, V> {
    /// The table as a manifest keeps it.
    pub fn spec(&self) -> TableSpec {
        let [high, low] = self.digest.0;
        TableSpec { name: self.name.clone(), digest: format!("xxh3:{high:016x}{low:016x}") }
    }
}

impl<K: Eq + Hash, V> Table<K, V> {
    /// The row of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }
}

impl<'s, R: Clone + 'static> Flow<'s, Record<R>> {
    /// Joins each record with the row of its key; leaves out records for which `join` gives nothing.
    pub fn lookup<K: Eq + Hash + 'static, V: 'static, S: Clone + 'static>(
        self,
        table: &Table<K, V>,
        key: impl Fn(&R) -> K + 'static,
        join: impl Fn(R, Option<&V>) -> Option<S> + 'static,
    ) -> Flow<'s, Record<S>> {
        self.pace.borrow_mut().table(table.spec());
        let rows = Arc::clone(&table.rows);
        self.filter_map_data(move |record| {
            let row = rows.get(&key(&record));
            join(record, row)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(content: &str) -> Result<Table<String, (String, u32)>, TableError> {
        Table::ndjson("t.ndjson", content.as_bytes(), |row: &(String, u32)| row.0.clone())
    }

    #[test]
    fn table_is_read_by_line_and_known_by_its_name_and_content() {
        let one = table("[\"a\",1]\n\n[\"b\",2]").expect("a table");
        assert_eq!(
            (one.get(&"b".to_string()), one.get(&"c".to_string())),
            (Some(&("b".to_string(), 2)), None)
        );
        let spec = one.spec();
        assert!(spec.name == "t.ndjson" && spec.digest.starts_with("xxh3:"), "{spec:?}");
        let other = table("[\"a\",1]\n\n[\"b\",3]").expect("a table");
        assert_ne!(spec, other.spec());
    }

    #[test]
    fn line_that_is_no_row_is_refused_by_its_number() {
        let error = table("[\"a\",1]\n[2]").expect_err("no row");
        assert!(error.to_string().starts_with("could not read table \"t.ndjson\", line 2: "), "{error}");
        let error = table("[\"a\",1]\n[\"a\",2]").expect_err("twice");
        assert_eq!((error.line, error.what.as_str()), (2, "its key is there twice"));
    }
}
