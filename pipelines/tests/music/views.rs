//! The views against the real log, in the order it has and in others, on any number of workers and across kills, and against a
//! naive recomputation.

use flate2::read::MultiGzDecoder;
use headway_operators::ack::InputIx;
use headway_operators::build::Build;
use headway_operators::kit::script::{Dataflow, Flags, Item, Play as Script, PlayInput, Played, Source};
use headway_operators::record::Partition;
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::spec::{Format, InputSpec, OutputSpec};
use headway_operators::stream::window::Closing;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::table::Table;
use headway_pipelines::music::decode::Decoder;
use headway_pipelines::music::event::Event;
use headway_pipelines::music::topic::{Form, Topic};
use headway_pipelines::music::views::play::Play;
use headway_pipelines::music::views::{self, HORIZON_MS, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

const LATENESS_MS: i64 = 3_600_000;
const PARTITIONS: u32 = 3;
const DECODER: Decoder = Decoder { form: Form::Sparkify, topic: Topic::PageView, repairs: true };

/// A change of a table, as a row of an output.
#[derive(Clone)]
struct Change {
    row: String,
    diff: i64,
}

impl Row for Change {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        put(Cell::Text(&self.row));
        put(Cell::Int(self.diff));
    }

    fn time(&self) -> EventTime {
        EventTime(0)
    }
}

/// Writes the changes of a table.
fn changes<'s, D: Clone + Debug + 'static>(build: &mut Build<'s>, name: &str, table: &Table<'s, D>) {
    let spec = OutputSpec {
        name: name.to_string(),
        prefix: name.to_string(),
        stem: "changes".into(),
        format: Format::NdjsonGz,
        columns: vec![Column::new("row", Kind::Text), Column::new("diff", Kind::Int)],
        folders: None,
    };
    let changes = table.updates().map(|(row, _, diff)| Change { row: format!("{row:?}"), diff });
    build.output(spec, changes);
}

pub(crate) fn dataflow(build: &mut Build<'_>) {
    let events = build.records("log", DECODER);
    let plays = views::plays(events.clone().filter_map_data(|event| event.as_listen()));
    let stamped = plays.clone().map(views::stamped);
    let (tables, facts) = views::tables(build, &stamped, &stamped);
    changes(build, "users", &tables.users);
    changes(build, "by_gender_level", &tables.by_gender_level);
    changes(build, "songs", &tables.songs);
    changes(build, "artists", &tables.artists);
    changes(build, "locations", &tables.locations);
    changes(build, "top_songs", &tables.top_songs);
    changes(build, "top_artists", &tables.top_artists);
    changes(build, "per_hour", &tables.per_hour);
    changes(build, "by_state", &tables.by_state);
    let options = Options { gap: Duration::from_secs(1800), format: Format::NdjsonGz };
    views::outputs(build, &options, plays, facts, events.clone());
    views::odd_fields(build, &options, Topic::PageView, events);
}

/// The lines of the real log.
pub(crate) fn log() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/samples/sparkify-2018-11.ndjson.gz");
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("the sample is there");
    MultiGzDecoder::new(file).read_to_string(&mut text).expect("it is gzip");
    text.lines().map(str::to_string).collect()
}

fn events() -> Vec<Event> {
    log()
        .iter()
        .map(|line| DECODER.event(line.as_bytes()).expect("the real log has no dead letters"))
        .collect()
}

