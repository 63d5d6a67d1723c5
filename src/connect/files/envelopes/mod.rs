//! Messages as `kcat -J` writes them, one JSON object a line.

pub(in crate::connect::files) mod envelope;
pub(in crate::connect::files) mod headers;
pub(in crate::connect::files) mod json_text;
pub(in crate::connect::files) mod malformed;
