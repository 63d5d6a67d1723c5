//! Which setting of an input is whose: flags over the configuration file, what names one input over what is for all.

use super::origin::Origin;
use super::place::{Surroundings, without_password};
use super::source_flags::{FOLLOW, INPUT, KEYS, Key, SECTION};
use super::suggest::suggest;
use super::twins::twin;
use crate::cli::terminal::failure::{Code, Failure};
use headway_operators::spec::InputSpec;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

/// What is set of one input.
#[derive(Debug)]
pub(crate) struct InputSettings {
    /// The input.
    pub(crate) spec: InputSpec,
    /// True if the job has no other.
    pub(crate) is_alone: bool,
    values: BTreeMap<&'static str, Value>,
}

/// A value, and where it stands.
#[derive(Clone, Debug)]
struct Value {
    text: String,
    place: String,
    /// True if it is for this input alone, or the job has no other.
    is_own: bool,
}

/// What is set of each of `specs`, the inputs of `pipeline`.
///
/// # Errors
/// Exit 2, with its place, for an input that the pipeline does not have, and for a value that is given twice.
pub(crate) fn inputs(
    pipeline: &str,
    specs: Vec<InputSpec>,
    origin: &Origin<'_>,
) -> Result<Vec<InputSettings>, Failure> {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name).collect();
    let job = Job { pipeline, names: &names, origin };
    job.known_in_file()?;
    let mut flags = BTreeMap::new();
    for key in &KEYS {
        flags.insert(key.name, job.flags(key)?);
    }
    let of = |spec: InputSpec| {
        let value = |key: &'static Key| Some((key.name, job.value(spec.name, key, &flags[key.name])?));
        let values = KEYS.iter().filter_map(value).collect();
        InputSettings { spec, is_alone: names.len() == 1, values }
    };
    Ok(specs.into_iter().map(of).collect())
}

/// The inputs of a job, and what was set.
struct Job<'a> {
    pipeline: &'a str,
    names: &'a [&'a str],
    origin: &'a Origin<'a>,
}

/// The values of one flag: for all inputs, and for each that is named.
type Given = BTreeMap<Option<String>, String>;

impl Job<'_> {
    /// Refuses a table of the file for an input that is not there.
    fn known_in_file(&self) -> Result<(), Failure> {
        let Some(file) = self.origin.file else { return Ok(()) };
        match file.settings.input.keys().find(|name| !self.names.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let place = file.place_of_path(&[INPUT, name]);
                Err(self.unknown(&place.unwrap_or_default(), name))
            }
        }
    }

    fn unknown(&self, place: &str, name: &str) -> Failure {
        let what = format!("{place}: pipeline \"{}\" has no input \"{name}\"", self.pipeline);
        let kind = format!("inputs of \"{}\"", self.pipeline);
        Failure::new(Code::SourceInvalid, what).hint(suggest(name, self.names, &kind))
    }

    /// What the flag of `key`, or its twin, says.
    fn flags(&self, key: &Key) -> Result<Given, Failure> {
        let mut given = Given::new();
        let place = self.flag(key);
        // A variable cannot be repeated: it has a line for each value.
        let in_environment = self.origin.twins.gave(SECTION, key.name);
        let texts = self.origin.flags.source.get(key.name);
        let lines = texts
            .iter()
            .flat_map(|text| if in_environment { text.lines().collect() } else { vec![text.as_str()] });
        for text in lines {
            let (name, value) = self.split(key, text, &place)?;
            if let Some(earlier) = given.insert(name.clone(), value.to_string()) {
                let whose = name.map_or("all inputs".to_string(), |name| format!("input \"{name}\""));
                let (earlier, value) = (without_password(&earlier), without_password(value));
                let what = format!("{place}: two values for {whose}: \"{earlier}\" and \"{value}\"");
                return Err(Failure::new(Code::SourceInvalid, what).hint(self.form(key)));
            }
        }
        Ok(given)
    }

    /// How `key` is written for each input.
    fn form(&self, key: &Key) -> String {
        match self.names {
            [_] => format!("Give {} once.", key.flag),
            names => {
                let each: Vec<String> =
                    names.iter().map(|name| format!("{} {name}=VALUE", key.flag)).collect();
                format!("Give it once for each input: {}.", each.join(" "))
            }
        }
    }

    /// The input that `text` names, and the value after it.
    fn split<'t>(&self, key: &Key, text: &'t str, place: &str) -> Result<(Option<String>, &'t str), Failure> {
        if key.name == FOLLOW && self.names.contains(&text) {
            return Ok((Some(text.to_string()), "true"));
        }
        let is_word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        };
        match text.split_once('=').filter(|(name, _)| is_word(name)) {
            Some((name, value)) if self.names.contains(&name) => Ok((Some(name.to_string()), value)),
            // Where there is one input, a topic or a file may have a `=` in its name.
            Some((name, _)) if self.names.len() > 1 || key.name == "uri" => Err(self.unknown(place, name)),
            _ => Ok((None, text)),
        }
    }

    /// The value of `key` for the input called `name`.
    fn value(&self, name: &str, key: &Key, flags: &Given) -> Option<Value> {
        let alone = self.names.len() == 1;
        let flag = self.flag(key);
        let value = |text: &String, place: String, is_own| Value { text: text.clone(), place, is_own };
        let own = || Some(value(flags.get(&Some(name.to_string()))?, format!("{flag} {name}"), true));
        let all = || Some(value(flags.get(&None)?, flag.clone(), alone));
        let file = self.origin.file;
        let own_in_file = || {
            let file = file?;
            let text = file.settings.input.get(name)?.get(key.name).first()?;
            Some(value(text, file.place_of_value(&[INPUT, name, key.name])?, true))
        };
        let all_in_file = || {
            let file = file?;
            let text = file.settings.source.get(key.name).first()?;
            Some(value(text, file.place_of_value(&[SECTION, key.name])?, alone))
        };
        own().or_else(all).or_else(own_in_file).or_else(all_in_file)
    }

    /// The flag of `key`, or its twin if that was given.
    fn flag(&self, key: &Key) -> String {
        if self.origin.twins.gave(SECTION, key.name) { twin(key.flag) } else { key.flag.to_string() }
    }
}

