//! What is summed by: a turnstile as its messages describe it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;

/// How many columns make a key.
pub const PARTS: usize = 7;

/// The columns of a key by name, in their order.
pub const COLUMNS: [&str; PARTS] = ["CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DESC"];

/// A turnstile: control area, remote unit, subunit, station, lines, division, and the kind of the audit event.
///
/// Its texts lie in one piece: each epoch defines its keys anew, and where epochs are short that is a key a message.
/// Keys are ordered by their first column, then the second, and so on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    text: Box<str>,
    ends: [u32; PARTS],
}

impl Key {
    /// The key of these columns, in the order of [`COLUMNS`].
    ///
    /// # Panics
    /// If they are 4 GiB or more; no message is longer than 1 MiB.
    pub fn new(columns: [&str; PARTS]) -> Key {
        let mut text = String::with_capacity(columns.iter().map(|column| column.len()).sum());
        let ends = columns.map(|column| {
            text.push_str(column);
            u32::try_from(text.len()).expect("a key is shorter than a message")
        });
        Key { text: text.into_boxed_str(), ends }
    }

    /// Its columns, in the order of [`COLUMNS`].
    pub fn columns(&self) -> [&str; PARTS] {
        std::array::from_fn(|at| &self.text[self.range(at)])
    }

    fn range(&self, at: usize) -> std::ops::Range<usize> {
        let from = if at == 0 { 0 } else { self.ends[at - 1] };
        from as usize..self.ends[at] as usize
    }

    /// The columns as bytes: texts are ordered as their bytes are.
    fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        (0..PARTS).map(|at| &self.text.as_bytes()[self.range(at)])
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.columns().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        // Owned, because formats that read from a stream have nothing to borrow from.
        let columns = <[String; PARTS]>::deserialize(deserializer)?;
        Ok(Key::new(columns.each_ref().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_equal_ordered_and_saved_as_their_columns_are(
            one in prop::array::uniform7("[a,é\0]{0,3}"), other in prop::array::uniform7("[a,é\0]{0,3}")
        ) {
            let key = |columns: &[String; PARTS]| Key::new(columns.each_ref().map(String::as_str));
            prop_assert_eq!(key(&one).columns().map(str::to_string), one.clone());
            prop_assert_eq!(key(&one) == key(&other), one == other);
            prop_assert_eq!(key(&one).cmp(&key(&other)), one.cmp(&other));
            let saved = postcard::to_stdvec(&key(&one)).expect("a key encodes");
            prop_assert_eq!(&saved, &postcard::to_stdvec(&one).expect("texts encode"));
            prop_assert_eq!(postcard::from_bytes::<Key>(&saved).expect("a key decodes"), key(&one));
        }
    }
}
