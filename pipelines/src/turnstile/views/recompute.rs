//! The views of turnstiles the slow way: from a list of intervals, each view by a pass over all of them.
//!
//! Only the reading of a wall clock is shared with the operators. Dates are jiff's, groups are maps, ranks are sorts.

use super::committed::Reader;
use super::passage::{Count, Passage, StationBy};
use crate::zone::Zone;
use headway_operators::recompute::{Facts, Recompute, Tables};
use headway_operators::time::EventTime;
use headway_operators::view::refill::{CommittedRow, Refill};
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::text::Text;
use jiff::civil::Date;
use std::collections::BTreeMap;

/// How many stations a ranking has.
const PLACES: usize = 10;

/// One turnstile in one interval.
#[derive(Clone, Debug)]
struct Interval {
    /// Remote unit, booth and the number within it.
    turnstile: [String; 3],
    /// Name, lines and division; or the name alone.
    station: Station,
    /// Name, lines and division.
    full: Station,
    start: EventTime,
    end: EventTime,
    entries: Count,
    exits: Count,
    /// What a clock on the wall shows at the start.
    date: Date,
    hour: u8,
}

type Station = [String; 3];

/// Entries, exits, intervals, and in how many of them each counter counts.
type People = [i128; 5];

/// All intervals of a job.
pub struct Slow {
    zone: Zone,
    by: StationBy,
    /// The intervals are those of closed windows.
    is_live: bool,
    intervals: Vec<Interval>,
}

/// The views of closed windows, from committed rows.
pub struct Live {
    reader: Reader,
    outputs: Refill,
    slow: Slow,
}

impl Live {
    /// No rows yet, of `outputs`, which `reader` reads; `zone` is the job's.
    pub fn new(zone: Zone, by: StationBy, outputs: Refill, reader: Reader) -> Live {
        Live { reader, outputs, slow: Slow::new(zone, by, true) }
    }
}

impl Recompute for Live {
    fn facts(&self) -> Facts {
        Facts::Rows(self.outputs)
    }

    fn row(&mut self, row: &CommittedRow<'_>) -> Result<(), String> {
        self.reader.passage(row)?.into_iter().for_each(|passage| self.slow.add(&passage));
        Ok(())
    }

    fn tables(&self) -> Tables {
        self.slow.tables()
    }
}

impl Slow {
    /// No intervals yet, of stations told apart as `by` says. `is_live` tells the views of closed windows from those of registers.
    pub fn new(zone: Zone, by: StationBy, is_live: bool) -> Slow {
        Slow { zone, by, is_live, intervals: Vec::new() }
    }

    /// Takes an interval.
    pub fn add(&mut self, passage: &Passage) {
        let full = passage.place.station();
        let passage = &self.by.passage(passage.clone());
        let place = &passage.place;
        let owned = |texts: [&Text; 3]| texts.map(|text| text.to_string());
        let wall = self.zone.wall(passage.start);
        let small = |part: u8| i8::try_from(part).expect("months and days have two digits");
        let date = Date::new(wall.year, small(wall.month), small(wall.day));
        self.intervals.push(Interval {
            turnstile: owned([place.unit(), place.area(), place.scp()]),
            station: owned(place.station().columns()),
            full: owned(full.columns()),
            start: passage.start,
            end: passage.end,
            entries: passage.entries,
            exits: passage.exits,
            date: date.expect("a clock on the wall shows dates that exist"),
            hour: wall.hour,
        });
    }

    /// People by `key`.
    fn people<K: Ord>(&self, key: impl Fn(&Interval) -> K) -> BTreeMap<K, People> {
        let mut all: BTreeMap<K, People> = BTreeMap::new();
        for interval in &self.intervals {
            let of = |count: Count| match count {
                Count::Counted(people) => [people, 1],
                Count::Negative(_) | Count::OverBound(_) => [0, 0],
            };
            let ([entries, entered], [exits, left]) = (of(interval.entries), of(interval.exits));
            let sums = all.entry(key(interval)).or_default();
            for (sum, more) in sums.iter_mut().zip([entries, exits, 1, entered, left]) {
                *sum += more;
            }
        }
        all
    }

