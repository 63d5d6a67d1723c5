//! The driver of keyed operators: restored collections, and state that was deleted.

use super::*;
use crate::sections::read_back;
use crate::snapshots::{Changed, Rules, Snapshots};
use crate::state::SectionKind;
use proptest::prelude::*;

/// Keeps the last value of each key.
#[derive(Default)]
struct Latest {
    values: BTreeMap<u16, u8>,
    changed: Changed<u16>,
}

impl Latest {
    fn set(&mut self, key: u16, value: Option<u8>) {
        match value {
            Some(value) => drop(self.values.insert(key, value)),
            None => drop(self.values.remove(&key)),
        }
    }
}

impl Keyed for Latest {
    type In = u16;
    type Key = ();
    type Out = ();

    const VERSION: u32 = 1;

    fn name(&self) -> &str {
        "Latest"
    }

    fn shard(key: &u16) -> Shard {
        Shard(key % 3)
    }

    fn define(&mut self, _definition: Definition<()>) {}

    fn apply(&mut self, _epoch: Epoch, _batch: &mut Vec<u16>, _fates: &mut Fates) {}

    fn close(&mut self, _epoch: Epoch, _tick: &Tick, _out: &mut Vec<()>) {}

    fn snapshot(&mut self, wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        let mut sections = self.changed.take(wanted);
        for key in self.values.keys().filter(|key| wanted.kind(Latest::shard(key)) == SectionKind::Base) {
            sections.entry(Latest::shard(key)).or_default().push(*key);
        }
        for (shard, keys) in sections {
            let section: Vec<_> = keys.iter().map(|key| (*key, self.values.get(key).copied())).collect();
            put(shard, postcard::to_stdvec(&section).unwrap());
        }
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
        let section: Vec<(u16, Option<u8>)> = postcard::from_bytes(&saved.bytes).unwrap();
        for (key, value) in section {
            self.set(key, value);
            self.changed.restored(saved.kind, saved.shard, key);
        }
        Ok(())
    }

    fn restored(&mut self, _watermark: Watermark, _out: &mut Vec<()>) {}

    fn held(&self) -> u64 {
        self.values.len() as u64
    }
}

/// Counts each number it has taken, and gives those of an epoch; what it restores it gives again.
struct Counts {
    name: &'static str,
    counts: BTreeMap<u16, u64>,
    new: Vec<u16>,
}

impl Keyed for Counts {
    type In = u16;
    type Key = ();
    type Out = u16;

    const VERSION: u32 = 1;

    fn name(&self) -> &str {
        self.name
    }

    fn shard(number: &u16) -> Shard {
        Shard(*number)
    }

    fn define(&mut self, _definition: Definition<()>) {}

    fn apply(&mut self, _epoch: Epoch, batch: &mut Vec<u16>, _fates: &mut Fates) {
        for number in batch.drain(..) {
            *self.counts.entry(number).or_default() += 1;
            self.new.push(number);
        }
    }

    fn close(&mut self, _epoch: Epoch, _tick: &Tick, out: &mut Vec<u16>) {
        out.append(&mut self.new);
    }

    fn snapshot(&mut self, _wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        for (number, count) in &self.counts {
            put(Shard(*number), postcard::to_stdvec(count).unwrap());
        }
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
        self.counts.insert(saved.shard.0, postcard::from_bytes(&saved.bytes).unwrap());
        Ok(())
    }

    fn restored(&mut self, _watermark: Watermark, out: &mut Vec<u16>) {
        out.extend(self.counts.keys());
    }

