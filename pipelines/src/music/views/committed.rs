//! Reads plays back from committed rows of `listen_events`: what views begin with that are new to a job.

use super::play::{Bits, Fields, Play};
use crate::music::committed::Reader;
use crate::music::event::Field;
use headway_operators::record::{Partition, Stamped};
use headway_operators::time::EventTime;
use headway_operators::view::refill::CommittedRow;
use headway_operators::view::text::Text;

/// A row, and how its cells are read.
struct Committed<'a> {
    row: &'a CommittedRow<'a>,
    reader: Reader,
}

impl Fields for Committed<'_> {
    type Error = String;

    fn text(&self, field: Field) -> Result<Option<Text>, String> {
        Ok(self.reader.text(self.row, field.name())?.map(Text::from))
    }

    fn whole(&self, field: Field) -> Result<Option<i64>, String> {
        self.reader.whole(self.row, field.name())
    }

    fn bits(&self, field: Field) -> Result<Option<Bits>, String> {
        Ok(self.reader.bits(self.row, field.name())?.map(Bits::from_bits))
    }
}

/// The play that a row is. No view asks where a play came from, so its partition is the first one.
///
/// # Errors
/// If the row has a value of another type than its column, or no time.
pub(in crate::music) fn play(row: &CommittedRow<'_>, reader: Reader) -> Result<Stamped<Play>, String> {
    let play = Play::read(&Committed { row, reader })?;
    let time = EventTime(reader.ts(row)?);
    Ok(Stamped { time, stamp: time, partition: Partition(0), data: play })
}
