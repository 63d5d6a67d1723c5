//! What can be set, once: each section is read from the configuration file and from the command line alike.
//!
//! The id of a flag is the key's path in the file (`window.size` is `--window`), so that the reference in README
//! and the check for unknown keys come from the flags themselves. A flag overrides the file.

use super::place::without_password;
use crate::cli::terminal::failure::{Code, Failure, sentence};
use crate::cli::units::{Bytes, Count, Limit, Millis, Share, When};
use clap::{Args, FromArgMatches, ValueEnum};
use serde::Deserialize;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Declares a section, and how one of its values overrides another's.
macro_rules! section {
    ($(#[$about:meta])* $section:ident { $($(#[$field_about:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Args, Clone, Debug, Default, Deserialize, PartialEq)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $section { $($(#[$field_about])* pub(crate) $field: Option<$type>,)* }

        impl $section {
            /// These settings, and those of `under` where nothing is set here.
            fn over(self, under: $section) -> $section {
                $section { $($field: self.$field.or(under.$field),)* }
            }

            /// True if `key` is set here.
            fn sets(&self, key: &str) -> bool {
                match key {
                    $(stringify!($field) => self.$field.is_some(),)*
                    _ => false,
                }
            }
        }
    };
}

section! {
    /// What runs, and when it ends.
    Job {
        /// The pipeline to run
        #[arg(id = "job.pipeline", value_name = "PIPELINE", help_heading = "Arguments")]
        pipeline: String,
        /// Name of the job in the lake [default: the pipeline's name]
        #[arg(id = "job.name", long = "job", value_name = "NAME")]
        name: String,
        /// Threads that work on it; the output does not depend on how many [default: 1]
        #[arg(id = "job.workers", long = "workers", short = 'w', value_name = "N")]
        workers: Count,
        /// When it ends by itself [default: end for files and a bounded generator, else never]
        #[arg(id = "job.until", long = "until", value_name = "WHEN")]
        until: Until,
        /// What to do if the job seems to be running already [default: take-over]
        #[arg(id = "job.if_running", long = "if-running", value_name = "WHAT")]
        if_running: IfRunning,
        /// Go on although the saved state of operator NAME no longer has an operator; may be repeated
        #[arg(id = "job.allow_dropped_state", long = "allow-dropped-state", value_name = "NAME")]
        allow_dropped_state: Vec<String>,
    }
}

section! {
    /// Where messages come from.
    Source {
        /// Where messages come from: kafka:, files:PATH (a file or a folder) or generate[:key=value,...]
        #[arg(id = "source.uri", long = "source", value_name = "URI")]
        uri: String,
        /// The Kafka topic [default: the pipeline's]
        #[arg(id = "source.topic", long = "topic", value_name = "TOPIC")]
        topic: String,
        /// Kafka client settings: the .properties file that kcat and the Java tools take
        #[arg(id = "source.kafka_config", long = "kafka-config", value_name = "FILE")]
        kafka_config: PathBuf,
        /// Consumer group to which committed offsets are told, for observers; never read from
        #[arg(id = "source.group", long = "group", value_name = "GROUP")]
        group: String,
        /// Keep reading files as they grow
        #[arg(id = "source.follow", long = "follow", value_name = "BOOL",
            num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        follow: bool,
        /// Refuse a record this far ahead of its message's timestamp [default: 1h]
        #[arg(id = "source.max_ahead", long = "max-ahead", value_name = "TIME", allow_hyphen_values = true)]
        max_ahead: Millis,
        /// Refuse a record after this instant where messages have no timestamp, or none [default: --max-ahead of the clock]
        #[arg(id = "source.not_after", long = "not-after", value_name = "INSTANT")]
        not_after: Limit<When>,
    }
}

section! {
    /// Windows of event time.
    Window {
        /// Length of a window, in whole seconds [default: the pipeline's; turnstile: 5m]
        #[arg(id = "window.size", long = "window", value_name = "TIME", allow_hyphen_values = true)]
        size: Millis,
        /// Distance between the starts of two windows [default: the window's length]
        #[arg(id = "window.slide", long = "slide", value_name = "TIME", allow_hyphen_values = true)]
        slide: Millis,
        /// How much disorder is waited for before a window closes [default: the window's length]
        #[arg(id = "window.lateness", long = "lateness", value_name = "TIME", allow_hyphen_values = true)]
        lateness: Millis,
        /// Zone of wall-clock times in messages and rows, such as America/New_York [default: UTC]
        #[arg(id = "window.zone", long = "zone", value_name = "ZONE")]
        zone: String,
    }
}

section! {
    /// Where rows go.
    Lake {
        /// Where rows go: a local folder, made if absent
        #[arg(id = "lake.uri", long = "lake", value_name = "URI")]
        uri: String,
    }
}

section! {
    /// What commits together.
    Epoch {
        /// Commit at least this often while records come [default: 1s, at least 50ms]
        #[arg(id = "epoch.length", long = "epoch", value_name = "TIME", allow_hyphen_values = true)]
        length: Millis,
        /// Commit when a worker has read this much [default: 16MiB]
        #[arg(id = "epoch.bytes", long = "epoch-bytes", value_name = "SIZE", allow_hyphen_values = true)]
        bytes: Bytes,
    }
}

section! {
    /// Columns of CSV rows that not everyone wants.
    Csv {
        /// Put a row number first, without a name, as pandas does [default: false]
        #[arg(id = "csv.index", long = "csv-index", value_name = "BOOL",
            num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        index: bool,
        /// Add the window's end in UTC as the last column [default: false]
        #[arg(id = "csv.window_end_utc", long = "csv-window-end-utc", value_name = "BOOL",
            num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        window_end_utc: bool,
    }
}

section! {
    /// Partitions without news.
    Idle {
        /// Stop waiting for a partition that was read to its end and quiet this long, or never [default: 60s]
        #[arg(id = "idle.after", long = "idle-after", value_name = "TIME", allow_hyphen_values = true)]
        after: Limit<Millis>,
        /// Close all open windows when every partition was idle this long, or never [default: 10m]
        #[arg(id = "idle.flush", long = "idle-flush", value_name = "TIME", allow_hyphen_values = true)]
        flush: Limit<Millis>,
    }
}

section! {
    /// Messages that cannot be decoded.
    Dead {
        /// Stop the job if more than this share of at least 1,000 records in an epoch is dead [default: 50%]
        #[arg(id = "dead.max", long = "dead-max", value_name = "SHARE", allow_hyphen_values = true)]
        max: Share,
    }
}

section! {
    /// Seeded messages instead of a real source.
    Generate {
        /// Chooses everything that is drawn [default: the pipeline's]
        #[arg(id = "generate.seed", long = "seed", value_name = "N")]
        seed: Count,
        /// Messages in all partitions together, or none for no end [default: the pipeline's]
        #[arg(id = "generate.messages", long = "messages", value_name = "N")]
        messages: Limit<Count>,
        /// Number of partitions [default: the pipeline's]
        #[arg(id = "generate.partitions", long = "partitions", value_name = "N")]
        partitions: Count,
        /// Messages per second of event time [default: the pipeline's]
        #[arg(id = "generate.rate", long = "rate", value_name = "X", allow_hyphen_values = true)]
        rate: f64,
        /// Up to how long after it happened a message arrives [default: the pipeline's]
        #[arg(id = "generate.disorder", long = "disorder", value_name = "TIME", allow_hyphen_values = true)]
        disorder: Millis,
        /// Share of messages that repeat an earlier one [default: the pipeline's]
        #[arg(id = "generate.dup", long = "dup", value_name = "SHARE", allow_hyphen_values = true)]
        dup: Share,
        /// Share of messages that come hours late [default: the pipeline's]
        #[arg(id = "generate.late", long = "late", value_name = "SHARE", allow_hyphen_values = true)]
        late: Share,
        /// Share of messages that cannot be decoded [default: the pipeline's]
        #[arg(id = "generate.bad", long = "bad", value_name = "SHARE", allow_hyphen_values = true)]
        bad: Share,
        /// Distinct keys: turnstiles, users [default: the pipeline's]
        #[arg(id = "generate.keys", long = "keys", value_name = "N")]
        keys: Count,
        /// Event time of the first message [default: the pipeline's]
        #[arg(id = "generate.start", long = "start", value_name = "INSTANT")]
        start: When,
    }
}

/// When a job ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Until {
    /// What was there at the start was read; windows stay open
    CaughtUp,
    /// The sources have ended; every window closes
    End,
}

