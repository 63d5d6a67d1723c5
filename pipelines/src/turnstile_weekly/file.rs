//! What a weekly file is called and how it begins: which files are read, and which pipeline reads a file.

use super::line::is_weekly_header;
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
pub(crate) fn is_not_weekly(name: &str, line: &[u8]) -> Result<(), FileRefusal> {
    if !(is_weekly_header(line) || published(name).is_some() && is_weekly_line(line)) {
        return Ok(());
    }
    Err(FileRefusal {
        why: "it is a weekly file of the MTA: it holds registers, not increments",
        hint: "Read it with `headway run turnstile-weekly`.",
    })
}

/// True if a line has the columns of a weekly file, and no ID or TIMESTAMP.
fn is_weekly_line(line: &[u8]) -> bool {
    let commas = line.iter().filter(|byte| **byte == b',').count();
    (10..=12).contains(&commas) && (contains(line, b",REGULAR,") || contains(line, b",RECOVR AUD,"))
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
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
        for weekly in [
            &header[..],
            b"C/A,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS                    ",
        ] {
            assert!(is_not_weekly("any", weekly).unwrap_err().hint.contains("turnstile-weekly"));
        }
        let line = b"A002,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,03:00:00,REGULAR,0000102019,0000073801";
        assert!(is_not_weekly("turnstile_240106.txt", line).is_err());
        assert_eq!(is_not_weekly("batch_7_20240130_235959.csv.gz", line), Ok(()), "a batch of the lake");
        assert_eq!(
            is_not_weekly("messages", b"CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS"),
            Ok(())
        );
    }
}
