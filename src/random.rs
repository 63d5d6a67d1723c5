//! Random numbers that nobody can guess.

use rustix::rand::{GetRandomFlags, getrandom};

/// 128 bits from the system. No file is opened: a process may have used up its descriptors.
///
/// # Panics
/// If the system gives none: without them nothing is secret.
pub(crate) fn random() -> u128 {
    // So few bytes come at once.
    let mut bytes = [0; 16];
    let read = getrandom(&mut bytes, GetRandomFlags::empty());
    assert_eq!(read, Ok(bytes.len()), "the system has random numbers");
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn random_numbers_differ() {
        assert_ne!(super::random(), super::random());
    }
}
