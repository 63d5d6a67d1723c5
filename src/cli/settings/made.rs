//! The pipeline that was chosen, made with the settings that were given.

use super::beside;
use super::given::{Given, SECTION};
use super::origin::Origin;
use super::place::{Surroundings, without_password};
use super::suggest::suggest;
use crate::cli::terminal::failure::Failure;
use flate2::read::MultiGzDecoder;
use headway_operators::pipeline::{Configured, Entry};
use headway_operators::setting::Wrong;
use std::fs;
use std::io::{self, Read};

/// How a file packed with gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The pipeline of `entry` with the settings that were given.
///
/// # Errors
/// Exit 2, with its place, if it does not have one of them, or one of them makes no job.
pub(crate) fn made(entry: &Entry, given: &Given, origin: &Origin<'_>) -> Result<Configured, Failure> {
    let known: Vec<&str> = entry.settings.iter().map(|setting| setting.name).collect();
    if let Some((name, _)) = given.texts().find(|(name, _)| !known.contains(name)) {
        let flag = format!("--{}", name.replace('_', "-"));
        let what = format!("pipeline \"{}\" has no setting \"{name}\"", entry.name);
        let hint = match known.as_slice() {
            [] => "It has no settings at all.".to_string(),
            known => suggest(name, known, &format!("settings of \"{}\"", entry.name)),
        };
        return Err(origin.refuse_key(SECTION, name, &flag, what).hint(hint));
    }
    let in_file = |name: &str| {
        origin.file.filter(|file| file.settings.sets(SECTION, name) && !origin.flags.sets(SECTION, name))
    };
    let text = |(name, text): (&str, &str)| {
        let text =
            in_file(name).map_or(text.to_string(), |file| beside::setting(entry, name, text, file.folder()));
        (name.to_string(), text)
    };
    let texts: Vec<(String, String)> = given.texts().map(text).collect();
    let texts = texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    entry.configure_with_files(texts, &read_file).map_err(|error| {
        let flag = format!("--{}", error.setting.replace('_', "-"));
        origin.refuse(SECTION, &error.setting, &flag, &error).hint(error.hint.clone())
    })
}

/// The content of a file of text, packed with gzip or not.
fn read_file(path: &str) -> Result<String, Wrong> {
    let shown = without_password(path);
    let refuse =
        |why: String, hint: &str| Wrong { what: format!("\"{shown}\" {why}"), hint: hint.to_string() };
    let found = Surroundings::here().path(path);
    let found = found.map_err(|no| refuse(format!("is no path: {}", no.why), &no.hint))?;
    let unreadable = |error: io::Error| refuse(format!("cannot be read: {error}"), "Check the path.");
    let mut bytes = fs::read(found).map_err(unreadable)?;
    if bytes.starts_with(&GZIP) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).map_err(unreadable)?;
        bytes = unpacked;
    }
    String::from_utf8(bytes)
        .map_err(|_| refuse("is not UTF-8".to_string(), "Convert it, for example with iconv."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::config::Settings;
    use crate::cli::settings::given::tests::{ALL, given};
    use crate::cli::settings::twins::Twins;
    use crate::cli::terminal::form::Form;

    fn refusal(entry: &Entry, given: &Given) -> String {
        let origin = Origin { flags: &Settings::default(), twins: &Twins::default(), file: None };
        made(entry, given, &origin).err().expect("it does not fit").render(Form::Text)
    }

    #[test]
    fn setting_of_another_pipeline_is_refused() {
        let refused = refusal(&ALL[1], &given(&["--order", "up"]));
        assert_eq!(
            refused,
            "error: --order: pipeline \"bikes\" has no setting \"order\" (setting-invalid)\n\
             detail: A setting has a value with which no job can run.\n\
             hint: The settings of \"bikes\" are gap, wide.\n"
        );
        let refused = refusal(&ALL[1], &given(&["--wide", "0"]));
        assert!(refused.starts_with("error: --wide: a row without columns (setting-invalid)"), "{refused}");
        let refused = refusal(&ALL[0], &given(&["--order", "left"]));
        assert!(refused.ends_with("hint: Write one of up, down.\n"), "{refused}");
    }
}