/// What to do if the job seems to be running already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IfRunning {
    /// Fence the other run and go on from its last commit
    TakeOver,
    /// Leave it alone and stop
    Refuse,
}

/// Everything that can be set.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// `[job]`
    #[command(flatten, next_help_heading = "Job")]
    pub(crate) job: Job,
    /// `[source]`
    #[command(flatten, next_help_heading = "Source")]
    pub(crate) source: Source,
    /// `[window]`
    #[command(flatten, next_help_heading = "Windows")]
    pub(crate) window: Window,
    /// `[lake]`
    #[command(flatten, next_help_heading = "Lake")]
    pub(crate) lake: Lake,
    /// `[csv]`
    #[command(flatten)]
    pub(crate) csv: Csv,
    /// `[epoch]`
    #[command(flatten, next_help_heading = "Epochs and limits")]
    pub(crate) epoch: Epoch,
    /// `[idle]`
    #[command(flatten)]
    pub(crate) idle: Idle,
    /// `[dead]`
    #[command(flatten)]
    pub(crate) dead: Dead,
    /// `[generate]`: on the command line these are part of `--source generate:…`.
    #[arg(skip)]
    pub(crate) generate: Generate,
}

impl Generate {
    /// Reads `key=value,…`, the part of `--source generate:…` after the colon.
    ///
    /// # Errors
    /// Exit 2 if a key is unknown or a value unfit.
    pub(crate) fn parse(text: &str) -> Result<Generate, Failure> {
        let keys = keys();
        let known: Vec<&str> =
            keys.iter().filter(|key| key.section == "generate").map(|key| key.name.as_str()).collect();
        let mut set = Generate::default();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&key) {
                return Err(Failure::new(
                    Code::SettingInvalid,
                    format!("unknown key \"{key}\" in --source generate:"),
                )
                .hint(suggest(key, &known, "keys")));
            }
            let command = Generate::augment_args(clap::Command::new("generate").no_binary_name(true));
            let found = command.try_get_matches_from([format!("--{key}={value}")]);
            let one = found.and_then(|found| Generate::from_arg_matches(&found)).map_err(|error| {
                let why = std::error::Error::source(&error)
                    .map_or("the value is missing".into(), ToString::to_string);
                Failure::new(Code::SettingInvalid, format!("unfit value of \"{key}\" in --source generate:"))
                    .detail(sentence(&why))
                    .hint("Write --source generate:key=value,key=value.")
            })?;
            set = one.over(set);
        }
        Ok(set)
    }
}

