//! The turnstile job: people in and out of each turnstile, summed in windows of event time.
//!
//! ```text
//! mta-turnstile ── decode, stamp, refuse ──┬── sum per window and turnstile, each message once ── batch rows ── turnstile/
//!                                          └── dead and late messages ── _dead/turnstile/, _late/turnstile/
//! ```

pub mod batch;
mod columns;
pub mod generate;
mod instant;
pub mod key;
mod plain;
pub mod reason;
pub mod record;
mod settings;
mod sheet;
pub mod views;

use crate::day::Days;
use batch::{Row, Shape, WindowEnd};
use headway_operators::build::Build;
use headway_operators::generate::{Generate, Options};
use headway_operators::pipeline::{Demo, Entry, Pipeline, Top, TopView};
use headway_operators::recompute::Recompute;
use headway_operators::setting::{SettingError, Settings};
use headway_operators::spec::{Format, HeaderSpec, InputSpec, OutputSpec};
use headway_operators::stream::aggregate::Aggregate;
use headway_operators::stream::window::{Closing, Grid};
use headway_operators::view::seal::Sealing;
use key::Key;
use record::{Decoder, Reading};
use std::sync::Arc;
use views::Past;
use views::committed::Reader;
use views::passage::{StationBy, Windows};
use views::recompute::Live;

/// Its only input.
const INPUT: &str = "turnstile";

/// Its only output, beside those for refused messages.
const OUTPUT: &str = "turnstile";

/// The operator that sums, as its state is named.
const AGGREGATE: &str = "Aggregate";

/// Raised when the meaning of the output or of the state changes.
const VERSION: u32 = 1;

/// Its line in the catalogue.
pub const ENTRY: Entry = Entry {
    settings: settings::TABLE,
    generate: |input| (input == INPUT).then(generate::options),
    demo: Some(DEMO),
    fault: record::fault,
    ..Entry::new(
        "turnstile",
        "People through the turnstiles of the New York subway, summed per window",
        |settings| Ok(Box::new(Turnstile::new(settings)?)),
    )
};

/// Five hours of all turnstiles in seconds, and the stations with the most people.
const DEMO: Demo = Demo {
    settings: &[("window", "5m"), ("lateness", "1m")],
    messages: 1_000_000,
    rate: Some(50.0),
    keys: None,
    top: Top {
        title: "busiest stations",
        output: OUTPUT,
        of: &["STATION", "LINENAME", "DIVISION"],
        sums: &["ENTRIES", "EXITS"],
    },
    view: Some(TopView {
        settings: &[("window", "5m"), ("lateness", "1m"), (settings::VIEWS, "true")],
        name: "top_stations",
        filter: &[("measure", "entries"), ("day", "overall")],
        columns: &["station", "lines", "division", "people"],
    }),
};

/// The turnstile pipeline.
#[derive(Clone, Debug)]
pub struct Turnstile {
    grid: Grid,
    lateness_ms: i64,
    format: Format,
    shape: Arc<Shape>,
    has_views: bool,
    /// After how long a day of the views is sealed, in milliseconds.
    seal_after_ms: i64,
    station_by: StationBy,
}

impl Turnstile {
    /// The job that `settings` asks for.
    ///
    /// # Errors
    /// The first setting that makes no job.
    fn new(settings: &Settings) -> Result<Turnstile, SettingError> {
        let (grid, lateness_ms) = settings::windows(settings)?;
        let format = settings::format(settings)?;
        let window_end_utc = WindowEnd::of(format, settings.is_on(settings::WINDOW_END_UTC));
        let shape = Shape { zone: settings::zone(settings), window_end_utc };
        let has_views = settings.is_on(settings::VIEWS);
        let seal_after_ms = settings.ms(settings::SEAL_AFTER);
        if has_views {
            settings::tiles(&grid)?;
            settings::seals(&grid, seal_after_ms)?;
        }
        Ok(Turnstile {
            grid,
            lateness_ms,
            format,
            shape: Arc::new(shape),
            has_views,
            seal_after_ms,
            station_by: StationBy::of(settings),
        })
    }
}

impl Pipeline for Turnstile {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn version(&self) -> u32 {
        VERSION
    }

    fn inputs(&self) -> Vec<InputSpec> {
        vec![InputSpec {
            name: INPUT,
            topic: "mta-turnstile",
            lateness_ms: self.lateness_ms,
            closing: Closing::Grid(self.grid),
            header: Some(HeaderSpec {
                columns: &record::FIELDS,
                read: sheet::header,
                accept: crate::turnstile_weekly::file::is_not_weekly,
            }),
        }]
    }

    fn build(&self, build: &mut Build<'_>) {
        let readings = build.input(INPUT, Decoder::new(self.shape.zone.clone()));
        let totals = build.counting(Aggregate::<Reading, Key, 2>::new(AGGREGATE, self.grid), readings);
        if self.has_views {
            let mut windows = Windows::new(self.shape.zone.clone(), self.grid.slide_ms());
            let facts = totals.clone().filter_map(move |total| windows.fact(&total));
            views::build_live(
                build,
                &facts,
                self.sealing(),
                Past { outputs: Reader::outputs(OUTPUT), reader: self.reader() },
                self.station_by,
            );
        }
        let shape = Arc::clone(&self.shape);
        let rows = totals.map(move |total| Row::new(&shape, total));
        build.output(self.batch(), rows);
    }

    fn generator(&self, input: &str, options: &Options) -> Option<Box<dyn Generate>> {
        let generator = || generate::Generator::new(options, self.shape.zone.clone());
        (input == INPUT).then(|| Box::new(generator()) as Box<dyn Generate>)
    }

    fn recompute(&self) -> Option<Box<dyn Recompute>> {
        let live =
            || Live::new(self.shape.zone.clone(), self.station_by, Reader::outputs(OUTPUT), self.reader());
        self.has_views.then(|| Box::new(live()) as Box<dyn Recompute>)
    }
}

impl Turnstile {
    /// When days of views are sealed.
    fn sealing(&self) -> Sealing {
        Sealing::new(self.seal_after_ms, Arc::new(Days(self.shape.zone.clone())))
    }

    /// Reads committed rows back.
    fn reader(&self) -> Reader {
        Reader::new(self.shape.zone.clone(), self.grid)
    }

    /// The batches of committed rows.
    fn batch(&self) -> OutputSpec {
        OutputSpec {
            name: OUTPUT.to_string(),
            prefix: OUTPUT.to_string(),
            stem: "batch".into(),
            format: self.format,
            columns: self.shape.columns(),
            folders: None,
        }
    }
}
