//! The generator's messages: upstream's to the byte, the same in every release, and such as the published machine makes.

use crate::published::{Published, chi_square, chi_square_max, name};
use headway_operators::generate::{Generate, Message, Options};
use headway_operators::record::{Offset, Partition};
use headway_pipelines::music::generate::{Behaviour, Dictionary, Generator, World, options};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const LISTEN: &str = r#"{"artist":"Crooked Sparrows","song":"Marble Lanterns","duration":304.19978,"ts":1704499210000,"sessionId":289,"auth":"Logged In","level":"free","itemInSession":1,"city":"Washington","zip":"20001","state":"DC","userAgent":"\"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_4) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/36.0.1985.143 Safari/537.36\"","lon":-77.0177,"lat":38.9122,"userId":254,"lastName":"Smith","firstName":"Benjamin","gender":"M","registration":1684754655000}
"#;
const PAGE_VIEW: &str = r#"{"ts":1704499201000,"sessionId":289,"page":"Home","auth":"Logged In","method":"GET","status":200,"level":"free","itemInSession":0,"city":"Washington","zip":"20001","state":"DC","userAgent":"\"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_4) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/36.0.1985.143 Safari/537.36\"","lon":-77.0177,"lat":38.9122,"userId":254,"lastName":"Smith","firstName":"Benjamin","gender":"M","registration":1684754655000}
"#;
const AUTH: &str = r#"{"ts":1704545791000,"sessionId":349,"level":"free","itemInSession":7,"city":"Fort Worth","zip":"76102","state":"TX","userAgent":"\"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_4) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/36.0.1985.125 Safari/537.36\"","lon":-97.328,"lat":32.7589,"userId":74,"lastName":"Flores","firstName":"Isabella","gender":"F","registration":1690335917000,"success":true}
"#;
const STATUS_CHANGE: &str = r#"{"ts":1704665391000,"sessionId":579,"auth":"Logged In","level":"paid","itemInSession":42,"city":"Oklahoma City","zip":"73102","state":"OK","userAgent":"Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko","lon":-97.5199,"lat":35.4726,"userId":352,"lastName":"Campbell","firstName":"Ava","gender":"F","registration":1619698004000}
"#;

fn few() -> Options {
    Options { messages: Some(20_000), keys: 500, partitions: 2, ..options() }
}

fn generators(options: &Options, behaviour: Behaviour) -> [Generator; 4] {
    Generator::all(World::new(options, behaviour, Dictionary::default()))
}

/// All messages of a topic, partition by partition.
fn all(generator: &Generator) -> Vec<(Partition, Offset, Message)> {
    let mut messages = Vec::new();
    for partition in (0..generator.partitions()).map(Partition) {
        let end = generator.end(partition).expect("it ends");
        for offset in (0..end.0).map(Offset) {
            let mut message = Message::default();
            generator.message(partition, offset, &mut message);
            messages.push((partition, offset, message));
        }
    }
    messages
}

fn objects(generator: &Generator) -> Vec<Value> {
    let object = |message: Message| {
        let value = message.value.expect("a value");
        assert_eq!(
            value.iter().position(|byte| *byte == b'\n'),
            Some(value.len() - 1),
            "it ends with a newline"
        );
        serde_json::from_slice(&value).expect("it is JSON")
    };
    all(generator).into_iter().map(|(_, _, message)| object(message)).collect()
}

#[test]
fn same_options_give_the_same_bytes_in_every_release() {
    let hash = |generator: &Generator| {
        let mut hash = 0;
        for (_, _, Message { key, value, timestamp_ms }) in all(generator) {
            let content = format!("{hash:x} {key:?} {value:?} {timestamp_ms}");
            hash = xxhash_rust::xxh3::xxh3_64(content.as_bytes());
        }
        format!("{hash:016x}")
    };
    let hashes = generators(&few(), Behaviour::default()).map(|generator| hash(&generator));
    assert_eq!(hashes, ["ecd8c530986fc52e", "c30e964edc632424", "cec6b9d68ca34a57", "4eb5ebfaabc6b692"]);
    let identity = generators(&few(), Behaviour::default())[0].identity();
    let expected = "music/2 topic=listen_events seed=7 partitions=2 users=500 start_ms=1704499200000 disorder_s=0.0 \
                    dup=0.0 late=0.0 bad=0.0 event_s=90.0 pause_s=604800.0 day_damping=0.09375 \
                    weekend_damping=0.5 growth=0.1 dictionary=";
    assert!(identity.starts_with(expected), "{identity}");
}