/// The log in so many epochs, each line moved back by less than the lateness; then the input ends.
pub(crate) fn script(lines: Vec<String>, epochs: usize, seed: u64) -> Script {
    let mut drawn = seed;
    let mut shuffled: Vec<(i64, usize, String)> = Vec::new();
    for (number, line) in lines.into_iter().enumerate() {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lag_ms = if seed == 0 { 0 } else { (drawn >> 33) as i64 % LATENESS_MS };
        let ts = DECODER.event(line.as_bytes()).expect("no dead letters").ts().ms();
        shuffled.push((ts + lag_ms, number, line));
    }
    shuffled.sort();
    let source =
        |number: usize| Source { input: InputIx(0), partition: Partition(number as u32 % PARTITIONS) };
    let items: Vec<Item> = shuffled
        .into_iter()
        .map(|(_, number, line)| {
            let value = Some(format!("{line}\n").into_bytes());
            Item::Message { source: source(number), value, timestamp_ms: None }
        })
        .collect();
    let mut lines: Vec<Vec<Item>> =
        items.chunks(items.len().div_ceil(epochs)).map(<[Item]>::to_vec).collect();
    let ended = Flags { ended: true, ..Flags::default() };
    lines.push((0..PARTITIONS as usize).map(|at| Item::Flags { source: source(at), flags: ended }).collect());
    let closing = Closing::Horizon { ms: HORIZON_MS };
    let spec = InputSpec { name: "log", topic: "log", lateness_ms: LATENESS_MS, closing, header: None };
    Script { inputs: vec![PlayInput { spec, partitions: PARTITIONS }], lines, flush_ms: None }
}

/// What each table holds in the end, and the rows of each output, sorted.
pub(crate) fn content(played: &Played) -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<(String, String), i64> = BTreeMap::new();
    let mut content: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in played.rows.iter().filter(|row| row.epoch > Epoch(0)) {
        match row.cells.as_slice() {
            [row_text, diff] => {
                let copies = tables.entry((row.output.clone(), row_text.clone())).or_default();
                *copies += diff.parse::<i64>().expect("a number");
            }
            cells => content.entry(row.output.clone()).or_default().push(cells.join("|")),
        }
    }
    for ((table, row), copies) in tables.into_iter().filter(|(_, copies)| *copies != 0) {
        assert_eq!(copies, 1, "{table}: {row}");
        content.entry(table).or_default().push(row);
    }
    content.values_mut().for_each(|rows| rows.sort());
    content
}

fn count(content: &BTreeMap<String, Vec<String>>, name: &str) -> usize {
    content.get(name).map_or(0, Vec::len)
}

/// Plays of the real log as the views see them.
fn plays() -> Vec<(i64, Play)> {
    let listens = events().into_iter().filter_map(|event| event.as_listen());
    listens.map(|event| (event.ts().ms(), Play::of(&event))).collect()
}

/// The levels of each user as runs, by sorting: the obvious way.
fn runs() -> BTreeMap<i64, Vec<(i64, Option<i64>, String)>> {
    let mut of_user: BTreeMap<i64, BTreeMap<i64, String>> = BTreeMap::new();
    for (ts, play) in plays() {
        let (Some(user), Some(level)) = (play.user, play.level) else { continue };
        let known = of_user.entry(user).or_default().entry(ts).or_insert_with(|| level.to_string());
        if known.as_str() < level.as_str() {
            *known = level.to_string();
        }
    }
    let run = |levels: BTreeMap<i64, String>| {
        let mut runs: Vec<(i64, Option<i64>, String)> = Vec::new();
        for (ts, level) in levels {
            if runs.last().is_none_or(|(_, _, known)| *known != level) {
                if let Some(last) = runs.last_mut() {
                    last.1 = Some(ts);
                }
                runs.push((ts, None, level));
            }
        }
        runs
    };
    of_user.into_iter().map(|(user, levels)| (user, run(levels))).collect()
}

