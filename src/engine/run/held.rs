//! A message that waits: its partition has woken, and joins before anything of it is sent.

use headway_operators::record::{
    Columns, File, Header, HeaderList, Headers, Offset, Partition, Payload, Raw,
};

/// A message that waits for its partition to join.
pub(super) struct Held {
    pub(super) offset: Offset,
    timestamp_ms: Option<i64>,
    key: Option<Vec<u8>>,
    headers: HeldHeaders,
    columns: Option<Columns>,
    file: Option<File>,
    payload: Option<Vec<u8>>,
    too_long: Option<(u64, u128)>,
    is_header: bool,
}

/// The headers of a message that waits: name and value of each.
struct HeldHeaders(Vec<(String, Option<Vec<u8>>)>);

impl HeaderList for HeldHeaders {
    fn header(&self, at: usize) -> Option<Header<'_>> {
        self.0.get(at).map(|(name, value)| Header { name, value: value.as_deref() })
    }
}

impl Held {
    /// Bytes of its payload that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, Vec::len)
    }

    /// A copy of `raw`.
    pub(super) fn of(raw: &Raw<'_>) -> Held {
        let (payload, too_long) = match raw.payload {
            Payload::Null | Payload::Header => (None, None),
            Payload::Bytes(bytes) => (Some(bytes.to_vec()), None),
            Payload::TooLong { head, bytes, hash } => (Some(head.to_vec()), Some((bytes, hash))),
        };
        let header = |header: Header<'_>| (header.name.to_string(), header.value.map(<[u8]>::to_vec));
        Held {
            offset: raw.offset,
            timestamp_ms: raw.timestamp_ms,
            key: raw.key.map(<[u8]>::to_vec),
            headers: HeldHeaders(raw.headers.iter().map(header).collect()),
            columns: raw.columns.cloned(),
            file: raw.file.cloned(),
            payload,
            too_long,
            is_header: raw.payload == Payload::Header,
        }
    }

    /// The message, as it was read from `partition`.
    pub(super) fn raw(&self, partition: Partition) -> Raw<'_> {
        let payload = match (&self.payload, self.too_long) {
            (None, _) if self.is_header => Payload::Header,
            (None, _) => Payload::Null,
            (Some(bytes), None) => Payload::Bytes(bytes),
            (Some(head), Some((bytes, hash))) => Payload::TooLong { head, bytes, hash },
        };
        Raw {
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            headers: Headers::of(&self.headers),
            columns: self.columns.as_ref(),
            file: self.file.as_ref(),
            ..Raw::of(partition, self.offset, payload)
        }
    }
}
