//! Seeded music events, in upstream's wire format: the embedded source, and `headway produce music`.
//!
//! A partition has users of its own, and simulates them in order of time. The four topics are the same events, seen
//! through four doors: each message of `listen_events` is a page view, too, with the same time, session and item. Any message
//! can be made again; one that is not the next one costs the way there from the start.

mod calendar;
mod dictionary;
mod machine;
#[cfg(test)]
mod machine_tests;
#[cfg(test)]
#[path = "../../../tests/music/published.rs"]
mod published;
mod queue;
mod simulation;
mod spoil;
mod weighted;
mod wire;
mod world;

pub use dictionary::{BadLine, Dictionary, FirstNames, Places, Songs, Surnames};
pub use machine::{Auth, Level, Machine, Standing, State, StateIx};
pub use world::{Behaviour, World};

use super::topic::Topic;
use headway_operators::generate::{Generate, Message, Options};
use headway_operators::record::{Offset, Partition};
use simulation::{Event, Simulation};
use std::sync::{Arc, Mutex, OnceLock};

/// Raised when the same options give other messages. 2: holidays are free days.
const VERSION: u32 = 2;

/// The options where nothing else is said: 200,000 page views of 10,000 users, about a week.
pub fn options() -> Options {
    Options {
        seed: 7,
        messages: Some(200_000),
        partitions: 1,
        rate: 1.0,
        disorder_s: 0.0,
        dup: 0.0,
        late: 0.0,
        bad: 0.0,
        keys: 10_000,
        start_ms: 1_704_499_200_000,
    }
}

/// How many messages the topics of each partition have, in the order of [`Topic::ALL`].
type Ends = Vec<[i64; 4]>;

/// What the generators of all topics share.
#[derive(Clone, Debug)]
struct Shared {
    world: Arc<World>,
    ends: Arc<OnceLock<Ends>>,
    starts: Arc<Starts>,
}

/// The users of each partition as they are at the start. All topics begin with them: a million users live through millions of
/// unseen events up to there, more than a short stream has after it.
#[derive(Debug)]
struct Starts {
    partitions: Vec<Mutex<Start>>,
    /// How often each partition is begun if everything is read once: then nothing is kept any more.
    begun_max: usize,
}

#[derive(Debug, Default)]
struct Start {
    begun: usize,
    users: Option<Simulation>,
}

/// Makes generators, one a topic: those of equal options share their world, and count its events once.
#[derive(Debug)]
pub struct Generators {
    behaviour: Behaviour,
    dictionary: Arc<Dictionary>,
    last: Mutex<Option<(Options, Shared)>>,
}

/// Makes the messages of one topic.
#[derive(Debug)]
pub struct Generator {
    shared: Shared,
    topic: Topic,
    cursors: Vec<Mutex<Option<Cursor>>>,
}

/// Where a partition of a topic is being read.
#[derive(Debug)]
struct Cursor {
    simulation: Simulation,
    /// The last message that was made, and its offset.
    event: Event,
    offset: Offset,
}

impl Shared {
    fn new(world: World) -> Shared {
        let partitions = (0..world.options.partitions).map(|_| Mutex::default()).collect();
        // Where the stream has an end, its events are counted first.
        let begun_max = Topic::ALL.len() + usize::from(world.options.messages.is_some());
        let starts = Arc::new(Starts { partitions, begun_max });
        Shared { world: Arc::new(world), ends: Arc::new(OnceLock::new()), starts }
    }

    /// The users of `partition` at the start.
    fn start(&self, partition: Partition) -> Simulation {
        let mut start = self.starts.partitions[partition.index()].lock().expect("no thread panicked with it");
        start.begun += 1;
        let new = || Simulation::new(&self.world, partition.0);
        if start.begun < self.starts.begun_max {
            start.users.get_or_insert_with(new).clone()
        } else {
            start.users.take().unwrap_or_else(new)
        }
    }
}

impl Generators {
    /// Generators of users who behave as `behaviour` says; what they play and who they are is drawn from `dictionary`.
    pub fn new(behaviour: Behaviour, dictionary: Dictionary) -> Generators {
        Generators { behaviour, dictionary: Arc::new(dictionary), last: Mutex::new(None) }
    }