impl Settings {
    /// These settings, and those of `under` where nothing is set here.
    pub(crate) fn over(self, under: Settings) -> Settings {
        Settings {
            job: self.job.over(under.job),
            source: self.source.over(under.source),
            window: self.window.over(under.window),
            lake: self.lake.over(under.lake),
            csv: self.csv.over(under.csv),
            epoch: self.epoch.over(under.epoch),
            idle: self.idle.over(under.idle),
            dead: self.dead.over(under.dead),
            generate: self.generate.over(under.generate),
        }
    }

    /// True if `section.key` is set here.
    pub(crate) fn sets(&self, section: &str, key: &str) -> bool {
        match section {
            "job" => self.job.sets(key),
            "source" => self.source.sets(key),
            "window" => self.window.sets(key),
            "lake" => self.lake.sets(key),
            "csv" => self.csv.sets(key),
            "epoch" => self.epoch.sets(key),
            "idle" => self.idle.sets(key),
            "dead" => self.dead.sets(key),
            "generate" => self.generate.sets(key),
            _ => false,
        }
    }
}

/// The names of the sections, in the order of the reference.
pub(crate) const SECTIONS: [&str; 9] =
    ["job", "source", "window", "lake", "csv", "epoch", "idle", "dead", "generate"];

/// A key of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The section it is in.
    pub(crate) section: String,
    /// Its name there.
    pub(crate) name: String,
    /// The flag that overrides it; absent for the pipeline, which is given by position.
    pub(crate) flag: Option<String>,
    /// What it does, and its default.
    pub(crate) about: String,
}