#[test]
fn real_log_gives_its_known_answers() {
    let played = script(log(), 20, 0).run(&Dataflow::of(dataflow), 1, 0);
    let found = content(&played);
    assert_eq!((played.fates.accepted, played.refused.len()), (4_965, 0));
    // 86 users listen; 7 have two levels, and go back and forth.
    assert_eq!(count(&found, "users"), 93);
    assert_eq!(count(&found, "wide_streams"), 4_223);
    let level =
        |level: &str| found["wide_streams"].iter().filter(|row| row.split('|').nth(9) == Some(level)).count();
    assert_eq!((level("paid"), level("free")), (3_367, 856));
    let first = |table: &str| -> Vec<&String> {
        let overall = found[table].iter().filter(|row| row.starts_with("Ranked { group: None, rank: "));
        let mut overall: Vec<&String> = overall.collect();
        overall.sort_by_key(|row| row.split([' ', ',']).nth(6).and_then(|rank| rank.parse::<u32>().ok()));
        overall
    };
    let songs = first("top_songs");
    assert!(songs[0].contains("Reverse(23)") && songs[0].contains("You're The One"), "{}", songs[0]);
    let artists = first("top_artists");
    for (at, (plays, artist)) in
        [(34, "Coldplay"), (34, "Kings Of Leon"), (28, "The Black Keys")].iter().enumerate()
    {
        assert!(
            artists[at].contains(&format!("Reverse({plays})")) && artists[at].contains(artist),
            "{}",
            artists[at]
        );
    }
    let genders: i64 = found["by_gender_level"]
        .iter()
        .filter(|row| row.contains("gender: Some(\"F\")"))
        .filter_map(|row| row.split("rows: ").nth(1)?.split(',').next()?.parse::<i64>().ok())
        .sum();
    assert_eq!(genders, 49, "{:?}", found["by_gender_level"]);
    assert_eq!(played.dropped, BTreeMap::new());
}

#[test]
fn intervals_of_each_user_tile_and_every_play_finds_the_one_with_its_level() {
    let played = script(log(), 20, 0).run(&Dataflow::of(dataflow), 2, 0);
    let found = content(&played);
    let mut expected = Vec::new();
    for (user, runs) in runs() {
        assert!(runs.windows(2).all(|pair| pair[0].1 == Some(pair[1].0) && pair[0].0 < pair[1].0));
        for (from, to, level) in runs {
            expected.push(format!(
                "User {{ user: {user}, level: {level:?}, from: EventTime({from}), to: {:?}, ",
                to.map(EventTime)
            ));
        }
    }
    expected.sort();
    assert_eq!(found["users"].len(), expected.len());
    for (row, expected) in found["users"].iter().zip(&expected) {
        assert!(row.starts_with(expected.as_str()), "{row} is not {expected}");
    }
    let said: BTreeMap<(i64, i64), String> = plays()
        .into_iter()
        .filter_map(|(ts, play)| {
            Some(((play.user?, play.session? * 10_000 + play.item?), format!("{}@{ts}", play.level?)))
        })
        .collect();
    let mut seen = BTreeSet::new();
    for row in &found["wide_streams"] {
        let cells: Vec<&str> = row.split('|').collect();
        let number = |at: usize| cells[at].parse::<i64>().expect("a number");
        let place = (number(5), number(23) * 10_000 + number(24));
        assert_eq!(said[&place], format!("{}@{}", cells[9], number(4)), "{row}");
        assert!(seen.insert(place), "{row} comes twice");
    }
    assert_eq!(seen.len(), said.len());
}

