//! Says which of its two instants each reading of an hour that comes twice means.
//!
//! A file has the readings of a turnstile in the order of time, so each means the instant nearer to the reading before it. A file
//! may be cut anywhere, and its parts may come in any order:
//!
//! 1. What one partition has of such an hour is a *piece*, in the order of its lines.
//! 2. The pieces of one publication go in the order in which the turnstile counted: the register goes on from one to the next, falling
//!    where the turnstile counts backward. Where nobody passed, the clock tells: it goes back once.
//! 3. The reading before a piece is found among the pieces before it: the last one whose register is not beyond the piece's first.
//! 4. A piece in which the clock goes back has readings of both hours and is resolved by itself; the pieces before it are not asked.
//!    So copies of one file agree.

use super::line::Rank;
use crate::zone::Meanings;
use headway_operators::record::Partition;
use headway_operators::time::EventTime;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A reading of an hour that comes twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Twice {
    pub(super) partition: Partition,
    pub(super) line: i64,
    pub(super) first: EventTime,
    pub(super) second: EventTime,
    pub(super) rank: Rank,
    pub(super) entries: i64,
    pub(super) exits: i64,
    pub(super) place: u32,
}

impl Twice {
    /// Both registers together: they have 18 digits at most.
    fn register(&self) -> i64 {
        self.entries + self.exits
    }
}

/// Readings of one partition and hour, in the order of their lines, each with its number in the list of all.
type Piece = Vec<(usize, Twice)>;

const DAY_MS: u64 = 86_400_000;

/// Of more pieces of one hour not every order is looked at: they go by the register of their first reading.
const SEARCHED: usize = 8;

/// The instants of the readings `all` of one turnstile, in their order.
pub(super) fn instants(all: &[Twice]) -> Vec<EventTime> {
    let mut sorted: Vec<(usize, Twice)> = all.iter().copied().enumerate().collect();
    sorted.sort_unstable_by_key(|(_, twice)| (twice.rank.published, twice.rank.earlier, twice.first, *twice));
    let is_same = |(_, one): &(usize, Twice), (_, other): &(usize, Twice)| {
        let of = |twice: &Twice| (twice.rank.published, twice.rank.earlier);
        of(one) == of(other) && one.first.ms().abs_diff(other.first.ms()) < DAY_MS
    };
    let mut instants = vec![EventTime::MIN; all.len()];
    for hour in sorted.chunk_by(is_same) {
        let mut pieces: BTreeMap<Partition, Piece> = BTreeMap::new();
        for (number, twice) in hour {
            pieces.entry(twice.partition).or_default().push((*number, *twice));
        }
        let pieces = pieces.into_values().map(|mut piece| {
            piece.sort_unstable_by_key(|(_, twice)| *twice);
            piece
        });
        resolve(pieces.collect(), &mut instants);
    }
    instants
}

/// Resolves the pieces of one publication and hour.
fn resolve(pieces: Vec<Piece>, instants: &mut [EventTime]) {
    let sign = if is_backward(&pieces) { -1 } else { 1 };
    let mut known: Vec<(i64, EventTime)> = Vec::new();
    for piece in in_order(pieces, sign) {
        let first = sign * piece[0].1.register();
        let goes_back = !piece.is_sorted_by(|(_, one), (_, next)| one.first <= next.first);
        let earlier = known.iter().rev().find(|(register, _)| *register <= first).map(|(_, time)| *time);
        let mut before = earlier.filter(|_| !goes_back);
        for (number, twice) in piece {
            let Twice { first, second, .. } = twice;
            let time = Meanings { first, second }.nearer(before);
            before = Some(time);
            known.push((sign * twice.register(), time));
            instants[number] = time;
        }
    }
}

/// True if the register falls more often than it rises within the pieces.
fn is_backward(pieces: &[Piece]) -> bool {
    let steps = pieces.iter().flat_map(|piece| piece.windows(2));
    let steps = steps.map(|two| match two[1].1.register().cmp(&two[0].1.register()) {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    });
    steps.sum::<i64>() < 0
}

