//! What a person may set of the turnstile job, and which settings make none.

use crate::turnstile::views::passage::StationBy;
use crate::zone::{self, Zone};
use headway_operators::duration::show;
use headway_operators::setting::{Setting, SettingError, Settings};
use headway_operators::spec::Format;
use headway_operators::stream::window::Grid;

/// The setting that adds the window's end in UTC to each row.
pub(super) const WINDOW_END_UTC: &str = "csv_window_end_utc";

/// The setting that keeps live tables beside the rows.
pub(super) const VIEWS: &str = "views";

/// The setting that says when days of views are sealed.
pub(super) const SEAL_AFTER: &str = "seal_after";

/// Everything that can be set.
pub(super) const TABLE: &[Setting] = &[
    Setting::duration("window", "5m", "Length of a window, in whole seconds"),
    Setting::duration("slide", "5m", "Distance between the starts of two windows").same_as("window"),
    Setting::duration("lateness", "5m", "How much disorder a window waits for before it closes")
        .same_as("window"),
    zone::setting("zone", "Zone of wall-clock times in messages and rows, such as America/New_York")
        .shaping_messages(),
    Setting::choice("format", Format::NAMES, "csv.gz", "Format of the files of rows").unless_default(),
    Setting::switch(WINDOW_END_UTC, "Add the window's end in UTC as the last column of CSV rows")
        .unless_default(),
    Setting::switch(VIEWS, "Keep live tables of stations, days and hours, and write them to gold/turnstile")
        .may_be_switched_on(),
    Setting::duration(
        SEAL_AFTER,
        "35d",
        "A day is sealed this long after its end, in event time: its rows leave memory, and its gold files do not change any more",
    )
    .free(),
    StationBy::SETTING,
];

/// In how many windows a record may be: a day of them by the minute. The state of a key grows with it, and so does the
/// work for a record.
const WINDOWS_MAX: i64 = 1_440;

/// The grid and the lateness in milliseconds.
pub(super) fn windows(settings: &Settings) -> Result<(Grid, i64), SettingError> {
    let (window, slide, lateness) = (settings.ms("window"), settings.ms("slide"), settings.ms("lateness"));
    whole_seconds("window", window, 1000, "5m")?;
    whole_seconds("slide", slide, 1000, "1m")?;
    let refused = |what: String, hint: String| Err(SettingError::new("slide", what, hint));
    if slide > window {
        let (window, slide) = (show(window), show(slide));
        return refused(
            format!("slide \"{slide}\" is longer than window \"{window}\""),
            "Records between two windows would be lost. Make the slide as long as the window or shorter."
                .to_string(),
        );
    }
    let windows = (window + slide - 1) / slide;
    if windows > WINDOWS_MAX {
        let least = show(least_slide_ms(window));
        let (window, slide) = (show(window), show(slide));
        return refused(
            format!(
                "slide \"{slide}\" puts each record into {windows} windows of \"{window}\", more than {WINDOWS_MAX}"
            ),
            format!("Make the slide {least} or longer, or the window shorter."),
        );
    }
    whole_seconds("lateness", lateness, 0, "2m")?;
    Ok((Grid::sliding(window, slide), lateness))
}

/// Refuses windows of which no part tiles time: views would count people twice.
pub(super) fn tiles(grid: &Grid) -> Result<(), SettingError> {
    if grid.size_ms() % grid.slide_ms() == 0 {
        return Ok(());
    }
    let (slide, window) = (show(grid.slide_ms()), show(grid.size_ms()));
    let what = format!(
        "views need windows that tile time, and slide \"{slide}\" does not divide window \"{window}\""
    );
    Err(SettingError::new(VIEWS, what, "Make the slide a divisor of the window, or leave views out."))
}

/// Refuses days that are sealed before all windows of them have closed: their rows would be left out.
pub(super) fn seals(grid: &Grid, seal_after_ms: i64) -> Result<(), SettingError> {
    if seal_after_ms >= grid.size_ms() {
        return Ok(());
    }
    let (after, window) = (show(seal_after_ms), show(grid.size_ms()));
    let what =
        format!("days would be sealed after \"{after}\", before all windows of \"{window}\" have closed");
    Err(SettingError::new(SEAL_AFTER, what, format!("Use {window} or more, for example 35d.")))
}