#[test]
fn songs_hours_sessions_and_active_users_are_those_of_a_naive_count() {
    let played = script(log(), 20, 3).run(&Dataflow::of(dataflow), 2, 0);
    let found = content(&played);
    let plays = plays();
    let songs: BTreeSet<String> = plays.iter().map(|(_, play)| format!("{:?}", play.song)).collect();
    let artists: BTreeSet<&str> = plays.iter().filter_map(|(_, play)| play.song.artist.as_deref()).collect();
    assert_eq!((count(&found, "songs"), count(&found, "artists")), (songs.len(), artists.len()));
    let mut hours: BTreeMap<i64, i64> = BTreeMap::new();
    plays.iter().for_each(|(ts, _)| *hours.entry(ts / 3_600_000 * 3_600_000).or_default() += 1);
    let rows: BTreeSet<String> = hours
        .iter()
        .map(|(hour, streams)| {
            let before = hours.get(&(hour - 86_400_000));
            format!("Hour {{ hour: EventTime({hour}), streams: {streams}, day_before: {before:?} }}")
        })
        .collect();
    assert_eq!(found["per_hour"].iter().cloned().collect::<BTreeSet<_>>(), rows);

    // Sessions: events of one number less than half an hour apart.
    let mut of_session: BTreeMap<i64, Vec<(i64, bool)>> = BTreeMap::new();
    let mut active: BTreeMap<(&str, i64, i64), BTreeSet<i64>> = BTreeMap::new();
    for event in events() {
        use headway_pipelines::music::event::Field::{Page, SessionId, UserId};
        let (ts, is_song) = (event.ts().ms(), event.text(Page) == Some("NextSong"));
        of_session.entry(event.int(SessionId).expect("all have one")).or_default().push((ts, is_song));
        // A stretch in which only people without a number were there has no row.
        let Some(user) = event.int(UserId) else { continue };
        for (name, size) in [("5m", 300_000), ("1h", 3_600_000), ("1d", 86_400_000)] {
            active.entry((name, ts / size * size, size)).or_default().insert(user);
        }
    }
    let mut sessions = Vec::new();
    for (session, mut events) in of_session {
        events.sort_unstable();
        for part in events.chunk_by(|a, b| b.0 - a.0 < 1_800_000) {
            let songs = part.iter().filter(|(_, is_song)| *is_song).count();
            let (start, end) = (part[0].0, part[part.len() - 1].0);
            sessions.push(format!("{session}|{start}|{end}|{}|{songs}", part.len()));
        }
    }
    sessions.sort();
    let without_user = |row: &String| {
        let cells: Vec<&str> = row.split('|').collect();
        [&cells[..1], &cells[2..]].concat().join("|")
    };
    let mut found_sessions: Vec<String> = found["sessions"].iter().map(without_user).collect();
    found_sessions.sort();
    assert_eq!(found_sessions, sessions);
    let active: BTreeSet<String> = active
        .into_iter()
        .map(|((name, start, size), users)| format!("{name}|{start}|{}|{}", start + size, users.len()))
        .collect();
    assert_eq!(found["active_users"].iter().cloned().collect::<BTreeSet<_>>(), active);
}

/// What the rows of the last hour must be: the first ten of each end, by how `name` names a play.
fn naive_last_hour(name: impl Fn(&Play) -> Option<String>) -> Vec<String> {
    let plays = plays();
    let named: Vec<(i64, String)> = plays.iter().filter_map(|(ts, play)| Some((*ts, name(play)?))).collect();
    let ends: BTreeSet<i64> =
        named.iter().flat_map(|(ts, _)| (1..=12).map(move |n| (ts / 300_000 + n) * 300_000)).collect();
    let mut expected = Vec::new();
    for end in ends {
        let start = end - 3_600_000;
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for (_, name) in named.iter().filter(|(ts, _)| (start..end).contains(ts)) {
            *counts.entry(name).or_default() += 1;
        }
        let mut ranked: Vec<(i64, &str)> = counts.into_iter().map(|(name, plays)| (-plays, name)).collect();
        ranked.sort_by_key(|(plays, name)| (*plays, name.split('|').collect::<Vec<_>>()));
        for (rank, (plays, name)) in (1..).zip(ranked.into_iter().take(10)) {
            expected.push(format!("{start}|{end}|{rank}|{name}|{}", -plays));
        }
    }
    expected.sort();
    expected
}

#[test]
fn last_hour_ranks_what_was_played_in_the_hour_before() {
    let played = script(log(), 20, 5).run(&Dataflow::of(dataflow), 2, 0);
    let found = content(&played);
    let songs = naive_last_hour(|play| {
        let title = play.song.title.as_deref()?;
        Some(format!("{}|{title}", play.song.artist.as_deref().unwrap_or("")))
    });
    assert_eq!(found["top_songs_last_hour"], songs);
    let artists = naive_last_hour(|play| play.song.artist.as_deref().map(str::to_string));
    assert_eq!(found["top_artists_last_hour"], artists);
}

