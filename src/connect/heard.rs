//! What is known of quiet.

use std::time::Duration;

/// For how long a partition's end is known to have been where reading has ended: a stretch of time, from and to so long
/// ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it was first certain.
    pub since: Duration,
    /// When it was last certain, with nothing in between that says otherwise.
    pub last: Duration,
}

impl Heard {
    /// All the time until now: of what is looked at whenever it is polled.
    pub const ALWAYS: Heard = Heard { since: Duration::MAX, last: Duration::ZERO };
}
