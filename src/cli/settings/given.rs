//! Settings that pipelines declare, on the command line and in `[pipeline]`.
//!
//! Which settings there are is known once the pipeline is: the command line takes those of the whole catalogue, and
//! [`super::made`] refuses what the chosen pipeline does not have. Until then a value is text.

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};
use headway_operators::pipeline::Entry;
use headway_operators::setting::{self, Kind, Preset, Setting};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The section of the configuration file.
pub(crate) const SECTION: &str = "pipeline";

/// Values of settings by name, as they were written.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Given(BTreeMap<String, Text>);

impl Given {
    /// These values.
    pub(crate) fn of(values: &[(&str, &str)]) -> Given {
        Given(values.iter().map(|(name, text)| (name.to_string(), Text(text.to_string()))).collect())
    }

    /// These values, and those of `under` where nothing is set here.
    pub(crate) fn over(self, under: Given) -> Given {
        Given(under.0.into_iter().chain(self.0).collect())
    }

    /// True if `name` is set here.
    pub(crate) fn sets(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Each name and its text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, Text(text))| (name.as_str(), text.as_str()))
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Given, Error> {
        let mut given = Given::default();
        for id in matches.ids() {
            let Some((SECTION, name)) = id.as_str().split_once('.') else { continue };
            if let Some(text) = matches.get_one::<String>(id.as_str()) {
                given.0.insert(name.to_string(), Text(text.clone()));
            }
        }
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Given::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Given {
    /// The flags are those of a catalogue, which only [`with_flags`] knows.
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

/// A scalar of the configuration file, as text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_any(Scalar)
    }
}

struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number, true or false")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_bool<E>(self, on: bool) -> Result<Text, E> {
        Ok(Text(on.to_string()))
    }
}

/// A setting under one name, and which pipelines have it.
struct Shared {
    setting: &'static Setting,
    /// What it is in each pipeline that has it.
    in_pipelines: Vec<(&'static str, &'static Setting)>,
}

/// The settings of the catalogue for which `takes` holds, each name once, in the order of the catalogue.
fn shared(catalogue: &'static [Entry], takes: impl Fn(&Setting) -> bool) -> Vec<Shared> {
    let mut all: Vec<Shared> = Vec::new();
    for entry in catalogue {
        for setting in entry.settings.iter().filter(|setting| takes(setting)) {
            match all.iter_mut().find(|known| known.setting.name == setting.name) {
                Some(known) => known.in_pipelines.push((entry.name, setting)),
                None => all.push(Shared { setting, in_pipelines: vec![(entry.name, setting)] }),
            }
        }
    }
    all
}

/// Which settings become flags of `command`; `None` for a command that takes none.
fn takes(command: &Command) -> Option<fn(&Setting) -> bool> {
    match command.get_name() {
        "run" | "check" | "build" => Some(|_| true),
        "produce" => Some(|setting| setting.shapes_messages),
        _ => None,
    }
}

/// The subcommand `command` with a flag for each setting of the catalogue that it takes.
pub(crate) fn with_flags(command: Command, catalogue: &'static [Entry]) -> Command {
    let Some(takes) = takes(&command) else { return command };
    let count = catalogue.len();
    let arg = |shared: Shared| {
        let is_switch = |(_, setting): &(&str, &Setting)| matches!(setting.kind, Kind::Switch);
        let arg = Arg::new(kept(format!("{SECTION}.{}", shared.setting.name)))
            .long(kept(shared.setting.flag()))
            .help(help(&shared, count))
            .help_heading("Settings of the pipeline")
            .allow_hyphen_values(true)
            .value_name(kept(value_name(shared.setting)));
        // A switch needs no value, unless the same name is more than a switch elsewhere.
        if shared.in_pipelines.iter().all(is_switch) {
            arg.num_args(0..=1).require_equals(true).default_missing_value("true").allow_hyphen_values(false)
        } else {
            arg
        }
    };
    command.args(shared(catalogue, takes).into_iter().map(arg))
}

/// A name for clap, which keeps names for as long as the program runs; there is one command line.
fn kept(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}

/// What is wrong with the settings of `catalogue` for its author: what a table may not have, and flags of `command` that a
/// setting would hide. Nothing is wrong with a catalogue that can be used.
pub(crate) fn faults(command: &Command, catalogue: &[Entry]) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, entry) in catalogue.iter().enumerate() {
        if catalogue[..at].iter().any(|earlier| earlier.name == entry.name) {
            faults.push(format!("two pipelines are called \"{}\"", entry.name));
        }
        let own = setting::faults(entry.settings);
        faults.extend(own.into_iter().map(|fault| format!("pipeline \"{}\": {fault}", entry.name)));
        for setting in entry.settings {
            let flag = setting.flag();
            let is_taken =
                |arg: &Arg| arg.get_long() == Some(&flag) || ["help", "version"].contains(&flag.as_str());
            let commands =
                std::iter::once(command).chain(command.get_subcommands().filter(|c| takes(c).is_some()));
            if commands.flat_map(Command::get_arguments).any(is_taken) {
                faults
                    .push(format!("pipeline \"{}\": --{flag} is a flag of the program already", entry.name));
            }
        }
    }
    faults
}

