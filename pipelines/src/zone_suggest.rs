//! Which zone a person may have meant: by what the name says of the offset first, by its letters second.
//!
//! A suggestion that is spelled alike and lies hours away is worse than none: whoever follows it shifts every row. So
//! where a name says an offset (`UTC+2`, `GMT-5`, `EST5EDT4`, `CEST`), only zones of that offset are suggested.

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Abbreviations that clocks show, with the zone that most people mean by them. Those of several meanings (`IST`, `CST`)
/// have the one of the most people; a hint says to check.
const ABBREVIATIONS: [(&str, &str); 34] = [
    ("ADT", "America/Halifax"),
    ("AEDT", "Australia/Sydney"),
    ("AEST", "Australia/Brisbane"),
    ("AKDT", "America/Anchorage"),
    ("AKST", "America/Anchorage"),
    ("AST", "America/Halifax"),
    ("AWST", "Australia/Perth"),
    ("ACST", "Australia/Darwin"),
    ("BRT", "America/Sao_Paulo"),
    ("BST", "Europe/London"),
    ("CAT", "Africa/Maputo"),
    ("CDT", "America/Chicago"),
    ("CEST", "Europe/Paris"),
    ("CST", "America/Chicago"),
    ("EAT", "Africa/Nairobi"),
    ("EDT", "America/New_York"),
    ("EEST", "Europe/Athens"),
    ("ET", "America/New_York"),
    ("CT", "America/Chicago"),
    ("HKT", "Asia/Hong_Kong"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("KST", "Asia/Seoul"),
    ("MDT", "America/Denver"),
    ("MSK", "Europe/Moscow"),
    ("MT", "America/Denver"),
    ("NZDT", "Pacific/Auckland"),
    ("NZST", "Pacific/Auckland"),
    ("PDT", "America/Los_Angeles"),
    ("PST", "America/Los_Angeles"),
    ("PT", "America/Los_Angeles"),
    ("SAST", "Africa/Johannesburg"),
    ("SGT", "Asia/Singapore"),
    ("WAT", "Africa/Lagos"),
];

/// What to write instead of `name`, as a sentence or two.
pub(super) fn hint(zones: &TimeZoneDatabase, name: &str) -> String {
    let name = name.trim();
    if let Some((_, zone)) = ABBREVIATIONS.iter().find(|(short, _)| short.eq_ignore_ascii_case(name)) {
        return format!("An abbreviation may mean several zones. Did you mean \"{zone}\"? {NAMES}");
    }
    if let Some(zone) = posix(zones, name) {
        return format!("Did you mean \"{zone}\"? {NAMES}");
    }
    match offset(zones, name) {
        Some(Some(seconds)) => by_offset(zones, seconds),
        Some(None) => format!("No zone is that far from UTC. {NAMES}"),
        None => format!("Did you mean \"{}\"? {NAMES}", nearest(zones, name)),
    }
}

const NAMES: &str = "Names are those of the IANA database, such as America/New_York.";

/// The zone of a POSIX rule such as `EST5EDT` or `CET-1CEST,M3.5.0,M10.5.0/3`: standard offset west of Greenwich, and a
/// name for summer. The zone has that offset in winter, and another one in summer.
fn posix(zones: &TimeZoneDatabase, name: &str) -> Option<&'static str> {
    let (standard, rest) = letters(name)?;
    let number = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | ':')).unwrap_or(rest.len());
    let (offset, summer) = rest.split_at(number);
    let (summer, _) = letters(summer)?;
    let west_s = seconds(offset.trim_start_matches(['+', '-']))?;
    let east_s = if offset.starts_with('-') { west_s } else { -west_s };
    let zone = |short: &str| ABBREVIATIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(short));
    let found = [zone(summer), zone(standard)].into_iter().flatten().map(|(_, zone)| *zone);
    found.into_iter().find(|zone| zones.get(zone).is_ok_and(|rules| standard_offset(&rules) == east_s))
}

/// The letters that `text` begins with, at least three, and what follows.
fn letters(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    (end >= 3).then(|| text.split_at(end))
}

