//! The outputs that are final when they are written, the slow way: rows of what a watermark has passed.

use super::facts::{Played, Viewed};
use super::{DAY_MS, HOUR_MS, PLACES, Run, Slow, artist_key, place_key, song_key, user_key};
use crate::music::views::states;
use headway_operators::recompute::OutputRow;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// How long the slices of the last hour are.
const SLICE_MS: i64 = 300_000;

/// The windows in which users are counted.
const WINDOWS: [(&str, i64); 3] = [("5m", 300_000), ("1h", HOUR_MS), ("1d", DAY_MS)];

impl Slow {
    /// `wide_streams`: each play of a known user, with the level that the user had then.
    pub(super) fn wide_streams(&self) -> Vec<OutputRow> {
        let histories = self.histories();
        let row = |play: &Played| {
            let (user, _) = (play.user?, play.level.as_ref()?);
            let runs = histories.get(&user).filter(|_| play.ts < self.listened.ms())?;
            let run = runs.iter().rev().find(|run| run.from <= play.ts)?;
            Some(wide(user, play, run))
        };
        self.plays.iter().filter_map(row).collect()
    }

    /// `top_songs_last_hour` and `top_artists_last_hour`: for each slice, what was played most in the hour that ends with it.
    /// `cells` gives the cells that name a song or an artist.
    pub(super) fn top_last_hour<K: Ord + Clone>(
        &self,
        of: impl Fn(&Played) -> Option<K>,
        cells: impl Fn(K) -> OutputRow,
    ) -> Vec<OutputRow> {
        let mut hours: BTreeMap<i64, BTreeMap<K, i64>> = BTreeMap::new();
        for (what, play) in self.plays.iter().filter_map(|play| Some((of(play)?, play))) {
            let first = (play.ts.div_euclid(SLICE_MS) + 1) * SLICE_MS;
            for end in (first..first + HOUR_MS).step_by(SLICE_MS as usize) {
                if end <= self.listened.ms() {
                    *hours.entry(end).or_default().entry(what.clone()).or_default() += 1;
                }
            }
        }
        let mut rows = Vec::new();
        for (end, plays) in hours {
            let mut ranked: Vec<_> =
                plays.into_iter().map(|(what, streams)| (Reverse(streams), what)).collect();
            ranked.sort();
            for (rank, (Reverse(streams), what)) in (1..).zip(ranked.into_iter().take(PLACES)) {
                let start = vec![number(end - HOUR_MS), number(end), number(rank)];
                rows.push([start, cells(what), vec![number(streams)]].concat());
            }
        }
        rows
    }

    /// `active_users`: how many users did something in each window that is over.
    pub(super) fn active_users(&self) -> Vec<OutputRow> {
        let mut rows = Vec::new();
        for (name, size) in WINDOWS {
            let mut windows: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
            for (user, view) in self.views.iter().filter_map(|view| Some((view.user?, view))) {
                if user != 0 {
                    windows.entry(view.ts.div_euclid(size) * size).or_default().insert(user);
                }
            }
            let over = windows.into_iter().filter(|(start, _)| start + size <= self.viewed.ms());
            rows.extend(over.map(|(start, users)| {
                vec![Some(name.to_string()), number(start), number(start + size), number(users.len() as i64)]
            }));
        }
        rows
    }

    /// `sessions`: what happened in a session between two pauses. The user is the first one that a page view names; of two users of
    /// one instant the lesser one.
    pub(super) fn sessions(&self) -> Vec<OutputRow> {
        let mut sessions: BTreeMap<i64, Vec<(i64, Option<i64>, bool)>> = BTreeMap::new();
        for Viewed { ts, user, session, is_song } in &self.views {
            if let Some(session) = session {
                sessions.entry(*session).or_default().push((*ts, *user, *is_song));
            }
        }
        let gap_ms = self.job.gap_ms;
        let mut rows = Vec::new();
        for (session, mut views) in sessions {
            views.sort_unstable();
            for part in views.chunk_by(|one, next| next.0 - one.0 < gap_ms) {
                let (start, end) = (part[0].0, part[part.len() - 1].0);
                if end.saturating_add(gap_ms) <= self.viewed.ms() {
                    let songs = part.iter().filter(|(_, _, is_song)| *is_song).count();
                    rows.push(vec![
                        number(session),
                        part.iter().find_map(|(_, user, _)| *user).and_then(number),
                        number(start),
                        number(end),
                        number(part.len() as i64),
                        number(songs as i64),
                    ]);
                }
            }
        }
        rows
    }
}

/// A row of `wide_streams`.
fn wide(user: i64, play: &Played, Run { from, level, .. }: &Run) -> OutputRow {
    let Played { ts, names, artist, title, duration, place, session, item, .. } = play;
    let time = Timestamp::from_millisecond(*ts).expect("events have years of four digits");
    let date = time.to_zoned(TimeZone::UTC).date();
    let weekday = date.weekday().to_sunday_one_offset();
    let float = |bits: &Option<u64>| bits.map(|bits| f64::from_bits(bits).to_string());
    let state = place.state.as_deref().and_then(states::name);
    vec![
        Some(user_key(user, *from)),
        artist.as_deref().map(artist_key),
        title.as_deref().map(|title| song_key(artist, title)),
        Some(place_key(place)),
        number(*ts),
        number(user),
        names.first.clone(),
        names.last.clone(),
        names.gender.clone(),
        Some(level.clone()),
        number(*from),
        title.clone(),
        artist.clone(),
        float(duration),
        place.city.clone(),
        place.state.clone(),
        state.map(str::to_string),
        float(&place.lat),
        float(&place.lon),
        number(ts.div_euclid(HOUR_MS) * HOUR_MS),
        number(i64::from(date.day())),
        number(i64::from(weekday)),
        Some([1, 7].contains(&weekday).to_string()),
        session.and_then(number),
        item.and_then(number),
        names.registered_ms.and_then(number),
    ]
}

/// A number as a cell.
fn number(number: i64) -> Option<String> {
    Some(number.to_string())
}
