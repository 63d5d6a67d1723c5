//! How far an input has got, kept on each worker from the marks of all: `wm(e)`, floors, cuts, skew.

use std::cell::RefCell;
use std::rc::Rc;

/// Shared between the watermark operator, which writes it, and the feed of the same worker, which reads it.
pub type SharedProgress = Rc<RefCell<Progress>>;

/// Placeholder filled by the watermark rules.
#[derive(Debug, Default)]
pub struct Progress {}
