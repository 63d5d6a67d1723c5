//! What sections of state bring back of histories, whatever kinds they are, and from the version before.

use super::*;
use crate::record::Partition;
use crate::state::SectionKind;
use proptest::prelude::*;

type Operator = Scd2<u8, u8, u32>;
type Outs = Vec<Out<u8, u8, u32>>;

fn event(key: u8, value: u8, fact: u32) -> Event<u8, u8, u32> {
    Event { key, value, fact: Some(fact) }
}

fn apply(operator: &mut Operator, epoch: u64, events: &[(i64, Event<u8, u8, u32>)]) {
    let stamp = |(time, data): &(i64, Event<u8, u8, u32>)| Stamped {
        time: EventTime(*time),
        stamp: EventTime::MIN,
        partition: Partition(0),
        data: data.clone(),
    };
    operator.apply(Epoch(epoch), &mut events.iter().map(stamp).collect(), &mut Fates::default());
}

fn close(operator: &mut Operator, epoch: u64, watermark: i64) -> Outs {
    let watermark = EventTime(watermark);
    let tick = Tick { watermark, wall_ms: 0, idle: false, ended: false, finishing: false };
    let mut out = Vec::new();
    operator.close(Epoch(epoch), &tick, &mut out);
    out
}

/// An operator that starts from `sections`, and the versions that it gives.
fn restored(sections: &[Saved], watermark: i64) -> (Operator, Outs) {
    let (mut operator, mut out) = (Operator::new("Users", Epoch(0)), Vec::new());
    sections.iter().for_each(|saved| operator.restore(saved).unwrap());
    operator.restored(EventTime(watermark), &mut out);
    out.sort();
    (operator, out)
}

/// The versions that `outs` lead to.
fn versions(outs: &Outs) -> Outs {
    let mut copies: BTreeMap<Version<u8, u8>, i64> = BTreeMap::new();
    for out in outs {
        if let Out::Version((version, _, diff)) = out {
            *copies.entry(version.clone()).or_default() += diff;
        }
    }
    assert!(copies.values().all(|copies| (0..=1).contains(copies)), "{copies:?}");
    copies.retain(|_, copies| *copies == 1);
    copies.into_keys().map(|version| Out::Version((version, Epoch(0), 1))).collect()
}

/// Keeps of `live`, in the order they are read back, what `put` and `wanted` do not replace.
fn keep_live(live: &mut BTreeMap<Shard, Vec<Saved>>, wanted: &Wanted, put: BTreeMap<Shard, Vec<u8>>) {
    for (shard, kind) in wanted.whole() {
        let merged = |piece: &Saved| kind == SectionKind::Merged && piece.kind == SectionKind::Base;
        live.entry(shard).or_default().retain(merged);
    }
    for (shard, bytes) in put {
        let kind = wanted.kind(shard);
        live.entry(shard).or_default().push(Saved { shard, version: 2, kind, file: 0, bytes });
    }
}

fn snapshot(operator: &mut Operator, wanted: &Wanted) -> BTreeMap<Shard, Vec<u8>> {
    let mut put = BTreeMap::new();
    operator.snapshot(wanted, &mut |shard, bytes| assert!(put.insert(shard, bytes).is_none()));
    put
}

fn kind() -> impl Strategy<Value = SectionKind> {
    prop::sample::select(vec![SectionKind::Base, SectionKind::Merged, SectionKind::Change])
}

