//! Where a setting came from: a flag, its twin in the environment, or the configuration file. Refusals name the place.

use super::config::Settings;
use super::file::File;
use super::twins::{Twins, twin};
use crate::cli::terminal::failure::{Code, Failure};
use std::fmt::Display;

/// Where settings came from, so that a refusal can name the place.
pub(crate) struct Origin<'a> {
    /// The flags.
    pub(crate) flags: &'a Settings,
    /// Which of them the environment gave.
    pub(crate) twins: &'a Twins,
    /// The configuration file.
    pub(crate) file: Option<&'a File>,
}

impl Origin<'_> {
    /// A refusal of `section.key`, given as `flag` or in the file.
    pub(crate) fn refuse(&self, section: &str, key: &str, flag: &str, what: impl Display) -> Failure {
        refusal(section, key, &self.place(section, key, flag), what)
    }

    /// The same for a key that is unknown: the place is its own, not that of its value.
    pub(crate) fn refuse_key(&self, section: &str, key: &str, flag: &str, what: impl Display) -> Failure {
        let in_file = self.file.and_then(|file| file.place_of_key(section, key));
        refusal(section, key, &self.named(in_file, section, key, flag), what)
    }

    /// The name of the place where `section.key` was set.
    pub(crate) fn place(&self, section: &str, key: &str, flag: &str) -> String {
        self.named(self.file.and_then(|file| file.place(section, key)), section, key, flag)
    }

    fn named(&self, in_file: Option<String>, section: &str, key: &str, flag: &str) -> String {
        match in_file {
            Some(place) if !self.flags.sets(section, key) => place,
            _ if self.twins.gave(section, key) => twin(flag),
            _ => flag.to_string(),
        }
    }
}

/// The refusal of `section.key`, which was set at `place`.
fn refusal(section: &str, key: &str, place: &str, what: impl Display) -> Failure {
    let code = match section {
        "lake" => Code::LakeInvalid,
        "source" => Code::SourceInvalid,
        _ if key == "pipeline" => Code::PipelineUnknown,
        _ => Code::SettingInvalid,
    };
    Failure::new(code, format!("{place}: {what}"))
}
