//! The configuration file: read, checked key by key, and remembered with its places, so that a refusal can name one.

use super::beside;
use super::config::{Key, SECTIONS, Settings, keys};
use super::expect;
use super::given;
use super::place::without_password;
use super::source_flags;
use super::suggest::suggest;
use crate::cli::terminal::failure::{Code, Failure, sentence};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

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
    pub(in crate::cli) fn parse(path: &Path, text: String) -> Result<File, Failure> {
        let mut file = File { path: path.to_path_buf(), text, settings: Settings::default() };
        file.refuse_unknown_keys()?;
        match toml::from_str(&file.text) {
            Ok(settings) => file.settings = settings,
            Err(error) => {
                file.text.push('\n');
                return Err(file.failure(
                    error.message(),
                    error.span(),
                    "Every key is explained in README.md.",
                ));
            }
        }
        let mut table: toml::Table = file.text.parse().expect("its settings were read");
        // The second reading is of a table, which has no places in the text. Expectations need theirs, and have no paths to resolve:
        // they stay as they were read from the text.
        table.remove(expect::SECTION);
        beside::resolve(&mut table, file.folder());
        let resolved: Settings = table.try_into().expect("the text of a path may be any");
        file.settings = Settings { expect: std::mem::take(&mut file.settings.expect), ..resolved };
        Ok(file)
    }

    /// The folder that it is in, as it is seen from where the command runs; empty if it is the same.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Where the value of `section.key` stands, as `file:line:column`; `None` if the file does not set it.
    pub(crate) fn place(&self, section: &str, key: &str) -> Option<String> {
        self.place_of_value(&[section, key])
    }

    /// The same for the key itself.
    pub(crate) fn place_of_key(&self, section: &str, key: &str) -> Option<String> {
        self.place_of_path(&[section, key])
    }

    /// Where the value at `path` stands.
    pub(crate) fn place_of_value(&self, path: &[&str]) -> Option<String> {
        self.find(path, |_, value| value)
    }

    /// Where the last key of `path` stands.
    pub(crate) fn place_of_path(&self, path: &[&str]) -> Option<String> {
        self.find(path, |key, _| key)
    }

    /// The refusal of what stands at `span`.
    pub(super) fn refuse_at(&self, span: Range<usize>, what: &str, hint: &str) -> Failure {
        self.failure(what, Some(span), hint)
    }

    /// The place of what `choose` takes of the spans of the last key of `path` and its value.
    fn find(&self, path: &[&str], choose: fn(Range<usize>, Range<usize>) -> Range<usize>) -> Option<String> {
        let root = DeTable::parse(&self.text).ok()?;
        let (last, above) = path.split_last()?;
        let mut table = root.get_ref();
        for name in above {
            table = table.get(*name)?.get_ref().as_table()?;
        }
        let (key, value) = table.iter().find(|(name, _)| name.get_ref().as_ref() == *last)?;
        Some(self.at(choose(key.span(), value.span()).start))
    }

    fn refuse_unknown_keys(&self) -> Result<(), Failure> {
        let table = DeTable::parse(&self.text)
            .map_err(|error| self.failure(error.message(), error.span(), "The file must be TOML 1.0."))?;
        let keys = keys();
        for (section, content) in table.get_ref() {
            let name: &str = section.get_ref();
            if name == expect::SECTION {
                self.refuse_unknown_of_expectations(section.span(), content.get_ref())?;
                continue;
            }
            if !SECTIONS.contains(&name) {
                let sections: Vec<&str> = SECTIONS.into_iter().chain([expect::SECTION]).collect();
                let what = match content.get_ref() {
                    DeValue::Table(_) => format!("unknown section \"{name}\""),
                    _ => format!("unknown key \"{name}\" outside of a section"),
                };
                return Err(self.failure(&what, Some(section.span()), &suggest(name, &sections, "sections")));
            }
            if content.get_ref().as_table().is_none() {
                let hint = format!("Write [{name}] on a line of its own, and its keys below.");
                let what = format!("\"{name}\" is a section, not a key");
                return Err(self.failure(&what, Some(section.span()), &hint));
            }
            match name {
                given::SECTION => {} // Which keys it may have is known once the pipeline is.
                source_flags::INPUT => self.refuse_unknown_inputs(content.get_ref(), &keys)?,
                _ => self.refuse_unknown(name, content.get_ref(), &known(&keys, name))?,
            }
        }
        Ok(())
    }

    /// Each entry of `[input]` is a table; which inputs there are is known once the pipeline is.
    fn refuse_unknown_inputs(&self, inputs: &DeValue<'_>, keys: &[Key]) -> Result<(), Failure> {
        for (name, content) in inputs.as_table().into_iter().flatten() {
            let section = format!("{}.{}", source_flags::INPUT, name.get_ref());
            if content.get_ref().as_table().is_none() {
                let what = format!("\"{}\" stands where the name of an input is expected", name.get_ref());
                let hint =
                    format!("Write [{}.NAME] on a line of its own, and its keys below.", source_flags::INPUT);
                return Err(self.failure(&what, Some(name.span()), &hint));
            }
            self.refuse_unknown(&section, content.get_ref(), &known(keys, source_flags::SECTION))?;
        }
        Ok(())
    }

    /// `[[expect]]` is a list of tables.
    fn refuse_unknown_of_expectations(
        &self,
        key: Range<usize>,
        content: &DeValue<'_>,
    ) -> Result<(), Failure> {
        let tables = content.as_array().map(|list| list.iter().map(toml::Spanned::get_ref));
        let Some(mut tables) = tables.filter(|tables| tables.clone().all(|table| table.as_table().is_some()))
        else {
            let what = format!("\"{}\" is a list of sections", expect::SECTION);
            let hint = format!("Write [[{}]] on a line of its own, and its keys below.", expect::SECTION);
            return Err(self.failure(&what, Some(key), &hint));
        };
        let section = format!("[{}]", expect::SECTION);
        tables.try_for_each(|table| self.refuse_unknown(&section, table, &expect::KEYS))
    }

    fn refuse_unknown(&self, section: &str, content: &DeValue<'_>, known: &[&str]) -> Result<(), Failure> {
        for key in content.as_table().iter().flat_map(|table| table.keys()) {
            if !known.contains(&key.get_ref().as_ref()) {
                let what = format!("unknown key \"{}\" in [{section}]", key.get_ref());
                let hint = suggest(key.get_ref(), known, &format!("keys of [{section}]"));
                return Err(self.failure(&what, Some(key.span()), &hint));
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

/// The names of `keys` in `section`.
fn known<'k>(keys: &'k [Key], section: &str) -> Vec<&'k str> {
    keys.iter().filter(|key| key.section == section).map(|key| key.name.as_str()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::config::Until;
    use crate::cli::settings::given::Given;
    use crate::cli::units::{Bytes, Count, Limit, Share};
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
        let text = "[job]\nworkers = 2\nuntil = \"caught-up\"\n[pipeline]\nsize = \"1m\"\nwide = true\nmost = 7\n[idle]\nafter = \"never\"\n\
                    [epoch]\nbytes = \"64KiB\"\n[generate]\nmessages = 10\nlate = 0.5\nrate = 3\nstart = \"2015-03-21\"\n";
        let set = parse(text).expect("the text is fit");
        assert_eq!(set.job.workers, Some(Count(2)));
        assert_eq!(set.job.until, Some(Until::CaughtUp));
        assert_eq!(set.pipeline, Given::of(&[("size", "1m"), ("wide", "true"), ("most", "7")]));
        assert_eq!(set.idle.after, Some(Limit::Off));
        assert_eq!(set.epoch.bytes, Some(Bytes(65_536)));
        assert_eq!(set.generate.messages, Some(Limit::At(Count(10))));
        assert_eq!(set.generate.late, Some(Share(0.5)));
        assert_eq!(set.generate.rate, Some(3.0));
    }

    #[test]
    fn an_unknown_key_is_refused_where_it_stands() {
        assert_eq!(
            refusal("# c\n[epoch]\nlength = \"1s\"\n  byte = \"1MiB\" # é\n"),
            "error: headway.toml:4:3: unknown key \"byte\" in [epoch] (config-invalid)\n\
             detail: The line is `byte = \"1MiB\" # é`.\n\
             hint: Did you mean \"bytes\"? The keys of [epoch] are length, bytes.\n"
        );
        assert!(refusal("[pipelines]\n").contains("1:2: unknown section \"pipelines\" (config"));
        assert!(refusal("[pipelines]\n").contains("Did you mean \"pipeline\"?"));
        assert!(refusal("workers = 2\n").contains("1:1: unknown key \"workers\" outside of a section"));
        assert!(refusal("epoch = \"5m\"\n").contains("1:1: \"epoch\" is a section, not a key"));
    }

    #[test]
    fn an_unfit_value_is_refused_where_it_stands() {
        let refused = refusal("[epoch]\nlength = 5\n");
        assert!(refused.contains("headway.toml:2:10: \"5\" is not a duration: it needs a unit"), "{refused}");
        let refused = refusal("[pipeline]\nbounds = [1, 2]\n");
        assert!(refused.contains("2:10: invalid type: sequence, expected a text, a whole"), "{refused}");
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
            "[source]\nkafka_config = [true] # the token is hunter2\n",
            "[wndow] # password hunter2\n",
        ] {
            let refused = refusal(text);
            assert!(!refused.contains("hunter2") && refused.contains("***"), "{refused}");
        }
    }

    #[test]
    fn the_place_of_a_value_is_known() {
        let text = "[pipeline]\nsize = \"5m\"\nslide = \"6m\"\n".to_string();
        let file = File::parse(Path::new("a.toml"), text).expect("the text is fit");
        assert_eq!(file.place("pipeline", "slide"), Some("a.toml:3:9".into()));
        assert_eq!(file.place_of_key("pipeline", "slide"), Some("a.toml:3:1".into()));
        assert_eq!(file.place("pipeline", "zone"), None);
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
        let open = [given::SECTION, source_flags::SECTION, source_flags::INPUT];
        for section in SECTIONS.into_iter().filter(|section| !open.contains(section)) {
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
        fn no_text_panics(text in "(\\[?(job|pipeline|x)\\]?|size|=|\"5m\"|\n|é|\\[|\\]|1){0,12}") {
            let _ = parse(&text);
        }
    }
}
