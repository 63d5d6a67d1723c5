//! The form of a page of `headway explain`.

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The person who ran the command.
    Yours,
    /// Whoever runs the broker, the disk or the machine.
    TheirSystem,
    /// The authors of Headway.
    Ours,
}

/// The page of one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The code, as errors show it.
    pub(crate) code: &'static str,
    /// What happened.
    pub(crate) happened: &'static str,
    /// Why Headway stops there.
    pub(crate) why: &'static str,
    /// Who has to act.
    pub(crate) turn: Turn,
    /// What to do.
    pub(crate) action: &'static str,
}

/// A page, on fewer lines.
pub(super) const fn of(
    code: &'static str,
    turn: Turn,
    happened: &'static str,
    why: &'static str,
    action: &'static str,
) -> Page {
    Page { code, happened, why, turn, action }
}
