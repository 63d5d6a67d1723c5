//! `dim_users`: the history of what each user pays; and from it `users_by_gender_level`.
//!
//! A version of a user is a half-open interval with one level. A play finds exactly one, the one that held when it was
//! played. Names do not open versions: the latest ones stand in all rows of a user.

use super::play::{Names, Play, key_of};
use headway_operators::build::Build;
use headway_operators::error::Reason;
use headway_operators::flow::Flow;
use headway_operators::record::Stamped;
use headway_operators::time::EventTime;
use headway_operators::view::latest::Latest;
use headway_operators::view::rollup::Sums;
use headway_operators::view::scd2::{Event, Fact, Version};
use headway_operators::view::table::Table;
use headway_operators::view::text::Text;
use serde::{Deserialize, Serialize};

/// A play without the number of a user, or with upstream's number for "nobody".
const NO_USER: Reason = Reason::of("no-user");

/// A play that does not say what its user pays.
const NO_LEVEL: Reason = Reason::of("no-level");

/// A play with the version of its user that held.
pub type PlayFact = Fact<i64, Text, Play>;

/// A row of `dim_users`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct User {
    /// The user's number.
    pub user: i64,
    /// What the user paid in this time.
    pub level: Text,
    /// The first instant.
    pub from: EventTime,
    /// The first instant after it; `None` while it holds.
    pub to: Option<EventTime>,
    /// What the user was called last.
    pub names: Option<Names>,
}

/// A row of `users_by_gender_level`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GenderLevel {
    /// The gender.
    pub gender: Option<Text>,
    /// What they pay now.
    pub level: Text,
}

/// The key of a version of a user.
pub fn user_key(user: i64, from: EventTime) -> Text {
    key_of(&(user, from))
}

/// The history of levels, and each play of a known user with the version that held. Plays of nobody, and plays without a level, have
/// none: they are dropped, and counted.
pub fn histories<'s>(
    build: &mut Build<'s>,
    plays: &Flow<'s, Stamped<Play>>,
) -> (Table<'s, Version<i64, Text>>, Flow<'s, PlayFact>) {
    let event = |stamped: Stamped<Play>| -> Result<_, Reason> {
        let Stamped { time, stamp, partition, data: play } = stamped;
        let key = play.user.ok_or(NO_USER)?;
        let value = play.level.clone().ok_or(NO_LEVEL)?;
        Ok(Stamped { time, stamp, partition, data: Event { key, value, fact: Some(play) } })
    };
    let of_users = build.pick("PlaysOfUsers", plays.clone(), event);
    build.scd2("Users", of_users)
}

/// The history of users by their `new` plays, with the names that `plays` say, and each new play of a known user with the version
/// that held.
pub fn users<'s>(
    build: &mut Build<'s>,
    new: &Flow<'s, Stamped<Play>>,
    plays: &Flow<'s, Stamped<Play>>,
) -> (Table<'s, User>, Flow<'s, PlayFact>) {
    let (versions, facts) = histories(build, new);
    let names = |stamped: Stamped<Play>| {
        let Stamped { time, data: play, .. } = stamped;
        Some((play.user?, (time, play.names)))
    };
    let names = build.keep("UserNames", Latest::default(), plays.clone().filter_map(names));
    let names = names.map(|(user, (_, names)): (i64, (EventTime, Names))| (user, names));
    let versions = versions.map(|Version { key, value, from, to }| (key, (value, from, to)));
    let users = versions.lookup(names).map(|(user, ((level, from, to), names))| User {
        user,
        level,
        from,
        to,
        names,
    });
    (users, facts)
}

/// How many users of each gender pay what, as of now.
pub fn by_gender_level<'s>(
    build: &mut Build<'s>,
    users: &Table<'s, User>,
) -> Table<'s, (GenderLevel, Sums<0>)> {
    let current = users.updates().filter_map(|(user, _, diff)| {
        let User { level, to: None, names, .. } = user else { return None };
        let gender = names.and_then(|names| names.gender);
        Some((GenderLevel { gender, level }, Sums::of([]).times(diff)))
    });
    build.rollup("UsersByGenderLevel", current)
}
