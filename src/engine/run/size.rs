//! Whether the job is still to have the processes and workers that this process was started for.

use crate::engine::cluster::membership::{By, Wanted, Wish, wanted};
use crate::engine::commit::rescale::{self, Membership};
use crate::engine::commit::site::{self, Site};
use crate::engine::error::Error;
use crate::engine::format::manifest::Members;
use crate::mesh::{self, Refusal};

/// The processes and workers that a process goes by, and what it was started with.
pub(super) struct Size {
    /// What it was started with; `None` if nobody would start it again.
    pub(super) wish: Option<Wish>,
    /// The lake.
    pub(super) site: Site,
    /// The job.
    pub(super) job: String,
    /// What it goes by.
    pub(super) mine: Members,
}

/// What a look at the lake found.
struct Look {
    /// The membership of the last run, and the request for another one.
    lake: Option<Membership>,
    /// What the next run is to be.
    wanted: Wanted,
}

/// The members that a process goes by, compared with those of the lake. Where these cannot be read, nothing is known.
#[derive(Default)]
pub(super) struct Compared {
    /// The members that the next run is to have, if they are others.
    pub(super) other: Option<Members>,
    /// The last run of the job has the members that this process goes by.
    pub(super) is_committed: bool,
}

impl Size {
    /// What is known of the membership of the job, and what its next run is to be; `None` if that cannot be read now.
    fn look(&self) -> Option<Look> {
        let wish = self.wish.as_ref()?;
        let lake = site::run(rescale::membership(&self.site, &self.job)).ok()?;
        let wanted = wanted(wish, lake.as_ref());
        Some(Look { lake, wanted })
    }

    /// Compares the members that this process goes by with those of the next run and of the last one.
    pub(super) fn compare(&self) -> Compared {
        let Some(Look { lake, wanted }) = self.look() else { return Compared::default() };
        let is_committed = lake.is_some_and(|lake| lake.committed == self.mine);
        Compared { other: (wanted.members != self.mine).then_some(wanted.members), is_committed }
    }

    /// Refuses to go on if the next run is to have other members.
    ///
    /// # Errors
    /// [`Error::MembershipChanged`].
    pub(super) fn check(&self) -> Result<(), Error> {
        self.compare().other.map_or(Ok(()), |to| Err(self.changed(&to)))
    }

    /// The error of a process that is to start again with the members `to`.
    pub(super) fn changed(&self, to: &Members) -> Error {
        Error::MembershipChanged { from: self.mine.size(), to: to.size() }
    }

    /// What becomes of a process that could not join with `error`.
    ///
    /// If process 0 has other members, it may not have seen a request yet that this process goes by: it will, and this process comes
    /// back. A process that goes by its settings goes by the manifest from now on, if that says something else; one that goes
    /// by the manifest goes by its settings: somebody has started process 0 with another size.
    pub(super) fn refused(&self, error: Error) -> Error {
        let Error::Mesh(mesh::Error::Refused { refusal: Refusal::Addresses, .. }) = error else {
            return error;
        };
        let Some(Look { lake, wanted: Wanted { members, by } }) = self.look() else { return error };
        match by {
            By::Request => self.changed(&members),
            By::Manifest if members == self.mine => Error::MembershipRefused { size: self.mine.size() },
            By::Manifest => self.changed(&members),
            By::Settings => match lake.map(|lake| lake.committed).filter(|committed| *committed != self.mine)
            {
                Some(committed) => self.changed(&committed),
                None => error,
            },
        }
    }
}
