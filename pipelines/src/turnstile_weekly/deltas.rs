//! Makes differences of registers: the people who passed a turnstile between two readings.
//!
//! # Input
//! [`Reading`]s, exchanged by the shard of their turnstile; places by value.
//! # Output
//! A table of [`Passage`]s: one for each two neighbouring readings of a turnstile, in the order of time, across files. A
//! reading that comes between two others, or in the place of one, takes back what was emitted and emits anew.
//! # State
//! The reading that counts of each turnstile and instant. Beaten readings are forgotten, but for those of an hour that
//! comes twice, whose instants depend on one another: see `twice.rs`.
//! # Progress
//! The readings of an epoch are applied when it is complete; what cancels within it is not emitted.
//! # Late and bad data
//! Nothing is late. A difference below zero or beyond the bound is an anomaly and counts for nobody.
//! # Restart
//! The restored readings give the whole table again, at the committed epoch.
//! # Cost
//! A search in a turnstile's readings, and an insertion. What changed is saved by turnstile and day.

use super::line::{Rank, Reading};
use super::twice::{Twice, instants};
use crate::turnstile::views::passage::{Count, Interval, Passage, Place};
use crate::zone::Zone;
use differential_dataflow::consolidation::consolidate;
use hashbrown::HashMap;
use headway_operators::error::StateError;
use headway_operators::keyed::{Fates, Keyed};
use headway_operators::progress::Tick;
use headway_operators::record::Stamped;
use headway_operators::snapshots::{Changed, Wanted};
use headway_operators::state::{KeyHash, Saved, SectionKind, Shard};
use headway_operators::stream::decode::Definition;
use headway_operators::time::{Epoch, EventTime, Watermark};
use headway_operators::view::table::Update;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A reading that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Winner {
    time: EventTime,
    rank: Rank,
    entries: i64,
    exits: i64,
    /// The number of its place on this worker.
    place: u32,
    /// It is resolved from [`Turnstile::twice`], which is saved; itself it is not saved.
    is_resolved: bool,
}

impl Winner {
    /// True if the intervals around it are the same with `other` in its place.
    fn shows_as(&self, other: &Winner) -> bool {
        (self.entries, self.exits, self.place) == (other.entries, other.exits, other.place)
    }
}

/// The readings of one turnstile.
#[derive(Debug, Default)]
struct Turnstile {
    /// Rising in time.
    winners: Vec<Winner>,
    /// In the order of files and lines.
    twice: Vec<Twice>,
    /// How many readings are saved, as of the last epoch.
    held: usize,
}

/// Two neighbouring readings.
type Pair = (Winner, Winner);

/// The readings of a turnstile and a day (UTC), as they are saved.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Group {
    turnstile: KeyHash,
    day: i64,
    places: Vec<(KeyHash, Place)>,
    /// Time, rank, entries, exits, and the number of the place in the group.
    winners: Vec<(EventTime, Rank, i64, i64, u32)>,
    twice: Vec<Twice>,
    /// Version 1 saved it: its `winners` lack the readings of an hour that comes twice, which version 2 saves there, too.
    #[serde(skip)]
    is_old: bool,
}

/// What becomes of a second reading of one turnstile and instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Corrections {
    /// The greater of the two by rank and registers counts, whichever came first.
    Apply,
    /// The reading that was committed first counts for good, at the instant that its time meant then. Of two readings of one epoch
    /// the regular one counts. If both are regular, or neither is, the one that was published earlier counts.
    Ignore,
}

/// The operator.
pub(super) struct Deltas {
    corrections: Corrections,
    zone: Zone,
    /// The greatest difference that is believed.
    bound: i64,
    committed: Epoch,
    places: Vec<(KeyHash, Place)>,
    numbers: HashMap<KeyHash, u32, FxBuildHasher>,
    turnstiles: HashMap<KeyHash, Turnstile, FxBuildHasher>,
    /// The readings of the epoch.
    new: Vec<Stamped<Reading>>,
    changed: Changed<(KeyHash, i64)>,
    /// How many readings all turnstiles save.
    held: usize,
    /// What was read back, until all of it is there.
    groups: BTreeMap<(KeyHash, i64), Group>,
}

