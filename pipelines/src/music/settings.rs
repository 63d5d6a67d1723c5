//! What a person may set of the music job, and which settings make none.

use super::generate::{BadLine, Behaviour, Dictionary, FirstNames, Places, Songs, Surnames};
use headway_operators::duration::show;
use headway_operators::setting::{Setting, SettingError, Settings, Wrong};
use headway_operators::spec::Format;

const FORM: &str = "form";
const SPARKIFY: &str = "sparkify";
const LATENESS: &str = "lateness";
const GAP: &str = "gap";
const REPAIR: &str = "repair_text";
const FORMAT: &str = "format";
pub(super) const VIEWS: &str = "views";
const SEAL_AFTER: &str = "seal_after";
const SONGS: &str = "songs";
const PLACES: &str = "places";
const NAMES: &str = "names";
const SURNAMES: &str = "surnames";
const GROWTH: &str = "growth";

/// The table of settings.
pub(super) const TABLE: &[Setting] = &[
    Setting::choice(
        FORM,
        &["topics", SPARKIFY],
        "topics",
        "Four topics, or one log as the \"Sparkify\" files have it",
    ),
    Setting::duration(LATENESS, "10m", "How much disorder the job waits for"),
    Setting::duration(GAP, "30m", "A session ends after this time without an event of its user"),
    Setting::switch(REPAIR, "Repair artists and songs whose text was encoded as UTF-8 more than once"),
    Setting::choice(FORMAT, Format::NAMES, Format::Parquet.name(), "Format of the files of rows"),
    Setting::switch(VIEWS, "Keep live tables of users, songs and places, and write them to gold/music")
        .may_be_switched_on(),
    Setting::duration(
        SEAL_AFTER,
        "35d",
        "A day is sealed this long after its end, in event time: its rows leave memory, and its gold files do not change any more",
    )
    .free(),
    Setting::file(
        SONGS,
        "Songs of generated messages, as eventsim's listen_counts.txt [default: a small list]",
    )
    .shaping_messages(),
    Setting::file(PLACES, "Places of generated users, as GeoNames' postal codes [default: a small list]")
        .shaping_messages(),
    Setting::file(NAMES, "First names of generated users, as a yob file of births [default: a small list]")
        .shaping_messages(),
    Setting::file(
        SURNAMES,
        "Surnames of generated users, as the Census Bureau's list [default: a small list]",
    )
    .shaping_messages(),
    Setting::text(
        GROWTH,
        growth,
        "0.1",
        "New generated users a year, as a share of those at the start; 10 is ten times as many in a year",
    )
    .free()
    .shaping_messages(),
];

/// More new users than a simulation could have in a day.
const GROWTH_MAX: f64 = 10_000.0;

/// Reads a share of new users.
fn growth(text: &str) -> Result<String, Wrong> {
    match text.parse::<f64>() {
        Ok(growth) if (0.0..=GROWTH_MAX).contains(&growth) => Ok(growth.to_string()),
        _ => Err(Wrong {
            what: format!("\"{text}\" is no growth from 0 to {GROWTH_MAX}"),
            hint: "Write a number such as 0.1; 0 is for no new users.".to_string(),
        }),
    }
}

/// How generated users behave: as in the published model, but with the growth that the settings ask for.
pub(super) fn behaviour(settings: &Settings) -> Behaviour {
    let growth = settings.text(GROWTH).parse().expect("the text of a growth is a number");
    Behaviour { growth, ..Behaviour::default() }
}

