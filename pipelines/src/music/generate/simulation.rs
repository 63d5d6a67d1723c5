//! The life of all users of one partition, event by event, in order of time.
//!
//! Users do not know of each other: all that is drawn for a user comes from a state of their own, so what a user does depends
//! on the seed and the user alone. What they share is the clock, and the numbers of sessions.

use super::machine::{Auth, Level, Standing, StateIx};
use super::queue::{Due, Queue};
use super::world::World;
use crate::draws::Draws;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// So long before the start users begin to act, unseen: at the start some are in the middle of a session.
const BEFORE_MS: i64 = 86_400_000;

const YEAR_S: f64 = 365.25 * 86_400.0;

/// How long ago the first user registered at most, in years.
const REGISTERED_YEARS_MAX: f64 = 5.0;

/// No song.
const NO_SONG: u32 = u32::MAX;

/// Two streams of draws that have nothing to do with users.
const JOINING: u64 = 0x1014_0000_0000_0000;
const SENDING: u64 = 0x5e4d_0000_0000_0000;

/// One page view: all that a message of any topic says, but for what follows from the user's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) ts_ms: i64,
    /// When it arrives.
    pub(super) sent_ms: i64,
    pub(super) registered_ms: i64,
    pub(super) user: u64,
    pub(super) session: u64,
    pub(super) item: u32,
    song: u32,
    pub(super) state: StateIx,
    /// Who tried to log in, and how it went, is told with this event.
    pub(super) is_answer_to_login: bool,
}

impl Event {
    /// The song that begins.
    pub(super) fn song(&self) -> Option<u32> {
        (self.song != NO_SONG).then_some(self.song)
    }
}

/// A user between two events.
#[derive(Clone, Copy, Debug)]
struct User {
    draws: Draws,
    registered_ms: i64,
    /// When the song that plays is over.
    song_ends_ms: i64,
    session: u64,
    item: u32,
    /// Seconds between two events, and between two sessions.
    event_s: f32,
    pause_s: f32,
    /// What the next event shows.
    state: StateIx,
    /// The page before it that was no redirect.
    before: Option<StateIx>,
}

/// An event on its way; the one that arrives first is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    number: u64,
    event: Event,
}

impl Ord for Sent {
    fn cmp(&self, other: &Sent) -> Ordering {
        (other.event.sent_ms, other.number).cmp(&(self.event.sent_ms, self.number))
    }
}

impl PartialOrd for Sent {
    fn partial_cmp(&self, other: &Sent) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All users of one partition.
#[derive(Clone, Debug)]
pub(super) struct Simulation {
    world: Arc<World>,
    partition: u32,
    users: Vec<User>,
    queue: Queue,
    joining: Draws,
    next_join_ms: i64,
    sessions: u64,
    /// Events that have happened and not arrived.
    sent: BinaryHeap<Sent>,
    sending: Draws,
    happened: u64,
}

impl Simulation {
    /// The users of `partition` at the start, some of them in the middle of a session.
    pub(super) fn new(world: &Arc<World>, partition: u32) -> Simulation {
        let options = &world.options;
        let begin_ms = options.start_ms.saturating_sub(BEFORE_MS);
        let mut simulation = Simulation {
            world: Arc::clone(world),
            partition,
            users: Vec::new(),
            queue: Queue::default(),
            joining: Draws::new(options.seed ^ JOINING, u64::from(partition)),
            next_join_ms: begin_ms,
            sessions: 0,
            sent: BinaryHeap::new(),
            sending: Draws::new(options.seed ^ SENDING, u64::from(partition)),
            happened: 0,
        };
        let all = u64::from(options.keys);
        let users = all.saturating_sub(u64::from(partition)).div_ceil(u64::from(options.partitions));
        for _ in 0..users {
            simulation.add_old_user(begin_ms);
        }
        simulation.draw_next_join();
        while simulation.next_step_ms() < options.start_ms {
            simulation.step();
        }
        simulation
    }

    /// The number of a user in all partitions together. Nobody has the number 0 or 1.
    fn number(&self, user: usize) -> u64 {
        2 + user as u64 * u64::from(self.world.options.partitions) + u64::from(self.partition)
    }

