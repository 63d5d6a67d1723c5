//! Which column of a line holds what: as the topic has it, or as a header line names them.

use super::key;
use super::reason;
use super::record::FIELDS;
use headway_operators::error::Reason;
use headway_operators::record::Columns;

/// What is cut off both ends of a name, and of a whole message before it is called empty.
pub(super) const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Where each column lies in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// How many columns there are.
    pub(super) width: usize,
    /// In the order of [`key::COLUMNS`].
    pub(super) key: [usize; key::PARTS],
    pub(super) entries: usize,
    pub(super) exits: usize,
    pub(super) id: Option<usize>,
    pub(super) when: WhenAt,
}

/// Where the event time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenAt {
    /// In TIMESTAMP.
    Timestamp(usize),
    /// In DATE and TIME, where there is no TIMESTAMP.
    DateTime(usize, usize),
}

impl Layout {
    /// The layout of columns that are called `names`.
    ///
    /// # Errors
    /// `bad-header` if a name is missing, or comes twice.
    pub(super) fn of<Name: AsRef<str>>(names: &[Name]) -> Result<Layout, Reason> {
        let find = |name: &str| names.iter().position(|known| known.as_ref() == name);
        let need = |name: &str| find(name).ok_or(reason::BAD_HEADER);
        for (at, name) in names.iter().enumerate() {
            if find(name.as_ref()) != Some(at) {
                return Err(reason::BAD_HEADER);
            }
        }
        let mut key = [0; key::PARTS];
        for (place, name) in key.iter_mut().zip(key::COLUMNS) {
            *place = need(name)?;
        }
        let when = match find("TIMESTAMP") {
            Some(at) => WhenAt::Timestamp(at),
            None => WhenAt::DateTime(need("DATE")?, need("TIME")?),
        };
        let (entries, exits, id) = (need("ENTRIES")?, need("EXITS")?, find("ID"));
        Ok(Layout { width: names.len(), key, entries, exits, id, when })
    }

    /// The layout of a message of the topic.
    pub(super) fn of_topic() -> Layout {
        Layout::of(&FIELDS).expect("the topic's own columns have all that is needed")
    }
}

/// The layout of a file's columns, found once a file.
#[derive(Debug, Default)]
pub(super) struct FileLayout(Option<(Columns, Layout)>);

impl FileLayout {
    /// The layout of `columns`.
    ///
    /// # Errors
    /// As [`Layout::of`].
    pub(super) fn of(&mut self, columns: &Columns) -> Result<Layout, Reason> {
        if let Some((known, layout)) = &self.0
            && Columns::ptr_eq(known, columns)
        {
            return Ok(*layout);
        }
        let layout = Layout::of(columns)?;
        self.0 = Some((Columns::clone(columns), layout));
        Ok(layout)
    }
}

/// True if a first field says that its line is a header.
pub(super) fn is_header(first: &[u8]) -> bool {
    first.len() <= 3
        && ["CA", "C/A", "A/C", "AC"].iter().any(|name| first.eq_ignore_ascii_case(name.as_bytes()))
}
