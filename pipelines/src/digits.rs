//! Writes whole numbers as text without the machinery of formatting.

/// Writes `number` with at least `digits` digits.
pub(crate) fn number_to(number: u64, digits: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; 20];
    let (mut rest, mut at) = (number, text.len());
    while rest > 0 {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text[at.min(text.len() - digits)..]);
}
