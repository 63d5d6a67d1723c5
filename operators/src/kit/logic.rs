//! The trait that an author writes for an operator with state and timers for each key.

use crate::error::Reason;
use crate::time::EventTime;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;
use timely::ExchangeData;

/// An operator with state and timers for each key, in the order of event time.
///
/// The driver ([`PerKey`](crate::kit::PerKey)) keeps the state, saves and restores it, and moves it between workers. The
/// author says what happens:
///
/// - Records come in the order of (event time, input, partition, offset), each once the watermark has passed it. There is
///   no arrival order.
/// - A timer for `t` fires once, when the watermark has passed `t` (`watermark > t`), after the records of that instant: a
///   record of instant `t` is not late while the watermark is `t`. Timers of one instant fire in no order that an author may
///   use, since each belongs to another key.
/// - A key whose state equals `State::default()` and that has no timer is forgotten.
///
/// The output must be a function of the records alone: no clock, no thread, no order of a hash map, no sum of floats. What
/// an operator remembers is its state; `self` holds settings only.
///
/// ```rust
/// use headway_operators::kit::{Context, Logic};
/// use std::time::Duration;
///
/// /// Reports a machine that has said nothing for a while: once, and again after its next sign of life.
/// struct Silence {
///     after: Duration,
/// }
///
/// impl Logic for Silence {
///     type Key = String;
///     type In = String;
///     type State = Option<headway_operators::time::EventTime>;
///     type Out = String;
///     const VERSION: u32 = 1;
///
///     fn key(machine: &String) -> String {
///         machine.clone()
///     }
///
///     fn on_record(&self, _: String, deadline: &mut Self::State, cx: &mut Context<'_, Self>) {
///         if let Some(earlier) = deadline.replace(cx.time() + self.after) {
///             cx.cancel(earlier);
///         }
///         cx.timer(cx.time() + self.after);
///     }
///
///     fn on_timer(&self, deadline: &mut Self::State, cx: &mut Context<'_, Self>) {
///         *deadline = None;
///         cx.emit(format!("{} is silent", cx.key()));
///     }
/// }
/// # fn is_logic<L: Logic>() {}
/// # is_logic::<Silence>();
/// ```
pub trait Logic: Sized + 'static {
    /// What state belongs to. Its encoding decides the shard, so it must never change.
    type Key: Clone + Debug + Serialize + DeserializeOwned + 'static;
    /// What it takes in.
    type In: ExchangeData + Clone;
    /// What it remembers of a key. The default is "nothing".
    type State: Default + PartialEq + Serialize + DeserializeOwned + 'static;
    /// What it gives out.
    type Out: Clone + 'static;

    /// The version of the encoding of state and waiting records. Raise it when `State` or `In` changes.
    const VERSION: u32;

    /// The key of a record.
    fn key(record: &Self::In) -> Self::Key;

    /// Takes one record, in order.
    fn on_record(&self, record: Self::In, state: &mut Self::State, cx: &mut Context<'_, Self>);

    /// Called when the timer for [`Context::time`] fires.
    fn on_timer(&self, _state: &mut Self::State, _cx: &mut Context<'_, Self>) {}

    /// For how long a key is remembered that no record or timer touches, in event time; `None` is forever. A key with a
    /// timer is remembered until that has fired.
    fn ttl(&self) -> Option<Duration> {
        None
    }

    /// Reads state that an earlier `version` wrote; `None` refuses it, and the job does not start.
    fn migrate(_version: u32, _state: &[u8]) -> Option<Self::State> {
        None
    }

    /// Reads a waiting record that an earlier `version` wrote; `None` refuses it, and the job does not start.
    fn migrate_record(_version: u32, _record: &[u8]) -> Option<Self::In> {
        None
    }
}

/// What an operator may do while it takes a record or a timer fires.
#[derive(Debug)]
pub struct Context<'a, L: Logic> {
    pub(crate) key: &'a L::Key,
    pub(crate) time: EventTime,
    pub(crate) now: Now,
    pub(crate) requests: &'a mut Requests<L::Out>,
}

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Now {
    /// A record is taken.
    Record,
    /// A timer fires.
    Timer,
}

/// What an operator asked for in one call.
#[derive(Debug)]
pub(crate) struct Requests<Out> {
    pub(crate) out: Vec<Out>,
    /// Timers in the order of the requests: true sets one, false cancels it.
    pub(crate) timers: Vec<(EventTime, bool)>,
    pub(crate) dropped: Vec<Reason>,
}

impl<Out> Default for Requests<Out> {
    fn default() -> Self {
        Requests { out: Vec::new(), timers: Vec::new(), dropped: Vec::new() }
    }
}

impl<L: Logic> Context<'_, L> {
    /// The key.
    pub fn key(&self) -> &L::Key {
        self.key
    }

    /// The event time of the record, or of the timer that fires.
    pub fn time(&self) -> EventTime {
        self.time
    }

    /// Gives something out, at this event time.
    pub fn emit(&mut self, out: L::Out) {
        self.requests.out.push(out);
    }

    /// Sets a timer of this key. Two timers of one key and instant are one.
    ///
    /// # Panics
    /// If `at` lies before [`Context::time`], or if `at` is not after it while a timer fires.
    pub fn timer(&mut self, at: EventTime) {
        let is_ahead = match self.now {
            Now::Record => at >= self.time,
            Now::Timer => at > self.time,
        };
        assert!(
            is_ahead,
            "key {:?} sets a timer for {at} ms at {} ms: it would never fire",
            self.key, self.time
        );
        self.requests.timers.push((at, true));
    }

    /// Cancels a timer of this key, if there is one.
    pub fn cancel(&mut self, at: EventTime) {
        self.requests.timers.push((at, false));
    }

    /// Counts that the record was left out on purpose, and why.
    pub fn drop(&mut self, reason: Reason) {
        self.requests.dropped.push(reason);
    }
}
