//! What becomes of messages: cases that anyone can read, a slow twin, and the real log.
//!
//! `REWRITE=1 cargo test` writes the answers into the cases; a person reads the difference.

use crate::cases;
use flate2::read::MultiGzDecoder;
use headway_operators::error::Reason;
use headway_operators::row::{Cell, Row};
use headway_pipelines::music::decode::{Decoder, NOT_AN_OBJECT};
use headway_pipelines::music::event::{Event, Field, columns};
use headway_pipelines::music::topic::{Form, Topic};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;

fn decoder(form: Form, topic: Topic) -> Decoder {
    Decoder { form, topic, repairs: false }
}

/// A cell as JSON has it.
fn shown(cell: Cell<'_>) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => text.into(),
        Cell::Int(number) => number.into(),
        Cell::Time(time) => time.ms().into(),
        Cell::Float(number) => number.into(),
        Cell::Bool(is) => is.into(),
        Cell::Wide(_) => panic!("events have no sums"),
    }
}

/// The cells of a row that have a value, by column.
fn cells(event: &Event, form: Form) -> Vec<(String, Value)> {
    let mut names = columns(form, event.topic()).into_iter().map(|column| column.name.into_owned());
    let mut cells = Vec::new();
    event.cells(&mut |cell| cells.push((names.next().expect("as many columns as cells"), shown(cell))));
    assert_eq!(names.next(), None, "as many cells as columns");
    cells.retain(|(_, value)| !value.is_null());
    cells
}

/// An answer as the cases write it.
fn answer(decoder: &Decoder, message: &str) -> String {
    let event = match decoder.event(message.as_bytes()) {
        Err(reason) => return format!("dead {reason}"),
        Ok(event) => event,
    };
    let mut text = "row".to_string();
    for (name, value) in cells(&event, decoder.form) {
        text += &format!(" {name}={value}");
    }
    let names = |fields: Vec<Field>| fields.into_iter().map(Field::name).collect::<Vec<_>>().join(" ");
    let odd = event.odd();
    for (what, fields) in
        [("wrong", names(odd.wrong().collect())), ("repaired", names(odd.repaired().collect()))]
    {
        if !fields.is_empty() {
            text += &format!(" | {what} {fields}");
        }
    }
    if odd.unknown > 0 {
        text += &format!(" | unknown {}", odd.unknown);
    }
    text
}

/// Runs a case and gives it with its answers.
fn run(case: &str) -> String {
    let (mut answered, mut asked) = (String::new(), None);
    let mut reader = decoder(Form::Topics, Topic::Listen);
    for line in case.lines() {
        let topic = |name: &str| Topic::ALL.into_iter().find(|topic| topic.name() == name).expect("a topic");
        match line.split_once(' ') {
            Some(("topic", name)) => reader = decoder(Form::Topics, topic(name)),
            Some(("sparkify", name)) => reader = decoder(Form::Sparkify, topic(name)),
            Some(("repairs", name)) => {
                reader = Decoder { repairs: true, ..decoder(Form::Topics, topic(name)) }
            }
            Some((">", message)) => asked = Some(answer(&reader, message)),
            Some(("=", _)) => {
                answered += &format!("= {}\n", asked.take().expect("an answer follows a message"));
                continue;
            }
            _ => {}
        }
        answered += &format!("{line}\n");
    }
    answered
}

#[test]
fn cases_have_the_answers_that_they_say() {
    cases::hold("cases", 6, run);
}

/// The cells of a row, and how many fields were of a wrong type and how many are not known.
type Decoded = (Vec<(String, Value)>, [usize; 2]);

/// What the decoder should make of an object, in the most obvious way.
fn twin(object: &Map<String, Value>, form: Form, topic: Topic) -> Result<Decoded, Reason> {
    let mut cells = Vec::new();
    let (mut wrong, mut known) = (0, 0);
    for field in topic.fields(form) {
        let name = field.name();
        let wire = if form == Form::Sparkify && name == "duration" { "length" } else { name };
        let Some(value) = object.get(wire) else { continue };
        known += 1;
        if value.is_null() {
            continue;
        }
        let whole = |value: &Value| match value.as_f64() {
            _ if value.is_i64() => Some(value.clone()),
            Some(number) if number.fract() == 0.0 && number.abs() <= 2f64.powi(53) => {
                Some(json!(number as i64))
            }
            _ => None,
        };
        let good = match name {
            "ts" | "sessionId" | "itemInSession" | "status" | "registration" => whole(value),
            "userId" if form == Form::Sparkify && value == "" => continue,
            "userId" if form == Form::Sparkify && value.is_string() => {
                value.as_str().and_then(|digits| digits.parse::<i64>().ok()).map(Value::from)
            }
            "userId" => whole(value),
            "duration" | "lon" | "lat" => value.as_f64().map(Value::from),
            "success" => value.as_bool().map(Value::from),
            _ => value.as_str().map(Value::from),
        };
        match good {
            Some(value) => cells.push((name.to_string(), value)),
            None if name == "ts" => return Err(Reason::BAD_TIMESTAMP),
            None => wrong += 1,
        }
    }
    match cells.iter().find(|(name, _)| name == "ts").and_then(|(_, ts)| ts.as_i64()) {
        None => Err(Reason::MISSING_FIELD),
        Some(0..=253_402_300_799_999) => Ok((cells, [wrong, object.len() - known])),
        Some(_) => Err(Reason::BAD_TIMESTAMP),
    }
}

