//! What a weekly file is called and how it begins: which files are read, and which pipeline reads a file.

use super::line::{COLUMNS, Looks, looks, trimmed};
use headway_operators::spec::FileRefusal;

/// The first file of today's format is of this day: the Saturday 18 October 2014.
const FIRST: u32 = 20_141_018;

/// The day of publication in the name of a file, `YYYYMMDD`: the first six digits in it that stand alone, `YYMMDD`.
pub(crate) fn published(name: &str) -> Option<u32> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let mut runs = name.split(|c: char| !c.is_ascii_digit());
    let digits = runs.find(|run| run.len() == 6)?;
    let date: u32 = digits.parse().ok()?;
    let (month, day) = (date / 100 % 100, date % 100);
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some(20_000_000 + date)
}

/// Refuses a file that is none of the weekly ones, by its name and its first line.
pub(super) fn accept(name: &str, line: &[u8]) -> Result<(), FileRefusal> {
    let Some(date) = published(name) else {
        return Err(FileRefusal {
            why: "its name has no date of six digits, which decides between two readings of one instant",
            hint: "Call it turnstile_YYMMDD.txt, or YYMMDD.csv.gz, after the Saturday of its publication.",
        });
    };
    // Eight readings a line, no station, no header.
    let is_old = line.iter().filter(|byte| **byte == b',').count() >= 17;
    if date < FIRST || is_old {
        return Err(FileRefusal {
            why: "it has the format from before 18 October 2014: eight readings a line, and no station",
            hint: "Read files of 18 October 2014 and later.",
        });
    }
    Ok(())
}

/// Refuses a weekly file where increments are read: its registers would be summed.
///
/// The header decides where it is written as only weekly files are. One that batches of a lake have too, or lines without a
/// header, are a weekly file's if the file is named after the day of its publication.
pub(crate) fn is_not_weekly(name: &str, line: &[u8]) -> Result<(), FileRefusal> {
    let is_weekly = match looks(line) {
        // A batch that upstream's job wrote has an index too.
        Looks::Weekly => !is_batch(name),
        Looks::Either => published(name).is_some(),
        Looks::Other => published(name).is_some() && is_weekly_line(line),
    };
    if !is_weekly {
        return Ok(());
    }
    Err(FileRefusal {
        why: "it is a weekly file of the MTA: it holds registers, not increments",
        hint: "Read it with `headway run turnstile-weekly`.",
    })
}

/// True if a file is called as the batches of increments are: ours, and those of upstream's job.
fn is_batch(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|name| name.starts_with("batch_"))
}

/// True if a line has the columns of a weekly file, and no ID or TIMESTAMP.
fn is_weekly_line(line: &[u8]) -> bool {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b',').map(trimmed).collect();
    let fields = match fields.as_slice() {
        [fields @ .., []] => fields,
        fields => fields,
    };
    let fields = match fields {
        [index, rest @ ..] if rest.len() == COLUMNS.len() && index.iter().all(u8::is_ascii_digit) => rest,
        fields => fields,
    };
    fields.len() == COLUMNS.len() && [&b"REGULAR"[..], b"RECOVR AUD"].contains(&fields[8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_of_a_file_is_the_six_digits_of_its_name() {
        for (name, date) in [
            ("turnstile_240106.txt", Some(20_240_106)),
            ("240106.csv.gz", Some(20_240_106)),
            ("2024/240106-part3.csv", Some(20_240_106)),
            ("turnstile_230603_head20k_rawheader.csv.gz", Some(20_230_603)),
            // A batch of a lake: its time of day is no date.
            ("batch_23_20240722_215938.csv.gz", None),
            ("turnstile_2401.txt", None),
            ("turnstile_20240106.txt", None),
            ("241306.txt", None),
        ] {
            assert_eq!(published(name), date, "{name}");
        }
    }

    #[test]
    fn files_of_other_formats_are_refused_and_named() {
        let header = b",CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS";
        assert_eq!(accept("240106.csv.gz", header), Ok(()));
        assert!(accept("week.csv", header).unwrap_err().why.contains("six digits"));
        assert!(accept("turnstile_141011.txt", header).unwrap_err().why.contains("before 18 October 2014"));
        let old = [b"A002,R051,02-00-00".to_vec(), b",04-17-10,00:00:00,REGULAR,1,2".repeat(8)].concat();
        assert!(accept("turnstile_240106.txt", &old).is_err());
    }

    const PLAIN: &str = "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS";
    const LINE: &str =
        "A002,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,03:00:00,REGULAR,0000102019,0000073801";

    #[test]
    fn weekly_file_is_refused_where_increments_are_read_whatever_its_header_looks_like() {
        let slashed = PLAIN.replace("CA,", "C/A,");
        let blanks = " ".repeat(63);
        // By its header alone.
        for header in [
            slashed.clone(),
            format!("{slashed}{blanks}"),
            format!("{slashed}{blanks}\r"),
            format!("{slashed}{blanks},"),
            format!("{slashed},"),
            format!("{slashed},{blanks}\r"),
            format!("\u{feff}{slashed}{blanks}"),
            format!("\u{feff}{slashed}"),
            format!("{PLAIN} "),
            format!("{PLAIN},\r"),
            format!(",{PLAIN}"),
            format!("\"\",{PLAIN}"),
            format!("\u{feff},{slashed}{blanks}\r"),
            slashed.to_lowercase(),
            slashed.split(',').map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(","),
        ] {
            for name in ["any", "week.csv.gz", "turnstile_240106.txt"] {
                let refused =
                    is_not_weekly(name, header.as_bytes()).expect_err(&format!("{name}: {header:?}"));
                assert!(refused.hint.contains("turnstile-weekly"));
            }
        }
        // By what it looks like and its name together.
        for first in [
            PLAIN,
            &format!("{PLAIN}\r"),
            &format!("\u{feff}{PLAIN}"),
            &PLAIN.to_lowercase(),
            LINE,
            &format!("17,{LINE},\r"),
            &LINE.replace("REGULAR", "RECOVR AUD"),
        ] {
            let refused = is_not_weekly("turnstile_240106.txt", first.as_bytes());
            assert!(refused.is_err(), "{first:?}");
        }
    }

    #[test]
    fn increments_are_no_weekly_file() {
        let message = format!("{LINE},id-1,2023-12-30 03:00:00");
        let capture = format!("{PLAIN},ID,TIMESTAMP");
        let slashed = capture.replace("CA,", "C/A,");
        for (name, first) in [
            // A capture of the topic, with and without a header, padded or not, and whatever it is called.
            ("capture_240106.csv", &*capture),
            ("capture_240106.csv", &format!("{capture}          ")),
            ("240106.csv", &slashed),
            ("240106.csv", &format!("{slashed},")),
            ("240106.csv", &format!(",{capture}")),
            ("240106.csv", &message),
            // What upstream's second producer sends: no TIMESTAMP.
            ("240106.csv", &format!("{},ID", PLAIN.replace("CA,", "A/C,"))),
            // Batches of a lake: ours, and those of upstream's job, which have an index.
            ("messages", PLAIN),
            ("batch_7_20240130_235959.csv.gz", PLAIN),
            ("turnstile/batch_7_20240130_235959.csv.gz", &format!(",{PLAIN}")),
            ("240106.csv", &format!("{PLAIN},WINDOW_END_UTC")),
            ("batch_7_20240130_235959.csv.gz", LINE),
        ] {
            assert_eq!(is_not_weekly(name, first.as_bytes()), Ok(()), "{name}: {first:?}");
        }
    }
}