    /// The generator of `topic` with `options`.
    pub fn of(&self, options: &Options, topic: Topic) -> Generator {
        let mut known = self.last.lock().expect("no thread panicked with it");
        let is_same = known.as_ref().is_some_and(|(known, _)| known == options);
        if !is_same {
            let world = World::new(options, self.behaviour, Arc::clone(&self.dictionary));
            *known = Some((options.clone(), Shared::new(world)));
        }
        let (_, shared) = known.as_ref().expect("it was just made");
        Generator::new(shared.clone(), topic)
    }
}

impl Generator {
    /// The generators of all topics, in the order of [`Topic::ALL`].
    pub fn all(world: World) -> [Generator; 4] {
        let shared = Shared::new(world);
        Topic::ALL.map(|topic| Generator::new(shared.clone(), topic))
    }

    fn new(shared: Shared, topic: Topic) -> Generator {
        let cursors = (0..shared.world.options.partitions).map(|_| Mutex::new(None)).collect();
        Generator { shared, topic, cursors }
    }

    /// How many messages there are in each topic and partition: the events are counted once, and not written.
    fn ends(&self) -> &Ends {
        self.shared.ends.get_or_init(|| {
            let world = &self.shared.world;
            let count = |partition: u32| {
                let mut simulation = self.shared.start(Partition(partition));
                let mut counts = [0; 4];
                for _ in 0..world.page_views(partition).unwrap_or_default() {
                    let event = simulation.next();
                    for (count, topic) in counts.iter_mut().zip(Topic::ALL) {
                        *count += i64::from(wire::is_in(topic, &event, world));
                    }
                }
                counts
            };
            (0..world.options.partitions).map(count).collect()
        })
    }

    /// The event of the message at `offset` of `partition`.
    fn event(&self, partition: Partition, offset: Offset) -> Event {
        let mut cursor = self.cursors[partition.index()].lock().expect("no thread panicked with it");
        let next = |simulation: &mut Simulation| loop {
            let event = simulation.next();
            if wire::is_in(self.topic, &event, &self.shared.world) {
                return event;
            }
        };
        if cursor.as_ref().is_none_or(|cursor| offset < cursor.offset) {
            let mut simulation = self.shared.start(partition);
            let event = next(&mut simulation);
            *cursor = Some(Cursor { simulation, event, offset: Offset(0) });
        }
        let cursor = cursor.as_mut().expect("it was just made");
        while cursor.offset < offset {
            cursor.event = next(&mut cursor.simulation);
            cursor.offset += 1;
        }
        cursor.event
    }
}

impl Generate for Generator {
    fn identity(&self) -> String {
        let Options { seed, messages: _, partitions, rate: _, disorder_s, dup, late, bad, keys, start_ms } =
            &self.shared.world.options;
        let Behaviour { event_s, pause_s, day_damping, weekend_damping, growth } =
            &self.shared.world.behaviour;
        format!(
            "music/{VERSION} topic={} seed={seed} partitions={partitions} users={keys} start_ms={start_ms} \
             disorder_s={disorder_s:?} dup={dup:?} late={late:?} bad={bad:?} event_s={event_s:?} \
             pause_s={pause_s:?} day_damping={day_damping:?} weekend_damping={weekend_damping:?} \
             growth={growth:?} dictionary={:016x}",
            self.topic.name(),
            self.shared.world.digest
        )
    }

    fn partitions(&self) -> u32 {
        self.shared.world.options.partitions
    }

    fn end(&self, partition: Partition) -> Option<Offset> {
        self.shared.world.options.messages?;
        let topic = Topic::ALL.iter().position(|topic| *topic == self.topic)?;
        self.ends().get(partition.index()).map(|ends| Offset(ends[topic]))
    }

    fn message(&self, partition: Partition, offset: Offset, out: &mut Message) {
        let event = self.event(partition, offset);
        out.timestamp_ms = event.sent_ms;
        out.key.clear();
        let mut value = out.value.take().unwrap_or_default();
        value.clear();
        wire::write(self.topic, &event, &self.shared.world, &mut value);
        out.value = spoil::spoiled(&self.shared.world.options, self.topic, partition, offset, value);
    }
}
