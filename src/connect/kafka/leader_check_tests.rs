//! What a reader makes of other leaders, against the client's own mock cluster: that one gives each record the leader epoch
//! it has then, and keeps all records.

use crate::connect::drain::{Drained, poll};
use crate::connect::error::Error;
use crate::connect::kafka::Kafka;
use crate::connect::kafka::connector_tests::{
    Cluster, PATIENCE, cluster, failure, offsets, on, produce, until, until_slice,
};
use crate::connect::{Connector, Earlier, Source};
use headway_operators::record::{LastRead, Offset, Partition};
use std::time::Instant;

/// A cluster whose partitions have ten messages each of their first leader, and `then` more of another one.
fn led_by_two(partitions: i32, then: i64) -> Cluster {
    let cluster = cluster(partitions);
    for partition in 0..partitions {
        produce(&cluster, partition as u32, 0..10, 0);
        cluster.partition_leader("t", partition, Some(1)).unwrap();
        produce(&cluster, partition as u32, 10..10 + then, 0);
    }
    cluster
}

#[test]
fn partition_whose_leader_changes_loses_and_repeats_nothing() {
    let cluster = led_by_two(3, 10);
    let mut source = on(&cluster)
        .open(
            &[(Partition(0), Offset(0)), (Partition(1), Offset(9)), (Partition(2), Offset(10))],
            Box::new(|| {}),
        )
        .unwrap();
    let mut drained = Drained::default();
    let up_to =
        |drained: &Drained, end| (0..3).all(|partition| drained.caught_up.get(&partition) == Some(&end));
    until(source.as_mut(), &mut drained, |drained| up_to(drained, 20));
    // Once more while they are read, and once where one rests.
    source.pause(Partition(2), true);
    (0..3).for_each(|partition| cluster.partition_leader("t", partition, Some(1)).unwrap());
    (0..3).for_each(|partition| produce(&cluster, partition as u32, 20..30, 0));
    source.pause(Partition(2), false);
    until(source.as_mut(), &mut drained, |drained| up_to(drained, 30));
    for (partition, first) in [(0, 0), (1, 9), (2, 10)] {
        assert_eq!(offsets(&drained, partition), (first..30).collect::<Vec<_>>());
    }
}

/// The same, had the first leader's messages been lost and sent again.
fn led_by_the_second() -> Cluster {
    let cluster = cluster(1);
    cluster.partition_leader("t", 0, Some(1)).unwrap();
    produce(&cluster, 0, 0..20, 0);
    cluster
}

/// What a topic has lost shows where it is looked at again: here that is another cluster.
#[test]
fn record_that_another_leader_has_replaced_stops_the_job() {
    let read = led_by_two(1, 10);
    let cases = [("as it was", led_by_two(1, 10), false), ("replaced", led_by_the_second(), true)];
    for (what, now, is_lost) in cases {
        let (kafka, again) = (on(&read), on(&now));
        let (mut source, mut drained) = (
            kafka.source(&[(Partition(0), Offset(0))], Box::new(|| {}), again.checking_client()).unwrap(),
            Drained::default(),
        );
        if is_lost {
            assert_lost(&failure(&mut source, &mut drained), what);
            assert_eq!(offsets(&drained, 0), (0..10).collect::<Vec<_>>(), "{what}: nothing after it is read");
        } else {
            until(&mut source, &mut drained, |drained| drained.caught_up.get(&0) == Some(&20));
            assert_eq!(offsets(&drained, 0), (0..20).collect::<Vec<_>>(), "{what}");
        }
    }
}

#[test]
fn only_the_partition_in_doubt_waits_for_an_answer() {
    let read = led_by_two(2, 10);
    let again = led_by_two(1, 10);
    again.broker_down(1).unwrap();
    let (kafka, silent) = (on(&read), on(&again));
    // Of the other one only the second leader's messages are read.
    let assigned = [(Partition(0), Offset(0)), (Partition(1), Offset(10))];
    let mut source = kafka.source(&assigned, Box::new(|| {}), silent.checking_client()).unwrap();
    let mut drained = Drained::default();
    // It may rest meanwhile, and more may come.
    for (paused, end) in [(false, 25), (true, 30), (false, 35)] {
        source.pause(Partition(0), paused);
        produce(&read, 1, end - 5..end, 0);
        until(&mut source, &mut drained, |drained| drained.caught_up.get(&1) == Some(&end));
        assert_eq!(offsets(&drained, 0), (0..10).collect::<Vec<_>>());
        assert_eq!(drained.caught_up.get(&0), None, "there is more of it");
    }
    again.broker_up(1).unwrap();
    until(&mut source, &mut drained, |drained| drained.caught_up.get(&0) == Some(&20));
    assert_eq!(offsets(&drained, 0), (0..20).collect::<Vec<_>>());
    assert_eq!(offsets(&drained, 1), (10..35).collect::<Vec<_>>());
}

