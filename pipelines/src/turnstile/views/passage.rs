//! What views of turnstiles are fed with: the people who passed one turnstile in one interval.

use crate::turnstile::key::Key;
use crate::turnstile::views::day::Day;
use crate::turnstile::views::fact::Fact;
use crate::turnstile::views::keys::surrogate;
use crate::zone::Zone;
use headway_operators::setting::{Setting, Settings};
use headway_operators::stream::aggregate::Total;
use headway_operators::time::EventTime;
use headway_operators::view::rollup::Sums;
use headway_operators::view::text::Text;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// Where a turnstile stands: CA, UNIT, SCP, STATION, LINENAME, DIVISION. Cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(Arc<[Text; 6]>);

impl Place {
    /// The place that these columns name.
    pub fn new(columns: [&str; 6]) -> Place {
        Place(Arc::new(columns.map(Text::from)))
    }

    /// The control area, which upstream calls the booth.
    pub fn area(&self) -> &Text {
        &self.0[0]
    }

    /// The remote unit.
    pub fn unit(&self) -> &Text {
        &self.0[1]
    }

    /// The turnstile within its area.
    pub fn scp(&self) -> &Text {
        &self.0[2]
    }

    /// The name on the platform. Several stations may share it.
    pub fn name(&self) -> &Text {
        &self.0[3]
    }

    /// The same place at the station of its name alone.
    fn by_name(&self) -> Place {
        let [area, unit, scp, name, ..] = &*self.0;
        let (area, unit, scp, name) = (area.clone(), unit.clone(), scp.clone(), name.clone());
        Place(Arc::new([area, unit, scp, name, Text::default(), Text::default()]))
    }

    /// The station.
    pub fn station(&self) -> Station {
        let [_, _, _, name, lines, division] = &*self.0;
        Station { name: name.clone(), lines: lines.clone(), division: division.clone() }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
        <[Text; 6]>::deserialize(deserializer).map(|columns| Place(Arc::new(columns)))
    }
}

/// A station: a name alone is shared by several, such as the five called 23 ST.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Station {
    /// STATION.
    pub name: Text,
    /// LINENAME.
    pub lines: Text,
    /// DIVISION.
    pub division: Text,
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
        let Station { name, lines, division } = self;
        match by {
            StationBy::Lines => surrogate(&[name, lines, division]),
            StationBy::Name => surrogate(&[name]),
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

/// The fact that the sums of a closed window are; `None` for a window that overlaps the ones that count: those whose start
/// is a multiple of the size tile time. `slide_ms` is the distance between two starts.
pub fn of_window(zone: &Zone, slide_ms: i64, total: &Total<Key, 2>) -> Option<Fact> {
    let Total { span, key, sums: [entries, exits], since } = total;
    let size_ms = span.end.ms() - span.start.ms();
    if size_ms != slide_ms && span.start.ms().rem_euclid(size_ms) != 0 {
        return None;
    }
    let [columns @ .., desc] = key.columns();
    let interval = Interval::new(zone, span.start, span.end);
    let passage = interval.passage(Place::new(columns), Count::Counted(*entries), Count::Counted(*exits));
    Some(Fact { passage, desc: Text::from(desc), since: *since })
}

/// An interval of time, and what a clock on the wall shows at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    start: EventTime,
    end: EventTime,
    day: Day,
    hour: u8,
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
    /// It as a row to sum.
    pub fn sums(&self) -> PassageSums {
        let ((entries, entries_counted), (exits, exits_counted)) =
            (self.entries.people(), self.exits.people());
        Sums::of([entries, exits, entries_counted, exits_counted])
    }
}
