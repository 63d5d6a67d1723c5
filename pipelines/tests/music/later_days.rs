//! Ten days after the real log, made up from its users and songs: levels go back and forth, users are new, texts have quotes and
//! letters of other alphabets. What the views make of them is what a naive computation on the JSON makes.

use crate::views::{content, dataflow, log, script};
use headway_operators::kit::script::Dataflow;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// 2018-11-21, the day after the log's last one.
const BEGIN_MS: i64 = 1_542_758_400_000;

const ODD_SONGS: [(&str, &str); 5] = [
    ("Guns N' \"Roses\"", "Say \"hello\""),
    ("Sigur Rós", "Sæglópur"),
    ("坂本 九", "上を向いて歩こう"),
    ("Back\\slash", "tab\tand \u{1f3b5}"),
    ("Null", "e\u{301}"),
];

/// Draws numbers below a bound, the same ones for each seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as i64 % bound
    }
}

/// The users of the log as their last event shows them, and some who are new.
fn users(log: &[Value]) -> BTreeMap<String, Value> {
    let named = log.iter().filter_map(|event| Some((event["userId"].as_str()?.to_string(), event.clone())));
    let mut users: BTreeMap<String, Value> = named.filter(|(user, _)| !user.is_empty()).collect();
    let of_log: Vec<Value> = users.values().cloned().collect();
    for (user, old) in (200..220).zip(of_log) {
        let mut new = old;
        new["userId"] = json!(user.to_string());
        new["firstName"] = json!("Zoë");
        new["lastName"] = json!("de \"la\" O'Neil");
        users.insert(user.to_string(), new);
    }
    users
}

/// The events of ten days.
fn later() -> Vec<Value> {
    let log: Vec<Value> = log().iter().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    // Mangled texts of the log would be repaired, which is another test's subject.
    let is_plain = |event: &&Value| {
        event["page"] == "NextSong"
            && event["artist"].to_string().is_ascii()
            && event["song"].to_string().is_ascii()
    };
    let songs: Vec<&Value> = log.iter().filter(is_plain).collect();
    let (mut draws, mut users, mut events, mut session) = (Draws(14), users(&log), Vec::new(), 5_000);
    for day in 0..10 {
        for user in users.values_mut() {
            if draws.below(3) > 0 {
                continue;
            }
            session += 1;
            let mut ts = BEGIN_MS + day * DAY_MS + draws.below(DAY_MS - 2 * HOUR_MS);
            for item in 0..1 + draws.below(12) {
                // Never two events of a user at one instant: which level counts there is for other tests.
                ts += [1, 999, 1 + draws.below(300_000)][draws.below(3) as usize];
                let mut event = user.clone();
                (event["ts"], event["sessionId"], event["itemInSession"]) =
                    (json!(ts), json!(session), json!(item));
                let is_song = draws.below(5) > 0;
                event["page"] = json!(if is_song { "NextSong" } else { "Home" });
                let song = songs[draws.below(songs.len() as i64) as usize];
                for field in ["artist", "song", "length"] {
                    event[field] = if is_song { song[field].clone() } else { Value::Null };
                }
                if is_song && draws.below(3) == 0 {
                    let (artist, title) = ODD_SONGS[draws.below(ODD_SONGS.len() as i64) as usize];
                    (event["artist"], event["song"]) = (json!(artist), json!(title));
                }
                events.push(event);
                if draws.below(9) == 0 {
                    user["level"] = json!(if user["level"] == "paid" { "free" } else { "paid" });
                }
            }
        }
    }
    events
}