/// The offset east of Greenwich in seconds that `name` says; `Some(None)` if no zone can have it; `None` if it says none.
///
/// `UTC+2` and `+02:00` are east, as people write them. `EST5` is west, as POSIX has it. `Etc/GMT+2` is a zone.
fn offset(zones: &TimeZoneDatabase, name: &str) -> Option<Option<i64>> {
    let bare = name.trim_start_matches("Etc/");
    let upper = bare.to_ascii_uppercase();
    let after = ["UTC", "GMT", "Z"].iter().find_map(|prefix| upper.strip_prefix(prefix)).unwrap_or(&upper);
    let after = after.trim();
    let sign = match after.chars().next()? {
        '+' => 1,
        '-' | '−' => -1,
        _ => {
            // A POSIX rule without summer; the other way round, if the zone of these letters says so.
            let (short, digits) = letters(&upper)?;
            let east = if digits.starts_with('-') { 1 } else { -1 };
            let east = seconds(digits.trim_start_matches(['+', '-']))? * east;
            let known =
                ABBREVIATIONS.iter().find(|(known, _)| *known == short).map_or(short, |(_, zone)| zone);
            let is_turned = zones.get(known).is_ok_and(|rules| standard_offset(&rules) == -east);
            return Some(limited(if is_turned { -east } else { east }));
        }
    };
    let digits = &after[after.chars().next()?.len_utf8()..];
    seconds(digits.trim()).map(|s| limited(sign * s))
}

fn limited(seconds: i64) -> Option<i64> {
    (-12 * 3600..=14 * 3600).contains(&seconds).then_some(seconds)
}

/// `2`, `02`, `5:30`, `0530` in seconds.
fn seconds(text: &str) -> Option<i64> {
    let (hours, minutes) = match text.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if matches!(text.len(), 3 | 4) && text.is_ascii() => text.split_at(text.len() - 2),
        None => (text, "0"),
    };
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten();
    let (hours, minutes) = (number(hours).filter(|_| hours.len() <= 2)?, number(minutes)?);
    (minutes < 60).then_some(hours * 3600 + minutes * 60)
}

/// Zones for an offset: the fixed one, and those that have it all year round.
fn by_offset(zones: &TimeZoneDatabase, seconds: i64) -> String {
    let hours = seconds / 3600;
    let fixed = match seconds {
        0 => Some("UTC".to_string()),
        _ if seconds % 3600 == 0 => {
            Some(format!("Etc/GMT{}{}", if hours > 0 { '-' } else { '+' }, hours.abs()))
        }
        _ => None,
    };
    let minutes = seconds.abs() / 60;
    let sign = if seconds < 0 { '-' } else { '+' };
    let says = format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    let example = steady(zones, seconds);
    let text = match (fixed, example) {
        (Some(fixed), _) if seconds == 0 => format!("{says} all year round is \"{fixed}\"."),
        (Some(fixed), Some(city)) => {
            format!(
                "{says} all year round is \"{fixed}\" (its sign is turned round, as POSIX has it), or \"{city}\"."
            )
        }
        (Some(fixed), None) => {
            format!("{says} all year round is \"{fixed}\" (its sign is turned round, as POSIX has it).")
        }
        (None, Some(city)) => format!("Did you mean \"{city}\"?"),
        (None, None) => return format!("No zone is {says} all year round. {NAMES}"),
    };
    format!(
        "{text} A place that changes its clocks in summer has a name of its own, such as America/New_York."
    )
}

/// A place whose clocks have shown this offset all year round for a while.
fn steady(zones: &TimeZoneDatabase, seconds: i64) -> Option<String> {
    let names: Vec<String> = zones.available().map(|name| name.as_str().to_string()).collect();
    let mut found: Vec<String> = ABBREVIATIONS
        .iter()
        .map(|(_, zone)| zone.to_string())
        .chain(names.into_iter().filter(|name| name.contains('/') && !name.starts_with("Etc/")))
        .collect();
    found.retain(|name| {
        zones.get(name).is_ok_and(|rules| instants().iter().all(|at| offset_at(&rules, *at) == seconds))
    });
    found.into_iter().next()
}

/// A winter and a summer day of several years.
fn instants() -> [Timestamp; 4] {
    [date(2020, 1, 15), date(2020, 7, 15), date(2025, 1, 15), date(2025, 7, 15)].map(|day| {
        let noon = day.at(12, 0, 0, 0);
        TimeZone::UTC.to_timestamp(noon).expect("a date of this century is an instant")
    })
}

