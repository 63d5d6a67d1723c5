//! The views of music the slow way: from the committed rows of `listen_events` and `page_view_events`, each view by a pass over all
//! of them.
//!
//! No operator is shared with the dataflow. Histories are runs of a sorted list, dates are jiff's, groups are maps, ranks are sorts,
//! and keys are hashes of JSON that is written here. The rows have all that the views need: ties between records of one instant are
//! decided by what the records say, never by partition or offset.

mod facts;
mod finals;

use super::committed::Reader;
use super::topic::Topic;
use super::views::closed::{self, Closed};
use super::views::{WIDE_STREAMS, odd_fields_of, states};
use facts::{Fact, Names, Place, Played, Viewed};
use headway_operators::recompute::{Facts, OutputRow, OutputRows, Recompute, Tables};
use headway_operators::state::KeyHash;
use headway_operators::time::{EventTime, Watermark};
use headway_operators::view::refill::CommittedRow;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::text::Text;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The outputs with the facts.
const FACTS: &[&str] = &[Topic::Listen.name(), Topic::PageView.name()];

/// How many songs and artists a ranking has.
const PLACES: usize = 10;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Which job the rows are of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// The input with the plays.
    pub(super) plays: &'static str,
    /// The input with all page views.
    pub(super) views: &'static str,
    /// The topics whose odd fields are counted.
    pub(super) counted: &'static [Topic],
    /// After how long without an event a session is over.
    pub(super) gap_ms: i64,
    /// Reads the rows.
    pub(super) reader: Reader,
}

/// All rows of a job.
pub(super) struct Slow {
    job: Job,
    /// The watermark of the plays.
    listened: Watermark,
    /// The watermark of the page views.
    viewed: Watermark,
    plays: Vec<Played>,
    views: Vec<Viewed>,
}

/// A song: its artist and its title.
type Song = (Option<String>, String);

/// When a user's level began, and when it ended.
struct Run {
    from: i64,
    to: Option<i64>,
    level: String,
}

impl Slow {
    /// No rows yet.
    pub(super) fn new(job: Job) -> Slow {
        let (listened, viewed) = (EventTime::MIN, EventTime::MIN);
        Slow { job, listened, viewed, plays: Vec::new(), views: Vec::new() }
    }

    /// How many plays each `key` has. A play without a key does not count.
    fn count<K: Ord>(&self, key: impl Fn(&Played) -> Option<K>) -> BTreeMap<K, i64> {
        let mut counts = BTreeMap::new();
        for key in self.plays.iter().filter_map(key) {
            *counts.entry(key).or_default() += 1;
        }
        counts
    }

    /// The first instant at which each `key` was played.
    fn first<K: Ord>(&self, key: impl Fn(&Played) -> Option<K>) -> BTreeMap<K, i64> {
        let mut first: BTreeMap<K, i64> = BTreeMap::new();
        for (key, ts) in self.plays.iter().filter_map(|play| Some((key(play)?, play.ts))) {
            let known = first.entry(key).or_insert(ts);
            *known = ts.min(*known);
        }
        first
    }

    /// The levels of each user, one after the other, from the plays that the watermark has passed. Of two levels of one instant the
    /// greater one counts.
    fn histories(&self) -> BTreeMap<i64, Vec<Run>> {
        let mut levels: BTreeMap<i64, Vec<(i64, &str)>> = BTreeMap::new();
        for play in self.plays.iter().filter(|play| play.ts < self.listened.ms()) {
            if let (Some(user), Some(level)) = (play.user, &play.level) {
                levels.entry(user).or_default().push((play.ts, level.as_str()));
            }
        }
        let runs = |mut levels: Vec<(i64, &str)>| {
            levels.sort_unstable();
            let mut runs: Vec<Run> = Vec::new();
            for (number, (ts, level)) in levels.iter().enumerate() {
                if levels.get(number + 1).is_some_and(|(next, _)| next == ts) {
                    continue;
                }
                if runs.last().is_some_and(|run| run.level == *level) {
                    continue;
                }
                if let Some(before) = runs.last_mut() {
                    before.to = Some(*ts);
                }
                runs.push(Run { from: *ts, to: None, level: (*level).to_string() });
            }
            runs
        };
        levels.into_iter().map(|(user, levels)| (user, runs(levels))).collect()
    }

    /// What each user was called last. Of two names of one instant the greater one counts.
    fn names(&self) -> BTreeMap<i64, &Names> {
        let mut newest: BTreeMap<i64, (i64, &Names)> = BTreeMap::new();
        for (user, play) in self.plays.iter().filter_map(|play| Some((play.user?, play))) {
            let own = (play.ts, &play.names);
            let known = newest.entry(user).or_insert(own);
            *known = own.max(*known);
        }
        newest.into_iter().map(|(user, (_, names))| (user, names)).collect()
    }

