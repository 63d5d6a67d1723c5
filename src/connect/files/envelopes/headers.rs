//! The headers of an envelope: `kcat -J` writes names and values in turn, in one array; a value may be null.
//!
//! Headers in any other form, or longer than a value may be, are passed over: the message has none.

use crate::connect::files::envelopes::json_text::unquote;
use crate::connect::files::envelopes::malformed::Malformed;
use crate::connect::files::lines::Value;
use headway_operators::record::{Header, HeaderList, Payload};
use serde_json::value::RawValue;
use std::ops::Range;

/// The headers of one message; its buffers are used again for the next.
#[derive(Default)]
pub(in crate::connect::files) struct EnvelopeHeaders {
    /// All texts, one after the other.
    text: Value,
    /// Where each text ends that was taken while a line was walked.
    ends: Vec<usize>,
    /// Names and values in turn: where in `text` each is; `None` where there is null.
    list: Vec<Option<Range<usize>>>,
}

impl EnvelopeHeaders {
    /// Forgets the message before.
    pub(in crate::connect::files) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.list.clear();
    }

    /// Where the text of a walked line goes.
    pub(in crate::connect::files) fn text(&mut self) -> &mut Value {
        &mut self.text
    }

    /// A text of a walked line ends here.
    pub(in crate::connect::files) fn end_text(&mut self) {
        self.ends.push(self.text.bytes());
    }

    /// Takes the headers of a whole line, as JSON.
    pub(in crate::connect::files) fn read(&mut self, json: &str) -> Result<(), Malformed> {
        self.clear();
        let Ok(items) = serde_json::from_str::<Vec<Option<&RawValue>>>(json) else { return Ok(()) };
        for item in items {
            let start = self.text.bytes();
            let is_text = item.map(|item| unquote(item.get(), &mut self.text)).transpose()?;
            if is_text == Some(false) {
                self.clear();
                return Ok(());
            }
            self.list.push(is_text.map(|_| start..self.text.bytes()));
        }
        self.keep_if_whole();
        Ok(())
    }

    /// Takes the headers of a walked line, whose texts are known and emptied in `json`.
    pub(in crate::connect::files) fn place(&mut self, json: &str) {
        let (mut start, mut ends) = (0, self.ends.drain(..));
        for item in serde_json::from_str::<Vec<Option<&RawValue>>>(json).unwrap_or_default() {
            self.list.push(match item.map(RawValue::get) {
                None => None,
                Some("\"\"") => {
                    let end = ends.next().unwrap_or(start);
                    Some(std::mem::replace(&mut start, end)..end)
                }
                Some(_) => {
                    self.list.clear();
                    return;
                }
            });
        }
        drop(ends);
        self.keep_if_whole();
    }

    /// Leaves no headers where one lacks its value, or the buffer had no room for all.
    fn keep_if_whole(&mut self) {
        if self.list.len() % 2 == 1 || matches!(self.text.payload(), Payload::TooLong { .. }) {
            self.list.clear();
        }
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        match self.text.payload() {
            Payload::Bytes(text) => &text[range],
            Payload::Null | Payload::TooLong { .. } | Payload::Header => &[],
        }
    }
}

impl HeaderList for EnvelopeHeaders {
    fn header(&self, at: usize) -> Option<Header<'_>> {
        let name = self.list.get(2 * at)?.clone().unwrap_or_default();
        let value = self.list.get(2 * at + 1)?.clone();
        let name = std::str::from_utf8(self.bytes(name)).unwrap_or_default();
        Some(Header { name, value: value.map(|value| self.bytes(value)) })
    }
}
