//! Messages of every kind: good, odd, and broken in ways that nobody would think of.

use crate::draws::Draws;

/// What may stand in any field.
const ODD: [&str; 28] = [
    "",
    " ",
    "\t",
    "\"",
    "\"\"",
    "\"a,b\"",
    "\"a\"\"b\"",
    "\"a\nb\"",
    "\"a\r\nb\"",
    "a\"b",
    "a\"b\"",
    "\"a\"b",
    " \"a\"",
    " a b ",
    "é",
    "\u{1f687}",
    "\u{feff}",
    "\u{a0}",
    "\u{2028}",
    "\u{0}",
    "\u{b}",
    "\u{85}",
    "\u{7f}",
    "a\tb",
    "\\",
    "\\n",
    "'",
    "x;y",
];

/// Counts, not all of them good.
const NUMBERS: [&str; 12] = [
    "0",
    "6",
    "0007",
    "999999999999999999",
    "1000000000000000000",
    "-1",
    "+1",
    "1.0",
    "1e3",
    " 12 ",
    "٣",
    "1_000",
];

/// Timestamps, not all of them good.
const STAMPS: [&str; 30] = [
    "2024-01-30 12:32:04",
    "2024-01-30T12:32:04",
    "2024-03-10 02:30:00",
    "2024-11-03 01:30:00",
    "1970-01-01 00:00:00",
    "1969-12-31 23:59:59",
    "2999-12-31 23:59:59",
    "3000-01-01 00:00:00",
    "2024-02-29 00:00:00",
    "2023-02-29 00:00:00",
    "2024-13-01 00:00:00",
    "2024-00-10 00:00:00",
    "2024-01-01 24:00:00",
    "2024-01-01 23:59:60",
    "2024-01-30 12:32",
    "2024-01-30t12:32:04",
    "2024-01-30 12:32:04Z",
    "2024-01-30 12:32:04z",
    "2024-01-30T12:32:04.5Z",
    "2024-01-30 12:32:04,1239999",
    "2024-01-30 12:32:04.1234567890",
    "2024-01-30 12:32:04.",
    "2024-01-30 12:32:04+05",
    "2024-01-30 12:32:04-0530",
    "2024-01-30 12:32:04.25+18:59",
    "2024-01-30 12:32:04+19:00",
    "2024-01-30 12:32:04+01:60",
    "2024-03-10 02:30:00-05:00",
    "1970-01-01 00:00:00.001+12",
    " 2024-01-30 12:32:04 ",
];

/// Dates, not all of them good.
const DATES: [&str; 8] =
    ["01-30-24", "01/30/2024", "1/30/2024", "01-30-2024", "02-30-24", "12/31/1969", "13-01-24", "01/30/24"];

/// Times of day, not all of them good.
const TIMES: [&str; 8] =
    ["12:32:04", "23:59:59", "24:00:00", "1:02:03", "12:32", "12:32:04 ", "12:32:04.5", "12:32:04+01:00"];

/// A field of the column: mostly one that is usual there, now and then one that is not.
pub(crate) fn field(draws: &mut Draws, column: &str) -> String {
    if draws.one_in(25) {
        return draws.of(&ODD).to_string();
    }
    let usual: &[&str] = match column {
        "CA" => &["A002", "N213", "R051A", "ca"],
        "UNIT" => &["R001", "R051"],
        "SCP" => &["02-00-00", "00-05-01"],
        "STATION" => &["59 ST", "34 ST-PENN STA", "\"O'HARE, NORTH\"", "ESPAÑA"],
        "LINENAME" => &["NQR456W", "1", ""],
        "DIVISION" => &["BMT", "IRT", ""],
        "DESC" => &["REGULAR", "RECOVR AUD", ""],
        "ENTRIES" | "EXITS" if draws.one_in(8) => &NUMBERS,
        "ENTRIES" | "EXITS" => &["0", "5", "39"],
        "TIMESTAMP" if draws.one_in(3) => &STAMPS,
        "TIMESTAMP" => &["2024-01-30 12:32:04", "2031-07-05 00:00:00"],
        "DATE" => &DATES,
        "TIME" => &TIMES,
        _ => &["354becd9-79fe-4600-a3fd-0988f5911c8b", "x", ""],
    };
    draws.of(usual).to_string()
}

