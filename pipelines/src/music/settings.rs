//! What a person may set of the music job, and which settings make none.

use headway_operators::setting::{Setting, SettingError, Settings};
use headway_operators::spec::Format;

const FORM: &str = "form";
const SPARKIFY: &str = "sparkify";
const LATENESS: &str = "lateness";
const GAP: &str = "gap";
const REPAIR: &str = "repair_text";
const FORMAT: &str = "format";

/// The table of settings.
pub(super) const TABLE: &[Setting] = &[
    Setting::choice(
        FORM,
        &["topics", SPARKIFY],
        "topics",
        "Four topics, or one log as the \"Sparkify\" files have it",
    ),
    Setting::duration(LATENESS, "10m", "How much disorder is waited for"),
    Setting::duration(GAP, "30m", "How long a user may be away in one session"),
    Setting::switch(REPAIR, "Repair artists and songs whose text was encoded as UTF-8 more than once"),
    Setting::choice(FORMAT, Format::NAMES, Format::Parquet.name(), "Format of the files of rows"),
];

/// What the settings say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) is_sparkify: bool,
    pub(super) lateness_ms: i64,
    pub(super) gap_ms: i64,
    pub(super) repairs: bool,
    pub(super) format: Format,
}

impl Chosen {
    /// What `settings` say.
    ///
    /// # Errors
    /// The first setting that makes no job.
    pub(super) fn new(settings: &Settings) -> Result<Chosen, SettingError> {
        let gap_ms = settings.ms(GAP);
        if gap_ms == 0 {
            let what = "gap \"0s\" is less than 1ms";
            return Err(SettingError::new(GAP, what, "Write a length of time such as 30m."));
        }
        Ok(Chosen {
            is_sparkify: settings.text(FORM) == SPARKIFY,
            lateness_ms: settings.ms(LATENESS),
            gap_ms,
            repairs: settings.is_on(REPAIR),
            format: Format::named(settings.text(FORMAT)).expect("each choice is the name of a format"),
        })
    }
}
