//! A JSON string to its text.

/// What a JSON string stands for.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// Text.
    Text(String),
    /// No text: half of a surrogate pair is in it.
    HalfAPair,
    /// It is no JSON string.
    Nothing,
}

/// What `text` says, a JSON string with its quotes.
pub(super) fn said(text: &str) -> Said {
    let inside = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(units) = inside.and_then(units) else { return Said::Nothing };
    String::from_utf16(&units).map_or(Said::HalfAPair, Said::Text)
}

/// The same as bytes; half of a pair becomes three bytes that are no UTF-8. `None` if it is no JSON string.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::new();
    for half in char::decode_utf16(units(inside)?) {
        match half {
            Ok(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(half) => {
                let unit = half.unpaired_surrogate();
                let low = |bits: u16| 0x80 | (bits & 0x3f) as u8;
                bytes.extend([0xe0 | (unit >> 12) as u8, low(unit >> 6), low(unit)]);
            }
        }
    }
    Some(bytes)
}

/// What stands between the quotes, in the units of UTF-16; `None` if that is not allowed there.
fn units(inside: &str) -> Option<Vec<u16>> {
    let (mut units, mut rest) = (Vec::new(), inside.chars());
    while let Some(c) = rest.next() {
        match c {
            '"' | '\0'..='\x1f' => return None,
            '\\' => units.push(match rest.next()? {
                c @ ('"' | '\\' | '/') => c as u16,
                'b' => 0x08,
                'f' => 0x0c,
                'n' => 0x0a,
                'r' => 0x0d,
                't' => 0x09,
                'u' => {
                    let digits: String = rest.by_ref().take(4).collect();
                    let is_hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                    is_hex.then(|| u16::from_str_radix(&digits, 16).ok())??
                }
                _ => return None,
            }),
            c => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
        }
    }
    Some(units)
}

#[test]
fn string_is_unquoted() {
    let text = |text: &str| Said::Text(text.to_string());
    let cases = [
        (r#""a\"\\\/\b\f\n\r\t""#, text("a\"\\/\u{8}\u{c}\n\r\t")),
        (r#""\u00e9é\ud83d\ude87""#, text("éé🚇")),
        (r#""\ud83d""#, Said::HalfAPair),
        (r#""\ude87\ud83d""#, Said::HalfAPair),
        (r#""\ud83d\x""#, Said::Nothing),
        (r#""\u12""#, Said::Nothing),
        (r#""\u+123""#, Said::Nothing),
        (r#""a"b""#, Said::Nothing),
        (r#""\""#, Said::Nothing),
        ("\"a\tb\"", Said::Nothing),
    ];
    for (quoted, want) in cases {
        assert_eq!(said(quoted), want, "{quoted}");
    }
    assert_eq!(bytes(r#""é\udcff""#), Some(b"\xc3\xa9\xed\xb3\xbf".to_vec()));
}
