//! What views of turnstiles are fed with: the people who passed one turnstile in one interval.

use crate::day::Day;
use crate::turnstile::key::Key;
use crate::turnstile::views::fact::Fact;
use crate::turnstile::views::keys::surrogate;
use crate::zone::Zone;
use headway_operators::setting::{Setting, Settings};
use headway_operators::stream::aggregate::Total;
use headway_operators::time::EventTime;
use headway_operators::view::rollup::Sums;
use headway_operators::view::text::Text;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashMap;
use std::sync::Arc;

/// Where a turnstile stands: CA, UNIT, SCP, STATION, LINENAME, DIVISION. Cheap to copy; encoded as its columns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(Arc<Columns>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Columns {
    area: Text,
    unit: Text,
    scp: Text,
    station: Station,
}

impl Place {
    /// The place that these columns name.
    pub fn new([area, unit, scp, station @ ..]: [&str; 6]) -> Place {
        Place::at([area, unit, scp].map(Text::from), Station::new(station.map(Text::from)))
    }

    fn at([area, unit, scp]: [Text; 3], station: Station) -> Place {
        Place(Arc::new(Columns { area, unit, scp, station }))
    }

    /// The control area, which upstream calls the booth.
    pub fn area(&self) -> &Text {
        &self.0.area
    }

    /// The remote unit.
    pub fn unit(&self) -> &Text {
        &self.0.unit
    }

    /// The turnstile within its area.
    pub fn scp(&self) -> &Text {
        &self.0.scp
    }

    /// The station.
    pub fn station(&self) -> &Station {
        &self.0.station
    }

    /// The same place at the station of its name alone.
    fn by_name(&self) -> Place {
        let Columns { area, unit, scp, station } = &*self.0;
        let station = Station::new([station.name().clone(), Text::default(), Text::default()]);
        Place::at([area.clone(), unit.clone(), scp.clone()], station)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [name, lines, division] = self.station().columns();
        [self.area(), self.unit(), self.scp(), name, lines, division].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
        let [area, unit, scp, station @ ..] = <[Text; 6]>::deserialize(deserializer)?;
        Ok(Place::at([area, unit, scp], Station::new(station)))
    }
}

/// A station: STATION, LINENAME and DIVISION, since a name alone is shared by several, such as the five called 23 ST. Cheap to
/// copy; encoded as its columns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Station(Arc<[Text; 3]>);

impl Station {
    fn new(columns: [Text; 3]) -> Station {
        Station(Arc::new(columns))
    }

    /// The name on the platform. Several stations may share it.
    pub fn name(&self) -> &Text {
        &self.0[0]
    }

    /// Its name, lines and division.
    pub fn columns(&self) -> [&Text; 3] {
        self.0.each_ref()
    }
}

impl Serialize for Station {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Station {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Station, D::Error> {
        <[Text; 3]>::deserialize(deserializer).map(Station::new)
    }
}

/// What tells one station from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StationBy {
    /// Its name, lines and division: the five stations called 23 ST are five.
    Lines,
    /// Its name alone, as upstream's warehouse has it.
    Name,
}

impl StationBy {
    /// The setting of this name.
    pub const SETTING: Setting = Setting::choice(
        "station_by",
        &["lines", "name"],
        "lines",
        "What tells stations apart: their name, lines and division; or their name alone, as upstream's warehouse has it",
    )
    .unless_default();

    /// What `settings` say.
    pub fn of(settings: &Settings) -> StationBy {
        if settings.text(StationBy::SETTING.name) == "name" { StationBy::Name } else { StationBy::Lines }
    }

    /// `passage` at its station.
    pub fn passage(self, passage: Passage) -> Passage {
        match self {
            StationBy::Lines => passage,
            StationBy::Name => Passage { place: passage.place.by_name(), ..passage },
        }
    }
}

impl Station {
    /// Its surrogate key. That of a name alone is upstream's.
    pub fn id(&self, by: StationBy) -> Text {
        match by {
            StationBy::Lines => surrogate(&self.columns().map(Text::as_str)),
            StationBy::Name => surrogate(&[self.name()]),
        }
    }
}

/// How many people one of the two counters of a turnstile stands for in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Count {
    /// So many people.
    Counted(i128),
    /// The register went back by so much: it was reset, or it counts down.
    Negative(i64),
    /// It went forward by more than is believed.
    OverBound(i64),
}