    /// `dim_users` and `users_by_gender_level`.
    fn users(&self) -> (Vec<ViewRow>, Vec<ViewRow>) {
        let (mut rows, mut counts) = (Vec::new(), BTreeMap::<_, i64>::new());
        let names = self.names();
        for (user, runs) in self.histories() {
            let names = names.get(&user).copied().cloned().unwrap_or_default();
            for Run { from, to, level } in runs {
                if to.is_none() {
                    *counts.entry((names.gender.clone(), level.clone())).or_default() += 1;
                }
                rows.push(ViewRow(vec![
                    Value::Int(user),
                    instant(from),
                    to.map_or(Value::Null, instant),
                    Value::Bool(to.is_none()),
                    text(&level),
                    maybe(&names.first),
                    maybe(&names.last),
                    maybe(&names.gender),
                    names.registered_ms.map_or(Value::Null, instant),
                    text(&user_key(user, from)),
                ]));
            }
        }
        let row = |((gender, level), users): ((Option<String>, String), i64)| {
            ViewRow(vec![maybe(&gender), text(&level), Value::Int(users)])
        };
        (rows, counts.into_iter().map(row).collect())
    }

    fn dim_songs(&self) -> Vec<ViewRow> {
        // The earliest play; of two plays of one instant the one of the greater duration.
        let mut first: BTreeMap<Song, (Reverse<i64>, Option<u64>)> = BTreeMap::new();
        for (song, play) in self.plays.iter().filter_map(|play| Some((song(play)?, play))) {
            let own = (Reverse(play.ts), play.duration);
            let known = first.entry(song).or_insert(own);
            *known = own.max(*known);
        }
        let rows = first.into_iter().map(|((artist, title), (Reverse(ts), duration))| {
            let us = duration.map(|bits| (f64::from_bits(bits) * 1e6).round() as i64);
            ViewRow(vec![
                text(&song_key(&artist, &title)),
                maybe(&artist.as_deref().map(artist_key)),
                maybe(&artist),
                text(&title),
                us.map_or(Value::Null, Value::Int),
                instant(ts),
            ])
        });
        rows.collect()
    }

    fn dim_location(&self) -> Vec<ViewRow> {
        let rows = self.first(|play| Some(play.place.clone())).into_iter().map(|(place, ts)| {
            let degrees = |bits: Option<u64>| bits.map(|bits| format!("{:?}", f64::from_bits(bits)));
            ViewRow(vec![
                text(&place_key(&place)),
                maybe(&place.city),
                maybe(&place.state),
                state_name(&place.state),
                maybe(&degrees(place.lat)),
                maybe(&degrees(place.lon)),
                instant(ts),
            ])
        });
        rows.collect()
    }

    /// The most played of each day and of all days, with its place and how often it was played.
    fn top<K: Ord + Clone>(
        &self,
        of: impl Fn(&Played) -> Option<K>,
        shown: impl Fn(&K) -> Vec<Value>,
    ) -> Vec<ViewRow> {
        let by_day = self.count(|play| Some((date(play.ts), of(play)?)));
        let overall = self.count(|play| Some(("all".to_string(), of(play)?)));
        let mut periods: BTreeMap<String, Vec<(Reverse<i64>, K)>> = BTreeMap::new();
        for ((period, what), streams) in by_day.into_iter().chain(overall) {
            periods.entry(period).or_default().push((Reverse(streams), what));
        }
        let mut rows = Vec::new();
        for (period, mut all) in periods {
            all.sort();
            for (rank, (Reverse(streams), what)) in (1..).zip(all.into_iter().take(PLACES)) {
                let start = vec![text(&period), Value::Int(rank)];
                rows.push(ViewRow([start, shown(&what), vec![Value::Int(streams)]].concat()));
            }
        }
        rows
    }

    /// The rows of the outputs that are views, too: they are final when they are written.
    fn closed(&self) -> [(Closed, Vec<OutputRow>); 4] {
        let songs = self.top_last_hour(song, |(artist, title)| vec![artist, Some(title)]);
        let artists = self.top_last_hour(|play| play.artist.clone(), |artist| vec![Some(artist)]);
        [
            (closed::ACTIVE_USERS, self.active_users()),
            (closed::SESSIONS, self.sessions()),
            (closed::TOP_SONGS, songs),
            (closed::TOP_ARTISTS, artists),
        ]
    }

