//! What a batch of readings changes, by hand.

use super::*;
use headway_operators::record::Partition;

const HOUR_MS: i64 = 3_600_000;

/// Readings of one turnstile, each with its hour, the day its file was published, and its register.
fn epoch(deltas: &mut Deltas, number: u64, readings: &[(i64, u32, i64)]) -> (usize, usize) {
    let hash = KeyHash::of(b"A002");
    let key = Place::new(["A002", "R051", "02-00-00", "59 ST", "NQR456W", "BMT"]);
    deltas.define(Definition { hash, key });
    let reading = |(hour, published, entries): &(i64, u32, i64)| {
        let (time, exits) = (EventTime(hour * HOUR_MS), 0);
        let rank = Rank { published: *published, earlier: 0, is_regular: true };
        let data =
            Reading { turnstile: hash, place: hash, second: time, line: 1, rank, entries: *entries, exits };
        Stamped { time, stamp: EventTime::MIN, partition: Partition(0), data }
    };
    deltas.apply(Epoch(number), &mut readings.iter().map(reading).collect(), &mut Fates::default());
    let mut out = Vec::new();
    let tick = Tick { watermark: EventTime::MIN, wall_ms: 0, idle: false, ended: false, finishing: false };
    deltas.close(Epoch(number), &tick, &mut out);
    let mut sections = 0;
    deltas.snapshot(&Wanted::changes(), &mut |_, _| sections += 1);
    let scanned = deltas.turnstiles.values().map(|turnstile| turnstile.winners.len()).sum::<usize>();
    assert_eq!(deltas.held(), scanned as u64);
    (out.len(), sections)
}

/// One reading of the hour that New York has twice, by partition, line, minute that the wall shows, and register.
fn quarter((partition, line, minute, register): (u32, i64, i64, i64)) -> Stamped<Reading> {
    // 3 November 2024, 01:00 in New York for the first time.
    let time = EventTime(1_730_610_000_000 + minute * 60_000);
    let hash = KeyHash::of(b"A002");
    let rank = Rank { published: 20_241_109, earlier: 0, is_regular: true };
    let second = time.plus_ms(HOUR_MS);
    let data = Reading { turnstile: hash, place: hash, second, line, rank, entries: register, exits: 0 };
    Stamped { time, stamp: EventTime::MIN, partition: Partition(partition), data }
}

/// Applies an epoch of such readings; gives minute and register of each winner.
fn hour(deltas: &mut Deltas, epoch: u64, readings: &[(u32, i64, i64, i64)]) -> Vec<(i64, i64)> {
    let hash = KeyHash::of(b"A002");
    let key = Place::new(["A002", "R051", "02-00-00", "59 ST", "NQR456W", "BMT"]);
    deltas.define(Definition { hash, key });
    let mut batch = readings.iter().copied().map(quarter).collect();
    deltas.apply(Epoch(epoch), &mut batch, &mut Fates::default());
    let tick = Tick { watermark: EventTime::MIN, wall_ms: 0, idle: false, ended: false, finishing: false };
    deltas.close(Epoch(epoch), &tick, &mut Vec::new());
    winners(deltas)
}

fn winners(deltas: &Deltas) -> Vec<(i64, i64)> {
    let all = deltas.turnstiles.values().flat_map(|turnstile| &turnstile.winners);
    all.map(|winner| ((winner.time.ms() - 1_730_610_000_000) / 60_000, winner.entries)).collect()
}

/// What another run reads back of `deltas`.
fn restarted(deltas: &mut Deltas, version: u32) -> Deltas {
    let mut saved = Vec::new();
    let wanted = Wanted::changes().with(SectionKind::Base, (0..1024).map(Shard));
    deltas.snapshot(&wanted, &mut |shard, bytes| {
        saved.push(Saved { shard, version, kind: SectionKind::Base, file: 0, bytes });
    });
    let mut next = Deltas::new(Zone::utc(), 10_000, deltas.corrections, Epoch(9));
    saved.iter().for_each(|saved| next.restore(saved).expect("it was saved"));
    next.restored(EventTime::MIN, &mut Vec::new());
    assert_eq!(next.held(), deltas.held());
    next
}

#[test]
fn first_reading_of_an_hour_that_comes_twice_counts_for_good_whatever_partition_the_next_is_of() {
    let mut deltas = Deltas::new(Zone::utc(), 10_000, Corrections::Ignore, Epoch(0));
    let first = [(5, 1, 30, 10), (5, 2, 45, 12), (5, 3, 0, 14), (5, 4, 15, 15)];
    let committed = [(30, 10), (45, 12), (60, 14), (75, 15)];
    assert_eq!(hour(&mut deltas, 1, &first), committed);
    // A lower partition has other registers, and evidence that would resolve what is there in another way.
    let later = [(3, 1, 30, 8), (3, 2, 45, 13), (3, 3, 0, 20), (3, 4, 15, 25), (3, 5, 30, 30)];
    let mut all = committed.to_vec();
    all.push((90, 30));
    assert_eq!(hour(&mut deltas, 2, &later), all);
    let mut next = restarted(&mut deltas, 2);
    assert_eq!(winners(&next), all);
    assert_eq!(hour(&mut next, 10, &[(1, 1, 0, 1), (1, 2, 45, 2)]), [vec![(0, 1)], all].concat());
}

#[test]
fn hour_that_comes_twice_is_there_again_if_version_1_has_saved_it() {
    for corrections in [Corrections::Apply, Corrections::Ignore] {
        let mut old = Deltas::new(Zone::utc(), 10_000, corrections, Epoch(0));
        let committed = hour(&mut old, 1, &[(5, 1, 45, 12), (5, 2, 0, 14)]);
        assert_eq!(committed, [(45, 12), (60, 14)]);
        // As version 1 had it: only readings, not what they were resolved to.
        let of = old.turnstiles.values_mut().next().expect("there is one");
        of.winners.iter_mut().for_each(|winner| winner.is_resolved = true);
        old.held = of.recount().1;
        let mut next = restarted(&mut old, 1);
        assert_eq!(winners(&next), committed, "{corrections:?}");
        // From the first change on it is saved as this version has it.
        let after = hour(&mut next, 10, &[(5, 3, 15, 15)]);
        assert_eq!(after, [(45, 12), (60, 14), (75, 15)]);
        assert_eq!(winners(&restarted(&mut next, 2)), after, "{corrections:?}");
    }
}

#[test]
fn readings_that_say_the_same_again_change_nothing_that_is_shown_and_only_a_later_file_is_saved() {
    let mut deltas = Deltas::new(Zone::utc(), 10_000, Corrections::Apply, Epoch(0));
    let first = [(0, 20_240_106, 10), (4, 20_240_106, 30), (8, 20_240_106, 60)];
    assert_eq!(epoch(&mut deltas, 1, &first), (2, 1));
    assert_eq!(epoch(&mut deltas, 2, &first), (0, 0), "the same file again");
    assert_eq!(epoch(&mut deltas, 3, &[(4, 20_231_230, 31)]), (0, 0), "an earlier file");
    // What counts now is of the later file: it has to be saved, and beats files in between.
    assert_eq!(epoch(&mut deltas, 4, &[(4, 20_240_113, 30)]), (0, 1), "a later file says the same");
    assert_eq!(epoch(&mut deltas, 5, &[(4, 20_240_110, 35)]), (0, 0), "one in between");
    assert_eq!(epoch(&mut deltas, 6, &[(4, 20_240_120, 35)]), (4, 1), "a correction");
}