#[test]
fn messages_are_upstreams_to_the_byte() {
    let first = |topic: usize| {
        let shown = |message: &Message| {
            let text = String::from_utf8(message.value.clone().expect("a value")).expect("text");
            // Some messages name no user: the first that does shows all fields.
            text.contains("userId").then_some(text)
        };
        let generator = &generators(&few(), Behaviour::default())[topic];
        all(generator).iter().find_map(|(_, _, message)| shown(message)).expect("somebody is logged in")
    };
    assert_eq!(first(0), LISTEN);
    assert_eq!(first(1), PAGE_VIEW);
    assert_eq!(first(2), AUTH);
    assert_eq!(first(3), STATUS_CHANGE);
}

#[test]
fn message_on_its_own_is_the_one_of_the_whole_stream() {
    let generator = &generators(&few(), Behaviour::default())[1];
    let messages = all(generator);
    let mut alone = Message::default();
    for at in [0, 7, 3, 19_999, 19_999, 10_001, 5, 9_999] {
        let (partition, offset, message) = &messages[at];
        generator.message(*partition, *offset, &mut alone);
        assert_eq!(&alone, message, "partition {partition} offset {offset}");
    }
}

#[test]
fn page_views_are_shared_by_partitions_and_the_other_topics_are_among_them() {
    let [listen, pages, auth, status] = generators(&few(), Behaviour::default());
    let ends = [0, 1].map(|partition| pages.end(Partition(partition)));
    assert_eq!(ends, [Some(Offset(10_000)), Some(Offset(10_000))]);
    let place = |event: &Value| ["ts", "sessionId", "itemInSession"].map(|name| event[name].as_i64());
    let seen: BTreeMap<_, Value> = objects(&pages).into_iter().map(|event| (place(&event), event)).collect();
    assert_eq!(seen.len(), 20_000, "time, session and place in it tell events apart");
    let songs = seen.values().filter(|event| event["page"] == "NextSong").count();
    let listen = objects(&listen);
    assert_eq!(listen.len(), songs);
    for event in listen {
        let page = &seen[&place(&event)];
        for (name, value) in event.as_object().expect("an object") {
            assert_eq!(&page[name], value, "{name}");
        }
    }
    for event in objects(&status) {
        let page = seen[&place(&event)]["page"].as_str().unwrap_or_default();
        assert!(["Submit Upgrade", "Submit Downgrade"].contains(&page), "{page}");
    }
    let auth = objects(&auth);
    assert!(
        auth.iter().any(|event| event["success"] == true)
            && auth.iter().any(|event| event["success"] == false)
    );
    assert!(auth.iter().all(|event| seen.contains_key(&place(event))));
}

#[test]
fn fields_that_do_not_apply_are_left_out() {
    for event in objects(&generators(&few(), Behaviour::default())[1]) {
        let is_shown = ["Logged In", "Cancelled"].contains(&event["auth"].as_str().unwrap_or_default());
        for name in ["userId", "lastName", "firstName", "gender", "registration"] {
            assert_eq!(event.get(name).is_some(), is_shown, "{name} in {event}");
        }
        for name in ["artist", "song", "duration"] {
            assert_eq!(event.get(name).is_some(), event["page"] == "NextSong", "{name} in {event}");
        }
        assert!(event["zip"].is_string() && event["lon"].is_number());
    }
}

