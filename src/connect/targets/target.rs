//! What a target is asked to do, and what it answers.
//!
//! 1. A target keeps beside its tables which lake and job they are of, the versions of the views, and the commit whose
//!    changes are the last in them. Tables and commit change together, in one step of the target's own.
//! 2. Changes are applied only where the target stands at the commit that they follow. Everywhere else it is rebuilt from the
//!    whole content, which the run has in memory.
//!
//! A target may block for as long as its system does: it has a thread of its own.

use headway_operators::spec::ViewSpec;
use headway_operators::view::row::{ViewRow, ViewUpdate};
use std::fmt;
use std::sync::Arc;

/// Of which lake and job the tables are, and in which versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The nonce of the lake's first manifest of the job, in hexadecimal: a copy of the lake has the same.
    pub lake: String,
    /// The job.
    pub job: String,
    /// The views with their versions: `[["station_day",1],…]`.
    pub views: String,
}

/// A commit, as a target keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of its manifest.
    pub seq: u64,
    /// The nonce of its manifest, in hexadecimal.
    pub nonce: String,
}

/// What a target answers to the question where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// After this commit; `None`: before the first one with changes.
    At(Option<Place>),
    /// It has to be rebuilt, and why.
    Unfit(&'static str),
}

/// What a commit changed.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The commit that the changes follow.
    pub after: Option<&'a Place>,
    /// The commit that they are of.
    pub place: &'a Place,
    /// One update for each row that came or went, by view, in the order of rows.
    pub updates: &'a [ViewUpdate],
}

/// The sealed days of views: they do not change any more, and are not among the rows of a [`Whole`].
pub trait Archive {
    /// The name of the first day that is not sealed, nor any later one. Days before it have lesser names of the same length.
    fn first_open(&self) -> &str;

    /// The days before that one which are open all the same: their rows are among those of the [`Whole`].
    fn unsealed(&self) -> Vec<&str>;

    /// True if `day` is sealed.
    fn has(&self, day: &str) -> bool;

    /// The sealed days that `view` has.
    ///
    /// # Errors
    /// What is wrong.
    fn days(&self, view: &ViewSpec) -> Result<Vec<String>, String>;

    /// The rows of a sealed day.
    ///
    /// # Errors
    /// What is wrong.
    fn rows(&self, view: &ViewSpec, day: &str) -> Result<Vec<ViewRow>, String>;
}

/// All views as of one commit.
#[derive(Clone, Copy)]
pub struct Whole<'a> {
    /// The last commit whose changes are in them; `None` if there was none.
    pub place: Option<&'a Place>,
    /// The rows of each view, by the number of the view.
    pub tables: &'a [Vec<Arc<ViewRow>>],
    /// The days that are sealed; `None`: no day is.
    pub sealed: Option<&'a dyn Archive>,
    /// Whether the run that gives them is still the last one of the job. It may be taken over at any moment, also while a target
    /// waits to be written to. The error says why that is not known.
    pub is_last: &'a dyn Fn() -> Result<bool, String>,
}

/// What became of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// They are in the tables, durably.
    Yes,
    /// The target does not stand where they follow: nothing was changed.
    NotHere,
    /// Its tables are not what they must be before these changes, and were left as they are.
    Differs,
}

/// Why a target did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or refuses for now. It is asked again.
    #[error("{what}")]
    Away {
        /// What it says.
        what: String,
    },
    /// Its tables are of another lake. Never repeated: the job must stop.
    #[error("the tables in \"{place}\" belong to another lake")]
    OtherLake {
        /// Where the tables are.
        place: String,
        /// The other lake.
        found: String,
        /// This one.
        own: String,
    },
}

/// A system outside the lake.
pub trait Target: Send {
    /// Its name in manifests.
    fn name(&self) -> &'static str;

    /// Connects, where it is not, and says where it stands. `views` are what it is given.
    ///
    /// # Errors
    /// If it cannot be asked, or has the tables of another lake.
    fn stand(&mut self, origin: &Origin, views: &[ViewSpec]) -> Result<Standing, Error>;

    /// Applies what a commit changed, all views together. Calls `beat` while it gets on.
    ///
    /// # Errors
    /// If it may or may not have happened: ask [`Target::stand`].
    fn apply(&mut self, origin: &Origin, step: Step<'_>, beat: &dyn Fn()) -> Result<Applied, Error>;

    /// Puts the whole content in the place of what is there. Sealed days that are there in the same version may stay; the others come
    /// from the archive. Calls `beat` while it gets on. False, with nothing changed, if the run is not the last one of the job: that is
    /// to be asked ([`Whole::is_last`]) once nobody else can write.
    ///
    /// # Errors
    /// As [`Target::apply`].
    fn rebuild(&mut self, origin: &Origin, whole: Whole<'_>, beat: &dyn Fn()) -> Result<bool, Error>;
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seq)
    }
}
