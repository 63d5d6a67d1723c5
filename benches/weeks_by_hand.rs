//! The view `station_day` of weekly files, by a loop written by hand: sort the readings of each turnstile, subtract neighbours.

use std::collections::{BTreeMap, HashMap};

/// A station with its lines and division, and a day: its year, and its month and day.
type StationDay<'a> = ([&'a str; 3], (&'a str, &'a str));

/// A weekly file.
#[derive(Clone)]
pub(crate) struct Week {
    /// The day of its publication, `YYMMDD`.
    pub(crate) date: u32,
    pub(crate) text: String,
}

/// Entries and exits by station (name, lines, division) and day.
pub(crate) type Days = BTreeMap<([String; 3], String), [i64; 2]>;

/// The greatest difference that is believed.
const BOUND: i64 = 10_000;

/// A reading. Ordered by its time on the wall, then by what decides between two readings of one time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reading<'a> {
    /// `YYYY`, `MM/DD`, `HH:MM:SS`.
    time: (&'a str, &'a str, &'a str),
    published: u32,
    is_regular: bool,
    registers: [i64; 2],
    station: [&'a str; 3],
}

/// Computes the view. The clocks of its files never change, so that times on the wall are in order.
pub(crate) fn station_days(weeks: &[Week]) -> Days {
    let mut turnstiles: HashMap<[&str; 3], Vec<Reading<'_>>> = HashMap::new();
    for week in weeks {
        for line in week.text.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            // The first column may be a number that pandas wrote.
            let [ca, unit, scp, station, lines, division, date, time, description, entries, exits] =
                cells[cells.len() - 11..]
            else {
                unreachable!("a slice of eleven")
            };
            let register = |text: &str| text.trim().parse().expect("a register is a number");
            turnstiles.entry([ca, unit, scp]).or_default().push(Reading {
                time: (&date[6..], &date[..5], time),
                published: week.date,
                is_regular: description == "REGULAR",
                registers: [register(entries), register(exits)],
                station: [station, lines, division],
            });
        }
    }
    let mut sums: HashMap<StationDay<'_>, [i64; 2]> = HashMap::new();
    for mut readings in turnstiles.into_values() {
        // The last of one time counts.
        readings.sort_unstable_by(|one, other| other.cmp(one));
        readings.dedup_by_key(|reading| reading.time);
        for two in readings.windows(2) {
            let (after, before) = (two[0], two[1]);
            let sum = sums.entry((after.station, (before.time.0, before.time.1))).or_default();
            for (at, sum) in sum.iter_mut().enumerate() {
                let people = after.registers[at] - before.registers[at];
                *sum += if (0..=BOUND).contains(&people) { people } else { 0 };
            }
        }
    }
    let named = |((station, (year, day)), sums): (StationDay<'_>, [i64; 2])| {
        let day = format!("{year}-{}", day.replace('/', "-"));
        (sums != [0, 0]).then(|| ((station.map(str::to_string), day), sums))
    };
    sums.into_iter().filter_map(named).collect()
}
