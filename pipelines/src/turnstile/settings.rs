//! Which settings make a job, and what to say of the others.

use crate::zone::Zone;
use headway_operators::pipeline::{SettingError, Settings};
use headway_operators::stream::window::Grid;

/// The length of a window where nothing is said: five minutes, as upstream has it.
const WINDOW_MS: i64 = 300_000;

/// The longest window and lateness, about a thousand years: the end of any window is still in the calendar.
const LONGEST_MS: i64 = 365_000 * 86_400_000;

/// In how many windows a record may be: a day of them by the minute. The state of a key grows with it, and so does the
/// work for a record.
const WINDOWS_MAX: i64 = 1_440;

/// The grid and the lateness in milliseconds.
pub(super) fn windows(settings: &Settings) -> Result<(Grid, i64), SettingError> {
    let window = settings.window_ms.unwrap_or(WINDOW_MS);
    whole_seconds("window", window, 1000, "5m")?;
    let slide = settings.slide_ms.unwrap_or(window);
    whole_seconds("slide", slide, 1000, "1m")?;
    if slide > window {
        return Err(SettingError {
            setting: "slide",
            what: format!("slide \"{}\" is longer than window \"{}\"", shown(slide), shown(window)),
            hint:
                "Records between two windows would be lost. Make the slide as long as the window or shorter."
                    .to_string(),
        });
    }
    let windows = (window + slide - 1) / slide;
    if windows > WINDOWS_MAX {
        let least = shown(least_slide_ms(window));
        let (window, slide) = (shown(window), shown(slide));
        return Err(SettingError {
            setting: "slide",
            what: format!(
                "slide \"{slide}\" puts each record into {windows} windows of \"{window}\", more than {WINDOWS_MAX}"
            ),
            hint: format!("Make the slide {least} or longer, or the window shorter."),
        });
    }
    let lateness = settings.lateness_ms.unwrap_or(window);
    whole_seconds("lateness", lateness, 0, "2m")?;
    Ok((Grid::sliding(window, slide), lateness))
}

/// The shortest slide of a window that is allowed: whole seconds.
fn least_slide_ms(window_ms: i64) -> i64 {
    let step = WINDOWS_MAX * 1000;
    (window_ms + step - 1) / step * 1000
}

/// The zone of wall-clock times.
pub(super) fn zone(settings: &Settings) -> Result<Zone, SettingError> {
    let Some(name) = &settings.zone else { return Ok(Zone::utc()) };
    Zone::find(name).map_err(|unknown| SettingError {
        setting: "zone",
        what: format!("there is no time zone \"{name}\""),
        hint: unknown.hint,
    })
}

/// Refuses a duration that is no number of whole seconds, or is below `least_ms` or beyond the calendar.
fn whole_seconds(setting: &'static str, ms: i64, least_ms: i64, example: &str) -> Result<(), SettingError> {
    let wrong = match ms {
        _ if ms < least_ms => format!("is less than {}", shown(least_ms)),
        _ if ms > LONGEST_MS => "is longer than a thousand years".to_string(),
        _ if ms % 1000 != 0 => "is not a whole number of seconds".to_string(),
        _ => return Ok(()),
    };
    let what = format!("{setting} \"{}\" {wrong}", shown(ms));
    Err(SettingError { setting, what, hint: format!("Use whole seconds, for example {example}.") })
}

/// A duration as a person would write it.
fn shown(ms: i64) -> String {
    match ms {
        0 => "0s".to_string(),
        _ if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        _ if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        _ if ms % 1000 == 0 => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durations(window: Option<i64>, slide: Option<i64>, lateness: Option<i64>) -> Settings {
        Settings { window_ms: window, slide_ms: slide, lateness_ms: lateness, ..Settings::default() }
    }

    #[test]
    fn job_without_settings_has_windows_of_five_minutes_and_waits_as_long() {
        let (grid, lateness) = windows(&Settings::default()).expect("the defaults make a job");
        assert_eq!((grid, lateness), (Grid::tumbling(300_000), 300_000));
        let (grid, lateness) = windows(&durations(Some(60_000), Some(1000), Some(0))).expect("a job");
        assert_eq!((grid, lateness), (Grid::sliding(60_000, 1000), 0));
    }

    #[test]
    fn setting_that_makes_no_job_is_refused_by_name() {
        let cases = [
            (durations(Some(0), None, None), "window", "window \"0s\" is less than 1s"),
            (
                durations(Some(i64::MIN), None, None),
                "window",
                "window \"-9223372036854775808ms\" is less than 1s",
            ),
            (
                durations(Some(1500), None, None),
                "window",
                "window \"1500ms\" is not a whole number of seconds",
            ),
            (
                durations(Some(i64::MAX), None, None),
                "window",
                "window \"9223372036854775807ms\" is longer than a thousand years",
            ),
            (durations(None, Some(0), None), "slide", "slide \"0s\" is less than 1s"),
            (durations(None, Some(3_600_000), None), "slide", "slide \"1h\" is longer than window \"5m\""),
            (
                durations(Some(720_000_000), Some(1000), None),
                "slide",
                "slide \"1s\" puts each record into 720000 windows of \"200h\", more than 1440",
            ),
            (durations(None, None, Some(-1000)), "lateness", "lateness \"-1s\" is less than 0s"),
            (durations(None, None, Some(1)), "lateness", "lateness \"1ms\" is not a whole number of seconds"),
        ];
        for (settings, setting, what) in cases {
            let error = windows(&settings).expect_err(what);
            assert_eq!((error.setting, error.what.as_str()), (setting, what));
        }
    }

    #[test]
    fn record_may_be_in_so_many_windows_and_no_more() {
        for window_s in [1, 1_440, 1_441, 86_400, 86_401, 720_000, LONGEST_MS / 1000] {
            let least = least_slide_ms(window_s * 1000);
            assert!(windows(&durations(Some(window_s * 1000), Some(least), None)).is_ok(), "{window_s} s");
            let below = windows(&durations(Some(window_s * 1000), Some(least - 1000), None));
            let hint = below.expect_err("one second less is refused").hint;
            assert!(least == 1000 || hint.contains(&shown(least)), "{window_s} s: {hint}");
        }
    }

    #[test]
    fn unknown_zone_is_refused_with_the_nearest_name() {
        let settings = Settings { zone: Some("America/NewYork".to_string()), ..Settings::default() };
        let error = zone(&settings).expect_err("no such zone");
        assert_eq!(error.to_string(), "there is no time zone \"America/NewYork\"");
        assert!(error.hint.contains("\"America/New_York\""), "{}", error.hint);
    }
}
