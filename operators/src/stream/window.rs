//! Assigns records to windows of event time: a pure function of the grid that operators ask.
//!
//! From a record's event time and its stamp (the effective watermark of its own partition just before it) follow the
//! ends of the windows that hold the record and are open to it. Lateness is a method of the window kind. Here: a record is
//! added to exactly its windows with end > stamp, and is late if none is left. O(1) to decide, O(windows per record) to
//! list.

use crate::time::{EventTime, Span, Watermark};

/// Decides, per record, whether it is late.
pub trait Lateness: 'static {
    /// True if a record at `time` has no window left that is open to it. `stamp` is the effective watermark of its
    /// own partition just before it; no other watermark decides.
    fn is_late(&self, time: EventTime, stamp: Watermark) -> bool;
}

/// Tumbling and sliding windows: `[k * slide, k * slide + size)` for every whole `k`, from the Unix epoch in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    size_ms: i64,
    slide_ms: i64,
}

impl Grid {
    /// Windows of `size_ms` that start every `slide_ms`.
    ///
    /// # Panics
    /// Unless `0 < slide_ms <= size_ms`.
    pub fn sliding(size_ms: i64, slide_ms: i64) -> Grid {
        assert!(0 < slide_ms && slide_ms <= size_ms, "slide {slide_ms} ms is not in 1..={size_ms} ms");
        Grid { size_ms, slide_ms }
    }

    /// Windows of `size_ms`, each starting where the last one ends.
    ///
    /// # Panics
    /// Unless `size_ms` is positive.
    pub fn tumbling(size_ms: i64) -> Grid {
        Grid::sliding(size_ms, size_ms)
    }

    /// Length of a window in milliseconds.
    pub fn size_ms(&self) -> i64 {
        self.size_ms
    }

    /// Distance between two starts in milliseconds.
    pub fn slide_ms(&self) -> i64 {
        self.slide_ms
    }

    /// The start of the last window that holds `time`; the same for all times of a pane.
    #[inline]
    pub fn pane(&self, time: EventTime) -> EventTime {
        EventTime(time.0.div_euclid(self.slide_ms).saturating_mul(self.slide_ms))
    }

    /// The end of the last window that holds `time`.
    #[inline]
    pub fn last_end(&self, time: EventTime) -> EventTime {
        self.pane(time).plus_ms(self.size_ms)
    }

    /// The end of the first window that holds `time` and ends after `stamp`; `None` if there is no such window.
    #[inline]
    pub fn first_open_end(&self, time: EventTime, stamp: Watermark) -> Option<EventTime> {
        let last = self.last_end(time);
        if last <= stamp {
            return None;
        }
        // Ends lie one slide apart below `last`; the least must be after both `time` and `stamp`.
        let bound = time.max(stamp);
        // A division for each record would be felt; windows that tumble need none.
        if last.minus_ms(self.slide_ms) <= bound {
            return Some(last);
        }
        Some(last.minus_ms((last.0 - bound.0 - 1) / self.slide_ms * self.slide_ms))
    }

    /// The window that ends at `end`.
    pub fn span(&self, end: EventTime) -> Span {
        Span { start: end.minus_ms(self.size_ms), end }
    }
}

impl Lateness for Grid {
    #[inline]
    fn is_late(&self, time: EventTime, stamp: Watermark) -> bool {
        // No window ends before what it holds: mostly that decides, without a division.
        time <= stamp && self.last_end(time) <= stamp
    }
}

/// What the end of an input closes, and what is late in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Every window of the grid that may hold a record. A flush, when all inputs have been quiet for long, closes the same.
    Grid(Grid),
    /// What lies at most so many milliseconds after a record: sessions, timers; 0 where nothing does. Never flushed: a
    /// timer must not fire before its time has come.
    Horizon {
        /// How far what a record opens may reach beyond it.
        ms: i64,
    },
    /// Nothing is ever closed, and nothing is late: whatever comes, whenever it comes, changes the answer.
    Never,
}

impl Closing {
    /// The least watermark at which nothing is open any more, if `newest` is the newest event time.
    pub fn closing_time(&self, newest: EventTime) -> EventTime {
        match self {
            Closing::Grid(grid) => grid.last_end(newest),
            // A timer fires when the watermark has passed it.
            Closing::Horizon { ms } => newest.plus_ms(*ms).plus_ms(1),
            Closing::Never => EventTime::MIN,
        }
    }

    /// How far what a record opens reaches, in milliseconds of event time.
    pub fn reach_ms(&self) -> i64 {
        match self {
            Closing::Grid(grid) => grid.size_ms(),
            Closing::Horizon { ms } => *ms,
            Closing::Never => 0,
        }
    }
}

impl Lateness for Closing {
    fn is_late(&self, time: EventTime, stamp: Watermark) -> bool {
        match self {
            Closing::Grid(grid) => grid.is_late(time, stamp),
            Closing::Horizon { .. } => time < stamp,
            Closing::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every window end that holds `time`, by trying all.
    fn slow_ends(size: i64, slide: i64, time: i64) -> Vec<i64> {
        let from = (time - size).div_euclid(slide) * slide - slide;
        let starts = (0..).map(|k| from + k * slide).take_while(|start| *start <= time);
        starts.filter(|start| time < start + size).map(|start| start + size).collect()
    }

    fn grid_and_time() -> impl Strategy<Value = (i64, i64, i64, i64)> {
        (1i64..400, 1i64..400, -5_000i64..5_000, -6_000i64..6_000)
            .prop_map(|(a, b, time, stamp)| (a.max(b), a.min(b), time, stamp))
    }

    proptest! {
        #[test]
        fn open_windows_are_those_that_hold_the_time_and_end_after_the_stamp(
            (size, slide, time, stamp) in grid_and_time()
        ) {
            let grid = Grid::sliding(size, slide);
            let open: Vec<_> = slow_ends(size, slide, time).into_iter().filter(|end| *end > stamp).collect();
            let (first, last) = (grid.first_open_end(EventTime(time), EventTime(stamp)), grid.last_end(EventTime(time)));
            prop_assert_eq!(first.map(EventTime::ms), open.first().copied());
            prop_assert_eq!(Some(last.ms()), slow_ends(size, slide, time).last().copied());
            prop_assert_eq!(grid.is_late(EventTime(time), EventTime(stamp)), open.is_empty());
        }

        #[test]
        fn windows_of_one_pane_end_together((size, slide, time, _) in grid_and_time()) {
            let grid = Grid::sliding(size, slide);
            let pane = grid.pane(EventTime(time));
            prop_assert!(pane.ms() <= time && time < pane.ms() + slide);
            prop_assert_eq!(grid.last_end(pane), grid.last_end(EventTime(time)));
        }
    }

    #[test]
    fn a_partition_that_has_accepted_nothing_makes_nothing_late() {
        let grid = Grid::tumbling(300_000);
        assert!(!grid.is_late(EventTime(0), EventTime::MIN));
        assert_eq!(grid.first_open_end(EventTime(-1), EventTime::MIN), Some(EventTime(0)));
    }

    #[test]
    #[should_panic(expected = "slide 2 ms is not in 1..=1 ms")]
    fn windows_with_gaps_are_refused() {
        Grid::sliding(1, 2);
    }
}