const DAY_MS: i64 = 86_400_000;

fn day(time: EventTime) -> i64 {
    time.ms().div_euclid(DAY_MS)
}

impl Deltas {
    /// No readings yet. `committed` is the epoch that the run starts from.
    pub(super) fn new(zone: Zone, bound: i64, corrections: Corrections, committed: Epoch) -> Deltas {
        Deltas {
            corrections,
            zone,
            bound,
            committed,
            places: Vec::new(),
            numbers: HashMap::default(),
            turnstiles: HashMap::default(),
            new: Vec::new(),
            changed: Changed::default(),
            held: 0,
            groups: BTreeMap::new(),
        }
    }

    /// The number of a place on this worker.
    fn number(&mut self, hash: KeyHash, place: Place) -> u32 {
        let (places, next) = (&mut self.places, self.numbers.len());
        *self.numbers.entry(hash).or_insert_with(|| {
            places.push((hash, place));
            u32::try_from(next).expect("places are few")
        })
    }

    fn count(&self, before: i64, after: i64) -> Count {
        // Registers have 18 digits at most.
        match after - before {
            difference if difference < 0 => Count::Negative(difference),
            difference if difference > self.bound => Count::OverBound(difference),
            people => Count::Counted(i128::from(people)),
        }
    }

    fn passage(&self, (from, to): Pair) -> Passage {
        let place = self.places[to.place as usize].1.clone();
        let (entries, exits) = (self.count(from.entries, to.entries), self.count(from.exits, to.exits));
        Interval::new(&self.zone, from.time, to.time).passage(place, entries, exits)
    }

    /// The readings of a day and turnstile, as they are saved; `None` if there are none.
    fn group(&self, turnstile: KeyHash, day: i64) -> Option<Group> {
        let of = self.turnstiles.get(&turnstile)?;
        let mut group = Group { turnstile, day, ..Group::default() };
        let mut local: BTreeMap<u32, u32> = BTreeMap::new();
        let mut number = |place: u32| {
            let next = u32::try_from(local.len()).expect("places are few");
            *local.entry(place).or_insert_with(|| {
                group.places.push(self.places[place as usize].clone());
                next
            })
        };
        let (start, end) = (EventTime(day * DAY_MS), EventTime((day + 1) * DAY_MS));
        let from = of.winners.partition_point(|winner| winner.time < start);
        let winners = of.winners[from..].iter().take_while(|winner| winner.time < end);
        for Winner { time, rank, entries, exits, place, .. } in winners.filter(|winner| !winner.is_resolved) {
            group.winners.push((*time, *rank, *entries, *exits, number(*place)));
        }
        for twice in of.twice.iter().filter(|twice| start <= twice.first && twice.first < end) {
            group.twice.push(Twice { place: number(twice.place), ..*twice });
        }
        (!group.winners.is_empty() || !group.twice.is_empty()).then_some(group)
    }
}

/// A reading that counts, as `views verify` has it.
pub(super) struct Committed {
    /// The turnstile.
    pub(super) turnstile: KeyHash,
    /// When it was read.
    pub(super) time: EventTime,
    /// The two registers.
    pub(super) registers: [i64; 2],
    /// Where the turnstile stands.
    pub(super) place: Place,
}