fn value_name(setting: &Setting) -> String {
    match setting.kind {
        Kind::Duration => "TIME".to_string(),
        Kind::Switch => "BOOL".to_string(),
        Kind::Count => "N".to_string(),
        Kind::File => "FILE".to_string(),
        Kind::Choice(_) | Kind::Text(_) => setting.name.to_uppercase(),
    }
}

/// What a flag does, said once where all pipelines of a catalogue of `count` that have it agree.
fn help(shared: &Shared, count: usize) -> String {
    let lines: Vec<(&str, String)> =
        shared.in_pipelines.iter().map(|(pipeline, setting)| (*pipeline, about(setting))).collect();
    let first = &lines[0].1;
    match lines.iter().all(|(_, line)| line == first) {
        true if lines.len() == count => first.clone(),
        true => {
            let pipelines: Vec<&str> = lines.iter().map(|(pipeline, _)| *pipeline).collect();
            format!("{first} ({})", pipelines.join(", "))
        }
        false => {
            lines.iter().map(|(pipeline, line)| format!("{pipeline}: {line}")).collect::<Vec<_>>().join("; ")
        }
    }
}

/// What a setting does, which words it takes, and its default.
pub(crate) fn about(setting: &Setting) -> String {
    let words = match setting.kind {
        Kind::Choice(words) => format!(": {}", words.join(", ")),
        Kind::Duration | Kind::Switch | Kind::Count | Kind::Text(_) | Kind::File => String::new(),
    };
    let default = match setting.default {
        Preset::Is("") => return format!("{}{words}", setting.about),
        Preset::Is(text) => text.to_string(),
        Preset::SameAs(other) => format!("that of --{}", other.replace('_', "-")),
    };
    format!("{}{words} [default: {default}]", setting.about)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use headway_operators::build::Build;
    use headway_operators::pipeline::Pipeline;
    use headway_operators::setting::SettingError;
    use headway_operators::spec::InputSpec;

    const GAPS: &[Setting] = &[
        Setting::duration("gap", "30m", "How long a user may be away"),
        Setting::choice("order", &["up", "down"], "up", "Order of rows"),
        Setting::switch("wide", "All columns").shaping_messages(),
    ];

    const BOUNDS: &[Setting] = &[
        Setting::duration("gap", "1h", "How long a bike may be away"),
        Setting::count("wide", "7", "How many columns"),
    ];

    /// A catalogue of two pipelines that declare settings of the same names.
    pub(crate) const ALL: &[Entry] = &[
        Entry { settings: GAPS, ..Entry::new("users", "Users", |_| Ok(Box::new(Nothing))) },
        Entry { settings: BOUNDS, ..Entry::new("bikes", "Bikes", |settings| refuse(settings.count("wide"))) },
    ];

    struct Nothing;

    impl Pipeline for Nothing {
        fn name(&self) -> &'static str {
            "nothing"
        }

        fn version(&self) -> u32 {
            1
        }

        fn inputs(&self) -> Vec<InputSpec> {
            Vec::new()
        }

        fn build(&self, _build: &mut Build<'_>) {}
    }

    fn refuse(wide: u64) -> Result<Box<dyn Pipeline>, SettingError> {
        match wide {
            0 => Err(SettingError::new("wide", "a row without columns", "Use 1 or more.")),
            _ => Ok(Box::new(Nothing)),
        }
    }

    /// What `run` takes from `line`.
    pub(crate) fn given(line: &[&str]) -> Given {
        let command = with_flags(Command::new("run").no_binary_name(true), ALL);
        let matches = command.try_get_matches_from(line).expect("the flags are known");
        Given::from_arg_matches(&matches).expect("values are taken")
    }

    #[test]
    fn flags_are_those_of_all_pipelines() {
        let values = given(&["--gap", "5m", "--order=down", "--wide", "9"]);
        assert_eq!(values, Given::of(&[("gap", "5m"), ("order", "down"), ("wide", "9")]));
        let produce = with_flags(Command::new("produce"), ALL);
        let flags: Vec<&str> = produce.get_arguments().filter_map(Arg::get_long).collect();
        assert_eq!(flags, ["wide"]);
    }

    #[test]
    fn help_says_what_differs_between_pipelines() {
        let all = shared(ALL, |_| true);
        let helps: Vec<String> = all.iter().map(|shared| help(shared, ALL.len())).collect();
        assert_eq!(
            helps,
            [
                "users: How long a user may be away [default: 30m]; bikes: How long a bike may be away [default: 1h]",
                "Order of rows: up, down [default: up] (users)",
                "users: All columns [default: false]; bikes: How many columns [default: 7]",
            ]
        );
    }

    #[test]
    fn catalogue_that_cannot_be_used_is_refused() {
        const TAKEN: &[Setting] = &[Setting::switch("follow", "Follows"), Setting::switch("x_ms", "X")];
        const BAD: &[Entry] = &[ALL[0], Entry { settings: TAKEN, ..ALL[0] }];
        let run = Command::new("run").arg(Arg::new("follow").long("follow"));
        let command = Command::new("headway").subcommand(run);
        assert_eq!(faults(&command, ALL), Vec::<String>::new());
        assert_eq!(
            faults(&command, BAD),
            [
                "two pipelines are called \"users\"",
                "pipeline \"users\": setting \"x_ms\" has a name that means something else in a fingerprint",
                "pipeline \"users\": --follow is a flag of the program already",
            ]
        );
    }
}
