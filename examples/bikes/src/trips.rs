//! A trip when a bike docks again, an alert when it did not in time.

use headway_operators::flow::Either::{self, Left, Right};
use headway_operators::kit::json::Timestamp;
use headway_operators::kit::{Context, Logic};
use headway_operators::row;
use headway_operators::time::EventTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A message of the topic `bike-moves`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Move {
    /// The bike.
    pub bike: String,
    /// The station where it was taken or brought to.
    pub station: String,
    /// When.
    pub ts: Timestamp,
    /// What happened.
    pub event: Event,
}

/// What happens to a bike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// It is brought to a station.
    Dock,
    /// It is taken from a station.
    Undock,
}

row! {
    /// A bike went from one station to another.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Trip {
        /// The bike.
        pub bike: String,
        /// Where it was taken.
        pub from_station: String,
        /// Where it was brought.
        pub to_station: String,
        /// When it was taken.
        pub start: EventTime,
        /// When it was brought.
        pub end: EventTime,
        /// Whole minutes between the two.
        pub minutes: i64,
        /// 1, to be added up.
        pub trips: i64,
    }
}

/// A bike was not brought back in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overdue {
    /// The bike.
    pub bike: String,
    /// Where it was taken.
    pub station: String,
    /// When it was taken.
    pub start: EventTime,
    /// When it was to be back.
    pub due: EventTime,
}

/// The operator.
#[derive(Clone, Copy, Debug)]
pub struct Trips {
    /// After how long a bike is overdue.
    pub overdue: Duration,
}

impl Logic for Trips {
    type Key = String;
    type In = Move;
    /// Since when the bike is away, and from where.
    type State = Option<(EventTime, String)>;
    type Out = Either<Trip, Overdue>;
    const VERSION: u32 = 1;

    fn key(of: &Move) -> String {
        of.bike.clone()
    }

    fn on_record(&self, of: Move, away: &mut Self::State, cx: &mut Context<'_, Self>) {
        if let Some((start, from_station)) = away.take() {
            cx.cancel(start + self.overdue);
            if of.event == Event::Dock {
                let (end, bike, to_station) = (cx.time(), of.bike.clone(), of.station.clone());
                let minutes = (end.ms() - start.ms()) / 60_000;
                cx.emit(Left(Trip { bike, from_station, to_station, start, end, minutes, trips: 1 }));
            }
        }
        if of.event == Event::Undock {
            *away = Some((cx.time(), of.station));
            cx.timer(cx.time() + self.overdue);
        }
    }

    fn on_timer(&self, away: &mut Self::State, cx: &mut Context<'_, Self>) {
        let (bike, due) = (cx.key().clone(), cx.time());
        if let Some((start, station)) = away.clone() {
            cx.emit(Right(Overdue { bike, station, start, due }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::kit::script::{At, hours, script};

    fn moved(event: Event, station: &str, at: &str) -> (At, Move) {
        let (bike, station, ts) = ("b1".to_string(), station.to_string(), Timestamp::from(At::from(at).0));
        (At::from(at), Move { bike, station, ts, event })
    }

    fn trip(from: &str, to: &str, start: &str, end: &str) -> Either<Trip, Overdue> {
        let (At(start), At(end)) = (start.into(), end.into());
        let (bike, from_station, to_station) = ("b1".to_string(), from.to_string(), to.to_string());
        let minutes = (end.ms() - start.ms()) / 60_000;
        Left(Trip { bike, from_station, to_station, start, end, minutes, trips: 1 })
    }

    #[test]
    fn bike_is_overdue_once_two_hours_have_passed() {
        let (taken, undock) = moved(Event::Undock, "S0", "10:00");
        let (brought, dock) = moved(Event::Dock, "S7", "13:00");
        let (At(start), At(due)) = (taken, "12:00".into());
        script(|| Trips { overdue: hours(2) })
            .horizon(hours(2))
            .record(taken, undock)
            .watermark("12:00")
            .gives([])
            .watermark("12:00:01")
            .gives([Right(Overdue { bike: "b1".to_string(), station: "S0".to_string(), start, due })])
            .timers::<At>("b1".to_string(), [])
            .record(brought, dock)
            .end()
            .gives([trip("S0", "S7", "10:00", "13:00")])
            .state("b1".to_string(), None)
            .check();
    }

    #[test]
    fn bike_that_docks_in_time_is_not_overdue() {
        let (taken, undock) = moved(Event::Undock, "S0", "10:00");
        let (brought, dock) = moved(Event::Dock, "S1", "12:00");
        script(|| Trips { overdue: hours(2) })
            .horizon(hours(2))
            .record(taken, undock)
            .record(brought, dock)
            .end()
            .gives([trip("S0", "S1", "10:00", "12:00")])
            .check();
    }
}