impl Deltas {
    /// The readings that `saved` holds, in no order.
    pub(super) fn committed(
        zone: Zone,
        corrections: Corrections,
        saved: &[Saved],
    ) -> Result<Vec<Committed>, StateError> {
        let mut deltas = Deltas::new(zone, i64::MAX, corrections, Epoch(0));
        for section in saved.iter().filter(|section| !section.bytes.is_empty()) {
            deltas.restore(section)?;
        }
        deltas.restored(Watermark::MIN, &mut Vec::new());
        let of = |(turnstile, readings): (&KeyHash, &Turnstile)| {
            let reading = |winner: &Winner| Committed {
                turnstile: *turnstile,
                time: winner.time,
                registers: [winner.entries, winner.exits],
                place: deltas.places[winner.place as usize].1.clone(),
            };
            readings.winners.iter().map(reading).collect::<Vec<_>>()
        };
        Ok(deltas.turnstiles.iter().flat_map(of).collect())
    }
}

impl Turnstile {
    /// Takes a reading, and adds the changes of neighbouring pairs to `pairs`. False if the reading does not count.
    fn put(&mut self, new: Winner, corrections: Corrections, pairs: &mut Vec<(Pair, i64)>) -> bool {
        let all = &mut self.winners;
        match all.binary_search_by_key(&new.time, |winner| winner.time) {
            Ok(_) if corrections == Corrections::Ignore => return false,
            Ok(at)
                if (all[at].rank, all[at].entries, all[at].exits) >= (new.rank, new.entries, new.exits) =>
            {
                return false;
            }
            // A file that is read again with corrections says the same of most instants.
            Ok(at) if all[at].shows_as(&new) => all[at] = new,
            Ok(at) => {
                let old = all[at];
                let around = [at.checked_sub(1).map(|at| all[at]), all.get(at + 1).copied()];
                if let Some(before) = around[0] {
                    pairs.extend([((before, old), -1), ((before, new), 1)]);
                }
                if let Some(after) = around[1] {
                    pairs.extend([((old, after), -1), ((new, after), 1)]);
                }
                all[at] = new;
            }
            Err(at) => {
                let around = [at.checked_sub(1).map(|at| all[at]), all.get(at).copied()];
                if let [Some(before), Some(after)] = around {
                    pairs.push(((before, after), -1));
                }
                pairs.extend(around[0].map(|before| ((before, new), 1)));
                pairs.extend(around[1].map(|after| ((new, after), 1)));
                all.insert(at, new);
            }
        }
        true
    }

    /// Counts the readings to save; returns how many there were at the last count, and how many there are now.
    fn recount(&mut self) -> (usize, usize) {
        let held = self.winners.iter().filter(|winner| !winner.is_resolved).count() + self.twice.len();
        (std::mem::replace(&mut self.held, held), held)
    }

    /// Removes the reading number `at`, and adds the changes of neighbouring pairs to `pairs`.
    fn take(&mut self, at: usize, pairs: &mut Vec<(Pair, i64)>) {
        let old = self.winners.remove(at);
        let around = [at.checked_sub(1).map(|at| self.winners[at]), self.winners.get(at).copied()];
        pairs.extend(around[0].map(|before| ((before, old), -1)));
        pairs.extend(around[1].map(|after| ((old, after), -1)));
        if let [Some(before), Some(after)] = around {
            pairs.push(((before, after), 1));
        }
    }

    /// Resolves the readings of hours that come twice anew.
    ///
    /// The instants of such an hour are reached by such readings only, so the others do not matter here.
    fn resolve(&mut self, pairs: &mut Vec<(Pair, i64)>) {
        while let Some(at) = self.winners.iter().position(|winner| winner.is_resolved) {
            self.take(at, pairs);
        }
        self.put_resolved(Corrections::Apply, pairs);
    }

    /// Puts each reading of an hour that comes twice at the instant that it means, until such readings are resolved anew.
    fn put_resolved(&mut self, corrections: Corrections, pairs: &mut Vec<(Pair, i64)>) {
        for (twice, time) in self.twice.clone().into_iter().zip(instants(&self.twice)) {
            self.put(twice.winner(time, true), corrections, pairs);
        }
    }

