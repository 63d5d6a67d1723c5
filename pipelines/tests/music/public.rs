//! Generated messages draw from the public files: excerpts of them, with what is odd about them, lie beside this file.

use headway_operators::generate::{Message, Options};
use headway_operators::record::{Offset, Partition};
use headway_operators::setting::Wrong;
use headway_pipelines::music::ENTRY;
use headway_pipelines::music::generate::options;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const FILES: [(&str, &str); 4] = [
    ("songs", include_str!("public/listen_counts.txt")),
    ("places", include_str!("public/US_zip_places.txt")),
    ("names", include_str!("public/yob1990.txt")),
    ("surnames", include_str!("public/Top1000Surnames.csv")),
];

/// The messages of a topic of a job with the public files, as they are on the wire.
fn messages(topic: &str) -> Vec<String> {
    let read = |path: &str| -> Result<String, Wrong> {
        let file = FILES.iter().find(|(name, _)| *name == path).expect("the file of a setting");
        Ok(file.1.to_string())
    };
    let set = FILES.map(|(setting, _)| (setting, setting));
    let made = ENTRY.configure_with_files(set, &read).expect("the public files are read");
    let options = Options { messages: Some(12_000), keys: 400, ..options() };
    let generator = made.pipeline.generator(topic, &options).expect("it has a generator");
    let end = generator.end(Partition(0)).expect("it ends");
    let message = |offset| {
        let mut message = Message::default();
        generator.message(Partition(0), offset, &mut message);
        String::from_utf8(message.value.expect("a value")).expect("text")
    };
    (0..end.0).map(Offset).map(message).collect()
}

fn column(file: usize, at: usize, between: char) -> Vec<&'static str> {
    FILES[file].1.lines().map(|line| line.split(between).nth(at).expect("a field")).collect()
}

#[test]
fn songs_places_and_names_are_those_of_the_public_files() {
    let lines = messages("listen_events");
    let events: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let songs: BTreeMap<(&str, &str), (f64, u64)> = FILES[0]
        .1
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let numbers = (fields[3].parse().expect("seconds"), fields[4].parse().expect("a count"));
            ((fields[1], fields[2]), numbers)
        })
        .collect();
    let places: BTreeSet<(&str, &str)> = column(1, 2, '\t').into_iter().zip(column(1, 1, '\t')).collect();
    let (first, genders) = (column(2, 0, ','), column(2, 1, ','));
    let surnames: BTreeSet<String> = column(3, 0, ',').iter().map(|name| name.to_uppercase()).collect();
    let (mut played, mut seen) = (BTreeMap::<&str, u64>::new(), BTreeSet::new());
    for event in &events {
        let text = |name: &str| event[name].as_str().expect("a text");
        // A title that has quotes of its own in the file has them in the message, too, as upstream's messages do.
        let (duration, plays) = songs[&(text("artist"), text("song"))];
        assert!(plays > 0, "{event} is played, and nobody ever played it");
        assert_eq!(event["duration"].as_f64(), Some(duration));
        *played.entry(text("song")).or_default() += 1;
        assert!(places.contains(&(text("city"), text("zip"))), "{event}");
        seen.insert(text("city"));
        if event.get("userId").is_some() {
            let at = first.iter().position(|name| *name == text("firstName")).expect("a name of the file");
            assert_eq!(genders[at], text("gender"));
            assert!(surnames.contains(&text("lastName").to_uppercase()) && text("lastName") != "NAME");
        }
    }
    assert!(events.len() > 5_000 && seen.len() == places.len(), "{} {}", events.len(), seen.len());
    let most = played.iter().max_by_key(|(_, plays)| **plays).expect("something is played");
    assert_eq!(*most.0, "Yo Yo Man (Garter Belt)", "as in the file");
    let odd = lines.iter().find(|line| line.contains("Hammerklavier")).expect("it is played");
    assert!(
        odd.contains(r#""song":"\"Piano Sonata No. 29 in B flat major Op. 106  \\\"Hammerklavier\\\" (2005"#),
        "{odd}"
    );
    assert!(lines.iter().any(|line| line.contains("Raymond Lefèvre")), "text is UTF-8");
}
