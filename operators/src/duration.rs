//! Lengths of time as a person writes them: `50ms`, `5m`, `2h30m`.

/// The longest length of time that can be written, in milliseconds: 100 years, so that adding a few of them to an instant
/// cannot overflow.
pub const MAX_MS: i64 = 36_500 * 86_400_000;

/// Units of time in falling order, with their length in milliseconds.
const UNITS: [(&str, i64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a length of time, in milliseconds: whole numbers with units, the greatest unit first.
///
/// ```rust
/// use headway_operators::duration;
/// assert_eq!(duration::parse("2h30m"), Ok(9_000_000));
/// assert_eq!(duration::parse("5").unwrap_err(), "\"5\" is not a duration: it needs a unit: d, h, m, s or ms");
/// ```
///
/// # Errors
/// Why `text` is not one, quoting it.
pub fn parse(text: &str) -> Result<i64, String> {
    let bad = |why: &str| format!("\"{text}\" is not a duration: {why}");
    let (mut rest, mut total, mut from) = (text, 0i64, 0);
    if text.is_empty() {
        return Err(bad("it is empty"));
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() {
            return Err(bad("write whole numbers with units, such as 5m, 50ms or 2h30m"));
        }
        if unit.is_empty() {
            return Err(bad("it needs a unit: d, h, m, s or ms"));
        }
        let at = UNITS[from..]
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(|| bad("the units are d, h, m, s and ms, in this order"))?;
        let number: i64 = number.parse().map_err(|_| bad("it is too long"))?;
        let part = number.checked_mul(UNITS[from + at].1).ok_or_else(|| bad("it is too long"))?;
        total = total.checked_add(part).filter(|ms| *ms <= MAX_MS).ok_or_else(|| bad("it is too long"))?;
        from += at + 1;
        rest = tail;
    }
    Ok(total)
}

/// A length of time, given in milliseconds, as [`parse`] reads it. A negative one, which cannot be written, is shown in
/// milliseconds.
pub fn show(ms: i64) -> String {
    match ms {
        0 => return "0s".to_string(),
        ..0 => return format!("{ms}ms"),
        _ => {}
    }
    let (mut text, mut rest) = (String::new(), ms);
    for (unit, length) in UNITS {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_units() {
        let cases = [
            ("50ms", 50),
            ("1s", 1_000),
            ("5m", 300_000),
            ("2h30m", 9_000_000),
            ("1d1ms", 86_400_001),
            ("90s", 90_000),
            ("0s", 0),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text), Ok(ms), "{text}");
        }
        assert_eq!(show(9_000_000), "2h30m");
        assert_eq!((show(0), show(-1)), ("0s".to_string(), "-1ms".to_string()));
    }

    #[test]
    fn durations_that_would_be_a_guess_are_refused() {
        let guesses = [
            "",
            "5",
            "m",
            "-5m",
            "5 m",
            "1.5h",
            "5M",
            "5min",
            "30m2h",
            "1s1s",
            "5m5",
            "é",
            "5é",
            "99999999999d",
        ];
        for text in guesses {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(ms in 0..=MAX_MS) {
            prop_assert_eq!(parse(&show(ms)), Ok(ms));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