    /// Puts each reading of `new` at the instant that it means, for good, unless there is a reading of that instant; returns the
    /// instants that were filled.
    fn latch(&mut self, new: &[Twice], pairs: &mut Vec<(Pair, i64)>) -> Vec<EventTime> {
        if new.is_empty() {
            return Vec::new();
        }
        let times: BTreeMap<Twice, EventTime> =
            self.twice.iter().copied().zip(instants(&self.twice)).collect();
        let mut put = |twice: &Twice| {
            let time = times[twice];
            self.put(twice.winner(time, false), Corrections::Ignore, pairs).then_some(time)
        };
        new.iter().filter_map(&mut put).collect()
    }

    /// Makes the resolved readings final, as [`Turnstile::latch`] does: version 1 did not save them as such. Returns their instants.
    fn keep_resolved(&mut self) -> Vec<EventTime> {
        let resolved = self.winners.iter_mut().filter(|winner| winner.is_resolved);
        resolved
            .map(|winner| {
                winner.is_resolved = false;
                winner.time
            })
            .collect()
    }
}

impl Twice {
    /// The reading, at one of its two instants.
    fn winner(&self, time: EventTime, is_resolved: bool) -> Winner {
        let Twice { rank, entries, exits, place, .. } = *self;
        Winner { time, rank, entries, exits, place, is_resolved }
    }
}

impl Keyed for Deltas {
    type In = Stamped<Reading>;
    type Key = Place;
    type Out = Update<Passage>;

    // 2: where the first reading counts for good, readings of an hour that comes twice do, too.
    const VERSION: u32 = 2;

    fn name(&self) -> &str {
        "Deltas"
    }

    fn shard(reading: &Stamped<Reading>) -> Shard {
        reading.data.turnstile.shard()
    }

    fn define(&mut self, definition: Definition<Place>) {
        self.number(definition.hash, definition.key);
    }

    fn apply(&mut self, _epoch: Epoch, batch: &mut Vec<Stamped<Reading>>, _fates: &mut Fates) {
        // Places may come after the readings that name them.
        self.new.append(batch);
    }

    fn close(&mut self, epoch: Epoch, _tick: &Tick, out: &mut Vec<Update<Passage>>) {
        let mut new = std::mem::take(&mut self.new);
        let corrections = self.corrections;
        match corrections {
            Corrections::Apply => {
                new.sort_unstable_by_key(|reading| (reading.data.turnstile, reading.time));
            }
            Corrections::Ignore => new.sort_unstable_by_key(|reading| {
                let Reading { turnstile, line, rank, .. } = reading.data;
                let Rank { published, earlier, is_regular } = rank;
                (turnstile, reading.time, !is_regular, published, earlier, reading.partition, line)
            }),
        }
        let mut pairs = Vec::new();
        for same in new.chunk_by(|one, other| one.data.turnstile == other.data.turnstile) {
            let hash = same[0].data.turnstile;
            let turnstile = self.turnstiles.entry(hash).or_default();
            let mut twice = Vec::new();
            for Stamped { time, partition, data, .. } in same {
                let place =
                    *self.numbers.get(&data.place).expect("a place is defined before its epoch closes");
                let (time, partition) = (*time, *partition);
                let Reading { second, line, rank, entries, exits, .. } = *data;
                if second == time {
                    let new = Winner { time, rank, entries, exits, place, is_resolved: false };
                    if !turnstile.put(new, corrections, &mut pairs) {
                        continue;
                    }
                } else {
                    let new = Twice { partition, line, first: time, second, rank, entries, exits, place };
                    let at = turnstile.twice.partition_point(|known| *known < new);
                    turnstile.twice.insert(at, new);
                    twice.push(new);
                }
                self.changed.touch(hash.shard(), (hash, day(time)));
            }
            match corrections {
                Corrections::Apply if twice.is_empty() => {}
                Corrections::Apply => turnstile.resolve(&mut pairs),
                Corrections::Ignore => {
                    let old = turnstile.keep_resolved();
                    let times = old.into_iter().chain(turnstile.latch(&twice, &mut pairs));
                    times.for_each(|time| self.changed.touch(hash.shard(), (hash, day(time))));
                }
            }
            let (before, after) = turnstile.recount();
            self.held = self.held - before + after;
            consolidate(&mut pairs);
            let turnstile_pairs = std::mem::take(&mut pairs);
            out.extend(turnstile_pairs.iter().map(|(pair, diff)| (self.passage(*pair), epoch, *diff)));
            pairs = turnstile_pairs;
            pairs.clear();
        }
        // Two pairs may differ in what does not show, such as a rank.
        differential_dataflow::consolidation::consolidate_updates(out);
        new.clear();
        self.new = new;
    }

