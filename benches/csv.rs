//! Rows as text: the same few lines for both sides of a comparison, so that shaping rows costs both the same.

use std::io::Write;

/// Writes fields, or fields already joined, with commas after them.
pub(crate) fn parts(out: &mut Vec<u8>, fields: &[&[u8]]) {
    for field in fields {
        out.extend_from_slice(field);
        out.push(b',');
    }
}

/// Writes the two sums that end a row.
pub(crate) fn numbers(out: &mut Vec<u8>, [entries, exits]: [i128; 2]) {
    writeln!(out, "{entries},{exits}").expect("a vector can be written to");
}
