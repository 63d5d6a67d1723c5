//! The music pipeline: what the generator makes, what the decoder reads.

mod generate;
mod published;