impl InputSettings {
    /// The text of `key`.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|value| value.text.as_str())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// Exit 2, with its place, if it cannot be read.
    pub(crate) fn read<T: FromStr>(&self, key: &str) -> Result<Option<T>, Failure>
    where
        T::Err: Display,
    {
        let parse = |text: &str| text.parse().map_err(|error| self.refuse(key, error));
        self.text(key).map(parse).transpose()
    }

    /// The path that is the value of `key`.
    ///
    /// # Errors
    /// Exit 2, with its place, if only a shell would understand it.
    pub(crate) fn path(&self, key: &str, path: &str) -> Result<PathBuf, Failure> {
        Surroundings::here().path(path).map_err(|no| {
            let what = format!("\"{}\" is no path: {}", without_password(path), no.why);
            self.refuse(key, what).hint(no.hint)
        })
    }

    /// The value of `key`, which means something else for each input.
    ///
    /// # Errors
    /// Exit 2, with its place, if it is for several inputs.
    pub(crate) fn own(&self, key: &str) -> Result<Option<&str>, Failure> {
        match self.values.get(key) {
            Some(value) if !value.is_own => {
                let shown = without_password(&value.text);
                let flag = KEYS.iter().find(|known| known.name == key).map_or(key, |known| known.flag);
                let name = self.spec.name;
                Err(self.refuse(key, format!("the job has several inputs: whose is \"{shown}\"?")).hint(format!(
                    "Name the input: {flag} {name}=VALUE, or {key} in [{INPUT}.{name}] of the configuration file."
                )))
            }
            value => Ok(value.map(|value| value.text.as_str())),
        }
    }

    /// A refusal of the value of `key`.
    pub(crate) fn refuse(&self, key: &str, what: impl Display) -> Failure {
        let place = self.values.get(key).map_or(key, |value| value.place.as_str());
        Failure::new(Code::SourceInvalid, format!("{place}: {what}"))
    }

