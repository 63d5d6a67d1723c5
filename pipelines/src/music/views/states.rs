//! The names of states by their codes.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// `code,name`, as upstream's seed has them; there the code of Washington DC ended in a blank, and found nothing.
const CODES: &str = include_str!("state_codes.csv");

/// The name of the state with this code.
pub(in crate::music) fn name(code: &str) -> Option<&'static str> {
    static NAMES: OnceLock<BTreeMap<&str, &str>> = OnceLock::new();
    let names = NAMES.get_or_init(|| CODES.lines().filter_map(|line| line.split_once(',')).collect());
    names.get(code).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn washington_is_found_too() {
        assert_eq!(name("DC"), Some("Washington DC"));
        assert_eq!((name("AK"), name("AS")), (Some("Alaska"), None));
        assert!(CODES.lines().all(|line| line.split_once(',').is_some_and(|(code, _)| code.len() == 2)));
    }
}