/// Every key, in the order of [`SECTIONS`].
pub(crate) fn keys() -> Vec<Key> {
    let command = Generate::augment_args(Settings::augment_args(clap::Command::new("keys")));
    let of = |arg: &clap::Arg| {
        let (section, name) = arg.get_id().as_str().split_once('.')?;
        Some(Key {
            section: section.to_string(),
            name: name.to_string(),
            flag: arg.get_long().map(|long| format!("--{long}")),
            about: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        })
    };
    let mut keys: Vec<Key> = command.get_arguments().filter_map(of).collect();
    keys.sort_by_key(|key| SECTIONS.iter().position(|section| *section == key.section));
    keys
}

/// A configuration file that was read: its settings, and where in the text they stand.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Its name, for messages.
    path: PathBuf,
    text: String,
    /// What it sets.
    pub(crate) settings: Settings,
}

impl File {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Exit 2: if it cannot be read; with line and column, if a key is unknown or a value unfit.
    pub(crate) fn read(path: &Path) -> Result<File, Failure> {
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::new(
                Code::ConfigUnreadable,
                format!("could not read configuration file \"{}\"", path.display()),
            )
            .detail(sentence(&error.to_string()))
            .hint("Check the path after -c.")
        })?;
        File::parse(path, text)
    }

    /// Takes `text` as the content of the file at `path`.
    fn parse(path: &Path, text: String) -> Result<File, Failure> {
        let mut file = File { path: path.to_path_buf(), text, settings: Settings::default() };
        file.refuse_unknown_keys()?;
        match toml::from_str(&file.text) {
            Ok(settings) => Ok(File { settings, ..file }),
            Err(error) => {
                file.text.push('\n');
                Err(file.failure(error.message(), error.span(), "Every key is explained in README.md."))
            }
        }
    }

    /// Where `section.key` is set, as `file:line:column`; `None` if the file does not set it.
    pub(crate) fn place(&self, section: &str, key: &str) -> Option<String> {
        let table = DeTable::parse(&self.text).ok()?;
        let value = table.get_ref().get(section)?.get_ref().as_table()?.get(key)?;
        Some(self.at(value.span().start))
    }

    fn refuse_unknown_keys(&self) -> Result<(), Failure> {
        let table = DeTable::parse(&self.text)
            .map_err(|error| self.failure(error.message(), error.span(), "The file must be TOML 1.0."))?;
        let keys = keys();
        for (section, content) in table.get_ref() {
            let name: &str = section.get_ref();
            if !SECTIONS.contains(&name) {
                let what = match content.get_ref() {
                    DeValue::Table(_) => format!("unknown section \"{name}\""),
                    _ => format!("unknown key \"{name}\" outside of a section"),
                };
                return Err(self.failure(&what, Some(section.span()), &suggest(name, &SECTIONS, "sections")));
            }
            if content.get_ref().as_table().is_none() {
                let hint = format!("Write [{name}] on a line of its own, and its keys below.");
                let what = format!("\"{name}\" is a section, not a key");
                return Err(self.failure(&what, Some(section.span()), &hint));
            }
            let known: Vec<&str> =
                keys.iter().filter(|key| key.section == name).map(|key| key.name.as_str()).collect();
            for key in content.get_ref().as_table().iter().flat_map(|table| table.keys()) {
                if !known.contains(&key.get_ref().as_ref()) {
                    let what = format!("unknown key \"{}\" in [{name}]", key.get_ref());
                    let hint = suggest(key.get_ref(), &known, &format!("keys of [{name}]"));
                    return Err(self.failure(&what, Some(key.span()), &hint));
                }
            }
        }
        Ok(())
    }

    fn failure(&self, what: &str, span: Option<Range<usize>>, hint: &str) -> Failure {
        let start = span.map_or(0, |span| span.start).min(self.text.len());
        let line = self.text[start..].lines().next().unwrap_or_default();
        let before = self.text[..start].rsplit('\n').next().unwrap_or_default();
        let what = what.lines().next().unwrap_or_default();
        Failure::new(Code::ConfigInvalid, format!("{}: {what}", self.at(start)))
            .detail(format!("The line is `{}`.", without_secret(format!("{before}{line}").trim())))
            .hint(hint)
    }

    fn at(&self, offset: usize) -> String {
        let before = &self.text[..offset];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", self.path.display())
    }
}

