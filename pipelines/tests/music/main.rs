//! The music pipeline: what the generator makes, what the decoder reads.

mod cases;
mod decode;
mod generate;
mod later_days;
mod public;
mod published;
mod recompute;
mod sealing;
mod views;