proptest! {
    #[test]
    fn what_sections_bring_back_goes_on_as_what_was_kept(
        steps in prop::collection::vec(
            (prop::collection::vec((0i64..4000, 0u8..5, 0u8..3, 0u32..3), 0..6), 0i64..1500, kind()), 1..12)
    ) {
        let mut operator = Operator::new("Users", Epoch(0));
        let mut live: BTreeMap<Shard, Vec<Saved>> = BTreeMap::new();
        let (mut watermark, mut outs) = (0, Vec::new());
        for (epoch, (events, step, kind)) in (1..).zip(steps) {
            let events: Vec<_> = events
                .into_iter()
                .map(|(after, key, value, fact)| (watermark + after, event(key, value, fact)))
                .collect();
            apply(&mut operator, epoch, &events);
            watermark += step;
            outs.extend(close(&mut operator, epoch, watermark));
            // Every second shard gets the kind that was drawn.
            let shards = (0..1024).step_by(2).map(Shard);
            let is_change = kind == SectionKind::Change;
            let wanted = if is_change { Wanted::changes() } else { Wanted::changes().with(kind, shards) };
            let put = snapshot(&mut operator, &wanted);
            keep_live(&mut live, &wanted, put);
            let sections: Vec<_> = live.values().flatten().cloned().collect();
            let (mut again, given) = restored(&sections, watermark);
            prop_assert_eq!(again.held(), operator.held());
            prop_assert_eq!(given, versions(&outs));
            let waiting = |operator: &Operator| {
                let mut all: Vec<_> = operator.waiting.all().map(|(time, event)| (time, event.clone())).collect();
                all.sort();
                all
            };
            prop_assert_eq!(waiting(&again), waiting(&operator));
            let mut whole = outs.clone();
            whole.extend(close(&mut again, epoch + 1, i64::MAX));
            versions(&whole);
        }
    }
}

#[test]
fn sections_of_version_1_are_read_beside_those_of_version_2() {
    let saved = |version, kind, bytes| Saved { shard: shard_of(&7_u8), version, kind, file: 0, bytes };
    let v1 = |kind, waiting: Vec<(EventTime, u8, Option<u32>)>| {
        let section: SectionV1<u8, u8, u32> = vec![(7, Some((vec![(EventTime(1), 0)], waiting)))];
        saved(1, kind, postcard::to_stdvec(&section).unwrap())
    };
    // The base has an event twice; the change repeats it, and has one more.
    let (twice, once) = ((EventTime(10), 1, Some(1)), (EventTime(12), 0, Some(2)));
    let base = v1(SectionKind::Base, vec![twice, twice]);
    let change = v1(SectionKind::Change, vec![twice, twice, once]);
    let answer = |operator: &mut Operator| close(operator, 9, 20);
    let (mut operator, given) = restored(&[base.clone(), change], 5);
    let open = Version { key: 7, value: 0, from: EventTime(1), to: None };
    assert_eq!((operator.held(), given), (1, vec![Out::Version((open, Epoch(0), 1))]));
    // A merged change replaces the change, not the base.
    let mut put = snapshot(&mut operator, &Wanted::all(SectionKind::Merged));
    let merged = saved(2, SectionKind::Merged, put.remove(&shard_of(&7_u8)).unwrap());
    let (mut again, _) = restored(&[base, merged], 5);
    assert_eq!(again.held(), 1);
    let expected = answer(&mut operator);
    let facts = expected.iter().filter_map(|out| match out {
        Out::Fact(fact) => Some((fact.time.ms(), fact.fact, fact.value, fact.from.ms())),
        Out::Version(_) => None,
    });
    assert_eq!(facts.collect::<Vec<_>>(), [(10, 1, 1, 10), (10, 1, 1, 10), (12, 2, 0, 12)]);
    assert_eq!(answer(&mut again), expected);
}

#[test]
fn what_has_counted_is_in_no_later_section_and_does_not_count_again() {
    let mut operator = Operator::new("Users", Epoch(0));
    apply(&mut operator, 1, &[(5, event(7, 0, 1)), (9, event(7, 0, 2))]);
    assert!(close(&mut operator, 1, 5).is_empty());
    let first = snapshot(&mut operator, &Wanted::changes());
    assert_eq!(close(&mut operator, 2, 6).len(), 2, "a version and a fact");
    let second = snapshot(&mut operator, &Wanted::changes());
    let saved = |put: &BTreeMap<Shard, Vec<u8>>| {
        let (shard, bytes) = put.first_key_value().unwrap();
        Saved { shard: *shard, version: 2, kind: SectionKind::Change, file: 0, bytes: bytes.clone() }
    };
    let (mut again, _) = restored(&[saved(&first), saved(&second)], 6);
    assert_eq!(close(&mut again, 3, 100), close(&mut operator, 3, 100));
    // Nothing changed since: nothing is written.
    snapshot(&mut operator, &Wanted::changes());
    assert!(snapshot(&mut operator, &Wanted::changes()).is_empty());
}