    fn top_stations(&self) -> Vec<ViewRow> {
        let mut rows = Vec::new();
        let by_day = self.people(|interval| (Some(interval.date), interval.station.clone()));
        let overall = self.people(|interval| (None, interval.station.clone()));
        let all: BTreeMap<_, _> = by_day.into_iter().chain(overall).collect();
        let days: std::collections::BTreeSet<Option<Date>> = all.keys().map(|(day, _)| *day).collect();
        for (measure, name) in ["entries", "exits"].into_iter().enumerate() {
            for day in &days {
                let of_day = all.iter().filter(|((of, _), _)| of == day);
                let mut order: Vec<(i128, &Station)> =
                    of_day.map(|((_, station), people)| (-people[measure], station)).collect();
                order.sort();
                for (rank, (people, station)) in (1..).zip(order.into_iter().take(PLACES)) {
                    let day = day.map_or_else(|| "overall".to_string(), |day| day.to_string());
                    let start = vec![text(name), text(&day), Value::Int(rank)];
                    rows.push(row([start, texts(station), vec![Value::Wide(-people)]]));
                }
            }
        }
        rows
    }

    /// The stations of the newest interval, the busiest first.
    fn busiest_now(&self) -> Vec<ViewRow> {
        let by_end = self.people(|interval| (interval.station.clone(), interval.end));
        let newest = by_end.keys().map(|(_, end)| *end).max();
        let of_newest = by_end.into_iter().filter(|((_, end), _)| Some(*end) == newest);
        let mut order: Vec<_> = of_newest.map(|((station, end), people)| (station, (end, people))).collect();
        order.sort_by_key(|(station, (_, people))| (-(people[0] + people[1]), -people[0], station.clone()));
        let rows = (1..).zip(order.into_iter().take(PLACES));
        let rows = rows.map(|(rank, (station, (end, people)))| {
            let people = vec![Value::Wide(people[0]), Value::Wide(people[1])];
            row([vec![Value::Int(rank), Value::Time(end)], texts(&station), people])
        });
        rows.collect()
    }

    fn dim_station(&self) -> Vec<ViewRow> {
        let stations = self.people(|interval| interval.station.clone());
        let rows = stations.keys().map(|station| {
            row([
                texts(station),
                vec![text(&station_key(station, self.by)), text(&key(&station[..1]))],
                Vec::new(),
            ])
        });
        rows.collect()
    }

    fn dim_booth(&self) -> Vec<ViewRow> {
        let seen = self.people(|Interval { turnstile: [unit, booth, _], station, .. }| {
            ([unit.clone(), booth.clone()], station.clone())
        });
        let mut first: BTreeMap<[String; 2], Station> = BTreeMap::new();
        for (booth, station) in seen.into_keys() {
            first.entry(booth).or_insert(station);
        }
        let rows = first.into_iter().map(|(booth, station)| {
            row([
                texts(&booth),
                vec![text(&key(&booth)), text(&station_key(&station, self.by))],
                texts(&station),
            ])
        });
        rows.collect()
    }

    fn dim_date(&self) -> Vec<ViewRow> {
        let dates = self.people(|interval| interval.date);
        let rows = dates.into_keys().map(|date| {
            let weekday = date.weekday().to_sunday_one_offset();
            let small = |number: i8| Value::Int(i64::from(number));
            ViewRow(vec![
                text(&date.to_string()),
                text(&key(&[date.to_string()])),
                Value::Int(i64::from(date.year())),
                small((date.month() + 2) / 3),
                small(date.month()),
                text(&date.strftime("%b").to_string()),
                small(date.day()),
                small(weekday),
                text(&date.strftime("%a").to_string()),
                Value::Bool([1, 7].contains(&weekday)),
            ])
        });
        rows.collect()
    }

    fn anomalies(&self) -> Vec<ViewRow> {
        let mut rows = Vec::new();
        for interval in &self.intervals {
            for (counter, count) in [("entries", interval.entries), ("exits", interval.exits)] {
                let (kind, difference) = match count {
                    Count::Counted(_) => continue,
                    Count::Negative(difference) => ("negative", difference),
                    Count::OverBound(difference) => ("over-bound", difference),
                };
                let at = vec![Value::Time(interval.end), text(counter), text(&interval.station[0])];
                let what = vec![Value::Time(interval.start), text(kind), Value::Int(difference)];
                rows.push(row([texts(&interval.turnstile), at, what]));
            }
        }
        rows
    }