impl Count {
    /// People, and whether the interval counts.
    fn people(self) -> (i128, i128) {
        match self {
            Count::Counted(people) => (people, 1),
            Count::Negative(_) | Count::OverBound(_) => (0, 0),
        }
    }

    /// What is wrong with it, and the difference of the registers.
    pub fn anomaly(self) -> Option<(&'static str, i64)> {
        match self {
            Count::Counted(_) => None,
            Count::Negative(difference) => Some(("negative", difference)),
            Count::OverBound(difference) => Some(("over-bound", difference)),
        }
    }
}

/// The people who passed one turnstile in one interval of time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Passage {
    /// The turnstile.
    pub place: Place,
    /// When the interval begins.
    pub start: EventTime,
    /// When it ends.
    pub end: EventTime,
    /// The day on the wall at its start.
    pub day: Day,
    /// The hour on the wall at its start, 0 to 23.
    pub hour: u8,
    /// People in.
    pub entries: Count,
    /// People out.
    pub exits: Count,
}

/// Makes facts of the sums of closed windows.
///
/// An epoch closes windows of a few intervals at many turnstiles, and the next epoch windows of the same turnstiles: it remembers
/// the interval that it met last, and the places, since making them anew for each window is most of what a fact costs.
#[derive(Debug)]
pub struct Windows {
    zone: Zone,
    slide_ms: i64,
    last: Option<Interval>,
    places: HashMap<Key, (Place, Text), FxBuildHasher>,
}

/// The most places that are remembered: New York has 5,000 turnstiles.
const PLACES_MAX: usize = 1 << 16;

impl Windows {
    /// Nothing was met yet. `slide_ms` is the distance between the starts of two windows.
    pub fn new(zone: Zone, slide_ms: i64) -> Windows {
        Windows { zone, slide_ms, last: None, places: HashMap::default() }
    }

    /// The fact that the sums of a closed window are; `None` for a window that overlaps the ones that count: those whose start is a
    /// multiple of the size tile time.
    pub fn fact(&mut self, total: &Total<Key, 2>) -> Option<Fact> {
        let Total { span, key, sums: [entries, exits], since } = total;
        let size_ms = span.end.ms() - span.start.ms();
        if size_ms != self.slide_ms && span.start.ms().rem_euclid(size_ms) != 0 {
            return None;
        }
        let interval = match self.last {
            Some(last) if (last.start, last.end) == (span.start, span.end) => last,
            _ => *self.last.insert(Interval::new(&self.zone, span.start, span.end)),
        };
        let (place, desc) = self.place(key);
        let passage = interval.passage(place, Count::Counted(*entries), Count::Counted(*exits));
        Some(Fact { passage, desc, since: *since })
    }

    /// The place of a turnstile, and the kind of its audit events.
    fn place(&mut self, key: &Key) -> (Place, Text) {
        if let Some(known) = self.places.get(key) {
            return known.clone();
        }
        if self.places.len() == PLACES_MAX {
            self.places.clear();
        }
        let [columns @ .., desc] = key.columns();
        let made = (Place::new(columns), Text::from(desc));
        self.places.insert(key.clone(), made.clone());
        made
    }
}

/// An interval of time, and what a clock on the wall shows at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    /// When it begins.
    pub start: EventTime,
    /// When it ends.
    pub end: EventTime,
    /// The day on the wall at its start.
    pub day: Day,
    /// The hour on the wall at its start, 0 to 23.
    pub hour: u8,
}

impl Interval {
    /// The interval from `start` to `end`, in `zone`.
    pub fn new(zone: &Zone, start: EventTime, end: EventTime) -> Interval {
        let wall = zone.wall(start);
        Interval { start, end, day: Day::of(wall), hour: wall.hour }
    }

    /// The passage of so many people at `place` in it.
    pub fn passage(self, place: Place, entries: Count, exits: Count) -> Passage {
        let Interval { start, end, day, hour } = self;
        Passage { place, start, end, day, hour, entries, exits }
    }
}

/// People in and out, and in how many intervals they were counted.
pub type PassageSums = Sums<4>;

impl Passage {
    /// The interval.
    pub fn interval(&self) -> Interval {
        let Passage { start, end, day, hour, .. } = *self;
        Interval { start, end, day, hour }
    }

    /// It as a row to sum.
    pub fn sums(&self) -> PassageSums {
        let ((entries, entries_counted), (exits, exits_counted)) =
            (self.entries.people(), self.exits.people());
        Sums::of([entries, exits, entries_counted, exits_counted])
    }
}
