//! Which operators, in which order, for one subject.
