//! The state machine of a session: which page follows which, as the default configuration of eventsim publishes it.
//!
//! A state is a page for a user of some standing and level. Where the probabilities of a state add up to less than 1, the rest
//! ends the session.

use super::weighted::Weighted;
use crate::draws::Draws;
use std::collections::HashMap;

/// The pages: how the tables below write them, their names on the wire, status and method.
const PAGES: [(&str, &str, u16, &str); 17] = [
    ("About", "About", 200, "GET"),
    ("Error", "Error", 404, "GET"),
    ("Help", "Help", 200, "GET"),
    ("Home", "Home", 200, "GET"),
    ("Register", "Register", 200, "GET"),
    ("SubmitRegistration", "Submit Registration", 307, "PUT"),
    ("Login", "Login", 307, "PUT"),
    ("Logout", "Logout", 307, "PUT"),
    ("NextSong", "NextSong", 200, "PUT"),
    ("Settings", "Settings", 200, "GET"),
    ("SaveSettings", "Save Settings", 307, "PUT"),
    ("Upgrade", "Upgrade", 200, "GET"),
    ("SubmitUpgrade", "Submit Upgrade", 307, "PUT"),
    ("Downgrade", "Downgrade", 200, "GET"),
    ("SubmitDowngrade", "Submit Downgrade", 307, "PUT"),
    ("Cancel", "Cancel", 307, "PUT"),
    ("CancellationConfirmation", "Cancellation Confirmation", 200, "GET"),
];

/// The states of each standing, with what follows them. `Page@standing` is a page for another standing; `start` says with
/// which weights a session begins where.
const TABLES: [(Standing, &str); 7] = [
    (
        Standing { auth: Auth::Guest, level: Level::Free },
        "start: Home 100 Register 30 About 20 Help 10 Error 5
         About: About .05 Help .05 Home .3 Register .1 Error .001
         Error: About .01 Help .05 Home .5 Error .1
         Help: About .0025 Help .1 Home .2 Register .03 Error .001
         Home: About .1 Help .05 Home .1 Register .3 Error .001
         Register: About .01 Help .02 Home .1 Register .05 SubmitRegistration@in-free .7 Error .001",
    ),
    (
        Standing { auth: Auth::LoggedIn, level: Level::Free },
        "start: NextSong 1500 Home 1000 Help 10 About 5 Error 1
         SubmitRegistration: Home .999 Error@guest-free .001
         About: About .05 Help .01 Home .2 Settings .01 NextSong .3 Logout .01 Error .001
         Error: About .001 Help .002 Home .1 NextSong .3 Logout .01 Error .01
         Help: About .002 Help .1 Home .2 Settings .05 Upgrade .01 NextSong .32 Logout .01 Error .001
         Home: About .002 Help .002 Home .01 Settings .02 Upgrade .01 NextSong .6 Logout .01 Error .001
         NextSong: About .002 Help .005 Home .02 Settings .005 Upgrade .01 NextSong .5 Logout .02 Error .001
         Settings: About .002 Help .05 Home .1 Settings .1 Upgrade .01 NextSong .3 Cancel .005 Logout .01 \
             SaveSettings .2 Error .001
         SaveSettings: Home .65 Settings .1 Error .001
         Upgrade: About .002 Help .006 Home .1 Upgrade .07 NextSong .325 Logout .01 SubmitUpgrade .3 Error .001
         SubmitUpgrade: Home@in-paid 1
         Cancel: CancellationConfirmation@gone-free .999 Error .001
         Logout: Home@out-free 1",
    ),
    (
        Standing { auth: Auth::LoggedIn, level: Level::Paid },
        "start: NextSong 1750 Home 1000 About 5 Help 5 Error 1
         About: About .05 Help .01 Home .2 Settings .01 NextSong .4 Logout .01 Error .001
         Error: About .001 Help .01 Home .1 NextSong .2 Logout .01 Error .001
         Help: About .002 Downgrade .01 Help .05 Home .1 Settings .02 NextSong .75 Logout .01 Error .001
         Home: About .002 Downgrade .01 Help .002 Home .01 Settings .02 NextSong .85 Logout .01 Error .001
         NextSong: About .002 Downgrade .01 Help .005 Home .02 Settings .005 NextSong .925 Logout .01 Error .001
         Settings: About .002 Downgrade .01 Help .05 Home .05 Settings .05 NextSong .6 Cancel .005 Logout .01 \
             SaveSettings .2 Error .001
         SaveSettings: Home .8 Settings .1 Error .001
         Downgrade: About .002 Downgrade .07 Help .006 Home .1 NextSong .63 Logout .01 SubmitDowngrade .01 \
             Error .001
         SubmitDowngrade: Home@in-free .999 Error .001
         Cancel: CancellationConfirmation@gone-paid .999 Error .001
         Logout: Home@out-paid .999 Error .001",
    ),
    (
        Standing { auth: Auth::LoggedOut, level: Level::Free },
        "start: Home 1000 Login 500 About 10 Help 10 Error 1
         About: About .05 Help .025 Home .3 Login .4 Error .001
         Error: About .01 Help .05 Home .5 Login .1 Error .01
         Help: About .0025 Help .1 Home .3 Login .5 Error .001
         Home: About .1 Help .05 Home .1 Login .5 Error .001
         Login: Home@in-free .9 Home .099 Error .001",
    ),
    (
        Standing { auth: Auth::LoggedOut, level: Level::Paid },
        "start: Home 1000 Login 500 About 10 Help 10 Error 1
         About: About .05 Help .05 Home .3 Login .1 Error .001
         Error: Help .05 Home .3 Login .1 Error .01
         Help: About .0025 Help .1 Home .2 Login .03 Error .001
         Home: About .1 Help .05 Home .1 Login .3 Error .001
         Login: Home@in-paid .9 Home .099 Error .001",
    ),
    (Standing { auth: Auth::Cancelled, level: Level::Free }, "CancellationConfirmation:"),
    (Standing { auth: Auth::Cancelled, level: Level::Paid }, "CancellationConfirmation:"),
];

