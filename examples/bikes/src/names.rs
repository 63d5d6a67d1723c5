//! Adds the name of the station to an alert, as the topic of stations had it when the alert was due.

use crate::trips::Overdue;
use headway_operators::kit::json::Timestamp;
use headway_operators::kit::table_join::Enrich;
use headway_operators::row;
use headway_operators::time::EventTime;
use serde::{Deserialize, Serialize};

/// A message of the topic `bike-stations`: the newest one of a station counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Station {
    /// The station.
    pub id: String,
    /// Its name; `None` if the station was closed.
    pub name: Option<String>,
    /// Since when.
    pub ts: Timestamp,
}

row! {
    /// A bike that is overdue.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Alert {
        /// The bike.
        pub bike: String,
        /// Where it was taken.
        pub station: String,
        /// The station's name, where it has one.
        pub station_name: Option<String>,
        /// When it was taken.
        pub start: EventTime,
        /// When it was to be back.
        pub due: EventTime,
    }
}

/// The join.
#[derive(Clone, Copy, Debug)]
pub struct Names;

impl Enrich for Names {
    type Key = String;
    type Row = Station;
    type In = Overdue;
    type Out = Alert;
    const VERSION: u32 = 1;

    fn row_key(station: &Station) -> String {
        station.id.clone()
    }

    fn key(overdue: &Overdue) -> String {
        overdue.station.clone()
    }

    fn deletes(station: &Station) -> bool {
        station.name.is_none()
    }

    fn join(&self, overdue: Overdue, station: Option<&Station>) -> Option<Alert> {
        let Overdue { bike, station: id, start, due } = overdue;
        Some(Alert { bike, station: id, station_name: station.and_then(|s| s.name.clone()), start, due })
    }
}