    fn snapshot(&mut self, wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        let mut shards = self.changed.take(wanted);
        if !wanted.is_changes() {
            for (hash, turnstile) in &self.turnstiles {
                if wanted.kind(hash.shard()) == SectionKind::Base {
                    let times = turnstile.winners.iter().filter(|winner| !winner.is_resolved).map(|w| w.time);
                    let mut days: Vec<i64> =
                        times.chain(turnstile.twice.iter().map(|twice| twice.first)).map(day).collect();
                    days.sort_unstable();
                    days.dedup();
                    let keys = days.into_iter().map(|day| (*hash, day));
                    shards.entry(hash.shard()).or_default().extend(keys);
                }
            }
        }
        for (shard, mut keys) in shards {
            keys.sort_unstable();
            let groups: Vec<Group> = keys.iter().filter_map(|(hash, day)| self.group(*hash, *day)).collect();
            put(shard, postcard::to_stdvec(&groups).expect("plain values encode"));
        }
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
        let groups: Vec<Group> = postcard::from_bytes(&saved.bytes).map_err(|_| StateError::Malformed {
            operator: self.name().to_string(),
            shard: saved.shard.0,
            what: "readings of turnstiles",
        })?;
        for mut group in groups {
            group.is_old = saved.version < 2;
            let key = (group.turnstile, group.day);
            self.changed.restored(saved.kind, saved.shard, key);
            self.groups.insert(key, group);
        }
        Ok(())
    }

    fn restored(&mut self, _watermark: Watermark, out: &mut Vec<Update<Passage>>) {
        let mut old = BTreeSet::new();
        for ((hash, _), group) in std::mem::take(&mut self.groups) {
            let numbers: Vec<u32> =
                group.places.into_iter().map(|(hash, place)| self.number(hash, place)).collect();
            let turnstile = self.turnstiles.entry(hash).or_default();
            if group.is_old && !group.twice.is_empty() {
                old.insert(hash);
            }
            // Days come in their order, and so do the readings of a day.
            turnstile.winners.extend(group.winners.into_iter().map(|(time, rank, entries, exits, place)| {
                Winner { time, rank, entries, exits, place: numbers[place as usize], is_resolved: false }
            }));
            turnstile.twice.extend(
                group.twice.into_iter().map(|twice| Twice { place: numbers[twice.place as usize], ..twice }),
            );
        }
        let mut pairs = Vec::new();
        for (hash, turnstile) in &mut self.turnstiles {
            turnstile.twice.sort_unstable();
            match self.corrections {
                Corrections::Apply => turnstile.resolve(&mut pairs),
                // The earlier version resolved such hours at each start.
                Corrections::Ignore if old.contains(hash) => {
                    turnstile.put_resolved(Corrections::Ignore, &mut pairs);
                }
                Corrections::Ignore => {}
            }
            pairs.clear();
            self.held += turnstile.recount().1;
        }
        let all = self.turnstiles.values().flat_map(|turnstile| turnstile.winners.windows(2));
        out.extend(all.map(|two| (self.passage((two[0], two[1])), self.committed, 1)));
    }

    fn held(&self) -> u64 {
        self.held as u64
    }
}

#[cfg(test)]
#[path = "deltas_tests.rs"]
mod tests;
