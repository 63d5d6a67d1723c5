//! What can be set of an input: by flag, once for all inputs or as `NAME=VALUE` for one, in `[source]` for all inputs, and in
//! `[input.NAME]` for one.
//!
//! Which inputs there are is known once the pipeline is: [`super::inputs`] says which value is whose. Until then it is text.

use super::given::Text;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The section for all inputs.
pub(crate) const SECTION: &str = "source";

/// The section whose tables are for one input each.
pub(crate) const INPUT: &str = "input";

/// A setting of an input.
pub(crate) struct Key {
    /// Its name in the configuration file.
    pub(crate) name: &'static str,
    /// Its flag, with the two hyphens.
    pub(crate) flag: &'static str,
    value_name: &'static str,
    about: &'static str,
}

const fn key(name: &'static str, flag: &'static str, value_name: &'static str, about: &'static str) -> Key {
    Key { name, flag, value_name, about }
}

/// The name of the switch among them: without a value it is on.
pub(crate) const FOLLOW: &str = "follow";

/// All settings of an input.
pub(crate) const KEYS: [Key; 7] = [
    key(
        "uri",
        "--source",
        "[NAME=]URI",
        "Where messages come from: kafka:, files:PATH (a file or a folder) or generate[:key=value,...]; where there are \
         several inputs, NAME=URI for each",
    ),
    key("topic", "--topic", "[NAME=]TOPIC", "The Kafka topic [default: the pipeline's]"),
    key(
        "kafka_config",
        "--kafka-config",
        "[NAME=]FILE",
        "Kafka client settings: the .properties file that kcat and the Java tools take",
    ),
    key(
        "group",
        "--group",
        "[NAME=]GROUP",
        "Consumer group to which committed offsets are copied, for lag monitors; the job never reads them",
    ),
    key(FOLLOW, "--follow", "[NAME=]BOOL", "Keep reading files as they grow"),
    key(
        "max_ahead",
        "--max-ahead",
        "[NAME=]TIME",
        "Refuse a record that is further ahead of its message's timestamp than this [default: 1h]",
    ),
    key(
        "not_after",
        "--not-after",
        "[NAME=]INSTANT",
        "If messages have no timestamp: refuse a record after this instant, or none for no limit [default: --max-ahead of the clock]",
    ),
];

/// Values by key. A flag may be given several times, a key of the file once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values(BTreeMap<String, Vec<String>>);

impl Values {
    /// One value.
    pub(crate) fn of(key: &str, value: &str) -> Values {
        Values(BTreeMap::from([(key.to_string(), vec![value.to_string()])]))
    }

    /// What is given for `key`, in the order of the command line.
    pub(crate) fn get(&self, key: &str) -> &[String] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// True if `key` is set here.
    pub(crate) fn sets(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Values, D::Error> {
        let values = BTreeMap::<String, Text>::deserialize(deserializer)?;
        Ok(Values(values.into_iter().map(|(key, Text(text))| (key, vec![text])).collect()))
    }
}

impl FromArgMatches for Values {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Values, Error> {
        let mut values = Values::default();
        for key in &KEYS {
            if let Some(texts) = matches.get_many::<String>(&id(key)) {
                values.0.insert(key.name.to_string(), texts.cloned().collect());
            }
        }
        Ok(values)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Values::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The id of a flag: the path of its key in the file.
fn id(key: &Key) -> String {
    format!("{SECTION}.{}", key.name)
}

impl Args for Values {
    fn augment_args(command: Command) -> Command {
        let arg = |key: &Key| {
            // Clap keeps names for as long as the program runs; there is one command line.
            let arg = Arg::new(&*Box::leak(id(key).into_boxed_str()))
                .long(key.flag.trim_start_matches('-'))
                .value_name(key.value_name)
                .help(key.about)
                .action(ArgAction::Append);
            if key.name == FOLLOW {
                arg.num_args(0..=1).require_equals(true).default_missing_value("true")
            } else {
                arg.allow_hyphen_values(["max_ahead", "not_after"].contains(&key.name))
            }
        };
        command.args(KEYS.iter().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Values::augment_args(command)
    }
}