/// The text of a message before it is quoted: perhaps a header, a record or more, blank lines.
pub(crate) fn text(draws: &mut Draws) -> String {
    const FIRST: [&str; 8] = ["CA", "C/A", "A/C", "AC", "ca", " c/a ", "\"CA\"", "CÄ"];
    let mut names = crate::twin::usual_columns();
    let mut lines = Vec::new();
    if draws.one_in(3) {
        names[0] = draws.of(&FIRST).to_string();
        for _ in 0..draws.below(3) {
            let at = 1 + draws.below(names.len() - 1);
            match draws.below(5) {
                0 => drop(names.remove(at)),
                1 => names.insert(
                    at,
                    draws
                        .of(&["MORE", "CA", "TIMESTAMP", "ENTRIES", "", "tıme", "ſcp", "ﬆation"])
                        .to_string(),
                ),
                2 => names[at] = names[at].to_lowercase().replace('i', "ı").replace("st", "ﬆ"),
                3 => names.swap(1, at),
                _ => {
                    names[at] =
                        format!("{}{}{}", draws.of(&[" ", "\t", ""]), names[at], " ".repeat(draws.below(70)))
                }
            }
        }
        lines.push(names.join(","));
    }
    let records = if draws.one_in(20) { draws.below(3) } else { 1 };
    for _ in 0..records {
        let mut fields: Vec<String> =
            names.iter().map(|name| field(draws, name.trim().to_uppercase().as_str())).collect();
        match draws.below(40) {
            0 => drop(fields.pop()),
            1 => fields.push("x".to_string()),
            _ => {}
        }
        lines.push(fields.join(","));
    }
    if draws.one_in(12) {
        lines.insert(draws.below(lines.len() + 1), draws.of(&["", " ", "\r", "\"\""]).to_string());
    }
    let end = draws.of(&["\n", "\n", "\r\n", "\r"]);
    lines.join(end) + draws.of(&["", "", "\n", "\r\n", "\r", "\n\n"])
}

/// `text` as a JSON string, with escapes chosen at will.
pub(crate) fn json(draws: &mut Draws, text: &str) -> String {
    let mut out = "\"".to_string();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += draws.of(&["\\t", "\\u0009", "\t"]),
            '/' if draws.one_in(2) => out += "\\/",
            c if c < ' ' || draws.one_in(60) => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04x}"));
            }
            c => out.push(c),
        }
    }
    if draws.one_in(40) {
        out += draws.of(&[
            "\\ud800",
            "\\udc00",
            "\\uDBFF\\uDFFF",
            "\\ud800\\u0041",
            "\\ud8",
            "\\x",
            "\\ud800\\ud800\\udc00",
        ]);
    }
    out + "\""
}

/// A message: good, odd, or broken.
pub(crate) fn message(draws: &mut Draws) -> Vec<u8> {
    const PIECES: [&[u8]; 22] = [
        b"\"",
        b",",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b" ",
        b"\\",
        b"\\\"",
        b"\\n",
        b"\\u",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"0",
        b"-",
        b":",
        b"{}",
        b"CA",
        b"\t",
        b"T",
    ];
    let mut text = text(draws);
    if draws.one_in(2) {
        text = json(draws, &text);
    }
    if draws.one_in(20) {
        text = "\u{feff}".repeat(1 + draws.below(2)) + &text;
    }
    let mut value = (text + draws.of(&["", "", "", "\n", "\r\n"])).into_bytes();
    let mutations = if draws.one_in(3) { 1 + draws.below(3) } else { 0 };
    for _ in 0..mutations {
        let at = draws.below(value.len() + 1);
        let until = (at + draws.below(4)).min(value.len());
        match draws.below(5) {
            0 => drop(value.splice(at..at, draws.of(&PIECES).iter().copied())),
            1 => drop(value.splice(at..until, draws.of(&PIECES).iter().copied())),
            2 => drop(value.drain(at..until)),
            3 => value.extend_from_within(at..until),
            _ if at < value.len() => value[at] = draws.next() as u8,
            _ => value.truncate(at / 2),
        }
    }
    value
}