/// What the tables and `wide_streams` must be.
fn naive(events: &[Value]) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut levels: BTreeMap<i64, BTreeMap<i64, &str>> = BTreeMap::new();
    let (mut hours, mut streams): (BTreeMap<i64, i64>, BTreeSet<String>) = Default::default();
    let mut songs: BTreeMap<Option<i64>, BTreeMap<(&str, &str), i64>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["page"] == "NextSong") {
        let text = |field: &str| event[field].as_str().expect("a text");
        let number = |field: &str| event[field].as_i64().expect("a number");
        let (ts, user) = (number("ts"), text("userId").parse().expect("a number"));
        levels.entry(user).or_default().insert(ts, text("level"));
        *hours.entry(ts / HOUR_MS * HOUR_MS).or_default() += 1;
        let (session, item) = (number("sessionId"), number("itemInSession"));
        assert!(streams.insert(format!("{ts}|{user}|{}|{session}|{item}", text("level"))));
        for day in [None, Some(ts / DAY_MS)] {
            *songs.entry(day).or_default().entry((text("artist"), text("song"))).or_default() += 1;
        }
    }
    let mut users = BTreeSet::new();
    for (user, levels) in levels {
        let all: Vec<(i64, &str)> = levels.into_iter().collect();
        let runs: Vec<&[(i64, &str)]> = all.chunk_by(|a, b| a.1 == b.1).collect();
        for (at, run) in runs.iter().enumerate() {
            users.insert(format!(
                "{user}|{}|{}|{:?}",
                run[0].1,
                run[0].0,
                runs.get(at + 1).map(|next| next[0].0)
            ));
        }
    }
    let mut ranks = BTreeSet::new();
    for (day, songs) in songs {
        let mut songs: Vec<_> = songs.into_iter().map(|(song, plays)| (Reverse(plays), song)).collect();
        songs.sort();
        for (rank, (plays, (artist, title))) in (1..).zip(songs.into_iter().take(10)) {
            let song = format!("Song {{ artist: Some({artist:?}), title: Some({title:?}) }}");
            ranks.insert(format!("Ranked {{ group: {day:?}, rank: {rank}, row: ({plays:?}, {song}) }}"));
        }
    }
    let hour = |(hour, streams): (&i64, &i64)| {
        let before = hours.get(&(hour - DAY_MS));
        format!("Hour {{ hour: EventTime({hour}), streams: {streams}, day_before: {before:?} }}")
    };
    let hours = hours.iter().map(hour).collect();
    BTreeMap::from([("per_hour", hours), ("top_songs", ranks), ("users", users), ("wide_streams", streams)])
}

/// The same of what the views have; a row that is there twice fails.
fn found(content: &BTreeMap<String, Vec<String>>) -> BTreeMap<&'static str, BTreeSet<String>> {
    let of = |name: &'static str, form: fn(&String) -> String| {
        let rows: BTreeSet<String> = content[name].iter().map(form).collect();
        assert_eq!(rows.len(), content[name].len(), "{name} has a row twice");
        (name, rows)
    };
    let user = |row: &String| {
        let field = |name: &str| {
            let after = row.split_once(&format!(" {name}: ")).expect("each user has it").1;
            after.split([',']).next().expect("a value").replace("EventTime(", "").replace(['"', ')'], "")
        };
        let to = field("to");
        let to = to.strip_prefix("Some(").map_or(to.clone(), |ms| format!("Some({ms})"));
        format!("{}|{}|{}|{to}", field("user"), field("level"), field("from"))
    };
    let stream = |row: &String| {
        let cells: Vec<&str> = row.split('|').collect();
        [4, 5, 9, 23, 24].map(|at| cells[at]).join("|")
    };
    BTreeMap::from([
        of("per_hour", String::clone),
        of("top_songs", String::clone),
        of("users", user),
        of("wide_streams", stream),
    ])
}

#[test]
fn ten_days_that_are_not_in_the_log_are_what_a_naive_computation_makes() {
    let events = later();
    let expected = naive(&events);
    assert!(expected["users"].len() > 150 && expected["wide_streams"].len() > 1_000, "there is much to see");
    let lines = || events.iter().map(Value::to_string).collect();
    for (seed, workers) in [(0, 1), (21, 3)] {
        let played = script(lines(), 12, seed).run(&Dataflow::of(dataflow), workers, seed);
        assert_eq!((played.fates.late, played.refused.len()), (0, 0));
        assert_eq!(found(&content(&played)), expected, "{workers} workers");
    }
    let killed = script(lines(), 12, 22).run_with_kills(&Dataflow::of(dataflow), &[2, 3, 1], &[3, 8]);
    assert_eq!(found(&content(&killed)), expected, "killed");
}