/// The pieces in the order in which they were counted: at the fewest borders the register goes back, and of such orders the one in
/// which the clock does so at the fewest.
fn in_order(mut pieces: Vec<Piece>, sign: i64) -> Vec<Piece> {
    // By what does not depend on how a file was cut, or on which number a part has.
    pieces.sort_by_cached_key(|piece| {
        let content = |(_, twice): &(usize, Twice)| (twice.first, twice.rank, twice.entries, twice.exits);
        let content: Vec<_> = piece.iter().map(content).collect();
        (sign * piece[0].1.register(), content, piece[0].1.partition)
    });
    let count = pieces.len();
    if !(2..=SEARCHED).contains(&count) {
        return pieces;
    }
    let border = |one: usize, next: usize| {
        let (last, first) = (pieces[one][pieces[one].len() - 1].1, pieces[next][0].1);
        let falls = sign * first.register() < sign * last.register();
        100 * u32::from(falls) + u32::from(first.first <= last.first)
    };
    // For each set of pieces and the last one of them: the cost of its best order, and the piece before the last.
    let mut best: Vec<Vec<Option<(u32, usize)>>> = vec![vec![None; count]; 1 << count];
    (0..count).for_each(|at| best[1 << at][at] = Some((0, at)));
    for set in 1_usize..1 << count {
        for last in 0..count {
            let Some((cost, _)) = best[set][last] else { continue };
            for next in (0..count).filter(|next| set & (1 << next) == 0) {
                let cost = cost + border(last, next);
                let known = &mut best[set | 1 << next][next];
                if known.is_none_or(|(known, _)| cost <= known) {
                    *known = Some((cost, last));
                }
            }
        }
    }
    let mut set = (1 << count) - 1;
    let cost = |at: &usize| best[set][*at].map(|(cost, _)| cost);
    let mut last = (0..count).rev().min_by_key(cost).expect("there are pieces");
    let mut order = vec![last];
    while order.len() < count {
        let (_, before) = best[set][last].expect("each order of all pieces was looked at");
        set ^= 1 << last;
        last = before;
        order.push(last);
    }
    order.into_iter().rev().map(|at| std::mem::take(&mut pieces[at])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;

    /// Readings of the hour: the partition, the minute that the wall shows, and the register. A line is its place in the list.
    fn minutes(readings: &[(u32, i64, i64)]) -> Vec<i64> {
        let twice = |(line, (partition, minute, register)): (i64, &(u32, i64, i64))| Twice {
            partition: Partition(*partition),
            line,
            first: EventTime(minute * MINUTE_MS),
            second: EventTime((minute + 60) * MINUTE_MS),
            rank: Rank { published: 20_241_109, earlier: 0, is_regular: true },
            entries: *register,
            exits: 0,
            place: 0,
        };
        let all: Vec<Twice> = (0..).zip(readings).map(twice).collect();
        instants(&all).into_iter().map(|time| time.ms() / MINUTE_MS).collect()
    }

    /// Two hours of readings by the quarter, with registers that `register` gives.
    fn night(register: impl Fn(i64) -> i64) -> Vec<(i64, i64)> {
        (0..8).map(|quarter| (quarter * 15 % 60, register(quarter))).collect()
    }

    #[test]
    fn hour_is_the_same_however_its_file_was_cut_and_its_parts_are_numbered() {
        const RIGHT: [i64; 8] = [0, 15, 30, 45, 60, 75, 90, 105];
        for (what, night) in [
            ("rising", night(|quarter| 100 + quarter * 7)),
            ("rising, with a pause", night(|quarter| 100 + [0, 3, 3, 3, 3, 3, 5, 6][quarter as usize])),
            ("backward", night(|quarter| 900 - quarter * 7)),
            ("nobody passed", night(|_| 100)),
        ] {
            // A bit says whether the file is cut before a reading.
            for cuts in 0_u32..1 << 7 {
                let part = |at: usize| (cuts & ((1 << at) - 1)).count_ones();
                let parts = part(7) + 1;
                if what == "backward" && parts > 4 {
                    // Parts of one reading do not tell that the register falls.
                    continue;
                }
                for rotation in 0..parts {
                    let cut = night
                        .iter()
                        .enumerate()
                        .map(|(at, (minute, register))| ((part(at) + rotation) % parts, *minute, *register));
                    // Of equal readings of one time it does not matter which is which.
                    let registers = night.iter().map(|(_, register)| *register);
                    let mut found: Vec<(i64, i64)> =
                        minutes(&cut.collect::<Vec<_>>()).into_iter().zip(registers.clone()).collect();
                    found.sort_unstable();
                    let right = RIGHT.into_iter().zip(registers);
                    assert!(
                        found.iter().copied().eq(right),
                        "{what}, cut as {cuts:07b}, rotated by {rotation}: {found:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn copies_of_one_file_mean_the_same_instants() {
        let copy = |partition, register| {
            night(move |quarter| register + quarter)
                .into_iter()
                .map(move |(minute, register)| (partition, minute, register))
        };
        let both: Vec<_> = copy(3, 100).chain(copy(1, 100)).collect();
        assert_eq!(minutes(&both), [0, 15, 30, 45, 60, 75, 90, 105, 0, 15, 30, 45, 60, 75, 90, 105]);
        // A turnstile that reports every four hours has one reading, and its copy may be corrected.
        assert_eq!(minutes(&[(0, 0, 50), (1, 0, 57)]), [0, 0]);
        // A part beside the whole file.
        let part: Vec<_> = copy(3, 100).chain(copy(1, 100).skip(4)).collect();
        assert_eq!(minutes(&part)[8..], [60, 75, 90, 105]);
    }
}
