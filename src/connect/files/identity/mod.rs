//! Which file is which: by its name and beginning, by everything that was read of it, and as the copy of another one.

pub(in crate::connect::files) mod copies;
pub(in crate::connect::files) mod file;
pub(in crate::connect::files) mod mark;
pub(in crate::connect::files) mod recall;
