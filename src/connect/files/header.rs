//! The header of a file of raw lines: which columns its lines have.
//!
//! 1. The first line that is not blank decides. If it is a header, it names the columns of the whole file; a header that
//!    cannot be used stops the job (`bad-header`). If it is none, the file has the columns that the input expects.
//! 2. A later header line that names the same columns is passed over. One that names others stops the job
//!    (`header-changed`): somebody has put two files together, and the lines after it mean something else.
//! 3. A line is a header by what the input says ([`HeaderSpec`]); this file knows no columns.
//!
//! A reader that resumes in the middle of a file reads its lines from the first on, so it knows the columns again.

use crate::connect::error::Error;
use crate::connect::files::place::Place;
use headway_operators::record::Columns;
use headway_operators::spec::HeaderSpec;

/// What a line of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A header, which is no record.
    Header,
    /// Anything else.
    Message,
}

/// What is known of a file's header, as its lines are read in their order.
#[derive(Debug)]
pub(super) struct Header {
    spec: HeaderSpec,
    columns: Known,
}

/// Which columns the lines have.
#[derive(Debug)]
enum Known {
    /// Only blank lines so far.
    Nothing,
    /// Those that the input expects.
    Expected,
    /// Other ones.
    Named(Columns),
}

impl Header {
    /// Of a file of which nothing was read.
    pub(super) fn new(spec: HeaderSpec) -> Header {
        Header { spec, columns: Known::Nothing }
    }

    /// Forgets the file: another one begins, or the same again.
    pub(super) fn begin_again(&mut self) {
        self.columns = Known::Nothing;
    }

    /// Takes line number `number` of `place`.
    pub(super) fn take(&mut self, place: &Place, number: u64, line: &[u8]) -> Result<Kind, Error> {
        let is_first = matches!(self.columns, Known::Nothing);
        let is_blank = line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        if is_first && !is_blank {
            (self.spec.accept)(&place.relative, line)
                .map_err(|refusal| place.not_accepted(number, &refusal))?;
        }
        let names = match (self.spec.read)(line) {
            Ok(names) => names,
            Err(reason) if is_first => return Err(place.bad_header(number, &reason, line)),
            // It is a message that cannot be decoded, as it would be from any other source.
            Err(_) => None,
        };
        let Some(names) = names else {
            if is_first && !is_blank {
                self.columns = Known::Expected;
            }
            return Ok(Kind::Message);
        };
        let is_expected = names == self.spec.columns;
        match &self.columns {
            Known::Nothing if is_expected => self.columns = Known::Expected,
            Known::Nothing => self.columns = Known::Named(names.into()),
            Known::Expected if is_expected => {}
            Known::Named(columns) if **columns == *names => {}
            Known::Expected => {
                return Err(place.header_changed(number, &self.spec.columns.join(","), &names.join(",")));
            }
            Known::Named(columns) => {
                return Err(place.header_changed(number, &columns.join(","), &names.join(",")));
            }
        }
        Ok(Kind::Header)
    }

    /// A line that is too long to be a header.
    pub(super) fn take_long(&mut self) {
        if matches!(self.columns, Known::Nothing) {
            self.columns = Known::Expected;
        }
    }

    /// The columns of the lines, where they differ from those that the input expects.
    pub(super) fn columns(&self) -> Option<&Columns> {
        match &self.columns {
            Known::Named(columns) => Some(columns),
            Known::Nothing | Known::Expected => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::files::place::tests::place;
    use headway_operators::error::Reason;
    use headway_operators::spec::FileRefusal;

    /// `#` begins a header, and `#!` one that cannot be used.
    const SPEC: HeaderSpec = HeaderSpec {
        columns: &["a", "b"],
        read: |line| match line {
            [b'#', b'!', ..] => Err(Reason::of("bad-header")),
            [b'#', names @ ..] => {
                Ok(Some(String::from_utf8_lossy(names).split(',').map(str::to_string).collect()))
            }
            _ => Ok(None),
        },
        accept: |_, line| match line {
            [b'%', ..] => Err(FileRefusal { why: "it begins with %", hint: "Begin it otherwise." }),
            _ => Ok(()),
        },
    };

    /// What the lines are: `h` a header, `m` a message, with the columns if they are not the expected ones.
    fn read(lines: &[&str]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f.csv"), "").unwrap();
        let place = place(&folder.path().join("f.csv"));
        let said = |error: Error| error.to_string().replace(&format!("{}/", folder.path().display()), "");
        let mut header = Header::new(SPEC);
        let mut kinds = String::new();
        for (number, line) in (0..).zip(lines) {
            match header.take(&place, number, line.as_bytes()).map_err(said)? {
                Kind::Header => kinds.push('h'),
                Kind::Message => kinds.push('m'),
            }
        }
        Ok(header.columns().map_or(kinds.clone(), |columns| format!("{kinds} {}", columns.join("+"))))
    }

    #[test]
    fn first_line_that_is_not_blank_decides() {
        for (lines, want) in [
            (&[][..], ""),
            (&["1,2", "3,4"][..], "mm"),
            (&["#a,b", "1,2"], "hm"),
            (&["#b,a", "1,2"], "hm b+a"),
            (&["", " \t\r", "#b,a", "1,2"], "mmhm b+a"),
            (&["#b,a", "1,2", "#b,a", "3,4"], "hmhm b+a"),
            (&["1,2", "#a,b", "3,4"], "mhm"),
            (&["#a,b", "#!"], "hm"),
            (&["1,2", "#!"], "mm"),
        ] {
            assert_eq!(read(lines).as_deref(), Ok(want), "{lines:?}");
        }
        for (lines, want) in [
            (&["#!x", "1,2"][..], "line 1 of \"f.csv\" is a header that cannot be used"),
            (&["", "#!x"], "line 2 of \"f.csv\" is a header that cannot be used"),
            (&["#b,a", "1,2", "#a,b"], "line 3 of \"f.csv\" is another header than the one before"),
            (&["#a,b", "#b,a"], "line 2 of \"f.csv\" is another header than the one before"),
            (&["1,2", "#b,a"], "line 2 of \"f.csv\" is another header than the one before"),
        ] {
            assert_eq!(read(lines), Err(want.to_string()), "{lines:?}");
        }
        // A line without end is no blank.
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut header = Header::new(SPEC);
        header.take_long();
        assert!(header.take(&place(file.path()), 1, b"#b,a").is_err());
    }

    #[test]
    fn file_that_holds_something_else_is_refused_at_its_first_line() {
        let mut header = Header::new(SPEC);
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        let place = place(file.path());
        assert!(header.take(&place, 0, b" ").is_ok());
        let refused = header.take(&place, 1, b"%").expect_err("the input does not accept it");
        assert_eq!(refused.code(), "input-unusable");
        let mut header = Header::new(SPEC);
        header.take(&place, 0, b"x").expect("it is accepted");
        assert!(header.take(&place, 1, b"%").is_ok(), "only the first line decides");
    }
}
