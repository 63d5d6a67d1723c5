//! Repairs text that was encoded as UTF-8 more than once: its bytes were read as Latin-1 and encoded again, once or twice, as
//! eventsim does with its song file.

use std::borrow::Cow;

/// How many surplus rounds are undone.
const ROUNDS_MAX: u32 = 3;

/// What the text was before; `None` if it was not encoded more than once. It never fails: what does not decode stays.
pub(super) fn repaired(text: &str) -> Option<String> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..ROUNDS_MAX {
        let Some(before) = round(&text) else { break };
        text = Cow::Owned(before);
    }
    match text {
        Cow::Borrowed(_) => None,
        Cow::Owned(text) => Some(text),
    }
}

/// Undoes one round.
fn round(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let latin1: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect();
    String::from_utf8(latin1?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One surplus round, the other way.
    fn spoil(text: &str) -> String {
        text.bytes().map(char::from).collect()
    }

    #[test]
    fn text_that_was_encoded_too_often_is_what_it_was() {
        let mut text = "Björk – Jóga, 東京".to_string();
        for rounds in 1..=3 {
            text = spoil(&text);
            assert_eq!(repaired(&text).as_deref(), Some("Björk – Jóga, 東京"), "{rounds}");
        }
    }

    #[test]
    fn text_that_is_as_it_should_be_stays() {
        for text in ["", "Kings Of Leon", "Björk", "Ã", "東京", "Sigur Rós \u{fffd}"] {
            assert_eq!(repaired(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_fails_and_repaired_text_was_spoiled(text in any::<String>()) {
            if let Some(before) = repaired(&text) {
                let mut again = before.clone();
                let rounds = (0..3).find(|_| { again = spoil(&again); again == text });
                prop_assert!(rounds.is_some(), "{text} was no {before}");
            }
        }
    }
}