/// What a service knows of who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Auth {
    /// Not registered.
    Guest,
    /// Registered and known.
    LoggedIn,
    /// Registered, but not known now.
    LoggedOut,
    /// Gone for good.
    Cancelled,
}

/// What a user pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Nothing.
    Free,
    /// A subscription.
    Paid,
}

/// A user's standing: it outlives sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Who is there.
    pub auth: Auth,
    /// What they pay.
    pub level: Level,
}

/// The number of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateIx(u8);

/// A state, as a message shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The page's name.
    pub page: &'static str,
    /// Who is there, and what they pay.
    pub standing: Standing,
    /// The status of the answer.
    pub status: u16,
    /// The method of the request.
    pub method: &'static str,
    kind: PageKind,
}

/// What matters of a page beside its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageKind {
    NextSong,
    Login,
    /// Submit Upgrade or Submit Downgrade.
    StatusChange,
    Other,
}

impl State {
    /// A song begins.
    pub fn is_next_song(&self) -> bool {
        self.kind == PageKind::NextSong
    }

    /// A user tries to log in.
    pub fn is_login(&self) -> bool {
        self.kind == PageKind::Login
    }

    /// A user changes what they pay.
    pub fn is_status_change(&self) -> bool {
        self.kind == PageKind::StatusChange
    }

    /// The next page follows by itself.
    pub fn is_redirect(&self) -> bool {
        self.status == 307
    }

    /// Messages name the user.
    pub fn shows_user(&self) -> bool {
        matches!(self.standing.auth, Auth::LoggedIn | Auth::Cancelled)
    }
}

impl Auth {
    /// As messages write it.
    pub fn name(self) -> &'static str {
        match self {
            Auth::Guest => "Guest",
            Auth::LoggedIn => "Logged In",
            Auth::LoggedOut => "Logged Out",
            Auth::Cancelled => "Cancelled",
        }
    }
}

impl Level {
    /// As messages write it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Free => "free",
            Level::Paid => "paid",
        }
    }
}

/// What follows a state: each next state with the sum of the probabilities up to it.
type Steps = Vec<(f64, StateIx)>;

/// Where sessions of a standing begin.
#[derive(Clone, Debug)]
struct Starts {
    standing: Standing,
    weights: Weighted,
    states: Vec<StateIx>,
}