    fn held(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// What a worker with one operator writes, which has `saved` back.
fn writes(rules: snapshots::Rules, saved: &[Saved]) -> Writes {
    let mut snapshots = Snapshots::new(rules);
    let operator = snapshots.add(saved);
    Writes { snapshots: std::rc::Rc::new(std::cell::RefCell::new(snapshots)), operator }
}

/// What leaves an operator of a chain: numbers, acks and sections of state, each with its epoch.
type Left = (Vec<(Epoch, Vec<u16>)>, Vec<(Epoch, Vec<String>)>, Vec<(Epoch, Vec<Shard>)>);

/// A chain of two operators behind a run that committed epoch 5 with numbers 1 and 4 in the first one; epoch 6 has 7.
/// The manifest knows the state of the second one, or not.
fn restored_chain(is_known: bool) -> [Left; 2] {
    use timely::dataflow::operators::capture::Extract;
    use timely::dataflow::operators::vec::Map;
    use timely::dataflow::operators::{Capture, Input};
    let saved: Vec<Saved> = [1, 4]
        .map(|shard| Saved {
            shard: Shard(shard),
            version: 1,
            kind: SectionKind::Base,
            file: 0,
            bytes: vec![1],
        })
        .to_vec();
    let parts = timely::execute_directly(move |worker| {
        let (mut numbers, mut moments, captured) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (numbers, records) = scope.new_input::<Vec<u16>>();
            let (moments, moment_stream) = scope.new_input::<Vec<Rc<Moment>>>();
            let rules = crate::progress::Rules {
                closing: crate::stream::window::Closing::Horizon { ms: 0 },
                lateness_ms: 0,
                idle_flush_ms: None,
            };
            let progress = crate::progress::Progress::new(rules, Watermark::MIN, []);
            let pace = crate::pace::Pace::new(vec![progress], Vec::new());
            let (pace, set) = (Rc::new(std::cell::RefCell::new(pace)), crate::pace::SetIx::of(InputIx(0)));
            let flow = |records| Flow {
                records,
                definitions: None,
                moments: moment_stream.clone(),
                pace: Rc::clone(&pace),
                set,
                whole: None,
            };
            let run = |name, saved, records| {
                let mut operator = Counts { name, counts: BTreeMap::new(), new: Vec::new() };
                let resume = Resume { saved, committed: Epoch(5), watermark: Watermark::MIN };
                let resumed = resume.into_operator(&mut operator).unwrap();
                let writes = writes(snapshots::Rules::default(), &[]);
                drive(Driver { operator, counts: None, resumed, writes }, flow(records))
            };
            let first = run("First", Some(saved.clone()), records);
            let second = run("Second", is_known.then_some(saved), first.out.clone());
            let capture = |driven: Driven<'_, u16>| {
                let acks = driven.acks.map(|ack| format!("{ack:?}"));
                (driven.out.capture(), acks.capture(), driven.state.map(|change| change.shard).capture())
            };
            (numbers, moments, [first, second].map(capture))
        });
        numbers.advance_to(Epoch(6));
        moments.advance_to(Epoch(6));
        numbers.send(7);
        moments.send(Rc::new(crate::pace::Moment::of(Tick::restored(Watermark::MIN))));
        captured
    });
    parts.map(|(out, acks, state)| (out.extract(), acks.extract(), state.extract()))
}

#[test]
fn restored_collection_leaves_at_the_committed_epoch_which_nothing_acks_or_saves_again() {
    for is_known in [true, false] {
        let [first, second] = restored_chain(is_known);
        for (name, (out, acks, state)) in [("First", first), ("Second", second)] {
            // The snapshot first; from the next epoch on, changes. One that is known has it in its own state already.
            assert_eq!(out, [(Epoch(5), vec![1, 4]), (Epoch(6), vec![7])], "{name}, known: {is_known}");
            let held = Ack::Held { operator: name.to_string(), worker: 0, entries: 3 };
            assert_eq!(acks, [(Epoch(6), vec![format!("{held:?}")])], "{name}, known: {is_known}");
            let saved = vec![Shard(1), Shard(4), Shard(7)];
            assert_eq!(state, [(Epoch(6), saved)], "{name}, known: {is_known}");
        }
    }
}

proptest! {
    #[test]
    fn state_that_was_deleted_stays_deleted_whenever_bases_are_written(
        steps in prop::collection::vec((0u16..5, prop::option::of(any::<u8>()), 0u8..12), 1..200)
    ) {
        let rules = Rules { merge_every: 4, files_max: 5, changes_min: 3, ..Rules::default() };
        let (mut operator, mut writes) = (Latest::default(), writes(rules, &[]));
        let mut disk: Vec<(Epoch, StateChange)> = Vec::new();
        for (epoch, (key, value, restart)) in (1..).zip(steps) {
            operator.set(key, value);
            operator.changed.touch(Latest::shard(&key), key);
            disk.extend(writes.changes(Epoch(epoch), &mut operator).into_iter().map(|change| (Epoch(epoch), change)));
            let saved = read_back(&disk).remove("Latest").unwrap_or_default();
            let mut again = Latest::default();
            let resume = Resume { saved: Some(saved.clone()), committed: Epoch(0), watermark: Watermark::MIN };
            resume.into_operator(&mut again).unwrap();
            prop_assert_eq!(&again.values, &operator.values);
            if restart == 0 {
                (operator, writes) = (again, self::writes(rules, &saved));
            }
        }
    }
}
