//! Joins records of two inputs whose event times are near each other.
//!
//! # Input
//! Records of both inputs, as [`Either`]: `left.either(right)`.
//! # Output
//! One record for each pair of one key for which [`Near::pair`] gives something, with the later event time of the two; one
//! for each left record without a partner for which [`Near::alone`] does, when no partner can come.
//! # State
//! For each key the records that a later one may be joined with.
//! # Progress
//! A pair leaves in the epoch in which the watermark of both inputs together has passed both records.
//! # Late and bad data
//! As [`PerKey`](crate::kit::PerKey).
//! # Restart
//! As `PerKey`: the records that are held, and what waits.
//! # Cost
//! O(records of the key within the interval) a record. What is held of a key is written whole when it changes: many records of
//! one key within the interval are expensive.

use crate::flow::Either;
use crate::kit::logic::{Context, Logic};
use crate::time::EventTime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::time::Duration;
use timely::ExchangeData;

/// How records that are near each other in event time are joined.
///
/// ```rust
/// use headway_operators::kit::interval_join::{IntervalJoin, Near};
/// use std::time::Duration;
///
/// /// Finds the payment of an order, up to an hour later.
/// struct Paid;
///
/// impl Near for Paid {
///     type Key = u64;
///     type Left = (u64, String);
///     type Right = (u64, u32);
///     type Out = (String, Option<u32>);
///     const VERSION: u32 = 1;
///
///     fn left_key(order: &Self::Left) -> u64 {
///         order.0
///     }
///
///     fn right_key(payment: &Self::Right) -> u64 {
///         payment.0
///     }
///
///     fn pair(&self, order: &Self::Left, payment: &Self::Right) -> Option<Self::Out> {
///         Some((order.1.clone(), Some(payment.1)))
///     }
///
///     fn alone(&self, order: &Self::Left) -> Option<Self::Out> {
///         Some((order.1.clone(), None))
///     }
/// }
///
/// let join = IntervalJoin::new(Paid, Duration::ZERO, Duration::from_secs(3600));
/// # fn is_logic<L: headway_operators::kit::Logic>(_: L) {}
/// # is_logic(join);
/// ```
pub trait Near: 'static {
    /// What two records must have in common. Its encoding must never change.
    type Key: Clone + Debug + Serialize + DeserializeOwned + 'static;
    /// A record of the left input.
    type Left: ExchangeData + Clone + PartialEq;
    /// A record of the right input.
    type Right: ExchangeData + Clone + PartialEq;
    /// What comes out.
    type Out: Clone + 'static;

    /// The version of the encoding of `Left` and `Right`.
    const VERSION: u32;

    /// The key of a left record.
    fn left_key(left: &Self::Left) -> Self::Key;

    /// The key of a right record.
    fn right_key(right: &Self::Right) -> Self::Key;

    /// Joins two records.
    fn pair(&self, left: &Self::Left, right: &Self::Right) -> Option<Self::Out>;

    /// What a left record without a partner gives.
    fn alone(&self, _left: &Self::Left) -> Option<Self::Out> {
        None
    }
}

/// The operator: run it with [`Build::logic`](crate::build::Build::logic).
#[derive(Clone, Copy, Debug)]
pub struct IntervalJoin<N> {
    near: N,
    before_ms: i64,
    after_ms: i64,
}

impl<N: Near> IntervalJoin<N> {
    /// Joins a left record at `t` with right records in `[t - before, t + after]`.
    pub fn new(near: N, before: Duration, after: Duration) -> IntervalJoin<N> {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        IntervalJoin { near, before_ms: ms(before), after_ms: ms(after) }
    }

    /// How far beyond a record its partners may be: the horizon of the inputs.
    pub fn horizon_ms(&self) -> i64 {
        self.before_ms.max(self.after_ms)
    }
}

/// What is held of a key, each side in the order of event time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held<A, B> {
    /// Left records; true where a partner was found.
    left: Vec<(EventTime, A, bool)>,
    right: Vec<(EventTime, B)>,
}

impl<A, B> Default for Held<A, B> {
    fn default() -> Self {
        Held { left: Vec::new(), right: Vec::new() }
    }
}

impl<N: Near> Logic for IntervalJoin<N> {
    type Key = N::Key;
    type In = Either<N::Left, N::Right>;
    type State = Held<N::Left, N::Right>;
    type Out = N::Out;

    const VERSION: u32 = N::VERSION;

    fn key(record: &Self::In) -> N::Key {
        match record {
            Either::Left(left) => N::left_key(left),
            Either::Right(right) => N::right_key(right),
        }
    }