/// All states, and how a session goes on.
#[derive(Clone, Debug)]
pub struct Machine {
    states: Vec<State>,
    steps: Vec<Steps>,
    starts: Vec<Starts>,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::new()
    }
}

impl Machine {
    /// The published machine.
    pub fn new() -> Machine {
        let rows: Vec<(Standing, &str, &str)> = TABLES
            .iter()
            .flat_map(|(standing, table)| table.lines().map(move |line| (*standing, line)))
            .filter_map(|(standing, line)| {
                let (page, next) = line.trim().split_once(':')?;
                Some((standing, page, next))
            })
            .collect();
        let mut numbers = HashMap::new();
        let mut states = Vec::new();
        for (standing, page, _) in rows.iter().filter(|(_, page, _)| *page != "start") {
            let number = StateIx(u8::try_from(states.len()).expect("there are 40 states"));
            numbers.insert((*standing, *page), number);
            states.push(state(*standing, page));
        }
        let (mut steps, mut starts) = (Vec::new(), Vec::new());
        for (standing, page, next) in rows {
            let next = follows(standing, next, &numbers);
            if page == "start" {
                let weights: Vec<f64> = next.iter().map(|(weight, _)| *weight).collect();
                let weights = Weighted::new(&weights).expect("a session begins somewhere");
                starts.push(Starts {
                    standing,
                    weights,
                    states: next.into_iter().map(|(_, to)| to).collect(),
                });
            } else {
                let mut sum = 0.0;
                let cumulated = next.into_iter().map(|(share, to)| {
                    sum += share;
                    (sum, to)
                });
                steps.push(cumulated.collect());
            }
        }
        Machine { states, steps, starts }
    }

    /// The state of this number.
    pub fn state(&self, at: StateIx) -> &State {
        &self.states[usize::from(at.0)]
    }

    /// How many states there are.
    pub fn states(&self) -> impl Iterator<Item = StateIx> {
        (0_u8..).take(self.states.len()).map(StateIx)
    }

    /// Draws where a session of `standing` begins. `None` for users who are gone.
    pub(super) fn start(&self, standing: Standing, draws: &mut Draws) -> Option<StateIx> {
        let starts = self.starts.iter().find(|starts| starts.standing == standing)?;
        Some(starts.states[starts.weights.draw(draws) as usize])
    }

    /// Draws the next state; `None` ends the session.
    pub(super) fn step(&self, at: StateIx, draws: &mut Draws) -> Option<StateIx> {
        let draw = draws.unit();
        self.steps[usize::from(at.0)].iter().find(|(sum, _)| draw < *sum).map(|(_, to)| *to)
    }
}

/// The state of a page that a table writes as `page`.
fn state(standing: Standing, page: &str) -> State {
    let (_, name, status, method) =
        *PAGES.iter().find(|(known, ..)| *known == page).expect("the tables name known pages");
    let kind = match page {
        "NextSong" => PageKind::NextSong,
        "Login" => PageKind::Login,
        "SubmitUpgrade" | "SubmitDowngrade" => PageKind::StatusChange,
        _ => PageKind::Other,
    };
    State { page: name, standing, status, method, kind }
}

/// Reads what follows a page: pages and numbers in turns.
fn follows(
    standing: Standing,
    text: &str,
    numbers: &HashMap<(Standing, &str), StateIx>,
) -> Vec<(f64, StateIx)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let step = |pair: &[&str]| {
        let (page, other) = pair[0].split_once('@').map_or((pair[0], None), |(page, to)| (page, Some(to)));
        let standing = other.map_or(standing, standing_of);
        let number = numbers.get(&(standing, page)).expect("the tables name states that they have");
        (pair[1].parse().expect("the tables have a number for each page"), *number)
    };
    words.chunks(2).map(step).collect()
}

fn standing_of(name: &str) -> Standing {
    let (auth, level) = name.split_once('-').expect("a standing is auth-level");
    let auth = match auth {
        "guest" => Auth::Guest,
        "in" => Auth::LoggedIn,
        "out" => Auth::LoggedOut,
        _ => Auth::Cancelled,
    };
    Standing { auth, level: if level == "paid" { Level::Paid } else { Level::Free } }
}
