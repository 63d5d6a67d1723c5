//! The whole pipeline on the real engine, with any messages, against a slow twin.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use bikes::trips::{Event, Move};
use headway::kit::Job;
use headway_operators::generate::{Message, Options};
use headway_operators::record::{Offset, Partition};
use std::collections::BTreeMap;

/// Generated messages of an input, partition by partition.
fn generated(input: &str, messages: u64) -> Vec<Vec<Vec<u8>>> {
    let usual = bikes::generate::options(input).unwrap();
    let options = Options { messages: Some(messages), keys: 40, bad: 0.01, rate: 0.02, ..usual };
    let generator = bikes::generate::generator(input, &options).unwrap();
    let mut message = Message::default();
    let mut one = |partition, offset| {
        generator.message(partition, offset, &mut message);
        message.value.clone().unwrap()
    };
    let list = |partition| {
        let end = generator.end(partition).unwrap();
        (0..end.0).map(Offset).map(|offset| one(partition, offset)).collect()
    };
    (0..generator.partitions()).map(Partition).map(list).collect()
}

#[test]
fn any_messages_give_the_trips_of_a_slow_twin() {
    let (stations, moves) = (generated("stations", 12), generated("moves", 350));
    let job = Job::of(&bikes::CATALOGUE[0], &[]).messages("stations", &stations).messages("moves", &moves);
    let outcome = job.check();
    // The twin: all moves in order, bike by bike. Generated messages come in order: none is late.
    let mut dead = 0;
    let mut all: Vec<(i64, usize, usize, Move)> = Vec::new();
    for (partition, list) in moves.iter().enumerate() {
        for (offset, value) in list.iter().enumerate() {
            match serde_json::from_slice::<Move>(value) {
                Ok(of) => all.push((of.ts.time().ms(), partition, offset, of)),
                Err(_) => dead += 1,
            }
        }
    }
    all.sort_by_key(|(time, partition, offset, _)| (*time, *partition, *offset));
    let mut away: BTreeMap<String, (i64, String)> = BTreeMap::new();
    let (mut trips, mut alerts) = (Vec::new(), 0);
    let overdue_ms = 2 * 3_600_000;
    for (time, _, _, of) in all {
        if let Some((start, from)) = away.remove(&of.bike) {
            // The alert comes before whatever happens later.
            alerts += usize::from(time > start + overdue_ms);
            if of.event == Event::Dock {
                trips.push(format!("{},{from},{}", of.bike, of.station));
            }
        }
        if of.event == Event::Undock {
            away.insert(of.bike, (time, of.station));
        }
    }
    // The end of the input closes what lies within the horizon.
    alerts += away.len();
    trips.sort();
    let given: Vec<String> = outcome
        .lines("trips")
        .iter()
        .map(|line| line.split(',').take(3).collect::<Vec<_>>().join(","))
        .collect();
    assert!(trips.len() > 100 && alerts > 5, "{} trips, {alerts} alerts", trips.len());
    assert_eq!(given, trips);
    assert_eq!(outcome.lines("overdue").len(), alerts);
    assert_eq!(outcome.lines("_dead/bikes").len(), dead);
    assert!(outcome.lines("overdue").iter().all(|line| line.contains("\"station_name\":\"Station ")));
}
