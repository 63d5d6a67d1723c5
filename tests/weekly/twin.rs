//! What the views of the weekly job must hold, the slow and obvious way: all readings in one list, sorted, subtracted.
//! It knows no code of ours. Times are New York's, of winter 2023/24 and of early November 2024.

use std::collections::BTreeMap;

/// The cells of a row, as texts.
pub(crate) type Row = Vec<String>;

/// A file: its date, how many of its name were met before, and its lines without an index.
pub(crate) struct Week<'a> {
    pub(crate) published: u32,
    pub(crate) met: u32,
    pub(crate) lines: &'a [String],
}

/// The number of days from 1970-01-01 to a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut days = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum::<i64>();
    let lengths = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += lengths[..(month - 1) as usize].iter().sum::<i64>();
    days + day - 1
}

/// When New York turned its clocks back in 2024, in seconds: 3 November, 06:00 UTC.
const BACK: i64 = 1_730_613_600;

/// When it turned them forward before, 10 March 2024, 07:00 UTC.
const FORWARD: i64 = 1_710_054_000;

/// How many seconds New York is behind UTC.
fn behind(at: i64) -> i64 {
    if (FORWARD..BACK).contains(&at) { 4 * 3600 } else { 5 * 3600 }
}

/// The instants at which a clock in New York shows `wall` seconds.
fn instants(wall: i64) -> Vec<i64> {
    [4, 5].into_iter().map(|hours| wall + hours * 3600).filter(|at| at - behind(*at) == wall).collect()
}

#[derive(Clone, Debug)]
struct Reading {
    key: Vec<String>,
    at: i64,
    rank: (u32, u32, bool, i64, i64),
}

/// The readings of a file, in its order.
fn readings(week: &Week<'_>) -> Vec<Reading> {
    let mut last: Option<(Vec<String>, i64)> = None;
    let mut all = Vec::new();
    for line in week.lines {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let number = |text: &str| text.parse::<i64>().expect("a number");
        let key: Vec<String> = fields[..6].iter().map(|field| field.to_string()).collect();
        let date: Vec<i64> = fields[6].split('/').map(number).collect();
        let time: Vec<i64> = fields[7].split(':').map(number).collect();
        let wall = days(date[2], date[0], date[1]) * 86_400 + time[0] * 3600 + time[1] * 60 + time[2];
        let before = last.as_ref().filter(|(known, _)| known[..3] == key[..3]).map(|(_, at)| *at);
        let at =
            instants(wall).into_iter().min_by_key(|at| (before.map_or(0, |before| (at - before).abs()), *at));
        let at = at.expect("the wall shows it");
        last = Some((key.clone(), at));
        let rank = (week.published, week.met, fields[8] == "REGULAR", number(fields[9]), number(fields[10]));
        all.push(Reading { key, at, rank });
    }
    all
}

/// One counter of one interval: people, or what is wrong and the difference.
fn judge(before: i64, after: i64) -> Result<i64, (&'static str, i64)> {
    match after - before {
        difference if difference < 0 => Err(("negative", difference)),
        difference if difference > 10_000 => Err(("over-bound", difference)),
        people => Ok(people),
    }
}

/// What was counted in one group: entries, exits, intervals, and those in which each counts.
#[derive(Clone, Copy, Default)]
struct Sums([i64; 5]);

