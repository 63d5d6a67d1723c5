//! The views of the turnstile pipelines: live tables in place of a scheduled merge. One file a view.
//!
//! Both pipelines feed them with [`passage::Passage`]s: the streamed one with closed windows, the weekly one with
//! differences of registers. A reading stands for the interval before it, and so does a window's row: days and slots are
//! those of the interval's start, in the zone of the job.
//!
//! ```text
//! passages ─── those of sealed days: dropped, and written as anomalies            (streamed only)
//!           ┬─ the intervals themselves, as rows: fact_turnstile                (streamed only: an output, see there)
//!           ├─ the changes of an epoch, added up by booth and interval: a booth has six turnstiles in the mean
//!           │  ├─ sums by station and day ── station_day, top_stations by day     (each sum has a collection of its own:
//!           │  ├─ sums by station ────────── top_stations overall                  no total is derived from days)
//!           │  ├─ sums by station and slot, by station and weekday
//!           │  ├─ stations, booths, days that occur: dim_station, dim_booth, dim_date
//!           │  └─ newest interval by station: busiest_now                       (streamed only)
//!           └─ intervals that are not believed: anomalies, turnstile_health     (weekly)
//!              and all of them, as gold files by day: fact_turnstile
//! ```

pub mod committed;
pub mod fact;
pub mod passage;
pub mod recompute;

mod anomalies;
mod busiest_now;
mod dim_booth;
mod dim_date;
mod dim_station;
mod fact_days;
mod keys;
mod shared;
mod station_day;
mod station_slot;
mod station_weekday;
mod top_stations;
mod turnstile_health;

#[cfg(test)]
mod sealed_tests;

use committed::Reader;
use fact::Fact;
use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::view::refill::Refill;
use headway_operators::view::seal::Sealing;
use headway_operators::view::table::Table;
use passage::{Passage, StationBy};
use shared::{Changes, changes};

/// Builds the views of both pipelines; gives the changes that they are sums of.
fn build<'s>(build: &mut Build<'s>, passages: &Table<'s, Passage>, by: StationBy) -> Changes<'s> {
    let changes = changes(passages);
    let by_day = station_day::build(build, &changes);
    top_stations::build(build, &changes, by_day);
    station_slot::build(build, &changes);
    station_weekday::build(build, &changes);
    dim_station::build(build, &changes, by);
    dim_booth::build(build, &changes, by);
    dim_date::build(build, &changes);
    changes
}

/// Builds the views that both pipelines have, and nothing else.
pub fn build_of_both<'s>(builder: &mut Build<'s>, passages: &Table<'s, Passage>, by: StationBy) {
    build(builder, passages, by);
}

/// Where the intervals are that a job has committed.
pub struct Past {
    /// The outputs that have them.
    pub outputs: Refill,
    /// Reads their rows.
    pub reader: Reader,
}

/// Builds the views of closed windows: those of both pipelines, what is newest, and the table that all of them are made of. A
/// view that is new to a job begins with what `reader` reads of `outputs`.
pub fn build_live<'s>(
    builder: &mut Build<'s>,
    facts: &Flow<'s, Fact>,
    sealing: Sealing,
    Past { outputs, reader }: Past,
    by: StationBy,
) {
    let (facts, sealed) = builder.seal(sealing, facts, |fact| fact.passage.day.number());
    builder.output(fact::output(), facts.clone());
    let passages = builder.refill(outputs, facts.map(|fact| fact.passage), move |row| reader.passage(row));
    let passages = passages.map(move |passage| by.passage(passage));
    let changes = build(builder, &Table::of_records(passages), by);
    busiest_now::build(builder, changes);
    anomalies::build_sealed(builder, sealed.map(|fact| fact.passage));
}

/// Builds the views of registers: those of both pipelines, what is wrong with registers, and the table of all intervals.
pub fn build_of_registers<'s>(builder: &mut Build<'s>, passages: &Table<'s, Passage>, by: StationBy) {
    let of_stations = passages.clone().map(move |passage| by.passage(passage));
    build(builder, &of_stations, by);
    anomalies::build(builder, passages);
    turnstile_health::build(builder, passages);
    fact_days::build(builder, passages);
}
