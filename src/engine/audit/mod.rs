//! Checks a lake: reads what was committed and says what does not fit.

mod check;
#[cfg(test)]
mod check_tests;

pub use check::{Finding, Report, run};