/// What the settings say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) is_sparkify: bool,
    pub(super) lateness_ms: i64,
    pub(super) gap_ms: i64,
    pub(super) repairs: bool,
    pub(super) format: Format,
    pub(super) has_views: bool,
    /// After how long a day of the views is sealed.
    pub(super) seal_after_ms: i64,
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
        let (has_views, seal_after_ms) = (settings.is_on(VIEWS), settings.ms(SEAL_AFTER));
        if has_views && seal_after_ms < gap_ms {
            let (after, gap) = (show(seal_after_ms), show(gap_ms));
            let what = format!(
                "days would be sealed after \"{after}\", before sessions are over, which take a pause of \"{gap}\""
            );
            return Err(SettingError::new(SEAL_AFTER, what, format!("Use {gap} or more, for example 35d.")));
        }
        Ok(Chosen {
            is_sparkify: settings.text(FORM) == SPARKIFY,
            lateness_ms: settings.ms(LATENESS),
            gap_ms,
            repairs: settings.is_on(REPAIR),
            format: Format::named(settings.text(FORMAT)).expect("each choice is the name of a format"),
            has_views,
            seal_after_ms,
        })
    }
}

/// What the generator draws from: the lists inside, and the files that are named in their place.
///
/// # Errors
/// The first file with a line that is not of its form.
pub(super) fn dictionary(settings: &Settings) -> Result<Dictionary, SettingError> {
    let mut dictionary = Dictionary::default();
    let given = |name: &'static str| settings.file(name).map(|text| (name, text));
    if let Some((name, text)) = given(SONGS) {
        dictionary.songs = Songs::read(text).map_err(|bad| unfit(name, &bad))?;
    }
    if let Some((name, text)) = given(PLACES) {
        dictionary.places = Places::read(text).map_err(|bad| unfit(name, &bad))?;
    }
    if let Some((name, text)) = given(NAMES) {
        dictionary.first_names = FirstNames::read(text).map_err(|bad| unfit(name, &bad))?;
    }
    if let Some((name, text)) = given(SURNAMES) {
        dictionary.surnames = Surnames::read(text).map_err(|bad| unfit(name, &bad))?;
    }
    Ok(dictionary)
}

fn unfit(name: &str, BadLine { line, what }: &BadLine) -> SettingError {
    let place = if *line == 0 { String::new() } else { format!("line {line}: ") };
    let hint = "README lists the public files of this form; leave it out for the small list inside.";
    SettingError::new(name, format!("the file of {name} cannot be used: {place}{what}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_a_share_of_the_users_at_the_start() {
        let set = |growth: &'static str| Settings::new(TABLE, [(GROWTH, growth)]);
        for (text, growth) in [("0", 0.0), ("0.5", 0.5), ("10", 10.0), ("1e3", 1000.0)] {
            assert_eq!(behaviour(&set(text).expect(text)).growth, growth);
        }
        assert_eq!(behaviour(&Settings::new(TABLE, []).expect("the defaults")), Behaviour::default());
        for text in ["-1", "inf", "NaN", "much", "10001"] {
            assert_eq!(set(text).expect_err(text).setting, GROWTH);
        }
    }

    #[test]
    fn days_are_not_sealed_before_sessions_are_over() {
        let chosen = |given: &[(&'static str, &'static str)]| {
            Chosen::new(&Settings::new(TABLE, given.iter().copied()).expect("the texts can be read"))
        };
        let error = chosen(&[(VIEWS, "true"), (SEAL_AFTER, "29m")]).expect_err("the gap is 30 minutes");
        assert_eq!(error.setting, SEAL_AFTER);
        for given in [&[(VIEWS, "true"), (SEAL_AFTER, "30m")][..], &[(SEAL_AFTER, "1m")], &[(VIEWS, "true")]]
        {
            assert!(chosen(given).is_ok(), "{given:?}");
        }
    }

    #[test]
    fn file_of_another_form_is_refused_with_its_line() {
        let read = |_: &str| Ok("Ann,F,3\nBob,X,4\n".to_string());
        let refused = |name: &'static str| {
            let settings = Settings::with_files(TABLE, [(name, "f")], &read).expect("the file is read");
            dictionary(&settings).err().map(|error| error.to_string())
        };
        let bad = "the file of names cannot be used: line 2: its second field is neither F nor M";
        assert_eq!(refused(NAMES).as_deref(), Some(bad));
        let bad = "the file of songs cannot be used: line 1: it has not 5 fields";
        assert_eq!(refused(SONGS).as_deref(), Some(bad));
    }
}
