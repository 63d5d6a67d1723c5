//! The music events: what the users of a music service do, in four topics.
//!
//! ```text
//! listen_events ──────── decode, stamp, refuse ─┬─ rows ── listen_events/year=…/month=…/day=…/hour=…/
//!                                               └─ views (see `views`)
//! page_view_events ───── decode, stamp, refuse ─┬─ rows ── page_view_events/…
//!                                               └─ views
//! auth_events ────────── decode, stamp, refuse ─── rows ── auth_events/…
//! status_change_events ─ decode, stamp, refuse ─── rows ── status_change_events/…
//! ```
//!
//! A row lies in the folder of the hour in which its event happened, however late it came within the lateness. In the form "sparkify" there is one log of all page views; what plays a song is a row of `listen_events`, too.

mod committed;
pub mod decode;
pub mod event;
pub mod generate;
mod recompute;
mod settings;
pub mod topic;
pub mod views;

use crate::day::Days;
use crate::zone::Zone;
use committed::Reader;
use decode::Decoder;
use event::Event;
use generate::Generators;
use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::generate::{Generate, Options};
use headway_operators::kit::Record;
use headway_operators::pipeline::{Demo, Entry, Pipeline, Top, TopView};
use headway_operators::recompute::Recompute;
use headway_operators::setting::{SettingError, Settings};
use headway_operators::spec::{Folders, InputSpec, OutputSpec};
use headway_operators::stream::window::Closing;
use headway_operators::view::refill::Refill;
use headway_operators::view::seal::Sealing;
use settings::Chosen;
use std::sync::Arc;
use std::time::Duration;
use topic::{Form, Topic};

/// Raised when the meaning of the output or of the state changes.
const VERSION: u32 = 1;

/// The only input of the form "sparkify".
const LOG: &str = "log";

/// Where views that are new to a job find the plays of earlier runs. An hour stands beside that of the day before.
const PAST: Refill = Refill { facts: Topic::Listen.name(), before: None, back_ms: 86_400_000 };

/// Its line in the catalogue.
pub const ENTRY: Entry = Entry {
    settings: settings::TABLE,
    generate: |input| topic_of(input).map(|_| generate::options()),
    demo: Some(DEMO),
    fault: decode::fault,
    ..Entry::new(
        "music",
        "What users of a music service do: songs, pages, logins, subscriptions",
        |settings| Ok(Box::new(Music::new(settings)?)),
    )
};

/// Six hours of 100,000 users in seconds, and the songs that they play most. Without Parquet, rows are CSV.
const DEMO: Demo = Demo {
    settings: &[("format", "csv.gz")],
    messages: 50_000,
    rate: None,
    keys: Some(100_000),
    top: Top { title: "songs played most", output: Topic::Listen.name(), of: &["artist", "song"], sums: &[] },
    view: Some(TopView {
        settings: &[(settings::VIEWS, "true")],
        name: "top_songs",
        filter: &[("period", "all")],
        columns: &["artist", "song", "streams"],
    }),
};

/// The music pipeline.
#[derive(Debug)]
pub struct Music {
    chosen: Chosen,
    generators: Generators,
}

impl Music {
    fn new(settings: &Settings) -> Result<Music, SettingError> {
        let generators = Generators::new(settings::behaviour(settings), settings::dictionary(settings)?);
        Ok(Music { chosen: Chosen::new(settings)?, generators })
    }

    fn form(&self) -> Form {
        if self.chosen.is_sparkify { Form::Sparkify } else { Form::Topics }
    }

