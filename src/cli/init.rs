//! `headway init`: writes a configuration file with every key, its meaning and its default.
//!
//! The text is made of the settings' own definitions, so that it cannot name a key that is not there, or leave one out.

use super::settings::config::{Key, SECTIONS, keys, keys_of};
use super::settings::given;
use super::settings::place::flag_path;
use super::settings::plan;
use super::settings::source_flags;
use super::terminal::failure::{Code, Failure, sentence};
use clap::Args;
use headway_operators::pipeline::Entry;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What `init` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    /// The pipeline that the job runs; its own settings are written too [default: to be filled in]
    #[arg(value_name = "PIPELINE")]
    pipeline: Option<String>,
    /// The file to write, which must not be there
    #[arg(long, value_name = "FILE", default_value = "headway.toml")]
    to: PathBuf,
}

/// Writes the file, and says on `out` how to go on.
///
/// # Errors
/// Exit 2 if there is no such pipeline, or the file is there; exit 3 if it cannot be written.
pub(crate) fn run(flags: &Flags, catalogue: &'static [Entry], out: &mut dyn Write) -> Result<(), Failure> {
    let entry = flags.pipeline.as_deref().map(|name| plan::entry(name, catalogue)).transpose()?;
    let path = flag_path("--to", &flags.to)?;
    let shown = path.display().to_string();
    new_file(&path, text(entry).as_bytes())?;
    let pipeline = if entry.is_none() { "the pipeline, " } else { "" };
    writeln!(out, "wrote {shown}: fill in {pipeline}the source and the lake")?;
    Ok(writeln!(out, "then: headway check -c {shown}, and headway run -c {shown}")?)
}

/// Writes `bytes` to the file after `--to`, which must not be there.
///
/// # Errors
/// Exit 2 if the file is there; exit 3 if it cannot be written.
pub(super) fn new_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let shown = path.display();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(Code::FileTaken, format!("\"{shown}\" is there already")),
        _ => Failure::new(Code::FolderUnwritable, format!("could not write \"{shown}\""))
            .detail(sentence(&error.to_string()))
            .hint("Check the path after --to, and that this user may write there."),
    };
    let mut file = File::create_new(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

/// The whole file.
fn text(entry: Option<&Entry>) -> String {
    let mut text = String::from(
        "# What a job of Headway is told. A key that is commented out has its default.\n\
         # A flag and a variable override the file: --epoch, HEADWAY_EPOCH. README.md explains more.\n",
    );
    let all = keys();
    for section in SECTIONS {
        if section == source_flags::INPUT {
            text.push_str(
                "\n# Where a pipeline has several inputs: a table for each, with the keys of [source] that differ.\n\
                 #[input.NAME]\n",
            );
            continue;
        }
        let keys: Vec<Key> = match section {
            given::SECTION => entry.map(keys_of).unwrap_or_default(),
            _ => all.iter().filter(|key| key.section == section).cloned().collect(),
        };
        if keys.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n[{section}]");
        for key in &keys {
            line(key, entry, &mut text);
        }
    }
    text.push_str(EXPECT);
    text
}

/// What can be expected, with every key of it.
const EXPECT: &str = r##"
# What must be true of views and of records: a table for each expectation. It is judged before each commit.
#[[expect]]
# Its name, in lower-case words: messages, metrics and status show it.
#name = "one-row-a-place-and-day"
# The view that it is about. Or, in place of it, the input whose records it is about: for not_null and accepted_values.
#view = "place_day"
#input = "readings"
# What happens where it does not hold: "warn"; "fail", which stops the job before the commit; for records also "quarantine", which
# makes a dead letter of each. Default: warn.
#severity = "warn"
# One of these conditions. No two rows have the same values in these columns:
#unique = ["place", "day"]
# No value in these columns is missing:
#not_null = ["place"]
# Each value in this column is one of these:
#accepted_values = { column = "kind", values = ["in", "out"] }
# The values in these columns are those of a row of another view:
#relationships = { columns = ["place"], to = "places", to_columns = ["place"] }
# A day that is closed has about as many rows as the day before it:
#row_count_change = { day = "day", max = "50%" }
"##;

/// A key with its meaning. What must be filled in is not commented out.
fn line(key: &Key, entry: Option<&Entry>, text: &mut String) {
    let (about, default) = key.about_and_default();
    let said = if default.is_empty() { String::new() } else { format!(" Default: {default}.") };
    let _ = writeln!(text, "# {about}.{said}");
    let name = &key.name;
    let _ = match (key.section.as_str(), name.as_str()) {
        ("job", "pipeline") => {
            writeln!(text, "pipeline = \"{}\"", entry.map(|entry| entry.name).unwrap_or_default())
        }
        ("source" | "lake", "uri") => writeln!(text, "uri = \"\""),
        _ => writeln!(text, "#{name} = {}", literal(default)),
    };
}

/// The value that a key has by default, where the words about it begin with one.
fn literal(default: &str) -> String {
    let value = default.split(", ").next().unwrap_or_default();
    let is_value = !value.is_empty() && !value.contains(' ');
    match value {
        "true" | "false" => value.to_string(),
        _ if is_value && value.bytes().all(|byte| byte.is_ascii_digit()) => value.to_string(),
        _ if is_value => format!("\"{value}\""),
        _ => "\"\"".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::expect::KEYS;
    use crate::cli::settings::file::File;
    use std::path::Path;

    #[test]
    fn file_has_every_key_once_and_each_default_that_is_a_value_is_one_that_the_key_takes() {
        for entry in headway_pipelines::all() {
            let whole = text(Some(entry));
            let (text, _) = whole.split_once("#[[expect]]").expect("expectations come last");
            let expected = keys().len() + entry.settings.len();
            let is_key = |line: &&str| line.contains(" = ") && !line.starts_with("# ");
            assert_eq!(text.lines().filter(is_key).count(), expected, "{text}");
            for key in keys().iter().chain(&keys_of(entry)) {
                let line = format!("{} = ", key.name);
                assert!(text.lines().any(|found| found.trim_start_matches('#').starts_with(&line)), "{line}");
            }
            // With every default that is a value set, it is a file that is understood.
            let set = |line: &str| match line.strip_prefix('#') {
                Some(rest) if is_key(&line) && !rest.ends_with("\"\"") => rest.to_string(),
                _ => line.to_string(),
            };
            let set: Vec<String> = text.lines().map(set).collect();
            let read = File::parse(Path::new("headway.toml"), set.join("\n"));
            assert!(read.is_ok(), "{read:?}\n{}", set.join("\n"));
        }
    }

    #[test]
    fn expectation_in_the_file_has_every_key_and_is_understood_where_it_is_no_comment() {
        let set =
            |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).map(str::to_string);
        let lines: Vec<String> = EXPECT.lines().filter_map(set).collect();
        for key in KEYS {
            assert_eq!(
                lines.iter().filter(|line| line.starts_with(&format!("{key} = "))).count(),
                1,
                "{key}"
            );
        }
        assert_eq!(lines.len(), KEYS.len() + 1);
        let read = File::parse(Path::new("headway.toml"), lines.join("\n"));
        assert!(read.is_ok(), "{read:?}");
    }
}