/// Looks, and takes nothing, until the client has fetched a partition up to `end`.
fn fetched(kafka: &Kafka, source: &mut dyn Source, partition: Partition, end: Offset) {
    let late = Instant::now() + PATIENCE;
    while !kafka.ends().iter().any(|there| (there.partition, there.offset) == (partition, end)) {
        assert!(Instant::now() < late, "it takes too long: {:?}", kafka.ends());
        poll(source, 0, &mut Drained::default()).unwrap();
    }
}

#[test]
fn answer_that_comes_before_all_was_taken_leaves_no_gap() {
    let cluster = led_by_two(2, 10);
    let kafka = on(&cluster);
    let mut source = kafka.open(&[(Partition(0), Offset(0))], Box::new(|| {})).unwrap();
    // In one batch from the client: a partition in doubt, much of another, and more of the first.
    fetched(&kafka, source.as_mut(), Partition(0), Offset(20));
    produce(&cluster, 1, 20..200, 0);
    source.assign(Partition(1), Offset(20)).unwrap();
    fetched(&kafka, source.as_mut(), Partition(1), Offset(200));
    produce(&cluster, 0, 20..30, 0);
    fetched(&kafka, source.as_mut(), Partition(0), Offset(30));
    // Slowly, so that the answer is there before the rest was taken.
    let mut drained = Drained::default();
    while offsets(&drained, 1).len() < 150 {
        poll(source.as_mut(), 1, &mut drained).unwrap();
        kafka.confirm().unwrap();
    }
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.get(&0) == Some(&30));
    assert_eq!(offsets(&drained, 0), (0..30).collect::<Vec<_>>());
    assert_eq!(offsets(&drained, 1), (20..200).collect::<Vec<_>>());
}

#[test]
fn partition_that_rests_may_be_in_doubt() {
    let cluster = led_by_two(1, 10);
    let kafka = on(&cluster);
    let mut source = kafka.open(&[(Partition(0), Offset(0))], Box::new(|| {})).unwrap();
    fetched(&kafka, source.as_mut(), Partition(0), Offset(20));
    let mut drained = Drained::default();
    until_slice(source.as_mut(), (&mut drained, 1), |drained| offsets(drained, 0).len() == 5);
    // What the client had given by then still comes, and in it the next leader's.
    source.pause(Partition(0), true);
    until_slice(source.as_mut(), (&mut drained, 1), |drained| offsets(drained, 0).len() == 10);
    for _ in 0..100 {
        poll(source.as_mut(), 1, &mut drained).unwrap();
    }
    source.pause(Partition(0), false);
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.get(&0) == Some(&20));
    assert_eq!(offsets(&drained, 0), (0..20).collect::<Vec<_>>());
}

fn assert_lost(error: &Error, what: &str) {
    let lost =
        matches!(error, Error::OtherIdentity { found, .. } if found.contains("at offset 9 is another"));
    assert!(lost, "{what}: {error}");
}

#[test]
fn record_that_was_replaced_between_two_runs_stops_the_second() {
    let before = led_by_two(1, 10);
    let mut source = on(&before).open(&[(Partition(0), Offset(0))], Box::new(|| {})).unwrap();
    until(source.as_mut(), &mut Drained::default(), |drained| drained.caught_up.get(&0) == Some(&20));
    let leader_epoch = source.leader_epoch(Partition(0), Offset(9)).unwrap();
    assert_ne!(
        source.leader_epoch(Partition(0), Offset(10)),
        Some(leader_epoch),
        "another leader has taken it"
    );
    let last_read = Some(LastRead { offset: Offset(9), leader_epoch });
    let cases = [("as it was", led_by_two(1, 10), false), ("replaced", led_by_the_second(), true)];
    for (what, now, is_lost) in cases {
        let kafka = on(&now);
        kafka.remember(&[Earlier {
            partition: Partition(0),
            identity: String::new(),
            next: Offset(10),
            last_read,
            content: None,
            finished: false,
            is_new: false,
        }]);
        let mut source = kafka.open(&[(Partition(0), Offset(10))], Box::new(|| {})).unwrap();
        let mut drained = Drained::default();
        if is_lost {
            assert_lost(&failure(source.as_mut(), &mut drained), what);
            assert!(offsets(&drained, 0).is_empty(), "{what}: nothing is read");
        } else {
            until(source.as_mut(), &mut drained, |drained| drained.caught_up.get(&0) == Some(&20));
            assert_eq!(offsets(&drained, 0), (10..20).collect::<Vec<_>>(), "{what}");
        }
    }
}