/// What a line of a configuration file may be called where its value must not be shown.
const SECRETS: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "jaas", "credential", "apikey"];

/// `line` without its value, if its words say that the value is a secret; else without the password of a URI.
fn without_secret(line: &str) -> String {
    let plain: String = line.to_lowercase().chars().filter(|c| !"_-. ".contains(*c)).collect();
    match line.split_once('=') {
        _ if !SECRETS.iter().any(|word| plain.contains(word)) => without_password(line),
        Some((key, _)) => format!("{}= ***", key.trim_end().to_string() + " "),
        None => "***".to_string(),
    }
}

/// Names the entry of `known` that `name` was probably meant to be, and all others: "The `kind` are …".
pub(crate) fn suggest(name: &str, known: &[&str], kind: &str) -> String {
    let near = known
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let all = format!("The {kind} are {}.", known.join(", "));
    match near {
        Some((_, other)) => format!("Did you mean \"{other}\"? {all}"),
        None => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Settings, String> {
        let file = File::parse(Path::new("headway.toml"), text.to_string());
        file.map(|file| file.settings)
            .map_err(|failure| failure.render(crate::cli::terminal::form::Form::Text))
    }

    fn refusal(text: &str) -> String {
        parse(text).expect_err("the text is unfit")
    }

    #[test]
    fn a_file_sets_what_flags_set() {
        let text = "[job]\nworkers = 2\nuntil = \"caught-up\"\n[window]\nsize = \"1m\"\n[idle]\nafter = \"never\"\n\
                    [epoch]\nbytes = \"64KiB\"\n[generate]\nmessages = 10\nlate = 0.5\nrate = 3\nstart = \"2015-03-21\"\n";
        let set = parse(text).expect("the text is fit");
        assert_eq!(set.job.workers, Some(Count(2)));
        assert_eq!(set.job.until, Some(Until::CaughtUp));
        assert_eq!(set.window.size, Some(Millis(60_000)));
        assert_eq!(set.idle.after, Some(Limit::Off));
        assert_eq!(set.epoch.bytes, Some(Bytes(65_536)));
        assert_eq!(set.generate.messages, Some(Limit::At(Count(10))));
        assert_eq!(set.generate.late, Some(Share(0.5)));
        assert_eq!(set.generate.rate, Some(3.0));
    }

    #[test]
    fn an_unknown_key_is_refused_where_it_stands() {
        assert_eq!(
            refusal("# c\n[window]\nsize = \"1m\"\n  slyde = \"1m\" # é\n"),
            "error: headway.toml:4:3: unknown key \"slyde\" in [window] (config-invalid)\n\
             detail: The line is `slyde = \"1m\" # é`.\n\
             hint: Did you mean \"slide\"? The keys of [window] are size, slide, lateness, zone.\n"
        );
        assert!(refusal("[windows]\n").contains("1:2: unknown section \"windows\" (config"));
        assert!(refusal("[windows]\n").contains("Did you mean \"window\"?"));
        assert!(refusal("workers = 2\n").contains("1:1: unknown key \"workers\" outside of a section"));
        assert!(refusal("window = \"5m\"\n").contains("1:1: \"window\" is a section, not a key"));
    }

    #[test]
    fn an_unfit_value_is_refused_where_it_stands() {
        let refused = refusal("[window]\nsize = 5\n");
        assert!(refused.contains("headway.toml:2:8: \"5\" is not a duration: it needs a unit"), "{refused}");
        let refused = refusal("[job]\nworkers = true\n");
        assert!(refused.contains("2:11: invalid type: boolean `true`, expected a whole number"), "{refused}");
        let refused = refusal("[job]\nuntil = \"ends\"\n");
        assert!(refused.contains("2:9: unknown variant `ends`, expected `caught-up` or `end`"), "{refused}");
        let refused = refusal("job = 1\n");
        assert!(refused.contains("1:1: \"job\" is a section, not a key"), "{refused}");
        let refused = refusal("[job\n");
        assert!(refused.starts_with("error: headway.toml:1:5: "), "{refused}");
    }

    #[test]
    fn refusal_shows_no_secret() {
        for text in [
            "[source]\nsasl.password = \"hunter2\"\n",
            "[source]\nssl_key_password = 'hunter2'\n",
            "[lake]\nuri = [\"s3://me:hunter2@bucket\"]\n",
            "[source]\nkafka_config = true # the token is hunter2\n",
            "[wndow] # password hunter2\n",
        ] {
            let refused = refusal(text);
            assert!(!refused.contains("hunter2") && refused.contains("***"), "{refused}");
        }
    }

    #[test]
    fn the_place_of_a_value_is_known() {
        let text = "[window]\nsize = \"5m\"\nslide = \"6m\"\n".to_string();
        let file = File::parse(Path::new("a.toml"), text).expect("the text is fit");
        assert_eq!(file.place("window", "slide"), Some("a.toml:3:9".into()));
        assert_eq!(file.place("window", "zone"), None);
    }

    #[test]
    fn a_flag_overrides_the_file() {
        let file = parse("[job]\nworkers = 2\nname = \"a\"\n").expect("the text is fit");
        let flags = parse("[job]\nworkers = 3\n").expect("the text is fit");
        let both = flags.over(file);
        assert_eq!((both.job.workers, both.job.name.as_deref()), (Some(Count(3)), Some("a")));
    }

    #[test]
    fn every_key_of_the_file_has_a_flag_of_the_same_meaning() {
        for section in SECTIONS {
            // An unknown key makes serde name all known ones.
            let error = toml::from_str::<Settings>(&format!("[{section}]\nzzz = 1\n"));
            let message = error.expect_err("zzz is no key").message().to_string();
            let (_, listed) = message.split_once("expected ").expect("the known keys follow");
            let mut serde: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
            let keys = keys();
            let mut flags: Vec<&str> =
                keys.iter().filter(|key| key.section == section).map(|key| key.name.as_str()).collect();
            serde.sort_unstable();
            flags.sort_unstable();
            assert_eq!(serde, flags, "[{section}]");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\[?(job|window|x)\\]?|size|=|\"5m\"|\n|é|\\[|\\]|1){0,12}") {
            let _ = parse(&text);
        }
    }
}
