//! `active_users`: how many users did something in five minutes, in an hour and in a day.
//!
//! A user counts once a window. Two operators: the first finds who is new in a window, the second counts them. Both forget a
//! window when the watermark has passed its end: then its row leaves.

use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::kit::{Context, Logic, Record};
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::time::EventTime;
use serde::{Deserialize, Serialize};

/// How long windows are, in milliseconds, and what they are called.
const GRAINS: [(i64, &str); 3] = [(300_000, "5m"), (3_600_000, "1h"), (86_400_000, "1d")];

/// The columns of its rows.
pub(super) const COLUMNS: [Column; 4] = [
    Column::new("window", Kind::Text),
    Column::new("start", Kind::Time),
    Column::new("end", Kind::Time),
    Column::new("users", Kind::Int),
];

/// A window: which grain, and its first instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Window {
    grain: u8,
    start: EventTime,
}

impl Window {
    fn size_ms(self) -> i64 {
        GRAINS[usize::from(self.grain)].0
    }

    /// All windows that hold an instant.
    fn of(time: EventTime) -> impl Iterator<Item = Window> {
        (0_u8..).zip(GRAINS).map(move |(grain, (size_ms, _))| Window {
            grain,
            start: EventTime(time.ms().div_euclid(size_ms) * size_ms),
        })
    }

    fn last_instant(self) -> EventTime {
        self.start.plus_ms(self.size_ms() - 1)
    }
}

/// Gives each user of a window once.
struct FirstSeen;

impl Logic for FirstSeen {
    type Key = (Window, i64);
    type In = (Window, i64);
    type State = bool;
    type Out = Window;

    const VERSION: u32 = 1;

    fn key(seen: &(Window, i64)) -> (Window, i64) {
        *seen
    }

    fn on_record(&self, (window, _): (Window, i64), was_seen: &mut bool, cx: &mut Context<'_, Self>) {
        if !*was_seen {
            *was_seen = true;
            cx.timer(window.last_instant());
            cx.emit(window);
        }
    }

    fn on_timer(&self, was_seen: &mut bool, _cx: &mut Context<'_, Self>) {
        *was_seen = false;
    }
}

/// Counts the users of a window.
struct Count;

impl Logic for Count {
    type Key = Window;
    type In = Window;
    type State = i64;
    type Out = ActiveUsers;

    const VERSION: u32 = 1;

    fn key(window: &Window) -> Window {
        *window
    }

    fn on_record(&self, window: Window, users: &mut i64, cx: &mut Context<'_, Self>) {
        if *users == 0 {
            cx.timer(window.last_instant());
        }
        *users += 1;
    }

    fn on_timer(&self, users: &mut i64, cx: &mut Context<'_, Self>) {
        cx.emit(ActiveUsers { window: *cx.key(), users: std::mem::take(users) });
    }
}

/// The users of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ActiveUsers {
    window: Window,
    users: i64,
}

impl Row for ActiveUsers {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        let Window { grain, start } = self.window;
        put(Cell::Text(GRAINS[usize::from(grain)].1));
        put(Cell::Time(start));
        put(Cell::Time(start.plus_ms(self.window.size_ms())));
        put(Cell::Int(self.users));
    }

    fn time(&self) -> EventTime {
        self.window.start
    }
}

/// The users of each window, once no more can come. `users` are records of who did something.
pub(super) fn active_users<'s>(build: &mut Build<'s>, users: Flow<'s, Record<i64>>) -> Flow<'s, ActiveUsers> {
    let windows = Window::of(EventTime(0)).count();
    let of_window = |at: usize| {
        users.clone().filter_map(move |record| {
            let time = record.time;
            let window = Window::of(time).nth(at)?;
            Some(record.map(|user| (window, user)))
        })
    };
    let seen = (1..windows).map(of_window).fold(of_window(0), Flow::and);
    let new = build.logic("ActiveUsersFirst", FirstSeen, seen);
    build.logic("ActiveUsersCount", Count, new).map(|record| record.data)
}