impl Sums {
    fn add(&mut self, counters: &[Result<i64, (&'static str, i64)>; 2]) {
        let [entries, exits] = counters;
        let counts = |counter: &Result<i64, _>| i64::from(counter.is_ok());
        let more = [entries.unwrap_or(0), exits.unwrap_or(0), 1, counts(entries), counts(exits)];
        self.0.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }

    fn row(&self, key: Row) -> Row {
        key.into_iter().chain(self.0.iter().map(i64::to_string)).collect()
    }
}

/// Year, month, day, and the day of the week from 1, Sunday.
fn civil(day: i64) -> (i64, i64, i64, i64) {
    let year = (2023..2026).rfind(|year| days(*year, 1, 1) <= day).expect("a year of the tests");
    let month = (1..=12).rfind(|month| days(year, *month, 1) <= day).expect("a month");
    (year, month, day - days(year, month, 1) + 1, (day + 4) % 7 + 1)
}

fn iso(day: i64) -> String {
    let (year, month, day, _) = civil(day);
    format!("{year:04}-{month:02}-{day:02}")
}

fn md5(parts: &[&str]) -> String {
    format!("{:x}", md5::compute(parts.join("-")))
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SLOTS: [&str; 6] =
    ["00:00-03:59", "04:00-07:59", "08:00-11:59", "12:00-15:59", "16:00-19:59", "20:00-23:59"];

/// What is gathered of all intervals.
#[derive(Default)]
struct Gathered {
    tables: BTreeMap<&'static str, Vec<Row>>,
    sums: BTreeMap<(&'static str, Row), Sums>,
    totals: BTreeMap<(String, usize), BTreeMap<Row, i64>>,
    booths: BTreeMap<Row, Row>,
    health: BTreeMap<Row, [i64; 7]>,
}

/// The rows of every view, sorted.
pub(crate) fn tables(weeks: &[Week<'_>]) -> BTreeMap<String, Vec<Row>> {
    // 1. The reading that counts of each turnstile and instant.
    let mut winners: BTreeMap<(Vec<String>, i64), Reading> = BTreeMap::new();
    for reading in weeks.iter().flat_map(readings) {
        let place = (reading.key[..3].to_vec(), reading.at);
        match winners.get(&place) {
            Some(known) if known.rank >= reading.rank => {}
            _ => drop(winners.insert(place, reading)),
        }
    }
    // 2. Neighbours.
    let all: Vec<Reading> = winners.into_values().collect();
    let mut gathered = Gathered::default();
    gathered.tables.insert("anomalies", Vec::new());
    for (from, to) in all.iter().zip(all.iter().skip(1)).filter(|(one, other)| one.key[..3] == other.key[..3])
    {
        gathered.add(from, to);
    }
    // 3. Rows.
    let mut tables = gathered.rows();
    for rows in tables.values_mut() {
        rows.sort();
        rows.dedup();
    }
    tables.into_iter().map(|(name, rows)| (name.to_string(), rows)).collect()
}

impl Gathered {
    /// Adds the interval between two readings.
    fn add(&mut self, from: &Reading, to: &Reading) {
        let counters = [judge(from.rank.3, to.rank.3), judge(from.rank.4, to.rank.4)];
        let wall = from.at - behind(from.at);
        let (day, hour) = (wall.div_euclid(86_400), wall.rem_euclid(86_400) / 3600);
        let weekday = civil(day).3;
        let station: Row = to.key[3..].to_vec();
        let with = |more: &[String]| [station.clone(), more.to_vec()].concat();
        let slot = (hour / 4) as usize;
        for (view, key) in [
            ("station_day", with(&[iso(day)])),
            ("station_slot", with(&[slot.to_string(), SLOTS[slot].into()])),
            ("station_weekday", with(&[weekday.to_string(), WEEKDAYS[weekday as usize - 1].into()])),
        ] {
            self.sums.entry((view, key)).or_default().add(&counters);
        }
        for (measure, counter) in counters.iter().enumerate() {
            for group in [iso(day), "overall".to_string()] {
                let total =
                    self.totals.entry((group, measure)).or_default().entry(station.clone()).or_default();
                *total += counter.unwrap_or(0);
            }
            self.judged(from, to, (measure, *counter));
        }
        let booth = self.booths.entry(vec![to.key[1].clone(), to.key[0].clone()]);
        let booth = booth.or_insert_with(|| station.clone());
        *booth = booth.clone().min(station.clone());
        let people = counters.map(|counter| counter.map_or("null".to_string(), |people| people.to_string()));
        let [area, unit, scp, ..] = &to.key[..] else { panic!("six columns") };
        let (end, start) = ((to.at * 1000).to_string(), (from.at * 1000).to_string());
        let fact = [unit.clone(), area.clone(), scp.clone(), end].into_iter().chain(station.clone());
        let fact = fact.chain([start, iso(day), hour.to_string()]).chain(people);
        self.tables.entry("fact_turnstile").or_default().push(fact.collect());
        let id = md5(&station.iter().map(String::as_str).collect::<Vec<_>>());
        self.tables.entry("dim_station").or_default().push(with(&[id, md5(&[&station[0]])]));
        self.tables.entry("dim_date").or_default().push(date(day));
    }

    /// Notes what is wrong with a counter of an interval.
    fn judged(
        &mut self,
        from: &Reading,
        to: &Reading,
        (measure, counter): (usize, Result<i64, (&str, i64)>),
    ) {
        let [area, unit, scp, station, ..] = &to.key[..] else { panic!("six columns") };
        if let Err((kind, difference)) = counter {
            let (at, since) = ((to.at * 1000).to_string(), (from.at * 1000).to_string());
            let (name, difference) = (["entries", "exits"][measure], difference.to_string());
            let cells = [unit, area, scp, &at, name, station, &since, kind, &difference];
            self.tables.entry("anomalies").or_default().push(cells.map(str::to_string).to_vec());
        }
        let of = self.health.entry(vec![unit.clone(), area.clone(), scp.clone()]).or_default();
        let kind = match counter {
            Ok(_) => 0,
            Err(("negative", _)) => 1,
            Err(_) => 2,
        };
        of[1 + measure * 3 + kind] += 1;
        of[0] += i64::from(measure == 0);
    }

    /// The rows of each view.
    fn rows(self) -> BTreeMap<&'static str, Vec<Row>> {
        let mut tables = self.tables;
        for ((view, key), sums) in self.sums {
            tables.entry(view).or_default().push(sums.row(key));
        }
        for ((group, measure), totals) in self.totals {
            let mut order: Vec<(i64, Row)> =
                totals.into_iter().map(|(station, people)| (-people, station)).collect();
            order.sort();
            for (rank, (people, station)) in (1..).zip(order.into_iter().take(10)) {
                let rank: i32 = rank;
                let head = vec![["entries", "exits"][measure].to_string(), group.clone(), rank.to_string()];
                let row = [head, station, vec![(-people).to_string()]].concat();
                tables.entry("top_stations").or_default().push(row);
            }
        }
        for (booth, station) in self.booths {
            let id = md5(&station.iter().map(String::as_str).collect::<Vec<_>>());
            let ids = vec![md5(&[&booth[0], &booth[1]]), id];
            tables.entry("dim_booth").or_default().push([booth, ids, station].concat());
        }
        for (turnstile, counts) in self.health {
            let backward = counts[2] + counts[5] > counts[1] + counts[4];
            let counts = counts.iter().map(i64::to_string).collect();
            let row = [turnstile, counts, vec![backward.to_string()]].concat();
            tables.entry("turnstile_health").or_default().push(row);
        }
        tables
    }
}

/// The row of a day.
fn date(day: i64) -> Row {
    let (year, month, of_month, weekday) = civil(day);
    vec![
        iso(day),
        md5(&[&iso(day)]),
        year.to_string(),
        ((month + 2) / 3).to_string(),
        month.to_string(),
        MONTHS[month as usize - 1].to_string(),
        of_month.to_string(),
        weekday.to_string(),
        WEEKDAYS[weekday as usize - 1].to_string(),
        (weekday == 1 || weekday == 7).to_string(),
    ]
}
