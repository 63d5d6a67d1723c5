//! The four topics of eventsim, and the two forms in which its events come.

use super::event::Field::{self, *};
use serde::{Deserialize, Serialize};

/// One of the four topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Topic {
    /// A song begins.
    Listen,
    /// A page is seen: every event is one.
    PageView,
    /// Somebody has tried to log in.
    Auth,
    /// Somebody changes what they pay.
    StatusChange,
}

/// How messages say what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Form {
    /// Four topics, with city, state and position.
    Topics,
    /// One log of all page views, as the "Sparkify" files have it: `length` is the duration, `location` a metropolitan area,
    /// and `userId` a text, which is empty where the user is hidden.
    Sparkify,
}

/// The columns of a topic, in the order of upstream's messages.
const LISTEN: &[Field] = &[
    Artist,
    Song,
    Duration,
    Ts,
    SessionId,
    Auth,
    Level,
    ItemInSession,
    City,
    Zip,
    State,
    UserAgent,
    Lon,
    Lat,
    UserId,
    LastName,
    FirstName,
    Gender,
    Registration,
    Tag,
];
const PAGE_VIEW: &[Field] = &[
    Ts,
    SessionId,
    Page,
    Auth,
    Method,
    Status,
    Level,
    ItemInSession,
    City,
    Zip,
    State,
    UserAgent,
    Lon,
    Lat,
    UserId,
    LastName,
    FirstName,
    Gender,
    Registration,
    Tag,
    Artist,
    Song,
    Duration,
];
const AUTH: &[Field] = &[
    Ts,
    SessionId,
    Level,
    ItemInSession,
    City,
    Zip,
    State,
    UserAgent,
    Lon,
    Lat,
    UserId,
    LastName,
    FirstName,
    Gender,
    Registration,
    Tag,
    Success,
];
const STATUS_CHANGE: &[Field] = &[
    Ts,
    SessionId,
    Auth,
    Level,
    ItemInSession,
    City,
    Zip,
    State,
    UserAgent,
    Lon,
    Lat,
    UserId,
    LastName,
    FirstName,
    Gender,
    Registration,
    Tag,
];
const SPARKIFY_LISTEN: &[Field] = &[
    Artist,
    Song,
    Duration,
    Ts,
    SessionId,
    Auth,
    Level,
    ItemInSession,
    Location,
    UserAgent,
    UserId,
    LastName,
    FirstName,
    Gender,
    Registration,
];
const SPARKIFY_PAGE_VIEW: &[Field] = &[
    Ts,
    SessionId,
    Page,
    Auth,
    Method,
    Status,
    Level,
    ItemInSession,
    Location,
    UserAgent,
    UserId,
    LastName,
    FirstName,
    Gender,
    Registration,
    Artist,
    Song,
    Duration,
];

impl Topic {
    /// All of them.
    pub const ALL: [Topic; 4] = [Topic::Listen, Topic::PageView, Topic::Auth, Topic::StatusChange];

    /// Its name in Kafka, which is that of its input and output, too.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Listen => "listen_events",
            Topic::PageView => "page_view_events",
            Topic::Auth => "auth_events",
            Topic::StatusChange => "status_change_events",
        }
    }

    /// The fields that its events have in `form`.
    pub const fn fields(self, form: Form) -> &'static [Field] {
        match (form, self) {
            (Form::Topics, Topic::Listen) => LISTEN,
            (Form::Topics, Topic::PageView) => PAGE_VIEW,
            (Form::Topics, Topic::Auth) => AUTH,
            (Form::Topics, Topic::StatusChange) => STATUS_CHANGE,
            (Form::Sparkify, Topic::Listen) => SPARKIFY_LISTEN,
            (Form::Sparkify, _) => SPARKIFY_PAGE_VIEW,
        }
    }
}
