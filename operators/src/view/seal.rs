//! Seals days: a day that ended long ago does not change any more.
//!
//! # Input
//! Records, each of a day. See [`Sealing`] for when a day is sealed.
//! # Output
//! Two flows: records of open days, and records of sealed days. Views must not use the second.
//! # State
//! None of its own. The watermark decides which days are sealed; the manifest stores the instant before which they are.
//! # Progress
//! A record leaves at its own epoch, when the epoch is complete. It is judged by the days that the epochs before its own have
//! sealed. So a row that leaves its window in the epoch that seals its day still counts.
//! # Late and bad data
//! Records of sealed days are counted as left out, with the reason `sealed-day`.
//! # Restart
//! Continues from the instant in the manifest. Records at the committed epoch pass whatever their day, so that a new view begins
//! with all days. A day that a person unseals is open for this run: what it has comes from committed facts, at the committed epoch
//! ([`Build::refill`](crate::build::Build::refill)).
//! # Cost
//! A comparison a record; the records of open epochs are in memory.

use crate::ack::Ack;
use crate::epochs::{Closed, Epochs};
use crate::error::Reason;
use crate::flow::Flow;
use crate::pace::Moment;
use crate::time::{Epoch, EventTime, Watermark};
use crate::view::text::Text;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// Why a record of a sealed day is left out.
pub const SEALED_DAY: Reason = Reason::of("sealed-day");

/// The days of a wall clock, by number, rising in time.
pub trait Calendar: Debug + Send + Sync {
    /// The day that the clock shows at `time`.
    fn day(&self, time: EventTime) -> i64;

    /// The first instant of `day`, at which the clock shows that day.
    fn start(&self, day: i64) -> EventTime;

    /// The day as views name it. Later days have greater names.
    fn name(&self, day: i64) -> Text;
}

/// When days are sealed: a day is sealed in the epoch in which the watermark passes its end by `after_ms`.
///
/// ```rust
/// use headway_operators::time::EventTime;
/// use headway_operators::view::seal::{Calendar, Sealing};
/// use headway_operators::view::text::Text;
/// use std::sync::Arc;
///
/// /// Days of a hundred milliseconds.
/// #[derive(Debug)]
/// struct Hundreds;
///
/// impl Calendar for Hundreds {
///     fn day(&self, time: EventTime) -> i64 {
///         time.ms().div_euclid(100)
///     }
///     fn start(&self, day: i64) -> EventTime {
///         EventTime(day * 100)
///     }
///     fn name(&self, day: i64) -> Text {
///         Text::from(format!("{day:08}"))
///     }
/// }
///
/// let sealing = Sealing::new(250, Arc::new(Hundreds));
/// assert_eq!(sealing.up_to(EventTime(449)), Some(EventTime(100)));
/// assert_eq!(sealing.up_to(EventTime(450)), Some(EventTime(200)), "day 1 ends at 200");
/// assert_eq!(sealing.up_to(EventTime::MIN), None);
/// ```
#[derive(Clone, Debug)]
pub struct Sealing {
    after_ms: i64,
    calendar: Arc<dyn Calendar>,
}

impl Sealing {
    /// Days of `calendar`, sealed `after_ms` milliseconds of event time after their end.
    pub fn new(after_ms: i64, calendar: Arc<dyn Calendar>) -> Sealing {
        Sealing { after_ms, calendar }
    }

    /// How long after its end a day is sealed.
    pub fn after_ms(&self) -> i64 {
        self.after_ms
    }

    /// The instant before which all days are sealed at `watermark`; `None` if no day is.
    pub fn up_to(&self, watermark: Watermark) -> Option<EventTime> {
        self.first_open_at(watermark).map(|day| self.calendar.start(day))
    }

    /// The first day that is not sealed at `watermark`; `None` if no day is sealed.
    fn first_open_at(&self, watermark: Watermark) -> Option<i64> {
        let is_known = watermark != EventTime::MIN && watermark != EventTime::MAX;
        let at = is_known.then(|| watermark.ms().checked_sub(self.after_ms))??;
        Some(self.calendar.day(EventTime(at)))
    }

    /// The first day that is not sealed, where days before `up_to` are.
    pub fn first_open(&self, up_to: EventTime) -> i64 {
        self.calendar.day(up_to)
    }

    /// The name of the first day that is not sealed, where days before `up_to` are.
    pub fn first_open_name(&self, up_to: EventTime) -> Text {
        self.name_at(up_to)
    }

    /// The name of the day of `time`.
    pub fn name_at(&self, time: EventTime) -> Text {
        self.calendar.name(self.calendar.day(time))
    }

    /// The day of `time`, from its first instant to that of the next day.
    pub fn day_at(&self, time: EventTime) -> Range<EventTime> {
        let day = self.calendar.day(time);
        self.calendar.start(day)..self.calendar.start(day.saturating_add(1))
    }

    /// The first instant of the sealed day called `name`, where days before `up_to` are sealed; `None` if no sealed day of the last
    /// 250 years has that name.
    ///
    /// ```rust
    /// # use headway_operators::time::EventTime;
    /// # use headway_operators::view::seal::{Calendar, Sealing};
    /// # use headway_operators::view::text::Text;
    /// # use std::sync::Arc;
    /// # #[derive(Debug)]
    /// # struct Hundreds;
    /// # impl Calendar for Hundreds {
    /// #     fn day(&self, time: EventTime) -> i64 { time.ms().div_euclid(100) }
    /// #     fn start(&self, day: i64) -> EventTime { EventTime(day * 100) }
    /// #     fn name(&self, day: i64) -> Text { Text::from(format!("{day:08}")) }
    /// # }
    /// let sealing = Sealing::new(250, Arc::new(Hundreds));
    /// let sealed = |name| sealing.sealed_day(name, EventTime(300));
    /// assert_eq!(sealed("00000002"), Some(EventTime(200)));
    /// assert_eq!(sealed("00000003"), None, "it is open");
    /// assert_eq!(sealed("2"), None, "no day is called that");
    /// ```
    pub fn sealed_day(&self, name: &str, up_to: EventTime) -> Option<EventTime> {
        let first_open = self.first_open(up_to);
        let days = (1..=DAYS_BACK_MAX).map(|back| first_open.saturating_sub(back));
        let mut not_before =
            days.map(|day| (day, self.calendar.name(day))).take_while(|(_, known)| known.as_str() >= name);
        not_before.find(|(_, known)| known.as_str() == name).map(|(day, _)| self.calendar.start(day))
    }
}

