//! A program of your own with a job of two inputs: the turnstiles of two halls, each from a topic or folder of its own.
//!
//! Every command of `headway` works here, for this catalogue:
//!
//! ```text
//! two_halls produce halls --to messages
//! two_halls run halls --source north=files:messages/north --source south=files:messages/south --lake lake
//! ```
//!
//! One job, one lake and one sequence of epochs: a hall without news does not hold the other one back. Each hall has rows, dead
//! letters and late records of its own.

use headway_operators::build::Build;
use headway_operators::generate::{Generate, Options};
use headway_operators::pipeline::{Entry, Pipeline};
use headway_operators::setting::{Setting, SettingError, Settings};
use headway_operators::spec::{Format, InputSpec, OutputSpec};
use headway_operators::stream::aggregate::Aggregate;
use headway_operators::stream::window::{Closing, Grid};
use headway_pipelines::turnstile::batch::{Row, Shape, WindowEnd};
use headway_pipelines::turnstile::generate::{self, Generator};
use headway_pipelines::turnstile::key::Key;
use headway_pipelines::turnstile::record::{Decoder, Reading};
use headway_pipelines::zone::{self, Zone};
use std::process::ExitCode;
use std::sync::Arc;

/// The inputs, and the topic of each.
const HALLS: [(&str, &str); 2] = [("north", "turnstiles-north"), ("south", "turnstiles-south")];

const ENTRY: Entry = Entry {
    settings: SETTINGS,
    generate: options,
    ..Entry::new("halls", "People through the turnstiles of two halls, each summed per window", make)
};

const SETTINGS: &[Setting] = &[
    Setting::duration("window", "5m", "Length of a window, in whole seconds"),
    Setting::duration("slide", "5m", "Distance between the starts of two windows").same_as("window"),
    Setting::duration("lateness", "5m", "How much disorder is waited for before a window closes")
        .same_as("window"),
    zone::setting("zone", "Zone of wall-clock times in messages and rows").shaping_messages(),
];

struct Halls {
    grid: Grid,
    lateness_ms: i64,
    shape: Arc<Shape>,
}

fn make(settings: &Settings) -> Result<Box<dyn Pipeline>, SettingError> {
    let (window, slide) = (settings.ms("window"), settings.ms("slide"));
    if window == 0 || slide == 0 || slide > window || window % 1000 != 0 || slide % 1000 != 0 {
        return Err(SettingError::new(
            "window",
            "windows are whole seconds, and the slide is no longer than the window",
            "Use for example --window 5m --slide 1m.",
        ));
    }
    let zone = Zone::find(settings.text("zone")).expect("a setting's text is a zone's name");
    let shape = Shape { zone, window_end_utc: WindowEnd::Absent };
    let lateness_ms = settings.ms("lateness");
    Ok(Box::new(Halls { grid: Grid::sliding(window, slide), lateness_ms, shape: Arc::new(shape) }))
}

/// Each hall has messages of its own.
fn options(input: &str) -> Option<Options> {
    let hall = HALLS.iter().position(|(name, _)| *name == input)?;
    Some(Options { seed: 7 + hall as u64, ..generate::options() })
}

impl Pipeline for Halls {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<InputSpec> {
        let (lateness_ms, closing) = (self.lateness_ms, Closing::Grid(self.grid));
        HALLS.map(|(name, topic)| InputSpec { name, topic, lateness_ms, closing, header: None }).to_vec()
    }

    fn build(&self, build: &mut Build<'_>) {
        for (hall, _) in HALLS {
            let readings = build.input(hall, Decoder::new(self.shape.zone.clone()));
            let aggregate = Aggregate::<Reading, Key, 2>::new(&format!("Aggregate-{hall}"), self.grid);
            let totals = build.counting(aggregate, readings);
            let shape = Arc::clone(&self.shape);
            build.output(self.output(hall), totals.map(move |total| Row::new(&shape, total)));
        }
    }

    fn generator(&self, input: &str, options: &Options) -> Option<Box<dyn Generate>> {
        HALLS.iter().find(|(name, _)| *name == input)?;
        Some(Box::new(Generator::new(options, self.shape.zone.clone())))
    }
}

impl Halls {
    fn output(&self, hall: &str) -> OutputSpec {
        OutputSpec {
            name: hall.to_string(),
            prefix: format!("halls/{hall}"),
            stem: "batch".into(),
            format: Format::CsvGz,
            columns: self.shape.columns(),
            folders: None,
        }
    }
}

fn main() -> ExitCode {
    headway::main(&[ENTRY])
}
