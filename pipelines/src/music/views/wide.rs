//! `wide_streams`: each play once, with the version of its user that held, and the keys of song, artist and place.

use super::play::{Play, Song};
use super::states;
use super::streams::hour;
use super::users::{PlayFact, user_key};
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::time::EventTime;

/// The columns of its rows.
pub(super) const COLUMNS: [Column; 26] = [
    Column::new("userKey", Kind::Text),
    Column::new("artistKey", Kind::Text),
    Column::new("songKey", Kind::Text),
    Column::new("locationKey", Kind::Text),
    Column::new("timestamp", Kind::Time),
    Column::new("userId", Kind::Int),
    Column::new("firstName", Kind::Text),
    Column::new("lastName", Kind::Text),
    Column::new("gender", Kind::Text),
    Column::new("level", Kind::Text),
    Column::new("levelSince", Kind::Time),
    Column::new("songName", Kind::Text),
    Column::new("artistName", Kind::Text),
    Column::new("songDuration", Kind::Float),
    Column::new("city", Kind::Text),
    Column::new("stateCode", Kind::Text),
    Column::new("state", Kind::Text),
    Column::new("latitude", Kind::Float),
    Column::new("longitude", Kind::Float),
    Column::new("dateHour", Kind::Time),
    Column::new("dayOfMonth", Kind::Int),
    Column::new("dayOfWeek", Kind::Int),
    Column::new("isWeekend", Kind::Bool),
    Column::new("sessionId", Kind::Int),
    Column::new("itemInSession", Kind::Int),
    Column::new("registration", Kind::Time),
];

/// A row of `wide_streams`.
#[derive(Clone, Debug)]
pub(super) struct Wide(PlayFact);

impl From<PlayFact> for Wide {
    fn from(fact: PlayFact) -> Wide {
        Wide(fact)
    }
}

impl Row for Wide {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        let PlayFact { key: user, time, fact: play, value: level, from } = &self.0;
        let Play { names, song, duration, place, session, item, .. } = play;
        let Song { artist, title } = song;
        put(Cell::Text(&user_key(*user, *from)));
        put(artist.as_ref().map(|_| song.artist_key()).as_deref().map_or(Cell::Null, Cell::Text));
        put(title.as_ref().map(|_| song.key()).as_deref().map_or(Cell::Null, Cell::Text));
        put(Cell::Text(&place.key()));
        put(Cell::Time(*time));
        put(Cell::Int(*user));
        put(names.first.as_deref().map_or(Cell::Null, Cell::Text));
        put(names.last.as_deref().map_or(Cell::Null, Cell::Text));
        put(names.gender.as_deref().map_or(Cell::Null, Cell::Text));
        put(Cell::Text(level));
        put(Cell::Time(*from));
        put(title.as_deref().map_or(Cell::Null, Cell::Text));
        put(artist.as_deref().map_or(Cell::Null, Cell::Text));
        put(duration.map_or(Cell::Null, |duration| Cell::Float(duration.number())));
        put(place.city.as_deref().map_or(Cell::Null, Cell::Text));
        put(place.state.as_deref().map_or(Cell::Null, Cell::Text));
        put(place.state.as_deref().and_then(states::name).map_or(Cell::Null, Cell::Text));
        put(place.lat.map_or(Cell::Null, |lat| Cell::Float(lat.number())));
        put(place.lon.map_or(Cell::Null, |lon| Cell::Float(lon.number())));
        put(Cell::Time(hour(*time)));
        let Day { of_month, of_week } = Day::of(*time);
        put(Cell::Int(of_month));
        put(Cell::Int(of_week));
        put(Cell::Bool(matches!(of_week, 1 | 7)));
        put(session.map_or(Cell::Null, Cell::Int));
        put(item.map_or(Cell::Null, Cell::Int));
        put(names.registered_ms.map_or(Cell::Null, |ms| Cell::Time(EventTime(ms))));
    }

    fn time(&self) -> EventTime {
        self.0.time
    }
}

/// A day of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day {
    /// From 1.
    of_month: i64,
    /// 1 is Sunday, 7 is Saturday.
    of_week: i64,
}

impl Day {
    fn of(time: EventTime) -> Day {
        let of_week = (super::songs::day(time) + 4).rem_euclid(7) + 1;
        Day { of_month: i64::from(crate::zone::Zone::utc().wall(time).day), of_week }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekends_are_saturdays_and_sundays() {
        // 2024-02-29 was a Thursday.
        let days = [0, 1, 2, 3].map(|after| Day::of(EventTime(1_709_164_800_000 + after * 86_400_000)));
        assert_eq!(days.map(|day| day.of_month), [29, 1, 2, 3]);
        assert_eq!(days.map(|day| day.of_week), [5, 6, 7, 1]);
        assert_eq!(Day::of(EventTime(0)), Day { of_month: 1, of_week: 5 });
    }
}
