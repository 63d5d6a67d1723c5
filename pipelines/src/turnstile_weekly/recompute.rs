//! The views of the weekly files the slow way: all committed readings in one list, sorted and subtracted.

use super::deltas::{Committed, Corrections, Deltas};
use crate::turnstile::views::passage::{Count, Interval, StationBy};
use crate::turnstile::views::recompute::Slow;
use crate::zone::Zone;
use headway_operators::error::StateError;
use headway_operators::recompute::{Facts, Recompute, Tables};
use headway_operators::state::Saved;

/// The operator whose state has the readings.
const OPERATOR: &str = "Deltas";

/// The intervals between readings.
pub(super) struct Readings {
    zone: Zone,
    bound: i64,
    corrections: Corrections,
    slow: Slow,
}

impl Readings {
    /// No readings yet; differences beyond `bound` are not believed.
    pub(super) fn new(zone: Zone, bound: i64, by: StationBy, corrections: Corrections) -> Readings {
        let slow = Slow::new(zone.clone(), by, false);
        Readings { zone, bound, corrections, slow }
    }

    fn judge(&self, before: i64, after: i64) -> Count {
        let difference = after - before;
        if difference < 0 {
            Count::Negative(difference)
        } else if difference > self.bound {
            Count::OverBound(difference)
        } else {
            Count::Counted(i128::from(difference))
        }
    }
}

impl Recompute for Readings {
    fn facts(&self) -> Facts {
        Facts::State(OPERATOR)
    }

    fn state(&mut self, saved: &[Saved]) -> Result<(), StateError> {
        let mut all: Vec<Committed> = Deltas::committed(self.zone.clone(), self.corrections, saved)?;
        all.sort_by_key(|reading| (reading.turnstile, reading.time));
        for two in all.windows(2).filter(|two| two[0].turnstile == two[1].turnstile) {
            let [entries, exits] =
                [0, 1].map(|register| self.judge(two[0].registers[register], two[1].registers[register]));
            let interval = Interval::new(&self.zone, two[0].time, two[1].time);
            self.slow.add(&interval.passage(two[1].place.clone(), entries, exits));
        }
        Ok(())
    }

    fn tables(&self) -> Tables {
        self.slow.tables()
    }
}