/// What is said of each session's events, in order: state, time, and how long a song plays.
fn sessions(events: &[Value]) -> BTreeMap<i64, Vec<(String, i64, i64)>> {
    let mut sessions: BTreeMap<i64, Vec<(String, i64, i64)>> = BTreeMap::new();
    for event in events {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let state = name(text("auth"), text("level"), text("page"));
        let number = |name: &str| event[name].as_i64().unwrap_or_default();
        let plays_ms = event["duration"].as_f64().unwrap_or_default() as i64 * 1000;
        sessions.entry(number("sessionId")).or_default().push((state, number("ts"), plays_ms));
    }
    sessions
}

#[test]
fn pages_follow_one_another_as_the_published_machine_says() {
    let events = objects(&generators(&Options { messages: Some(60_000), ..few() }, Behaviour::default())[1]);
    let published = Published::read();
    let mut counts: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    let sessions = sessions(&events);
    for session in sessions.values() {
        for pair in session.windows(2) {
            *counts.entry(&pair[0].0).or_default().entry(&pair[1].0).or_default() += 1;
        }
    }
    let (mut all, mut freedom) = (0.0, 0.0);
    for (state, next) in &counts {
        let steps = &published.next[*state];
        let sum: f64 = steps.iter().map(|(_, p)| p).sum();
        let n: u64 = next.values().sum();
        assert!(next.keys().all(|to| steps.iter().any(|(known, _)| known == to)), "{state} to {next:?}");
        let cells: Vec<(u64, f64)> = steps
            .iter()
            .map(|(to, p)| (next.get(to.as_str()).copied().unwrap_or_default(), p / sum * n as f64))
            .collect();
        let (one, free) = chi_square(&cells);
        if n >= 100 && free > 0.0 {
            (all, freedom) = (all + one, freedom + free);
        }
    }
    assert!(freedom > 40.0, "{freedom}");
    assert!(all < chi_square_max(freedom), "χ² is {all} with {freedom} degrees of freedom");
}

#[test]
fn redirects_take_a_second_and_songs_are_played_to_their_end() {
    let events = objects(&generators(&few(), Behaviour::default())[1]);
    let redirects = ["Login", "Logout", "Cancel", "SaveSettings", "SubmitUpgrade", "SubmitRegistration"];
    let (mut redirected, mut played) = (0, 0);
    for session in sessions(&events).values() {
        let mut song_ends = i64::MIN;
        for pair in session.windows(2) {
            let ((_, before_ms, plays_ms), (state, ts_ms, _)) = (&pair[0], &pair[1]);
            if *plays_ms > 0 {
                song_ends = before_ms + plays_ms;
            }
            assert!(ts_ms >= before_ms && (ts_ms - before_ms) % 1000 == 0);
            let page = state.rsplit_once('/').map_or("", |(_, page)| page);
            if redirects.contains(&page) {
                assert_eq!(ts_ms - before_ms, 1000, "{state}");
                redirected += 1;
            }
            if page == "NextSong" && *before_ms < song_ends {
                assert_eq!(*ts_ms, song_ends);
                played += 1;
            }
        }
    }
    assert!(redirected > 100 && played > 5_000, "{redirected} {played}");
}

#[test]
fn topics_are_in_order_of_time_unless_disorder_is_asked_for() {
    let times = |options: &Options| {
        let messages = all(&generators(options, Behaviour::default())[1]);
        let first = messages.into_iter().filter(|(partition, ..)| *partition == Partition(0));
        let time = |message: Message| {
            let value: Value = serde_json::from_slice(&message.value.expect("a value")).expect("JSON");
            (value["ts"].as_i64().expect("a time"), message.timestamp_ms)
        };
        first.map(|(_, _, message)| time(message)).collect::<Vec<_>>()
    };
    let ordered = times(&few());
    assert!(ordered.is_sorted() && ordered.iter().all(|(ts, sent)| ts == sent && *ts >= few().start_ms));
    let disorder = Options { disorder_s: 600.0, late: 0.01, dup: 0.01, ..few() };
    let mixed = times(&disorder);
    assert!(mixed.is_sorted_by_key(|(_, sent)| *sent) && !mixed.is_sorted());
    let lags = mixed.iter().map(|(ts, sent)| sent - ts);
    let late = lags.clone().filter(|lag| *lag >= 3_600_000).count();
    assert!(lags.clone().all(|lag| (0..=600_000).contains(&lag) || lag >= 3_600_000));
    assert!((50..200).contains(&late), "one of a hundred comes hours late: {late}");
    let distinct: BTreeSet<i64> = mixed.iter().map(|(ts, _)| *ts).collect();
    assert!(distinct.len() < mixed.len());
}