    fn per_hour(&self) -> Vec<ViewRow> {
        let hours = self.count(|play| Some(play.ts.div_euclid(HOUR_MS) * HOUR_MS));
        let rows = hours.iter().map(|(hour, streams)| {
            let before = hours.get(&(hour - DAY_MS)).copied();
            ViewRow(vec![
                text(&date(*hour)),
                instant(*hour),
                Value::Int(*streams),
                before.map_or(Value::Null, Value::Int),
            ])
        });
        rows.collect()
    }
}

impl Recompute for Slow {
    fn facts(&self) -> Facts {
        Facts::Outputs(FACTS)
    }

    fn row(&mut self, row: &CommittedRow<'_>) -> Result<(), String> {
        match Fact::of(row, self.job.reader)? {
            Fact::Played(play) => self.plays.push(*play),
            Fact::Viewed(view) => self.views.push(view),
        }
        Ok(())
    }

    fn watermark(&mut self, input: &str, watermark: Watermark) {
        if input == self.job.plays {
            self.listened = watermark;
        }
        if input == self.job.views {
            self.viewed = watermark;
        }
    }

    fn tables(&self) -> Tables {
        let (users, by_gender_level) = self.users();
        let artists = self.first(|play| play.artist.clone()).into_iter();
        let artists =
            artists.map(|(name, ts)| ViewRow(vec![text(&artist_key(&name)), text(&name), instant(ts)]));
        let by_state = self.count(|play| Some((date(play.ts), play.place.state.clone()))).into_iter();
        let by_state = by_state.map(|((day, state), streams)| {
            ViewRow(vec![text(&day), maybe(&state), state_name(&state), Value::Int(streams)])
        });
        let mut tables = Tables::from([
            ("dim_users", users),
            ("users_by_gender_level", by_gender_level),
            ("dim_songs", self.dim_songs()),
            ("dim_artists", artists.collect()),
            ("dim_location", self.dim_location()),
            ("top_songs", self.top(song, |(artist, title)| vec![maybe(artist), text(title)])),
            ("top_artists", self.top(|play| play.artist.clone(), |artist| vec![text(artist)])),
            ("streams_per_hour", self.per_hour()),
            ("streams_by_state", by_state.collect()),
        ]);
        let shown = |(closed, rows): (Closed, Vec<OutputRow>)| {
            (closed.name, rows.into_iter().map(|row| closed.row(row)).collect())
        };
        tables.extend(self.closed().map(shown));
        tables
    }

    fn outputs(&self) -> OutputRows {
        let mut outputs = OutputRows::from([(WIDE_STREAMS.to_string(), Some(self.wide_streams()))]);
        outputs.extend(self.closed().map(|(closed, rows)| (closed.name.to_string(), Some(rows))));
        // A row does not say which of its fields were odd.
        outputs.extend(self.job.counted.iter().map(|topic| (odd_fields_of(*topic), None)));
        outputs
    }
}

/// What was played; `None` where the title is missing.
fn song(play: &Played) -> Option<Song> {
    Some((play.artist.clone(), play.title.clone()?))
}

fn text(text: &str) -> Value {
    Value::Text(Text::from(text))
}

fn maybe(text: &Option<String>) -> Value {
    text.as_deref().map_or(Value::Null, self::text)
}

fn instant(ms: i64) -> Value {
    Value::Time(EventTime(ms))
}

fn state_name(code: &Option<String>) -> Value {
    code.as_deref().and_then(states::name).map_or(Value::Null, text)
}

/// The day that an instant is in, in UTC.
fn date(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).expect("events have years of four digits");
    time.to_zoned(TimeZone::UTC).date().to_string()
}

/// A surrogate key: the hash of JSON, in 32 hexadecimal digits.
fn hash(json: &str) -> String {
    let KeyHash([high, low]) = KeyHash::of(json.as_bytes());
    format!("{high:016x}{low:016x}")
}

/// A text as JSON, or `null`.
fn json(text: Option<&str>) -> String {
    serde_json::to_string(&text).expect("a text is JSON")
}

fn user_key(user: i64, from: i64) -> String {
    hash(&format!("[{user},{from}]"))
}

fn song_key(artist: &Option<String>, title: &str) -> String {
    hash(&format!("{{\"artist\":{},\"title\":{}}}", json(artist.as_deref()), json(Some(title))))
}

fn artist_key(name: &str) -> String {
    hash(&json(Some(name)))
}

fn place_key(Place { city, state, lat, lon }: &Place) -> String {
    let number = |bits: &Option<u64>| bits.map_or_else(|| "null".to_string(), |bits| bits.to_string());
    let [city, state] = [city, state].map(|text| json(text.as_deref()));
    hash(&format!("{{\"city\":{city},\"state\":{state},\"lat\":{},\"lon\":{}}}", number(lat), number(lon)))
}
