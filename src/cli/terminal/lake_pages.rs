//! What the errors of commands that maintain a lake mean.

use super::page::{Page, Turn, of};
use Turn::{TheirSystem, Yours};

/// The pages of commands that maintain a lake.
pub(super) const LAKE_PAGES: &[Page] = &[
    of(
        "record-not-found",
        Yours,
        "No file of dead letters or late records has a record of that partition and offset.",
        "Only refused records are kept. Their file is written when it is full, when it is a minute old, or when the run ends.",
        "List the records that are kept with: headway dead show, or headway dead show --late.",
    ),
    of(
        "file-taken",
        Yours,
        "The command would write a file that exists already.",
        "The settings in it would be lost.",
        "Use --to with another name, or move the file away.",
    ),
    of(
        "gap-not-seen",
        Yours,
        "The gap of --accept-gap is not exactly the range of offsets that is gone.",
        "Only offsets that are gone may be skipped: a wider range would skip records that are there.",
        "Start without --accept-gap. If records are gone, the error names the gap to accept.",
    ),
    of(
        "day-not-sealed",
        Yours,
        "The day of --unseal is not sealed, or the views have no day of that name.",
        "A day that is not sealed is in the views already, and its gold files are up to date.",
        "Start without --unseal. Or name a sealed day as the views do: headway views show station_day.",
    ),
    of(
        "not-a-backup",
        Yours,
        "The folder of --to is not empty and has no earlier backup of this lake, or a job has continued on that backup.",
        "A backup deletes files that the lake does not need any more. In another folder it could delete the only copy of a file.",
        "Give --to a new folder, or the folder of an earlier backup of this lake.",
    ),
    of(
        "backup-overtaken",
        TheirSystem,
        "The job deleted files that a backup had not copied yet, again and again.",
        "A copy must have all files of one commit. The files that were copied stay.",
        "Run the same command again: it copies only new files. Longer epochs (--epoch) give it more time.",
    ),
];