/// Any value, often of the type that the field should have.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => "[a-zA-Z \"\\\\é\u{7f}\u{1f600}\n]{0,8}".prop_map(Value::from),
        3 => (0i64..300_000_000_000_000).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        2 => (-180.0f64..180.0).prop_map(Value::from),
        1 => (-1_000_000i64..1_000_000).prop_map(|n| Value::from(n as f64)),
        1 => "[0-9]{1,6}".prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!([1, {"ts": 2}])),
        1 => Just(json!({"level": "paid"})),
    ]
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    let names: Vec<&'static str> = vec![
        "artist",
        "song",
        "duration",
        "length",
        "sessionId",
        "sessionid",
        "auth",
        "level",
        "itemInSession",
        "city",
        "zip",
        "state",
        "userAgent",
        "lon",
        "lat",
        "userId",
        "lastName",
        "firstName",
        "gender",
        "registration",
        "page",
        "method",
        "status",
        "success",
        "tag",
        "location",
        "",
        "ünknown",
    ];
    let fields = prop::collection::vec((prop::sample::select(names), value()), 0..12);
    let time = prop_oneof![9 => (0i64..2_000_000_000_000).prop_map(|ms| Some(json!(ms))), 2 => value().prop_map(Some), 1 => Just(None)];
    (fields, time).prop_map(|(fields, time)| {
        let mut object: Map<String, Value> =
            fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        object.extend(time.map(|time| ("ts".to_string(), time)));
        object
    })
}

proptest! {
    #[test]
    fn any_object_gives_what_a_slow_twin_gives(
        object in object(), topic in prop::sample::select(Topic::ALL.to_vec()), is_log in any::<bool>(), newline in any::<bool>()
    ) {
        let (form, topic) = if is_log { (Form::Sparkify, Topic::PageView) } else { (Form::Topics, topic) };
        let text = format!("{}{}", Value::from(object.clone()), if newline { "\n" } else { "" });
        let got = decoder(form, topic).event(text.as_bytes());
        let got = got.map(|event| (cells(&event, form), [event.odd().wrong().count(), event.odd().unknown as usize]));
        prop_assert_eq!(got, twin(&object, form, topic), "{}", text);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = decoder(Form::Topics, Topic::Listen).event(&bytes);
        let _ = Decoder { repairs: true, ..decoder(Form::Sparkify, Topic::PageView) }.event(&bytes);
    }
}

#[test]
fn bytes_that_are_no_text_are_dead() {
    let dead = |bytes: &[u8]| decoder(Form::Topics, Topic::Listen).event(bytes).expect_err("it is dead");
    assert_eq!(dead(b"{\"ts\":1,\"city\":\"\xff\"}"), Reason::NOT_UTF8);
    assert_eq!(dead(b"7\n"), NOT_AN_OBJECT);
    let deep = format!("{{\"ts\":1,\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let event = decoder(Form::Topics, Topic::Listen).event(deep.as_bytes());
    assert!(event.is_err() || event.is_ok_and(|event| event.odd().unknown == 1), "it does not overflow");
}

/// The events of the real log, the twenty days of it that are published.
fn log() -> Vec<Event> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/samples/sparkify-2018-11.ndjson.gz");
    let mut text = String::new();
    MultiGzDecoder::new(fs::File::open(path).expect("the sample")).read_to_string(&mut text).expect("gzip");
    let decoder = Decoder { repairs: true, ..decoder(Form::Sparkify, Topic::PageView) };
    text.lines()
        .map(|line| decoder.event(line.as_bytes()).expect("the real log has no dead letters"))
        .collect()
}

#[test]
fn real_log_is_read_without_loss() {
    let events = log();
    let plays: Vec<Event> = events.iter().filter_map(Event::as_listen).collect();
    let users: BTreeSet<i64> = plays.iter().filter_map(|play| play.int(Field::UserId)).collect();
    let mut levels: BTreeMap<&str, u32> = BTreeMap::new();
    plays.iter().for_each(|play| *levels.entry(play.text(Field::Level).unwrap_or("")).or_default() += 1);
    assert_eq!((events.len(), plays.len(), users.len()), (4_965, 4_223, 86));
    assert_eq!(levels, [("free", 856), ("paid", 3_367)].into());
    assert!(events.iter().all(|event| event.odd().unknown == 0 && event.odd().wrong().count() == 0));
    let plays_of =
        |artist: &str| plays.iter().filter(|play| play.text(Field::Artist) == Some(artist)).count();
    let top = ["Kings Of Leon", "Coldplay", "The Black Keys", "Dwight Yoakam"].map(plays_of);
    assert_eq!(top[..3], [34, 34, 28]);
    // Their names come encoded three times.
    assert!(["Björk", "Röyksopp", "Beyoncé"].map(plays_of).iter().all(|plays| *plays > 0));
    let is_mangled = |play: &&Event| play.text(Field::Artist).is_some_and(|artist| artist.contains('Ã'));
    assert_eq!(plays.iter().find(is_mangled).and_then(|play| play.text(Field::Artist)), None);
    assert!(
        events
            .iter()
            .filter(|event| event.int(Field::UserId).is_none())
            .all(|event| event.text(Field::LastName).is_none())
    );
}
