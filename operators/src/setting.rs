//! Settings of a pipeline: declared in one table, from which everything else follows.
//!
//! A [`Setting`] called `max_gap` is the key `max_gap` of the section `[pipeline]` in the configuration file, the flag
//! `--max-gap` of `run` and `check`, and the variable `HEADWAY_MAX_GAP`. `--help`, `check` and README list it. If rows or
//! state depend on it, it is part of the *fingerprint*: a lake that was made with another value is refused.
//!
//! ```rust
//! use headway_operators::setting::{Setting, Settings};
//!
//! const SETTINGS: &[Setting] = &[
//!     Setting::duration("window", "5m", "Length of a window"),
//!     Setting::duration("lateness", "5m", "How much disorder is waited for").same_as("window"),
//!     Setting::switch("with_names", "Add the name of each station").unless_default(),
//! ];
//!
//! let settings = Settings::new(SETTINGS, [("window", "1m")])?;
//! assert_eq!((settings.ms("window"), settings.ms("lateness")), (60_000, 60_000));
//! assert!(!settings.is_on("with_names"));
//!
//! let refused = Settings::new(SETTINGS, [("windw", "1m")]).unwrap_err();
//! assert_eq!(refused.to_string(), "there is no setting \"windw\"");
//! # Ok::<(), headway_operators::setting::SettingError>(())
//! ```

use crate::duration;
use std::collections::{BTreeMap, BTreeSet};

/// A setting that a pipeline declares.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name in the configuration file: lowercase letters, digits and `_`.
    pub name: &'static str,
    /// What it does, for `--help`: one phrase without a full stop. The default is added.
    pub about: &'static str,
    /// What is written for it.
    pub kind: Kind,
    /// Its value where nothing is written.
    pub default: Preset,
    /// Whether rows and state depend on it.
    pub identity: Identity,
    /// True if the messages of the generator depend on it: then `headway produce` takes it, too.
    pub shapes_messages: bool,
}

/// What is written for a setting.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A length of time, such as `5m`.
    Duration,
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Count,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text that a function reads: it gives the text as it will be kept, or what is wrong.
    Text(ReadText),
    /// The path of a file of text, whose content the pipeline takes; empty for none.
    File,
}

/// Reads a file of text by its path, packed or not: the program that configures a pipeline does it, a pipeline does no I/O.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Result<String, Wrong>;

/// Reads the text of a setting, and gives it in the form in which it is kept.
pub type ReadText = fn(&str) -> Result<String, Wrong>;

/// Why a value cannot be a setting's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong, quoting the value.
    pub what: String,
    /// The way out.
    pub hint: String,
}