    /// Adds a user who registered before the start.
    fn add_old_user(&mut self, begin_ms: i64) {
        let mut draws = self.draws();
        let auth = if draws.chance(10.0 / 11.0) { Auth::LoggedIn } else { Auth::LoggedOut };
        let level = if draws.chance(10.0 / 12.0) { Level::Free } else { Level::Paid };
        let years = draws.exponential(1.0).min(REGISTERED_YEARS_MAX);
        let registered_ms = begin_ms.saturating_sub((years * YEAR_S) as i64 * 1000);
        let user = self.user(Standing { auth, level }, registered_ms, draws);
        let Some(mut user) = user else { return };
        let pause_s = f64::from(user.pause_s);
        let at_ms = self.world.calendar.next_session_ms(begin_ms, pause_s, &mut user.draws);
        self.queue.push(Due { at_ms, user: self.index() });
        self.users.push(user);
    }

    /// Adds a user who comes for the first time.
    fn add_guest(&mut self, at_ms: i64) {
        let standing = Standing { auth: Auth::Guest, level: Level::Free };
        let Some(user) = self.user(standing, at_ms, self.draws()) else { return };
        self.queue.push(Due { at_ms, user: self.index() });
        self.users.push(user);
    }

    /// The draws of the user who is added next.
    fn draws(&self) -> Draws {
        Draws::new(self.world.options.seed, self.number(self.users.len()))
    }

    fn index(&self) -> u32 {
        u32::try_from(self.users.len()).expect("a partition has less than four billion users")
    }

    fn user(&self, standing: Standing, registered_ms: i64, mut draws: Draws) -> Option<User> {
        // Users differ: the mean over all of them is 1.
        let mut own_factor = || (draws.normal() - 0.5).exp();
        let event_s = (self.world.behaviour.event_s * own_factor()) as f32;
        let pause_s = (self.world.behaviour.pause_s * own_factor()) as f32;
        let state = self.world.machine.start(standing, &mut draws)?;
        let (session, item, before) = (0, 0, None);
        Some(User { draws, registered_ms, song_ends_ms: 0, session, item, event_s, pause_s, state, before })
    }

    fn draw_next_join(&mut self) {
        let a_year = f64::from(self.world.options.keys) * self.world.behaviour.growth;
        let a_year = a_year / f64::from(self.world.options.partitions);
        let gap_s = if a_year > 0.0 { self.joining.exponential(YEAR_S / a_year) } else { f64::INFINITY };
        self.next_join_ms = self.next_join_ms.saturating_add((gap_s as i64).saturating_mul(1000));
    }

    /// The next event that arrives after the start.
    pub(super) fn next(&mut self) -> Event {
        let options = &self.world.options;
        if options.disorder_s <= 0.0 && options.late <= 0.0 && options.dup <= 0.0 {
            return self.next_that_happens();
        }
        loop {
            let next_ms = self.next_step_ms();
            if self.sent.peek().is_some_and(|sent| sent.event.sent_ms <= next_ms) {
                return self.sent.pop().expect("there is one").event;
            }
            let event = self.next_that_happens();
            self.send(event);
            while self.sending.chance(self.world.options.dup.min(0.99)) {
                self.send(event);
            }
        }
    }

    /// Sends an event on its way.
    fn send(&mut self, event: Event) {
        let options = &self.world.options;
        let mut lag_s = self.sending.unit() * options.disorder_s;
        if self.sending.chance(options.late) {
            lag_s += 3600.0 * (1.0 + 2.0 * self.sending.unit());
        }
        let sent_ms = event.ts_ms.saturating_add((lag_s * 1000.0) as i64);
        self.happened += 1;
        self.sent.push(Sent { number: self.happened, event: Event { sent_ms, ..event } });
    }

    /// The next event that happens after the start.
    fn next_that_happens(&mut self) -> Event {
        loop {
            if let Some(event) = self.step()
                && event.ts_ms >= self.world.options.start_ms
            {
                return event;
            }
        }
    }

    /// When the next step is.
    fn next_step_ms(&mut self) -> i64 {
        self.queue.peek().map_or(self.next_join_ms, |due| due.at_ms.min(self.next_join_ms))
    }

