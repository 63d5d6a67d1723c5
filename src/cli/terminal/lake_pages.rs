//! What the errors of commands mean that look after a lake.

use super::page::{Page, Turn, of};
use Turn::{TheirSystem, Yours};

/// The pages of commands that look after a lake.
pub(super) const LAKE_PAGES: &[Page] = &[
    of(
        "record-not-found",
        Yours,
        "No file of dead letters or late records has a record of that partition and offset.",
        "Only what was refused is kept, and its file is written when it is full, a minute old, or the run ends.",
        "List what is kept with: headway dead show, or headway dead show --late.",
    ),
    of(
        "file-taken",
        Yours,
        "A file was to be written that is there already.",
        "What somebody has set in it would be lost.",
        "Use --to with another name, or move the file away.",
    ),
    of(
        "gap-not-seen",
        Yours,
        "A gap was accepted with --accept-gap that is not exactly what is gone.",
        "Only the very offsets that were seen to be gone may be passed over: a range that is too wide would skip records that are there.",
        "Start without --accept-gap. If records are gone, the refusal names the gap to accept.",
    ),
    of(
        "day-not-sealed",
        Yours,
        "A day was to be unsealed with --unseal that is not sealed, or that no day of the views is called.",
        "A day that is not sealed is in the views, and its gold files are kept up to date: there is nothing to open.",
        "Start without --unseal. Or name a sealed day as the views do: headway views show station_day.",
    ),
    of(
        "not-a-backup",
        Yours,
        "A backup was to be written into a folder that is not empty and has no earlier backup of the same lake, or one from which a job has gone on.",
        "A backup deletes what the lake does not need any more: in another folder that would be the only copy of something.",
        "Give --to a new folder, or the folder of an earlier backup of this lake.",
    ),
    of(
        "backup-overtaken",
        TheirSystem,
        "The job deleted files that a backup had not copied yet, again and again.",
        "A copy must have all files of one commit. What was copied so far stays.",
        "Run the same command again: it copies only what is new. Longer epochs (--epoch) give it more time.",
    ),
];