fn offset_at(rules: &TimeZone, at: Timestamp) -> i64 {
    i64::from(rules.to_offset(at).seconds())
}

/// The lesser of winter's and summer's offset: that without summer time, on both halves of the earth.
fn standard_offset(rules: &TimeZone) -> i64 {
    instants().iter().map(|at| offset_at(rules, *at)).min().unwrap_or_default()
}

/// The name most like `name`: the whole of it, or its last part (`Berlin`).
fn nearest(zones: &TimeZoneDatabase, name: &str) -> String {
    let wanted = name.to_ascii_lowercase();
    let distance_of = |known: &str| {
        let known = known.to_ascii_lowercase();
        let city = known.rsplit('/').next().unwrap_or(&known);
        distance(&known, &wanted).min(distance(city, &wanted))
    };
    let names = zones.available().map(|known| known.as_str().to_string());
    names.min_by_key(|known| (distance_of(known), known.len())).unwrap_or_else(|| "UTC".to_string())
}

/// How many characters must be put in, taken out or replaced to make one of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let cost = (diagonal + usize::from(a != *b)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in quotes.
    fn suggested(name: &str) -> Vec<String> {
        let hint = hint(&TimeZoneDatabase::bundled(), name);
        hint.split('"').skip(1).step_by(2).map(str::to_string).collect()
    }

    #[test]
    fn suggestion_has_the_offset_that_was_written() {
        let zones = TimeZoneDatabase::bundled();
        let cases = [
            ("UTC+2", 2.0),
            ("UTC-5", -5.0),
            ("GMT+1", 1.0),
            ("gmt-03:00", -3.0),
            ("UTC +8", 8.0),
            ("+02:00", 2.0),
            ("-0500", -5.0),
            ("+5:30", 5.5),
            ("UTC+05:45", 5.75),
            ("UTC-3:30", f64::NAN),
            ("UTC−4", -4.0),
            ("UTC+0", 0.0),
            ("EST5", -5.0),
            ("MST7", -7.0),
            ("CET-1", 1.0),
            ("CET+1", 1.0),
            ("EST-5", -5.0),
            ("XYZ3", -3.0),
            ("Etc/UTC+3", 3.0),
        ];
        for (name, hours) in cases {
            let names = suggested(name);
            assert_eq!(names.is_empty(), hours.is_nan(), "{name}: {names:?}");
            for zone in names {
                let rules =
                    zones.get(&zone).unwrap_or_else(|_| panic!("{name} suggests {zone}, which is none"));
                for at in instants() {
                    assert_eq!(offset_at(&rules, at), (hours * 3600.0) as i64, "{name} suggests {zone}");
                }
            }
        }
    }

    #[test]
    fn rule_with_summer_time_suggests_a_place_that_has_it() {
        let cases = [
            ("EST5EDT4", vec!["America/New_York"]),
            ("EST5EDT,M3.2.0,M11.1.0", vec!["America/New_York"]),
            ("CET-1CEST", vec!["Europe/Paris"]),
            ("PST8PDT7", vec!["America/Los_Angeles"]),
            ("AEST-10AEDT", vec!["Australia/Sydney"]),
            ("GMT0BST", vec!["Europe/London"]),
            ("EDT", vec!["America/New_York"]),
            ("cest", vec!["Europe/Paris"]),
            ("PST", vec!["America/Los_Angeles"]),
            ("JST", vec!["Asia/Tokyo"]),
        ];
        for (name, expected) in cases {
            assert_eq!(suggested(name), expected, "{name}");
        }
    }

    #[test]
    fn offset_that_no_zone_has_suggests_none() {
        for name in ["UTC+15", "UTC-13", "GMT+99", "UTC+5:17"] {
            assert_eq!(suggested(name), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn name_without_an_offset_suggests_the_nearest_name() {
        for (asked, expected) in [
            ("America/NewYork", "America/New_York"),
            ("New York", "America/New_York"),
            ("berlin", "Europe/Berlin"),
            ("Europe/Pari", "Europe/Paris"),
        ] {
            assert_eq!(suggested(asked), [expected], "{asked}");
        }
    }

    #[test]
    fn every_zone_of_an_abbreviation_is_one() {
        let zones = TimeZoneDatabase::bundled();
        for (_, zone) in ABBREVIATIONS {
            assert!(zones.get(zone).is_ok(), "{zone}");
        }
    }
}