/// The value of a setting where nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// This one.
    Is(&'static str),
    /// That of another setting, which stands before it in the table.
    SameAs(&'static str),
}

/// Whether a setting is part of what a lake is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Rows or state depend on it.
    Part,
    /// The same. It is noted only where it is not the default, so that lakes which were made before it was there still fit.
    PartUnlessDefault,
    /// The same, of a switch that may be switched on for a job that ran without it, and not off again.
    PartOnceOn,
    /// It may change between two runs of a job.
    None,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SettingError {
    /// The name of the setting, as in the configuration file.
    pub setting: String,
    /// What is wrong, quoting the value.
    pub what: String,
    /// The way out.
    pub hint: String,
}

impl SettingError {
    /// A refusal of `setting`.
    pub fn new(setting: &str, what: impl Into<String>, hint: impl Into<String>) -> SettingError {
        SettingError { setting: setting.to_string(), what: what.into(), hint: hint.into() }
    }
}

impl Setting {
    /// A length of time.
    pub const fn duration(name: &'static str, default: &'static str, about: &'static str) -> Setting {
        Setting::of(name, Kind::Duration, default, about)
    }

    /// A switch, which is off where nothing is written.
    pub const fn switch(name: &'static str, about: &'static str) -> Setting {
        Setting::of(name, Kind::Switch, "false", about)
    }

    /// A whole number.
    pub const fn count(name: &'static str, default: &'static str, about: &'static str) -> Setting {
        Setting::of(name, Kind::Count, default, about)
    }

    /// One of `words`.
    pub const fn choice(
        name: &'static str,
        words: &'static [&'static str],
        default: &'static str,
        about: &'static str,
    ) -> Setting {
        Setting::of(name, Kind::Choice(words), default, about)
    }

    /// A text that `read` reads.
    pub const fn text(
        name: &'static str,
        read: ReadText,
        default: &'static str,
        about: &'static str,
    ) -> Setting {
        Setting::of(name, Kind::Text(read), default, about)
    }

    /// A file of text, which is not part of what a lake is made with. Its flag takes a path.
    pub const fn file(name: &'static str, about: &'static str) -> Setting {
        Setting::of(name, Kind::File, "", about).free()
    }

    const fn of(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Setting {
        let (default, identity) = (Preset::Is(default), Identity::Part);
        Setting { name, about, kind, default, identity, shapes_messages: false }
    }

    /// The same with the value of another setting, which stands before it in the table, as its default.
    pub const fn same_as(self, other: &'static str) -> Setting {
        Setting { default: Preset::SameAs(other), ..self }
    }

    /// The same, noted in the lake only where it is not the default. For a setting that is added to a pipeline which has
    /// lakes already.
    pub const fn unless_default(self) -> Setting {
        Setting { identity: Identity::PartUnlessDefault, ..self }
    }

    /// The same, of a switch: noted where it is on, and a job that ran without it may go on with it.
    pub const fn may_be_switched_on(self) -> Setting {
        Setting { identity: Identity::PartOnceOn, ..self }
    }

    /// The same, free to change between two runs of a job.
    pub const fn free(self) -> Setting {
        Setting { identity: Identity::None, ..self }
    }

    /// The same, for `headway produce` too: generated messages depend on it.
    pub const fn shaping_messages(self) -> Setting {
        Setting { shapes_messages: true, ..self }
    }

    /// Its flag, without the two hyphens.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Its key in the fingerprint: durations are noted in milliseconds.
    fn key(&self) -> String {
        match self.kind {
            Kind::Duration => format!("{}_ms", self.name),
            Kind::Switch | Kind::Count | Kind::Choice(_) | Kind::Text(_) | Kind::File => {
                self.name.to_string()
            }
        }
    }

    fn read(&self, text: &str, files: ReadFile<'_>) -> Result<Value, SettingError> {
        let refuse = |what: String, hint: String| SettingError::new(self.name, what, hint);
        match self.kind {
            Kind::Duration => duration::parse(text).map(Value::Ms).map_err(|what| {
                refuse(what, "Write a length of time such as 50ms, 5m or 2h30m.".to_string())
            }),
            Kind::Switch => match text {
                "true" => Ok(Value::Switch(true)),
                "false" => Ok(Value::Switch(false)),
                _ => Err(refuse(
                    format!("\"{text}\" is neither true nor false"),
                    "Write true or false.".to_string(),
                )),
            },
            Kind::Count => text.replace('_', "").parse().map(Value::Count).map_err(|_| {
                refuse(format!("\"{text}\" is not a whole number"), "Write digits alone.".to_string())
            }),
            Kind::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_string())),
            Kind::Choice(words) => {
                let hint = format!("Write one of {}.", words.join(", "));
                Err(refuse(format!("\"{text}\" is no value of {}", self.name), hint))
            }
            Kind::File if text.is_empty() => Ok(Value::File { path: String::new(), content: String::new() }),
            Kind::File => files(text)
                .map(|content| Value::File { path: text.to_string(), content })
                .map_err(|Wrong { what, hint }| refuse(what, hint)),
            Kind::Text(read) => {
                read(text).map(Value::Text).map_err(|Wrong { what, hint }| refuse(what, hint))
            }
        }
    }
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Ms(i64),
    Switch(bool),
    Count(u64),
    Text(String),
    File { path: String, content: String },
}

impl Value {
    /// As a person writes it.
    fn written(&self) -> String {
        match self {
            Value::Ms(ms) => duration::show(*ms),
            _ => self.noted(),
        }
    }

