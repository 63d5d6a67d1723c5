//! Every flag has a twin in the environment: `--idle-after` is `HEADWAY_IDLE_AFTER`. A flag overrides its twin, and the
//! twin overrides the configuration file.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};
use std::collections::BTreeSet;

/// The twin of `flag`, which may have its two hyphens.
pub(crate) fn twin(flag: &str) -> String {
    format!("HEADWAY_{}", flag.trim_start_matches('-').replace('-', "_").to_uppercase())
}

/// `command` and its subcommands, which take from the environment what no flag says. An empty variable says nothing.
pub(crate) fn with_twins(command: Command) -> Command {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let mut command = command.mut_args(|arg| {
        let name = arg.get_long().filter(|long| !["help", "version"].contains(long)).map(twin);
        match name.filter(|name| is_set(name)) {
            // Clap keeps names of variables for as long as the program runs; there is one command line.
            Some(name) => arg.env(&*Box::leak(name.into_boxed_str())).hide_env(true),
            None => arg,
        }
    });
    for subcommand in command.get_subcommands_mut() {
        *subcommand = with_twins(std::mem::take(subcommand));
    }
    command
}

/// The flags, by id, that the environment gave. It declares none itself, and must be flattened before those that do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Twins(BTreeSet<String>);

impl Twins {
    /// True if the environment gave `section.key`.
    pub(crate) fn gave(&self, section: &str, key: &str) -> bool {
        self.0.contains(&format!("{section}.{key}"))
    }
}

impl FromArgMatches for Twins {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Twins, Error> {
        let from_environment = |id: &&str| matches.value_source(id) == Some(ValueSource::EnvVariable);
        let ids = matches.ids().map(clap::Id::as_str).filter(from_environment);
        Ok(Twins(ids.map(str::to_string).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Twins::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Twins {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twin_is_the_flag_in_capitals() {
        assert_eq!(twin("--idle-after"), "HEADWAY_IDLE_AFTER");
        assert_eq!(twin("lake"), "HEADWAY_LAKE");
    }
}
