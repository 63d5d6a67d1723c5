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

use batch::{Row, Shape, WindowEnd};
use headway_operators::build::Build;
use headway_operators::generate::{Generate, Options};
use headway_operators::pipeline::{Entry, Pipeline, SettingError, Settings};
use headway_operators::spec::{Format, HeaderSpec, InputSpec, OutputSpec};
use headway_operators::stream::aggregate::Aggregate;
use headway_operators::stream::window::{Closing, Grid};
use key::Key;
use record::{Decoder, Reading};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Its only input.
const INPUT: &str = "turnstile";

/// The operator that sums, as its state is named.
const AGGREGATE: &str = "Aggregate";

/// Raised when the meaning of the output or of the state changes.
const VERSION: u32 = 1;

/// Its line in the catalogue.
pub const ENTRY: Entry = Entry {
    name: "turnstile",
    about: "People through the turnstiles of the New York subway, summed per window",
    make: |settings| Ok(Box::new(Turnstile::new(settings)?)),
    generate: generate::options,
};

/// The turnstile pipeline.
#[derive(Clone, Debug)]
pub struct Turnstile {
    grid: Grid,
    lateness_ms: i64,
    format: Format,
    shape: Arc<Shape>,
}

impl Turnstile {
    /// The job that `settings` asks for: windows of 5 minutes, lateness as long as a window, UTC, unless they say else.
    ///
    /// # Errors
    /// The first setting that makes no job.
    pub fn new(settings: &Settings) -> Result<Turnstile, SettingError> {
        let (grid, lateness_ms) = settings::windows(settings)?;
        let format = settings.format.unwrap_or(Format::CsvGz);
        let window_end_utc = WindowEnd::of(format, settings.csv_window_end_utc);
        let shape = Shape { zone: settings::zone(settings)?, window_end_utc };
        Ok(Turnstile { grid, lateness_ms, format, shape: Arc::new(shape) })
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
            header: Some(HeaderSpec { columns: &record::FIELDS, read: sheet::header }),
        }]
    }

    fn fingerprint(&self) -> BTreeMap<String, String> {
        let settings = [
            ("version", VERSION.to_string()),
            ("window_ms", self.grid.size_ms().to_string()),
            ("slide_ms", self.grid.slide_ms().to_string()),
            ("lateness_ms", self.lateness_ms.to_string()),
            ("zone", self.shape.zone.name().to_string()),
        ];
        let mut all = BTreeMap::from(settings.map(|(name, value)| (name.to_string(), value)));
        // What is usual and came later is left out, so that older lakes fit.
        match (self.format, self.shape.window_end_utc) {
            (Format::CsvGz, WindowEnd::Absent) => None,
            (Format::CsvGz, _) => all.insert("csv_window_end_utc".to_string(), "true".to_string()),
            (format, _) => all.insert("format".to_string(), format.name().to_string()),
        };
        all
    }

    fn build(&self, build: &mut Build<'_>) {
        let readings = build.input(INPUT, Decoder::new(self.shape.zone.clone()));
        let totals = build.counting(Aggregate::<Reading, Key, 2>::new(AGGREGATE, self.grid), readings);
        let shape = Arc::clone(&self.shape);
        let rows = totals.map(move |total| Row::new(&shape, total));
        build.output(self.batch(), rows);
    }

    fn generator(&self, options: &Options) -> Box<dyn Generate> {
        Box::new(generate::Generator::new(options, self.shape.zone.clone()))
    }
}

impl Turnstile {
    /// The batches of committed rows.
    fn batch(&self) -> OutputSpec {
        OutputSpec {
            name: "turnstile".to_string(),
            prefix: "turnstile".to_string(),
            stem: "batch".into(),
            format: self.format,
            columns: self.shape.columns(),
        }
    }
}