    /// As the fingerprint has it.
    fn noted(&self) -> String {
        match self {
            Value::Ms(ms) => ms.to_string(),
            Value::Switch(on) => on.to_string(),
            Value::Count(count) => count.to_string(),
            Value::Text(text) => text.clone(),
            Value::File { path, .. } => path.clone(),
        }
    }
}

/// The value of every setting of a pipeline.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    table: &'static [Setting],
    /// In the order of the table.
    values: Vec<Value>,
}

/// What state and rows were made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// What is noted in the lake.
    pub noted: BTreeMap<String, String>,
    /// The defaults of what is noted only where it is not the default: what a lake was made with that does not note them.
    pub unless_noted: BTreeMap<String, String>,
    /// Noted settings that a job may start with although its lake does not note them yet.
    pub may_begin: BTreeSet<String>,
}

impl Settings {
    /// The settings of `table`, with the values that are `given` as names and texts.
    ///
    /// # Errors
    /// The first that the table does not have, or whose text cannot be read.
    pub fn new<'a>(
        table: &'static [Setting],
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Settings, SettingError> {
        Settings::with_files(table, given, &no_file)
    }

    /// The same, where `files` reads the files that settings name.
    ///
    /// # Errors
    /// As [`Settings::new`], and if a file cannot be read.
    pub fn with_files<'a>(
        table: &'static [Setting],
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
        files: ReadFile<'_>,
    ) -> Result<Settings, SettingError> {
        let given: BTreeMap<&str, &str> = given.into_iter().collect();
        if let Some(unknown) = given.keys().find(|name| table.iter().all(|setting| setting.name != **name)) {
            let names: Vec<&str> = table.iter().map(|setting| setting.name).collect();
            let hint = if names.is_empty() {
                "It has no settings at all.".to_string()
            } else {
                format!("The settings are {}.", names.join(", "))
            };
            return Err(SettingError::new(unknown, format!("there is no setting \"{unknown}\""), hint));
        }
        let mut settings = Settings { table, values: Vec::new() };
        for setting in table {
            let value = match (given.get(setting.name).copied(), setting.default) {
                (Some(text), _) | (None, Preset::Is(text)) => setting.read(text, files)?,
                (None, Preset::SameAs(other)) => settings.value(other).clone(),
            };
            settings.values.push(value);
        }
        Ok(settings)
    }

    /// Reads the settings of `table` from `noted`, the fingerprint in a lake's manifest. A setting that is not noted has its
    /// default. A file setting always has its default, because the lake keeps only the file's path.
    ///
    /// # Errors
    /// The first whose noted value cannot be read.
    pub fn of_noted(
        table: &'static [Setting],
        noted: &BTreeMap<String, String>,
    ) -> Result<Settings, SettingError> {
        let mut given: Vec<(&str, String)> = Vec::new();
        for setting in table {
            let Some(value) = noted.get(&setting.key()) else { continue };
            let text = match setting.kind {
                Kind::File => continue,
                Kind::Duration => value.parse().map_or_else(|_| value.clone(), duration::show),
                _ => value.clone(),
            };
            given.push((setting.name, text));
        }
        Settings::new(table, given.iter().map(|(name, text)| (*name, text.as_str())))
    }

    /// True if the pipeline has a setting of this name.
    pub fn has(&self, name: &str) -> bool {
        self.table.iter().any(|setting| setting.name == name)
    }

    /// The length of time `name`, in milliseconds.
    ///
    /// # Panics
    /// If the table has no such setting, or one of another kind. The same holds of the other getters.
    pub fn ms(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Ms(ms) => *ms,
            other => panic!("setting \"{name}\" is no duration: {other:?}"),
        }
    }

    /// True if the switch `name` is on.
    pub fn is_on(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Switch(on) => *on,
            other => panic!("setting \"{name}\" is no switch: {other:?}"),
        }
    }

    /// The whole number `name`.
    pub fn count(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Count(count) => *count,
            other => panic!("setting \"{name}\" is no number: {other:?}"),
        }
    }

    /// The text or choice `name`.
    pub fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Value::Text(text) => text,
            other => panic!("setting \"{name}\" is no text: {other:?}"),
        }
    }

    /// The content of the file `name`; `None` if none is named.
    pub fn file(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Value::File { path, content } => (!path.is_empty()).then_some(content),
            other => panic!("setting \"{name}\" is no file: {other:?}"),
        }
    }

    fn value(&self, name: &str) -> &Value {
        let found = self.table.iter().position(|setting| setting.name == name);
        let value = found.and_then(|at| self.values.get(at));
        value.unwrap_or_else(|| panic!("no setting \"{name}\" stands there or above in the table"))
    }

    /// Every setting and its value as a person writes it, in the order of the table.
    pub fn written(&self) -> Vec<(&'static str, String)> {
        self.table.iter().zip(&self.values).map(|(setting, value)| (setting.name, value.written())).collect()
    }

    /// Every setting and its value as a program reads it: durations in milliseconds.
    pub fn noted(&self) -> BTreeMap<String, String> {
        self.table.iter().zip(&self.values).map(|(setting, value)| (setting.key(), value.noted())).collect()
    }

    /// What state and rows are made with.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = Fingerprint::default();
        for (setting, value) in self.table.iter().zip(&self.values) {
            let default = match setting.default {
                Preset::Is(text) => {
                    setting.read(text, &no_file).expect("the default was read when the pipeline was found")
                }
                Preset::SameAs(other) => self.value(other).clone(),
            };
            match setting.identity {
                Identity::None => {}
                Identity::PartUnlessDefault | Identity::PartOnceOn => {
                    fingerprint.unless_noted.insert(setting.key(), default.noted());
                    if *value != default {
                        fingerprint.noted.insert(setting.key(), value.noted());
                    }
                    if setting.identity == Identity::PartOnceOn {
                        fingerprint.may_begin.insert(setting.key());
                    }
                }
                Identity::Part => {
                    fingerprint.noted.insert(setting.key(), value.noted());
                }
            }
        }
        fingerprint
    }
}