    fn read<'s>(&self, build: &mut Build<'s>, input: &str, topic: Topic) -> Flow<'s, Record<Event>> {
        build.records(input, Decoder { form: self.form(), topic, repairs: self.chosen.repairs })
    }

    /// Writes the rows of a topic.
    fn write<'s>(&self, build: &mut Build<'s>, topic: Topic, events: &Flow<'s, Record<Event>>) {
        build.output(self.output(topic), events.clone().map(|record| record.data));
        if self.reads(topic) {
            views::odd_fields(build, &self.options(), topic, events.clone());
        }
    }

    /// True if `topic` has an input of its own.
    fn reads(&self, topic: Topic) -> bool {
        self.form() == Form::Topics || topic == Topic::PageView
    }

    /// When days of views are sealed.
    fn sealing(&self) -> Sealing {
        Sealing::new(self.chosen.seal_after_ms, Arc::new(Days(Zone::utc())))
    }

    fn options(&self) -> views::Options {
        let gap = Duration::from_millis(self.chosen.gap_ms.unsigned_abs());
        views::Options { gap, format: self.chosen.format }
    }

    /// Reads the rows that the job has committed.
    fn reader(&self) -> Reader {
        self.options().reader()
    }

    /// Shows what plays and page views say.
    fn show<'s>(
        &self,
        build: &mut Build<'s>,
        listens: Flow<'s, Record<Event>>,
        views: Flow<'s, Record<Event>>,
    ) {
        let plays = views::plays(listens);
        let stamped = plays.clone().map(views::stamped);
        let facts = if self.chosen.has_views {
            let reader = self.reader();
            // Days are sealed once neither plays nor page views come for them.
            let paced = stamped.clone().waiting_for(&views);
            let (open, _) = build.seal(self.sealing(), &paced, |play| views::songs::day(play.time));
            let all = build.refill(PAST, open, move |row| views::committed::play(row, reader).map(Some));
            let (tables, facts) = views::tables(build, &stamped, &all);
            views::show(build, tables);
            facts
        } else {
            views::users::histories(build, &stamped).1
        };
        views::outputs(build, &self.options(), plays, facts, views);
    }

    /// The rows of a topic.
    fn output(&self, topic: Topic) -> OutputSpec {
        OutputSpec {
            name: topic.name().to_string(),
            prefix: topic.name().to_string(),
            stem: "events".into(),
            format: self.chosen.format,
            columns: event::columns(self.form(), topic),
            folders: Some(Folders::by_hour()),
        }
    }
}

impl Pipeline for Music {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn version(&self) -> u32 {
        VERSION
    }

    fn inputs(&self) -> Vec<InputSpec> {
        let Chosen { lateness_ms, gap_ms, .. } = self.chosen;
        let closing = Closing::Horizon { ms: gap_ms.max(views::HORIZON_MS) };
        let input = |name, topic| InputSpec { name, topic, lateness_ms, closing, header: None };
        match self.form() {
            Form::Topics => Topic::ALL.map(|topic| input(topic.name(), topic.name())).to_vec(),
            Form::Sparkify => vec![input(LOG, LOG)],
        }
    }

    fn build(&self, build: &mut Build<'_>) {
        let (listens, views) = match self.form() {
            Form::Topics => {
                let [listens, views, auth, changes] =
                    Topic::ALL.map(|topic| self.read(build, topic.name(), topic));
                self.write(build, Topic::Auth, &auth);
                self.write(build, Topic::StatusChange, &changes);
                (listens, views)
            }
            Form::Sparkify => {
                let views = self.read(build, LOG, Topic::PageView);
                (views.clone().filter_map_data(|view| view.as_listen()), views)
            }
        };
        self.write(build, Topic::Listen, &listens);
        self.write(build, Topic::PageView, &views);
        self.show(build, listens, views);
    }

    fn generator(&self, input: &str, options: &Options) -> Option<Box<dyn Generate>> {
        let topic = topic_of(input).filter(|_| self.form() == Form::Topics)?;
        Some(Box::new(self.generators.of(options, topic)))
    }

    fn recompute(&self) -> Option<Box<dyn Recompute>> {
        let (plays, views, counted): (_, _, &[Topic]) = match self.form() {
            Form::Topics => (Topic::Listen.name(), Topic::PageView.name(), &Topic::ALL),
            Form::Sparkify => (LOG, LOG, &[Topic::PageView]),
        };
        let (gap_ms, reader) = (self.chosen.gap_ms, self.reader());
        Some(Box::new(recompute::Slow::new(recompute::Job { plays, views, counted, gap_ms, reader })))
    }
}

/// The topic that an input reads.
fn topic_of(input: &str) -> Option<Topic> {
    Topic::ALL.into_iter().find(|topic| topic.name() == input)
}