    fn turnstile_health(&self) -> Vec<ViewRow> {
        let mut all: BTreeMap<&[String; 3], [i64; 7]> = BTreeMap::new();
        for interval in &self.intervals {
            let counts = all.entry(&interval.turnstile).or_default();
            counts[0] += 1;
            for (counter, count) in [interval.entries, interval.exits].into_iter().enumerate() {
                let kind = match count {
                    Count::Counted(_) => 1,
                    Count::Negative(_) => 2,
                    Count::OverBound(_) => 3,
                };
                counts[3 * counter + kind] += 1;
            }
        }
        let rows = all.into_iter().map(|(turnstile, counts)| {
            let is_backward = counts[2] + counts[5] > counts[1] + counts[4];
            let counts = counts.iter().map(|count| Value::Int(*count)).collect();
            row([texts(turnstile), counts, vec![Value::Bool(is_backward)]])
        });
        rows.collect()
    }

    fn facts(&self) -> Vec<ViewRow> {
        let people = |count: Count| match count {
            Count::Counted(people) => Value::Wide(people),
            Count::Negative(_) | Count::OverBound(_) => Value::Null,
        };
        let row_of = |interval: &Interval| {
            let day = text(&interval.date.to_string());
            let rest = vec![
                Value::Time(interval.start),
                day,
                Value::Int(i64::from(interval.hour)),
                people(interval.entries),
                people(interval.exits),
            ];
            let place = [vec![Value::Time(interval.end)], texts(&interval.full)].concat();
            row([texts(&interval.turnstile), place, rest])
        };
        self.intervals.iter().map(row_of).collect()
    }

    /// What the views must hold.
    pub fn tables(&self) -> Tables {
        let by_day = self.people(|interval| (interval.station.clone(), interval.date));
        let station_day = by_day.iter().map(|((station, date), people)| {
            row([texts(station), vec![text(&date.to_string())], amounts(people)])
        });
        let by_slot = self.people(|interval| (interval.station.clone(), interval.hour / 4));
        let station_slot = by_slot.iter().map(|((station, slot), people)| {
            let hours = format!("{:02}:00-{:02}:59", slot * 4, slot * 4 + 3);
            row([texts(station), vec![Value::Int(i64::from(*slot)), text(&hours)], amounts(people)])
        });
        let weekday = |date: Date| date.weekday().to_sunday_one_offset();
        let by_weekday = self.people(|interval| {
            (interval.station.clone(), weekday(interval.date), interval.date.strftime("%a").to_string())
        });
        let station_weekday = by_weekday.iter().map(|((station, weekday, name), people)| {
            row([texts(station), vec![Value::Int(i64::from(*weekday)), text(name)], amounts(people)])
        });
        let mut tables = Tables::from([
            ("station_day", station_day.collect()),
            ("station_slot", station_slot.collect()),
            ("station_weekday", station_weekday.collect()),
            ("top_stations", self.top_stations()),
            ("dim_station", self.dim_station()),
            ("dim_booth", self.dim_booth()),
            ("dim_date", self.dim_date()),
        ]);
        if self.is_live {
            tables.insert("busiest_now", self.busiest_now());
        } else {
            tables.insert("anomalies", self.anomalies());
            tables.insert("turnstile_health", self.turnstile_health());
            tables.insert("fact_turnstile", self.facts());
        }
        tables
    }
}

fn text(text: &str) -> Value {
    Value::Text(Text::from(text))
}

fn texts(texts: &[String]) -> Vec<Value> {
    texts.iter().map(|one| text(one)).collect()
}

fn row(parts: [Vec<Value>; 3]) -> ViewRow {
    ViewRow(parts.concat())
}

/// Sums and counts as the views have them.
fn amounts(people: &People) -> Vec<Value> {
    let count = |count: i128| Value::Int(i64::try_from(count).expect("no more than intervals"));
    let [entries, exits, intervals, entered, left] = *people;
    vec![Value::Wide(entries), Value::Wide(exits), count(intervals), count(entered), count(left)]
}

/// The surrogate key of a station.
fn station_key(station: &Station, by: StationBy) -> String {
    key(if by == StationBy::Name { &station[..1] } else { station })
}

/// The surrogate key of `fields`.
fn key(fields: &[String]) -> String {
    format!("{:x}", md5::compute(fields.join("-")))
}
