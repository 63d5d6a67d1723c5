//! Tables for people: columns as wide as they need to be, numbers to the right.

use super::text::visible;
use crate::engine::format::manifest::Members;
use std::borrow::Cow;
use std::io::{self, Write};

/// Writes `rows` under `head`, indented by two. Columns whose cells all begin with a digit (or are empty) are aligned
/// to the right. A cell stays on its line, whatever is in it.
pub(crate) fn write(out: &mut dyn Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let rows: Vec<Vec<Cow<'_, str>>> =
        rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let number = |cell: &Cow<'_, str>| cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit());
    let columns: Vec<(usize, bool)> = (0..head.len())
        .map(|at| {
            let cells = || rows.iter().filter_map(|row| row.get(at));
            let wide = cells().map(|cell| cell.chars().count()).chain([head[at].len()]).max();
            (wide.unwrap_or_default(), !rows.is_empty() && cells().all(number))
        })
        .collect();
    let head: Vec<Cow<'_, str>> = head.iter().map(|name| Cow::Borrowed(*name)).collect();
    for row in [&head].into_iter().chain(&rows) {
        let mut line = String::new();
        for (cell, (wide, right)) in row.iter().zip(&columns) {
            let wide = *wide;
            line.push_str("  ");
            line.push_str(&if *right { format!("{cell:>wide$}") } else { format!("{cell:<wide$}") });
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// How wide a terminal is at least.
pub(crate) const WIDTH: usize = 80;

/// How wide `rows` under `head` are.
pub(crate) fn width(head: &[&str], rows: &[Vec<String>]) -> usize {
    let wide = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| visible(cell).chars().count());
        cells.chain([head[at].len()]).max().unwrap_or_default()
    };
    (0..head.len()).map(|at| wide(at) + 2).sum()
}

/// `text` in lines of at most [`WIDTH`] characters: what does not fit goes on in the next line, indented by `indent`.
pub(crate) fn wrapped(text: &str, indent: usize) -> String {
    let mut all = String::new();
    for line in text.lines() {
        let mut rest: Vec<char> = line.chars().collect();
        while rest.len() > WIDTH {
            // Behind the last blank that fits, unless only the indentation lies before it.
            let blank = (indent + 1..=WIDTH).rev().find(|at| rest[*at] == ' ');
            let end = blank.unwrap_or(WIDTH);
            all.extend(&rest[..end]);
            all.push('\n');
            let more = rest[end..].iter().copied().skip_while(|c| *c == ' ');
            rest = std::iter::repeat_n(' ', indent).chain(more).collect();
        }
        all.extend(&rest);
        all.push('\n');
    }
    all
}

/// `1234567` as `1.2M`: at most four characters, below 10^18.
pub(crate) fn short(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let mut unit = 1_i128;
    for name in ["", "k", "M", "G", "T", "P"] {
        let whole = number / unit;
        if whole < 10 && unit > 1 {
            return format!("{whole}.{}{name}", number % unit * 10 / unit);
        }
        if whole < 1_000 {
            return format!("{whole}{name}");
        }
        unit *= 1_000;
    }
    format!("{}E", number / unit)
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `2 files`, `1,000 files`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// The processes and workers of a run, in words.
pub(crate) fn members(members: &Members) -> String {
    match members.processes {
        1 => counted(members.workers.into(), "worker"),
        processes => format!("{processes} processes of {}", counted(members.workers.into(), "worker")),
    }
}

/// `part` of `all` in percent: never 0 % of something, never 100 % of less than all.
pub(crate) fn percent(part: u64, all: u64) -> String {
    match part * 100 / all.max(1) {
        0 if part > 0 => "under 1 %".to_string(),
        whole => format!("{whole} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_go_on_below_and_lose_nothing() {
        let line = format!("label      {}", "word ".repeat(40).trim_end());
        let folded = wrapped(&line, 11);
        assert!(folded.lines().all(|line| line.chars().count() <= WIDTH), "{folded}");
        assert!(folded.lines().skip(1).all(|line| line.starts_with("           word")), "{folded}");
        assert_eq!(folded.split_whitespace().filter(|word| *word == "word").count(), 40);
        let folded = wrapped(&"é".repeat(200), 11);
        assert!(folded.lines().all(|line| line.chars().count() <= WIDTH), "{folded}");
        assert_eq!(folded.matches('é').count(), 200);
        let fits = format!("{}\n", "x".repeat(WIDTH));
        assert_eq!(wrapped(&fits, 11), fits);
    }

    #[test]
    fn short_numbers_have_four_characters() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1.0k"),
            (12_345, "12k"),
            (999_999, "999k"),
            (1_234_567, "1.2M"),
            (7_000_000_000_000_000_i64, "7.0P"),
        ];
        for (number, expected) in cases {
            assert_eq!(short(number), expected);
        }
    }

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let rows =
            [vec!["a".into(), "1,000".into(), "x".into()], vec!["été".into(), "2".into(), String::new()]];
        let mut out = Vec::new();
        write(&mut out, &["NAME", "N", "S"], &rows).expect("memory can be written");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "  NAME      N  S\n  a     1,000  x\n  été       2\n"
        );
    }

    #[test]
    fn cell_cannot_leave_its_line() {
        let mut out = Vec::new();
        write(&mut out, &["TOPIC"], &[vec!["a\nFAKE\u{1b}[2J\u{202e}".into()]])
            .expect("memory can be written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "  TOPIC\n  a\\nFAKE\\u001b[2J\\u202e\n");
    }

    #[test]
    fn shares_are_never_rounded_to_nothing_or_all() {
        assert_eq!(percent(1, 1000), "under 1 %");
        assert_eq!(percent(0, 1000), "0 %");
        assert_eq!(percent(999, 1000), "99 %");
        assert_eq!(percent(5, 5), "100 %");
        assert_eq!(percent(0, 0), "0 %");
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(grouped(0u64), "0");
        assert_eq!(grouped(999u64), "999");
        assert_eq!(grouped(1_000u64), "1,000");
        assert_eq!(grouped(-1_234_567i64), "-1,234,567");
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(1_000, "file"), "1,000 files");
    }
}