    /// The path of a file that is the value of `key`.
    ///
    /// # Errors
    /// Exit 2, with its place, if only a shell would understand it.
    pub(crate) fn file(&self, key: &str) -> Result<Option<PathBuf>, Failure> {
        self.text(key).map(|text| self.path(key, text)).transpose()
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::config::Settings;
    use crate::cli::settings::file::File;
    use crate::cli::settings::source_flags::Values;
    use crate::cli::settings::twins::Twins;
    use crate::cli::terminal::form::Form;
    use clap::{Args, Command, FromArgMatches};
    use headway_operators::stream::window::Closing;

    const FILE: &str = "[source]\nuri = \"kafka:\"\nmax_ahead = \"2h\"\n[input.plays]\ntopic = \"listen_events\"\n\
                        max_ahead = \"3h\"\n[input.logins]\nuri = \"files:logins\"\nfollow = true\n";

    /// What is set of the inputs `names` by flags and the text of a file.
    fn set(names: &[&'static str], flags: &[&str], file: &str) -> Result<Vec<InputSettings>, String> {
        let command = Values::augment_args(Command::new("run").no_binary_name(true));
        let matches = command.try_get_matches_from(flags).expect("the flags are known");
        let source = Values::from_arg_matches(&matches).expect("values are taken");
        let file = File::parse("a.toml".as_ref(), file.to_string()).map_err(|no| no.render(Form::Text))?;
        let flags = Settings { source, ..Settings::default() };
        let origin = Origin { flags: &flags, twins: &Twins::default(), file: Some(&file) };
        let closing = Closing::Horizon { ms: 0 };
        let spec =
            |name: &&'static str| InputSpec { name, topic: name, lateness_ms: 0, closing, header: None };
        inputs("music", names.iter().map(spec).collect(), &origin).map_err(|no| no.render(Form::Text))
    }

    fn refusal(names: &[&'static str], flags: &[&str], file: &str) -> String {
        set(names, flags, file).expect_err("it does not fit")
    }

    const TWO: [&str; 2] = ["plays", "logins"];

    #[test]
    fn what_names_an_input_goes_before_what_is_for_all_and_flags_before_the_file() {
        let texts = |flags: &[&str], key: &str| -> Vec<Option<String>> {
            let set = set(&TWO, flags, FILE).expect("it fits");
            set.iter().map(|input| input.text(key).map(str::to_string)).collect()
        };
        let some = |texts: [&str; 2]| texts.map(|text| Some(text.to_string()));
        assert_eq!(texts(&[], "uri"), some(["kafka:", "files:logins"]));
        assert_eq!(texts(&["--source", "generate"], "uri"), some(["generate", "generate"]));
        let flags = ["--source", "logins=generate:messages=9", "--source", "kafka:"];
        assert_eq!(texts(&flags, "uri"), some(["kafka:", "generate:messages=9"]));
        assert_eq!(texts(&[], "max_ahead"), some(["3h", "2h"]));
        assert_eq!(texts(&["--max-ahead", "logins=5h"], "max_ahead"), some(["3h", "5h"]));
        assert_eq!(texts(&["--follow=plays"], "follow"), some(["true", "true"]));
        assert_eq!(texts(&["--follow=logins=false"], "follow"), [None, Some("false".to_string())]);
    }

    #[test]
    fn single_input_needs_no_name() {
        let uri =
            |flags: &[&str]| set(&["plays"], flags, "").expect("it fits")[0].text("uri").map(str::to_string);
        assert_eq!(uri(&["--source", "files:a=b"]), Some("files:a=b".to_string()));
        assert_eq!(uri(&["--source", "plays=files:a"]), Some("files:a".to_string()));
        let one = set(&["plays"], &["--topic", "a=b", "--follow"], "").expect("it fits");
        assert_eq!(
            (one[0].own("topic").expect("it is its own"), one[0].text("follow")),
            (Some("a=b"), Some("true"))
        );
    }

    #[test]
    fn unknown_inputs_doubles_and_values_for_several_are_refused_where_they_stand() {
        let cases: [(&[&str], &str, &str); 6] = [
            (
                &["--source", "play=kafka:"],
                "",
                "error: --source: pipeline \"music\" has no input \"play\" (source-invalid)\n",
            ),
            (
                &["--topic", "x=y"],
                "",
                "error: --topic: pipeline \"music\" has no input \"x\" (source-invalid)\n",
            ),
            (
                &[],
                "[input.plays]\n\n[input.login]\nuri = \"kafka:\"\n",
                "error: a.toml:3:8: pipeline \"music\" has no input \"login\" (source-invalid)\n",
            ),
            (
                &["--source", "plays=kafka:", "--source", "plays=generate"],
                "",
                "error: --source: two values for input \"plays\": \"kafka:\" and \"generate\" (source-invalid)\n",
            ),
            (
                &[],
                "[input.plays]\nurl = \"x\"\n",
                "error: a.toml:2:1: unknown key \"url\" in [input.plays] (config",
            ),
            (
                &[],
                "[input]\nplays = 1\n",
                "error: a.toml:2:1: \"plays\" stands where the name of an input is expected",
            ),
        ];
        for (flags, file, refused) in cases {
            let found = refusal(&TWO, flags, file);
            assert!(found.starts_with(refused), "{flags:?} {file}: {found}");
        }
        assert!(refusal(&TWO, &["--topic", "login=y"], "").contains("hint: Did you mean \"logins\"?"));
        assert!(refusal(&TWO, &[], "[input.plays]\nurl = \"x\"\n").contains("Did you mean \"uri\"?"));
        let shared = set(&TWO, &["--topic", "t"], "[input.plays]\nmax_ahead = \"5\"\n").expect("it fits");
        let refused = shared[0].own("topic").expect_err("the topic is for both").render(Form::Text);
        assert!(
            refused.starts_with("error: --topic: the job has several inputs: whose is \"t\"?"),
            "{refused}"
        );
        assert!(
            refused.contains("hint: Name the input: --topic plays=VALUE, or topic in [input.plays]"),
            "{refused}"
        );
        let refused = shared[0].read::<crate::cli::units::Millis>("max_ahead").expect_err("it has no unit");
        assert!(refused.render(Form::Text).starts_with("error: a.toml:2:13: \"5\" is not a duration"));
    }
}