/// The shortest slide of a window that is allowed: whole seconds.
fn least_slide_ms(window_ms: i64) -> i64 {
    let step = WINDOWS_MAX * 1000;
    (window_ms + step - 1) / step * 1000
}

/// The zone of wall-clock times.
pub(super) fn zone(settings: &Settings) -> Zone {
    Zone::find(settings.text("zone")).expect("a setting's text is a zone's name")
}

/// The format of the files of rows.
pub(super) fn format(settings: &Settings) -> Result<Format, SettingError> {
    let format = Format::named(settings.text("format")).expect("each choice is the name of a format");
    if format != Format::CsvGz && settings.is_on(WINDOW_END_UTC) {
        let what = format!("rows are written as {}, which has no such column", format.name());
        return Err(SettingError::new(WINDOW_END_UTC, what, "Leave it out, or use --format csv.gz."));
    }
    Ok(format)
}

/// Refuses a duration that is no number of whole seconds, or is below `least_ms`.
fn whole_seconds(setting: &'static str, ms: i64, least_ms: i64, example: &str) -> Result<(), SettingError> {
    let wrong = match ms {
        _ if ms < least_ms => format!("is less than {}", show(least_ms)),
        _ if ms % 1000 != 0 => "is not a whole number of seconds".to_string(),
        _ => return Ok(()),
    };
    let what = format!("{setting} \"{}\" {wrong}", show(ms));
    Err(SettingError::new(setting, what, format!("Use whole seconds, for example {example}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(given: &[(&'static str, &'static str)]) -> Settings {
        Settings::new(TABLE, given.iter().copied()).expect("the texts can be read")
    }

    #[test]
    fn job_without_settings_has_windows_of_five_minutes_and_waits_as_long() {
        let (grid, lateness) = windows(&set(&[])).expect("the defaults make a job");
        assert_eq!((grid, lateness), (Grid::tumbling(300_000), 300_000));
        let all = [("window", "1m"), ("slide", "1s"), ("lateness", "0s")];
        let (grid, lateness) = windows(&set(&all)).expect("a job");
        assert_eq!((grid, lateness), (Grid::sliding(60_000, 1000), 0));
    }

    #[test]
    fn setting_that_makes_no_job_is_refused_by_name() {
        /// Settings with their values, the one that is refused, and why.
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
        let cases: [Case<'_>; 6] = [
            (&[("window", "0s")], "window", "window \"0s\" is less than 1s"),
            (&[("window", "1500ms")], "window", "window \"1s500ms\" is not a whole number of seconds"),
            (&[("slide", "0s")], "slide", "slide \"0s\" is less than 1s"),
            (&[("slide", "1h")], "slide", "slide \"1h\" is longer than window \"5m\""),
            (
                &[("window", "200h"), ("slide", "1s")],
                "slide",
                "slide \"1s\" puts each record into 720000 windows of \"8d8h\", more than 1440",
            ),
            (&[("lateness", "1ms")], "lateness", "lateness \"1ms\" is not a whole number of seconds"),
        ];
        for (given, setting, what) in cases {
            let error = windows(&set(given)).expect_err(what);
            assert_eq!((error.setting.as_str(), error.what.as_str()), (setting, what));
        }
    }

    #[test]
    fn record_may_be_in_so_many_windows_and_no_more() {
        let longest_s = headway_operators::duration::MAX_MS / 1000;
        for window_s in [1, 1_440, 1_441, 86_400, 86_401, 720_000, longest_s] {
            let least = least_slide_ms(window_s * 1000);
            let with = |slide_ms: i64| {
                let (window, slide) = (show(window_s * 1000), show(slide_ms));
                let given = [("window", window.as_str()), ("slide", slide.as_str())];
                windows(&Settings::new(TABLE, given).expect("the texts can be read"))
            };
            assert!(with(least).is_ok(), "{window_s} s");
            let hint = with(least - 1000).expect_err("one second less is refused").hint;
            assert!(least == 1000 || hint.contains(&show(least)), "{window_s} s: {hint}");
        }
    }

    #[test]
    fn unknown_zone_is_refused_with_the_nearest_name() {
        let error = Settings::new(TABLE, [("zone", "America/NewYork")]).expect_err("no such zone");
        assert_eq!(error.to_string(), "there is no time zone \"America/NewYork\"");
        assert!(error.hint.contains("\"America/New_York\""), "{}", error.hint);
    }
}
