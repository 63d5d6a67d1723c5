//! Reads plays back from committed rows of `listen_events`: what views begin with that are new to a job.

use super::play::{Bits, Names, Place, Play, Song};
use crate::music::committed::Reader;
use headway_operators::record::{Partition, Stamped};
use headway_operators::time::EventTime;
use headway_operators::view::refill::CommittedRow;
use headway_operators::view::text::Text;

/// The play that a row is. No view asks where a play came from, so its partition is the first one.
///
/// # Errors
/// If the row has a value of another type than its column, or no time.
pub(in crate::music) fn play(row: &CommittedRow<'_>, reader: Reader) -> Result<Stamped<Play>, String> {
    let text = |column| Ok::<_, String>(reader.text(row, column)?.map(Text::from));
    let whole = |column| reader.whole(row, column);
    let bits = |column| Ok::<_, String>(reader.bits(row, column)?.map(Bits::from_bits));
    let code = reader.text(row, "state")?;
    let code = code.as_deref().map(str::trim).filter(|code| !code.is_empty());
    let play = Play {
        user: whole("userId")?.filter(|user| *user != 0),
        level: text("level")?,
        names: Names {
            first: text("firstName")?,
            last: text("lastName")?,
            gender: text("gender")?,
            registered_ms: whole("registration")?,
        },
        song: Song { artist: text("artist")?, title: text("song")? },
        duration: bits("duration")?,
        place: Place {
            city: text("city")?.or(text("location")?),
            state: code.map(Text::from),
            lat: bits("lat")?,
            lon: bits("lon")?,
        },
        session: whole("sessionId")?,
        item: whole("itemInSession")?,
    };
    let time = EventTime(reader.ts(row)?);
    Ok(Stamped { time, stamp: time, partition: Partition(0), data: play })
}