    fn on_record(&self, record: Self::In, held: &mut Self::State, cx: &mut Context<'_, Self>) {
        let time = cx.time();
        match record {
            Either::Left(left) => {
                let near = held.right.iter().filter(|(at, _)| at.plus_ms(self.before_ms) >= time);
                let mut is_paired = false;
                for (_, right) in near {
                    is_paired = true;
                    self.near.pair(&left, right).into_iter().for_each(|out| cx.emit(out));
                }
                held.left.push((time, left, is_paired));
                cx.timer(time.plus_ms(self.after_ms));
            }
            Either::Right(right) => {
                let near = held.left.iter_mut().filter(|(at, ..)| at.plus_ms(self.after_ms) >= time);
                for (_, left, is_paired) in near {
                    *is_paired = true;
                    self.near.pair(left, &right).into_iter().for_each(|out| cx.emit(out));
                }
                held.right.push((time, right));
                cx.timer(time.plus_ms(self.before_ms));
            }
        }
    }

    /// Lets go of what no later record can be joined with.
    fn on_timer(&self, held: &mut Self::State, cx: &mut Context<'_, Self>) {
        let time = cx.time();
        held.right.retain(|(at, _)| at.plus_ms(self.before_ms) > time);
        let over = held.left.partition_point(|(at, ..)| at.plus_ms(self.after_ms) <= time);
        for (_, left, is_paired) in held.left.drain(..over) {
            if !is_paired {
                self.near.alone(&left).into_iter().for_each(|out| cx.emit(out));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Either::{Left, Right};
    use crate::kit::script::{script, seconds};
    use proptest::prelude::*;

    struct Pairs;

    impl Near for Pairs {
        type Key = u8;
        type Left = (u8, u32);
        type Right = (u8, u32);
        type Out = (u32, Option<u32>);
        const VERSION: u32 = 1;

        fn left_key(left: &(u8, u32)) -> u8 {
            left.0
        }

        fn right_key(right: &(u8, u32)) -> u8 {
            right.0
        }

        fn pair(&self, left: &(u8, u32), right: &(u8, u32)) -> Option<Self::Out> {
            Some((left.1, Some(right.1)))
        }

        fn alone(&self, left: &(u8, u32)) -> Option<Self::Out> {
            Some((left.1, None))
        }
    }

    fn join() -> IntervalJoin<Pairs> {
        IntervalJoin::new(Pairs, seconds(3), seconds(5))
    }

    #[test]
    fn interval_has_both_its_ends_and_a_record_alone_leaves_when_no_partner_can_come() {
        script(join)
            .inputs(&[1, 1])
            .horizon(seconds(5))
            .record("10:00:10", Left((1, 1)))
            .from(1, 0)
            .record("10:00:06", Right((1, 6)))
            .record("10:00:07", Right((1, 7)))
            .record("10:00:15", Right((1, 15)))
            .record("10:00:16", Right((1, 16)))
            .from(0, 0)
            .record("10:00:20", Left((1, 2)))
            .watermark("10:00:25")
            .gives([(1, Some(7)), (1, Some(15))])
            .watermark("10:00:26")
            .gives([(2, None)])
            .state(1, Held::default())
            .check();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10))]

        #[test]
        fn pairs_are_those_of_two_loops(
            drawn in prop::collection::vec((any::<bool>(), 0u8..2, 0i64..6, 0u8..4), 1..40)
        ) {
            let mut played = script(join).inputs(&[1, 1]).lateness(seconds(60)).horizon(seconds(5));
            let (mut left, mut right, mut now) = (Vec::new(), Vec::new(), 0);
            for (number, (is_left, key, ahead, cut)) in (0..).zip(drawn) {
                now += ahead;
                let time = EventTime((now - ahead % 3 * 10).max(0) * 1000);
                played = if is_left {
                    left.push((time, key, number));
                    played.from(0, 0).record(time, Left((key, number)))
                } else {
                    right.push((time, key, number));
                    played.from(1, 0).record(time, Right((key, number)))
                };
                played = if cut == 0 { played.epoch() } else { played };
            }
            let mut expected = Vec::new();
            for (at, key, one) in &left {
                let is_near = |(time, other, _): &&(EventTime, u8, u32)| {
                    other == key && (-3000..=5000).contains(&(time.ms() - at.ms()))
                };
                let near: Vec<_> = right.iter().filter(is_near).map(|(.., other)| (*one, Some(*other))).collect();
                expected.extend(if near.is_empty() { vec![(*one, None)] } else { near });
            }
            played.end().gives_in_any_order(expected).check();
        }
    }
}
