//! The weekly job: the real files of the MTA, whose registers become the views of the turnstile pipelines.
//!
//! ```text
//! weekly files ── decode ──┬── differences of registers, by turnstile, across files ── passages ── views
//!                          └── lines that are no readings ── _dead/turnstile-weekly/
//! ```
//!
//! A file may come in any order, cut in any way, and again: of two readings of one turnstile and instant the one of the file
//! published later counts; of files of one name the one met later; then REGULAR before RECOVR AUD; then the greater
//! registers. So a corrected file changes the answer, unless `corrections = "ignore"`. A reading that a corrected file leaves out stays.

mod deltas;
pub(crate) mod file;
mod line;
mod recompute;
mod twice;

use crate::turnstile::views::{self, passage::StationBy};
use crate::zone::{self, Zone};
use deltas::{Corrections, Deltas};
use headway_operators::build::Build;
use headway_operators::pipeline::{Entry, Pipeline};
use headway_operators::recompute::Recompute;
use headway_operators::setting::{Setting, Settings};
use headway_operators::spec::{HeaderSpec, InputSpec};
use headway_operators::stream::window::Closing;
use headway_operators::view::table::Table;

/// Its only input.
const INPUT: &str = "weekly";

/// Raised when the meaning of the state changes.
const VERSION: u32 = 1;

/// The greatest difference of two registers that is believed, however long the interval.
const BOUND: i64 = 10_000;

/// Everything that can be set.
const SETTINGS: &[Setting] = &[
    zone::setting_or("zone", "America/New_York", "Zone of the times in files, and of days"),
    StationBy::SETTING,
    Setting::choice(
        CORRECTIONS,
        &["apply", "ignore"],
        "apply",
        "Of two readings of one turnstile and instant, apply counts the one published later; ignore counts the one committed first, \
         as upstream's warehouse does, so the order of files matters",
    )
    .unless_default(),
];

/// The setting that says which of two readings of one turnstile and instant counts.
const CORRECTIONS: &str = "corrections";

/// Its line in the catalogue.
pub const ENTRY: Entry = Entry {
    settings: SETTINGS,
    fault: line::fault,
    ..Entry::new(
        "turnstile-weekly",
        "The real weekly files of the MTA: registers to people, kept up to date as views",
        |settings| Ok(Box::new(Weekly::new(settings))),
    )
};

/// The weekly pipeline.
#[derive(Clone, Debug)]
struct Weekly {
    zone: Zone,
    station_by: StationBy,
    corrections: Corrections,
}

impl Weekly {
    /// The job that `settings` ask for.
    fn new(settings: &Settings) -> Weekly {
        let zone = Zone::find(settings.text("zone")).expect("a setting's text is a zone's name");
        let ignores = settings.text(CORRECTIONS) == "ignore";
        let corrections = if ignores { Corrections::Ignore } else { Corrections::Apply };
        Weekly { zone, station_by: StationBy::of(settings), corrections }
    }
}

impl Pipeline for Weekly {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn version(&self) -> u32 {
        VERSION
    }

    fn inputs(&self) -> Vec<InputSpec> {
        vec![InputSpec {
            name: INPUT,
            topic: "mta-turnstile-weekly",
            lateness_ms: 0,
            closing: Closing::Never,
            header: Some(HeaderSpec { columns: &line::COLUMNS, read: line::header, accept: file::accept }),
        }]
    }

    fn build(&self, build: &mut Build<'_>) {
        let readings = build.input(INPUT, line::Decoder::new(self.zone.clone()));
        let deltas = Deltas::new(self.zone.clone(), BOUND, self.corrections, build.committed());
        let passages = Table::of(build.keyed(deltas, readings));
        views::build_of_registers(build, &passages, self.station_by);
    }

    fn recompute(&self) -> Option<Box<dyn Recompute>> {
        Some(Box::new(recompute::Readings::new(self.zone.clone(), BOUND, self.station_by, self.corrections)))
    }
}
