//! What all partitions of a generated stream share: options, rules and dictionaries.

use super::calendar::Calendar;
use super::dictionary::Dictionary;
use super::machine::Machine;
use headway_operators::generate::Options;
use std::sync::Arc;

/// How users behave: the numbers of the published default configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// Seconds between two events of a session, on average over all users.
    pub event_s: f64,
    /// Seconds between two sessions of a user, on average over all users.
    pub pause_s: f64,
    /// How far sessions move away from the night, in days.
    pub day_damping: f64,
    /// The share of sessions of weekends and holidays that are drawn anew.
    pub weekend_damping: f64,
    /// New users a year, as a share of those at the start.
    pub growth: f64,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            event_s: 90.0,
            pause_s: 604_800.0,
            day_damping: 0.09375,
            weekend_damping: 0.5,
            growth: 0.1,
        }
    }
}

/// What shapes a generated stream.
#[derive(Clone, Debug)]
pub struct World {
    pub(super) options: Options,
    pub(super) behaviour: Behaviour,
    pub(super) dictionary: Arc<Dictionary>,
    /// A hash of what the dictionary was read from.
    pub(super) digest: u64,
    pub(super) machine: Machine,
    pub(super) calendar: Calendar,
}

impl World {
    /// A world of `options`: `keys` are the users at the start, `messages` the page views, which are all that users do.
    /// There is at least one user and one partition.
    pub fn new(options: &Options, behaviour: Behaviour, dictionary: impl Into<Arc<Dictionary>>) -> World {
        let dictionary = dictionary.into();
        let mut options = options.clone();
        options.partitions = options.partitions.max(1);
        options.keys = options.keys.max(1);
        let calendar = Calendar {
            day_damping: behaviour.day_damping,
            weekend_damping: behaviour.weekend_damping.clamp(0.0, 1.0),
        };
        let digest = dictionary.digest();
        World { options, behaviour, dictionary, digest, machine: Machine::new(), calendar }
    }

    /// How many page views `partition` has; `None` where it never ends.
    pub(super) fn page_views(&self, partition: u32) -> Option<u64> {
        let partitions = u64::from(self.options.partitions);
        let before = self.options.messages?.saturating_sub(u64::from(partition));
        Some(before.div_ceil(partitions))
    }
}