/// Refuses a file where nobody reads files.
fn no_file(path: &str) -> Result<String, Wrong> {
    let hint = "Give it to a program that reads files.".to_string();
    Err(Wrong { what: format!("file \"{path}\" is not read here"), hint })
}

/// What is wrong with a table of settings, for its author; nothing for a table that can be used.
pub fn faults(table: &[Setting]) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, setting) in table.iter().enumerate() {
        let name = setting.name;
        let mut fault = |what: &str| faults.push(format!("setting \"{name}\" {what}"));
        let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.bytes().all(fit) {
            fault("has a name of other characters than lowercase letters, digits and \"_\"");
        }
        if name.ends_with("_ms") || name == "version" {
            fault("has a name that means something else in a fingerprint");
        }
        if table[..at].iter().any(|earlier| earlier.name == name) {
            fault("is declared twice");
        }
        match setting.default {
            Preset::Is(text) => {
                if let Err(error) = setting.read(text, &no_file) {
                    fault(&format!("has a default that it refuses: {error}"));
                }
            }
            Preset::SameAs(other) => {
                let same = |earlier: &&Setting| {
                    earlier.name == other
                        && std::mem::discriminant(&earlier.kind) == std::mem::discriminant(&setting.kind)
                };
                if !table[..at].iter().any(|earlier| same(&earlier)) {
                    fault(&format!(
                        "takes its default from \"{other}\", which is not of its kind or not above it"
                    ));
                }
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Setting] = &[
        Setting::duration("window", "5m", "Length"),
        Setting::duration("slide", "5m", "Distance").same_as("window"),
        Setting::text("zone", upper, "UTC", "Zone"),
        Setting::switch("names", "Names").unless_default(),
        Setting::count("bound", "10_000", "Bound").unless_default(),
        Setting::choice("order", &["up", "down"], "up", "Order").free(),
    ];

    fn upper(text: &str) -> Result<String, Wrong> {
        match text {
            "mars" => Err(Wrong { what: "no zone \"mars\"".into(), hint: "Use UTC.".into() }),
            _ => Ok(text.to_uppercase()),
        }
    }

    fn set(given: &[(&'static str, &'static str)]) -> Result<Settings, SettingError> {
        Settings::new(TABLE, given.iter().copied())
    }

    fn pairs(map: &BTreeMap<String, String>) -> Vec<String> {
        map.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn default_may_be_the_value_of_another_setting() {
        let settings = set(&[("window", "1m")]).expect("they fit");
        assert_eq!((settings.ms("window"), settings.ms("slide")), (60_000, 60_000));
        let settings = set(&[("window", "1m"), ("slide", "30s")]).expect("they fit");
        assert_eq!(settings.ms("slide"), 30_000);
        assert_eq!((settings.count("bound"), settings.text("order")), (10_000, "up"));
    }

    #[test]
    fn file_is_read_by_whoever_configures_and_is_shown_as_its_path() {
        const FILES: &[Setting] = &[Setting::file("songs", "Songs"), Setting::file("names", "Names")];
        let read = |path: &str| match path {
            "a.txt" => Ok("A\n".to_string()),
            _ => Err(Wrong { what: format!("no \"{path}\""), hint: String::new() }),
        };
        let settings = Settings::with_files(FILES, [("songs", "a.txt")], &read).expect("it is there");
        assert_eq!((settings.file("songs"), settings.file("names")), (Some("A\n"), None));
        assert_eq!(settings.written(), [("songs", "a.txt".to_string()), ("names", String::new())]);
        assert_eq!(settings.fingerprint(), Fingerprint::default());
        let refused = Settings::with_files(FILES, [("names", "b.txt")], &read).expect_err("it is not there");
        assert_eq!((refused.setting.as_str(), refused.what.as_str()), ("names", "no \"b.txt\""));
        assert!(Settings::new(FILES, [("names", "a.txt")]).is_err() && faults(FILES).is_empty());
    }

    #[test]
    fn fingerprint_notes_what_rows_and_state_depend_on() {
        let fingerprint =
            set(&[("zone", "europe/berlin"), ("order", "down")]).expect("they fit").fingerprint();
        let noted = ["slide_ms=300000", "window_ms=300000", "zone=EUROPE/BERLIN"];
        assert_eq!(pairs(&fingerprint.noted), noted);
        assert_eq!(pairs(&fingerprint.unless_noted), ["bound=10000", "names=false"]);
        let fingerprint = set(&[("names", "true"), ("bound", "7")]).expect("they fit").fingerprint();
        assert_eq!(fingerprint.noted.get("names").map(String::as_str), Some("true"));
        assert_eq!(fingerprint.noted.get("bound").map(String::as_str), Some("7"));
    }

    #[test]
    fn unfit_value_is_refused_by_name() {
        let cases = [
            ("window", "5", "\"5\" is not a duration: it needs a unit: d, h, m, s or ms"),
            ("zone", "mars", "no zone \"mars\""),
            ("names", "yes", "\"yes\" is neither true nor false"),
            ("bound", "-1", "\"-1\" is not a whole number"),
            ("order", "left", "\"left\" is no value of order"),
            ("size", "5m", "there is no setting \"size\""),
        ];
        for (name, text, what) in cases {
            let error = set(&[(name, text)]).expect_err(what);
            assert_eq!((error.setting.as_str(), error.to_string().as_str()), (name, what));
        }
    }

    #[test]
    fn table_that_cannot_be_used_is_found() {
        assert!(faults(TABLE).is_empty(), "{:?}", faults(TABLE));
        let cases: [(&[Setting], &str); 5] = [
            (&[Setting::switch("Names", "")], "other characters"),
            (&[Setting::duration("gap_ms", "1s", "")], "means something else"),
            (&[Setting::switch("a", ""), Setting::switch("a", "")], "declared twice"),
            (&[Setting::duration("gap", "5", "")], "a default that it refuses"),
            (&[Setting::duration("gap", "", "").same_as("window")], "takes its default from \"window\""),
        ];
        for (table, what) in cases {
            assert!(faults(table).iter().any(|fault| fault.contains(what)), "{what}: {:?}", faults(table));
        }
    }
}