#[test]
fn spoiled_messages_are_as_many_as_asked_for() {
    let spoiled = Options { bad: 0.05, ..few() };
    let is_good = |message: &Message| {
        let value = message.value.as_deref().unwrap_or_default();
        serde_json::from_slice::<Value>(value).is_ok_and(|value| value["ts"].is_i64())
    };
    let messages = all(&generators(&spoiled, Behaviour::default())[1]);
    let bad = messages.iter().filter(|(_, _, message)| !is_good(message)).count();
    assert!((800..1200).contains(&bad), "{bad}");
}

#[test]
fn users_join_as_the_growth_says_and_begin_as_guests() {
    let behaviour = Behaviour { growth: 30.0, ..Behaviour::default() };
    let options = Options { keys: 1000, messages: Some(20_000), ..few() };
    let events = objects(&generators(&options, behaviour)[1]);
    let span_ms =
        events.iter().filter_map(|event| event["ts"].as_i64()).max().expect("events") - options.start_ms;
    let guests: BTreeSet<i64> = events
        .iter()
        .filter(|event| event["auth"] == "Guest" && event["itemInSession"] == 0)
        .filter_map(|event| event["sessionId"].as_i64())
        .collect();
    let expected = 30_000.0 * span_ms as f64 / (365.25 * 86_400_000.0);
    // A guest who does not register comes back as a guest.
    let share = guests.len() as f64 / expected;
    assert!((0.8..1.6).contains(&share), "{} of {expected}", guests.len());
}

/// The page and the level of a message.
fn page_and_level(value: &[u8]) -> (String, String) {
    let event: Value = serde_json::from_slice(value).expect("it is JSON");
    let text = |name: &str| event[name].as_str().expect("a text").replace(' ', "");
    (text("page"), text("level"))
}

/// A user changes the level once in thousands of events, so each level is compared for itself. Most of the time one user is active,
/// so messages that are some sessions apart have nothing to do with each other.
#[test]
fn pages_of_messages_are_those_of_the_stationary_distribution() {
    const APART: usize = 211;
    let options = Options { keys: 600, messages: Some(1_500_000), partitions: 1, ..few() };
    let pages = &generators(&options, Behaviour { growth: 0.0, ..Behaviour::default() })[1];
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut message = Message::default();
    // Users begin as the published weights say: at first other pages are seen than later.
    for offset in (300_000..1_500_000).step_by(APART) {
        pages.message(Partition(0), Offset(offset), &mut message);
        let (page, level) = page_and_level(message.value.as_deref().expect("a value"));
        *counts.entry(level).or_default().entry(page).or_default() += 1;
    }
    let mut shares: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for (state, share) in Published::read().stationary() {
        let parts: Vec<&str> = state.split('/').collect();
        *shares.entry(parts[1].into()).or_default().entry(parts[2].into()).or_default() += share;
    }
    let (mut all, mut freedom) = (0.0, 0.0);
    for (level, found) in &counts {
        let (of_level, n) = (&shares[level], found.values().sum::<u64>() as f64);
        let sum: f64 = of_level.values().sum();
        assert!(found.keys().all(|page| of_level.contains_key(page)), "{level}: {found:?}");
        let cells: Vec<(u64, f64)> = of_level
            .iter()
            .map(|(page, share)| (found.get(page).copied().unwrap_or_default(), share / sum * n))
            .collect();
        let (one, free) = chi_square(&cells);
        (all, freedom) = (all + one, freedom + free);
    }
    assert!(counts.len() == 2 && freedom > 12.0, "{freedom} {counts:?}");
    assert!(all < chi_square_max(freedom), "χ² is {all} with {freedom} degrees of freedom: {counts:?}");
}