/// How many days back a sealed day is looked for by its name: 250 years.
const DAYS_BACK_MAX: i64 = 91_000;

/// The days that are sealed as of the last epoch that an operator closed.
#[derive(Clone, Debug)]
pub struct Sealed {
    sealing: Sealing,
    first_open: Option<i64>,
    /// Days before that, which a person has unsealed for this run.
    unsealed: BTreeSet<i64>,
}

impl Sealed {
    /// What is sealed up to `up_to`, as of the committed epoch.
    pub fn new(sealing: Sealing, up_to: Option<EventTime>) -> Sealed {
        let first_open = up_to.map(|up_to| sealing.first_open(up_to));
        Sealed { sealing, first_open, unsealed: BTreeSet::new() }
    }

    /// The same, but the days that begin at `starts` are open.
    #[must_use]
    pub fn unsealing(self, starts: &[EventTime]) -> Sealed {
        let unsealed = starts.iter().map(|start| self.sealing.calendar.day(*start)).collect();
        Sealed { unsealed, ..self }
    }

    /// True if `day` is sealed.
    pub fn has(&self, day: i64) -> bool {
        self.first_open.is_some_and(|first| day < first) && !self.is_unsealed(day)
    }

    /// True if `day` is open because a person has unsealed it.
    pub fn is_unsealed(&self, day: i64) -> bool {
        self.unsealed.contains(&day)
    }

    /// The first day that is not sealed; `None` if no day is sealed.
    pub fn first_open(&self) -> Option<i64> {
        self.first_open
    }

    /// Seals what an epoch with `watermark` seals, at its close.
    pub fn close(&mut self, watermark: Watermark) {
        self.first_open = self.first_open.max(self.sealing.first_open_at(watermark));
    }
}

/// Records of open days, records of sealed days, and how many those are.
pub(crate) struct Parted<'s, R: Clone + 'static> {
    pub(crate) open: StreamVec<'s, Epoch, R>,
    pub(crate) sealed: StreamVec<'s, Epoch, R>,
    pub(crate) acks: StreamVec<'s, Epoch, Ack>,
}

/// What has come for an epoch.
struct Stash<R> {
    records: Vec<R>,
    watermark: Option<Watermark>,
}

impl<R> Default for Stash<R> {
    fn default() -> Self {
        Stash { records: Vec::new(), watermark: None }
    }
}

/// Parts the records of `flow` by the `day` of each. `committed` is the epoch that the run starts from.
pub(crate) fn part<'s, R: Clone + 'static>(
    flow: &Flow<'s, R>,
    name: &str,
    committed: Epoch,
    mut sealed: Sealed,
    day: impl Fn(&R) -> i64 + 'static,
) -> Parted<'s, R> {
    let (operator, set) = (name.to_string(), flow.set);
    let mut builder = OperatorBuilder::new(name.to_string(), flow.records.scope());
    let mut records = builder.new_input(flow.records.clone(), Pipeline);
    let mut moments = builder.new_input(flow.moments.clone(), Pipeline);
    let (open_out, open) = builder.new_output();
    let mut open_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<R>>>::from(open_out);
    let (sealed_out, sealed_stream) = builder.new_output();
    let mut sealed_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<R>>>::from(sealed_out);
    let (ack_out, acks) = builder.new_output();
    let mut ack_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Ack>>>::from(ack_out);
    builder.build(move |initial| {
        drop(initial);
        let mut epochs: Epochs<Stash<R>> = Epochs::new(3);
        move |frontiers| {
            // 1. Accept input.
            records.for_each(|cap, batch: &mut Vec<R>| epochs.at(&cap).records.append(batch));
            moments.for_each(|cap, batch: &mut Vec<Rc<Moment>>| {
                epochs.at(&cap).watermark = batch.pop().map(|moment| moment.tick(set).watermark);
            });
            // 2. Judge complete epochs, in order.
            let (mut open_out, mut sealed_out) = (open_out.activate(), sealed_out.activate());
            let mut ack_out = ack_out.activate();
            while let Some(Closed { epoch, caps, stash }) = epochs.closed(frontiers) {
                let is_restored = epoch <= committed;
                let is_open = |record: &R| is_restored || !sealed.has(day(record));
                let (pass, stay): (Vec<R>, Vec<R>) = stash.records.into_iter().partition(is_open);
                if !stay.is_empty() {
                    let reason = SEALED_DAY;
                    let (operator, records) = (operator.clone(), stay.len() as u64);
                    ack_out.session(&caps[2]).give(Ack::Dropped { operator, reason, records });
                }
                open_out.session(&caps[0]).give_iterator(pass.into_iter());
                sealed_out.session(&caps[1]).give_iterator(stay.into_iter());
                // 3. What this epoch seals holds for the next one.
                if let Some(watermark) = stash.watermark.filter(|_| !is_restored) {
                    sealed.close(watermark);
                }
            }
        }
    });
    Parted { open, sealed: sealed_stream, acks }
}
