//! Reads intervals back from committed rows: those of `fact_turnstile`, and those of batches that are older than views.

use super::fact::FACT;
use super::passage::{Count, Interval, Passage, Place};
use crate::turnstile::key;
use crate::zone::{Clock, Wall, Zone};
use headway_operators::row::Cell;
use headway_operators::stream::window::Grid;
use headway_operators::time::EventTime;
use headway_operators::view::refill::{CommittedRow, Refill};
use std::cell::RefCell;

/// Where a turnstile stands, in the columns of `fact_turnstile`.
const PLACE: [&str; 6] = ["booth", "remote", "scp", "station", "lines", "division"];

/// Reads rows of one job.
#[derive(Debug)]
pub struct Reader {
    zone: Zone,
    clock: RefCell<Clock>,
    grid: Grid,
}

impl Reader {
    /// A reader of a job with windows of `grid`, whose rows have wall-clock times of `zone`.
    pub fn new(zone: Zone, grid: Grid) -> Reader {
        Reader { clock: RefCell::new(Clock::new(zone.clone())), zone, grid }
    }

    /// The outputs it reads; `batch` is the one of rows.
    pub fn outputs(batch: &'static str) -> Refill {
        Refill { facts: FACT, before: Some(batch), back_ms: 0 }
    }

    /// The interval of a row; `None` for a window that overlaps those that count.
    ///
    /// # Errors
    /// If the row does not say which interval it is, or how many people passed.
    pub fn passage(&self, row: &CommittedRow<'_>) -> Result<Option<Passage>, String> {
        if row.output == FACT {
            return self.of_fact(row).map(Some);
        }
        let end = self.end(row)?;
        let start = end.plus_ms(-self.grid.size_ms());
        if self.grid.size_ms() != self.grid.slide_ms() && start.ms().rem_euclid(self.grid.size_ms()) != 0 {
            return Ok(None);
        }
        let mut place = [""; 6];
        for (text, column) in place.iter_mut().zip(key::COLUMNS) {
            *text = row.text(column)?;
        }
        let people = [row.number("ENTRIES")?, row.number("EXITS")?].map(Count::Counted);
        Ok(Some(Interval::new(&self.zone, start, end).passage(Place::new(place), people[0], people[1])))
    }

    fn of_fact(&self, row: &CommittedRow<'_>) -> Result<Passage, String> {
        let instant = |column: &str| match row.cell(column) {
            Some(Cell::Time(time)) => Ok(time),
            other => Err(format!("column \"{column}\" has no instant: {other:?}")),
        };
        let mut place = [""; 6];
        for (text, column) in place.iter_mut().zip(PLACE) {
            *text = row.text(column)?;
        }
        let people = [row.number("entries")?, row.number("exits")?].map(Count::Counted);
        let interval = Interval::new(&self.zone, instant("interval_start")?, instant("interval_end")?);
        Ok(interval.passage(Place::new(place), people[0], people[1]))
    }

    /// The end of a batch row's window.
    fn end(&self, row: &CommittedRow<'_>) -> Result<EventTime, String> {
        match row.cell("WINDOW_END_UTC") {
            Some(Cell::Time(end)) => return Ok(end),
            Some(Cell::Text(end)) => {
                let end: Result<jiff::Timestamp, _> = end.parse();
                return end.map(|end| EventTime(end.as_millisecond())).map_err(|error| error.to_string());
            }
            _ => {}
        }
        let (date, time) = (row.text("DATE")?, row.text("TIME")?);
        let wrong = || format!("\"{date} {time}\" is no time");
        let number = |text: &str| text.parse::<u8>().map_err(|_| wrong());
        let ([month, day, year], [hour, minute, second]) = (parts(date, '/'), parts(time, ':'));
        let wall = Wall {
            year: year.parse().map_err(|_| wrong())?,
            month: number(month)?,
            day: number(day)?,
            hour: number(hour)?,
            minute: number(minute)?,
            second: number(second)?,
        };
        let meanings = self.clock.borrow_mut().meanings(wall).ok_or_else(wrong)?;
        if meanings.first == meanings.second {
            return Ok(meanings.first);
        }
        Err(format!(
            "{date} {time} comes twice in {}, and the row does not say which one it is",
            self.zone.name()
        ))
    }
}

/// The three parts of a date or a time; empty where there are fewer.
fn parts(text: &str, between: char) -> [&str; 3] {
    let mut parts = text.split(between);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
