//! The generator's messages: the same in every release, in any order, and such as they were asked for.

use crate::judge::{Message as Asked, agree};
use crate::twin::Reading;
use headway_operators::generate::{Generate, Message, Options};
use headway_operators::record::{Offset, Partition};
use headway_pipelines::turnstile::generate::{Generator, options};
use headway_pipelines::zone::Zone;
use std::collections::{HashMap, HashSet};

/// All messages of `options`, as one stream: partition, offset, message.
fn all(options: &Options) -> Vec<(Partition, Offset, Message)> {
    let generator = Generator::new(options, Zone::utc());
    let mut messages = Vec::new();
    let ends: Vec<Offset> =
        (0..generator.partitions()).map(|p| generator.end(Partition(p)).expect("an end")).collect();
    for offset in (0..ends[0].0).map(Offset) {
        for (partition, end) in (0..).map(Partition).zip(&ends) {
            if offset < *end {
                let mut message = Message::default();
                generator.message(partition, offset, &mut message);
                messages.push((partition, offset, message));
            }
        }
    }
    messages
}

fn few() -> Options {
    Options { messages: Some(20_001), ..options() }
}

#[test]
fn same_options_give_the_same_bytes_in_every_release() {
    let mut hash = 0;
    for (_, _, Message { key, value, timestamp_ms }) in all(&few()) {
        let content = format!("{hash:x} {key:?} {value:?} {timestamp_ms}");
        hash = xxhash_rust::xxh3::xxh3_64(content.as_bytes());
    }
    assert_eq!(format!("{hash:016x}"), "9d74a2bf489dad2f");
    let identity = "turnstile/1 seed=7 partitions=4 rate=1000.0 disorder_s=20.0 dup=0.01 late=0.002 bad=0.001 \
                    keys=4600 start_ms=1704499200000";
    assert_eq!(Generator::new(&few(), Zone::utc()).identity(), identity);
}

#[test]
fn message_on_its_own_is_the_one_of_the_whole_stream() {
    let generator = Generator::new(&few(), Zone::utc());
    // One buffer for all, so that nothing of one message stays for the next.
    let mut alone = Message::default();
    for (partition, offset, message) in all(&few()).into_iter().rev() {
        generator.message(partition, offset, &mut alone);
        assert_eq!(alone, message, "partition {partition} offset {offset}");
    }
}

#[test]
fn partitions_share_all_messages() {
    for (messages, ends) in [(0, [0, 0, 0, 0]), (1, [1, 0, 0, 0]), (6, [2, 2, 1, 1]), (8, [2, 2, 2, 2])] {
        let generator = Generator::new(&Options { messages: Some(messages), ..options() }, Zone::utc());
        assert_eq!(
            [0, 1, 2, 3].map(|partition| generator.end(Partition(partition))),
            ends.map(|end| Some(Offset(end)))
        );
    }
    let endless = Generator::new(&Options { messages: None, ..options() }, Zone::utc());
    assert_eq!(endless.end(Partition(3)), None);
}

#[test]
fn line_is_upstreams() {
    let messages = all(&Options { dup: 0.0, late: 0.0, bad: 0.0, ..few() });
    let Message { key, value, timestamp_ms } = &messages[5].2;
    let value = String::from_utf8(value.clone().expect("a value")).expect("text");
    assert_eq!(
        value,
        r#""N700A,R570,01-00-02,72 ST-2 AVE,Q,IND,01-05-24,23:59:41,REGULAR,1,16,480fc116-6d24-439a-af91-954d82222cae,2024-01-05 23:59:41""#
    );
    assert!(value.contains(std::str::from_utf8(key).expect("text")));
    assert_eq!(*timestamp_ms, 1_704_499_200_005);
}

#[test]
fn messages_of_another_zone_tell_the_same_instants() {
    let quiet = Options { dup: 0.0, late: 0.0, bad: 0.0, messages: Some(200), ..options() };
    let instants = |zone: &str| {
        let generator = Generator::new(&quiet, Zone::find(zone).expect("a known zone"));
        let mut message = Message::default();
        let value = |offset| {
            generator.message(Partition(0), offset, &mut message);
            Asked::from(message.value.clone().expect("a value"))
        };
        let values: Vec<Asked> = (0..50).map(Offset).map(value).collect();
        let instants = agree(zone, &values).into_iter().map(|answer| match answer {
            Ok(reading) => reading.time_ms,
            Err(reason) => panic!("{reason}"),
        });
        instants.collect::<Vec<_>>()
    };
    assert_eq!(instants("America/New_York"), instants("UTC"));
}

#[test]
fn good_messages_decode_and_bad_ones_do_not() {
    let good = all(&Options { bad: 0.0, ..few() });
    let values: Vec<Asked> =
        good.into_iter().map(|(_, _, message)| message.value.expect("a value").into()).collect();
    for answer in agree("UTC", &values) {
        assert!(answer.is_ok(), "{answer:?}");
    }
    let bad = all(&Options { bad: 1.0, messages: Some(2000), ..options() });
    let values: Vec<Asked> =
        bad.iter().filter_map(|(_, _, message)| message.value.clone().map(Asked::from)).collect();
    assert!(values.len() < bad.len(), "some are tombstones");
    let mut reasons = HashSet::new();
    for answer in agree("UTC", &values) {
        let Err(reason) = answer else { panic!("{answer:?} is good") };
        reasons.insert(reason);
    }
    // All that a decoder can find.
    assert_eq!(reasons.len(), 9, "{reasons:?}");
}

#[test]
fn shares_and_delays_are_those_asked_for() {
    let options = Options { dup: 0.05, late: 0.02, bad: 0.01, messages: Some(40_000), ..options() };
    let messages = all(&options);
    let mut seen = HashSet::new();
    let (mut repeats, mut late, mut dead) = (0, 0, 0);
    let mut turnstiles: HashMap<String, HashSet<String>> = HashMap::new();
    let values: Vec<Asked> =
        messages.iter().map(|(_, _, message)| message.value.clone().unwrap_or_default().into()).collect();
    for ((_, _, message), answer) in messages.iter().zip(agree("UTC", &values)) {
        let is_repeat = !seen.insert(message.key.clone());
        repeats += u32::from(is_repeat);
        let Ok(Reading { key: [ca, unit, scp, rest @ ..], entries, exits, time_ms, .. }) = answer else {
            dead += 1;
            continue;
        };
        assert!((0..40).contains(&entries) && (0..40).contains(&exits));
        let delay_ms = message.timestamp_ms - time_ms;
        assert!((0..=3 * 3_600_000 + 25_000).contains(&delay_ms), "{delay_ms}");
        late += u32::from(delay_ms >= 3_600_000);
        // A repeat comes up to a chain of 2,000 messages after its original, two seconds each.
        assert!(is_repeat || delay_ms <= 21_000 || delay_ms >= 3_600_000, "{delay_ms}");
        turnstiles.entry(format!("{ca} {unit} {scp}")).or_default().insert(rest.join(","));
    }
    for (name, count, share) in [("repeats", repeats, 0.05), ("late", late, 0.02), ("dead", dead, 0.01)] {
        let got = f64::from(count) / 40_000.0;
        assert!((got / share - 1.0).abs() < 0.2, "{name}: {got} of {share}");
    }
    assert!(turnstiles.len() > 4500 && turnstiles.len() <= 4600, "{}", turnstiles.len());
    assert!(turnstiles.values().all(|rest| rest.len() == 1), "all else follows from the turnstile");
}