    /// Somebody comes, or somebody acts: then this is the event.
    fn step(&mut self) -> Option<Event> {
        let next_ms = self.queue.peek().map(|due| due.at_ms);
        // Where nobody is left somebody comes at once.
        if next_ms.is_none_or(|at_ms| self.next_join_ms <= at_ms) {
            self.add_guest(self.next_join_ms);
            self.draw_next_join();
            return None;
        }
        let due = self.queue.pop()?;
        Some(self.act(due))
    }

    /// A user acts: gives the event, and decides when they act next.
    fn act(&mut self, due: Due) -> Event {
        let Due { at_ms, user: at } = due;
        let number = self.number(at as usize);
        let user = &mut self.users[at as usize];
        if user.item == 0 {
            let partitions = u64::from(self.world.options.partitions);
            user.session = 1 + self.sessions * partitions + u64::from(self.partition);
            self.sessions += 1;
        }
        let machine = &self.world.machine;
        let state = machine.state(user.state);
        let mut song = NO_SONG;
        if state.is_next_song() {
            song = self.world.dictionary.songs.draw(&mut user.draws);
            user.song_ends_ms = at_ms + self.world.dictionary.songs.song(song).plays_ms;
        }
        let event = Event {
            ts_ms: at_ms,
            sent_ms: at_ms,
            registered_ms: user.registered_ms,
            user: number,
            session: user.session,
            item: user.item,
            song,
            state: user.state,
            is_answer_to_login: user.before.is_some_and(|before| machine.state(before).is_login()),
        };
        if let Some(at_ms) = user.go_on(&self.world, at_ms) {
            self.queue.push(Due { at_ms, user: at });
        }
        event
    }
}

impl User {
    /// Decides what the user does next, and when; `None` if the user is gone for good.
    fn go_on(&mut self, world: &World, now_ms: i64) -> Option<i64> {
        let Some(next) = world.machine.step(self.state, &mut self.draws) else {
            let standing = world.machine.state(self.state).standing;
            self.state = world.machine.start(standing, &mut self.draws)?;
            (self.item, self.before, self.song_ends_ms) = (0, None, 0);
            let pause_s = f64::from(self.pause_s);
            return Some(world.calendar.next_session_ms(now_ms, pause_s, &mut self.draws));
        };
        let page = world.machine.state(next);
        self.item += 1;
        if page.is_redirect() {
            // The page before a redirect stays the page before: so upstream tells a login twice.
            self.state = next;
            return Some(now_ms + 1000);
        }
        self.before = Some(self.state);
        self.state = next;
        if page.is_next_song() && now_ms < self.song_ends_ms {
            return Some(self.song_ends_ms);
        }
        Some(now_ms + self.draws.exponential(f64::from(self.event_s)) as i64 * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::music::generate::{Behaviour, Dictionary, options};
    use headway_operators::generate::Options;

    impl Simulation {
        /// The bytes that users and events take; spare capacity does not count.
        fn kept_bytes(&self) -> usize {
            let users = self.users.len() * size_of::<User>();
            users + self.queue.len() * size_of::<Due>() + self.sent.len() * size_of::<Sent>()
        }
    }

    #[test]
    fn a_user_takes_little_memory_however_long_the_stream_is() {
        let behaviour = Behaviour { growth: 0.0, ..Behaviour::default() };
        for keys in [1_000, 20_000] {
            let options = Options { keys, disorder_s: 600.0, late: 0.01, dup: 0.01, ..options() };
            let world = Arc::new(World::new(&options, behaviour, Dictionary::default()));
            let mut simulation = Simulation::new(&world, 0);
            let users = simulation.users.len();
            let mut most = 0;
            for event in 0..200_000 {
                simulation.next();
                if event % 1_000 > 0 {
                    continue;
                }
                most = most.max(simulation.kept_bytes());
                // A user is there once, and waits for one thing at most.
                assert!(simulation.users.len() == users && simulation.queue.len() <= users);
            }
            // A million users are 100 MB in each of the places where a topic is read.
            assert!(most <= users * 104, "{} bytes a user", most / users);
        }
    }
}