#[test]
fn any_order_within_the_lateness_any_workers_and_kills_give_the_same() {
    let straight = content(&script(log(), 12, 0).run(&Dataflow::of(dataflow), 1, 0));
    for (seed, workers) in [(7, 2), (8, 3)] {
        let shuffled = script(log(), 12, seed);
        let run = shuffled.run(&Dataflow::of(dataflow), workers, seed);
        assert_eq!(run.fates.late, 0);
        assert_eq!(content(&run), straight, "shuffled, {workers} workers");
        let killed = shuffled.run_with_kills(&Dataflow::of(dataflow), &[workers, 1, 3], &[3, 8]);
        assert_eq!(content(&killed), straight, "shuffled and killed");
    }
}

#[test]
fn odd_fields_are_counted_by_the_hour() {
    let lines = [
        r#"{"ts":1,"level":5,"page":"Home","x":1,"y":2}"#,
        r#"{"ts":2,"level":true,"status":"200"}"#,
        r#"{"ts":3600000,"page":"NextSong","artist":"Bj\u00c3\u00b6rk","z":0}"#,
        r#"{"ts":3600001,"page":"Home"}"#,
    ];
    let lines: Vec<String> = lines.map(str::to_string).to_vec();
    let played = script(lines, 2, 0).run_with_kills(&Dataflow::of(dataflow), &[2, 3], &[1]);
    let expected = [
        "0|page_view_events|unknown||2",
        "0|page_view_events|wrong-type|level|2",
        "0|page_view_events|wrong-type|status|1",
        "3600000|page_view_events|repaired|artist|1",
        "3600000|page_view_events|unknown||1",
    ];
    assert_eq!(content(&played)["odd_fields-page_view_events"], expected);
}

#[test]
fn plays_and_views_that_no_output_can_hold_are_counted_by_reason() {
    let play = |ts: i64, fields: &str| {
        format!(
            r#"{{"ts":{ts},"page":"NextSong","artist":"A","song":"S","sessionId":1,"level":"free"{fields}}}"#
        )
    };
    let lines = vec![
        play(1, r#","userId":"7""#),
        play(2, r#","userId":"""#),
        play(3, r#","userId":"0""#),
        play(4, ""),
        r#"{"ts":5,"page":"NextSong","artist":"A","song":"S","sessionId":1,"userId":"7"}"#.to_string(),
        r#"{"ts":6,"page":"NextSong","artist":"A","sessionId":1,"userId":"7","level":"free"}"#.to_string(),
        r#"{"ts":7,"page":"NextSong","song":"S","sessionId":1,"userId":"7","level":"free"}"#.to_string(),
        r#"{"ts":8,"page":"Home","userId":"7"}"#.to_string(),
    ];
    let expected = [
        ("PlaysOfUsers", "no-user", 3),
        ("PlaysOfUsers", "no-level", 1),
        ("PlaysOfSongs", "no-song", 1),
        ("PlaysOfArtists", "no-artist", 1),
        ("ViewsOfSessions", "no-session", 1),
    ];
    let expected =
        expected.map(|(operator, reason, records)| ((operator.to_string(), reason.to_string()), records));
    let script = script(lines, 3, 0);
    for run in [
        script.run(&Dataflow::of(dataflow), 1, 0),
        script.run(&Dataflow::of(dataflow), 3, 5),
        script.run_with_kills(&Dataflow::of(dataflow), &[2, 3], &[1]),
    ] {
        assert_eq!(run.dropped, BTreeMap::from(expected.clone()));
        let content = content(&run);
        assert_eq!(count(&content, "wide_streams"), 3, "what is dropped and what is written are all plays");
    }
}
