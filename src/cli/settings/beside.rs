//! Paths in a configuration file are relative to the folder of the file: the same file means the same job wherever a command runs.

use super::place::is_relative;
use super::source_flags::{INPUT, SECTION};
use headway_operators::pipeline::Entry;
use headway_operators::setting::Kind;
use std::path::Path;
use toml::{Table, Value};

/// The keys whose values are paths. Those of inputs also stand in `[input.NAME]`.
const PATHS: [(&str, &str); 11] = [
    (SECTION, "uri"),
    (SECTION, "kafka_config"),
    ("lake", "uri"),
    ("cluster", "hostfile"),
    ("cluster", "secret_file"),
    ("cluster", "cert_file"),
    ("cluster", "key_file"),
    ("cluster", "ca_file"),
    ("serve", "token_file"),
    ("postgres", "password_file"),
    ("postgres", "ca_file"),
];

/// What comes before the path in the URI of a source.
const FILES: &str = "files:";

/// The `text` of a path as it is seen from where the command runs, if the file that has it is in `folder`.
pub(super) fn beside(folder: &Path, text: &str) -> String {
    if folder.as_os_str().is_empty() || !is_relative(text) {
        return text.to_string();
    }
    folder.join(text).display().to_string()
}

/// Makes the paths among the settings of a file in `folder` such that they are right where the command runs.
pub(super) fn resolve(settings: &mut Table, folder: &Path) {
    for (section, key) in PATHS {
        change(settings.get_mut(section), section, key, folder);
        if let Some(Value::Table(inputs)) = settings.get_mut(INPUT).filter(|_| section == SECTION) {
            inputs.iter_mut().for_each(|(_, input)| change(Some(input), section, key, folder));
        }
    }
}

fn change(table: Option<&mut Value>, section: &str, key: &str, folder: &Path) {
    let Some(Value::String(text)) = table.and_then(|table| table.get_mut(key)) else { return };
    let is_source = (section, key) == (SECTION, "uri");
    *text = match text.strip_prefix(FILES) {
        Some(path) if is_source => format!("{FILES}{}", beside(folder, path)),
        // Another source has no path.
        None if is_source => return,
        _ => beside(folder, text),
    };
}

/// The text of setting `name` of `entry`, if it stands in a file in `folder`: a file's name may be in it.
pub(super) fn setting(entry: &Entry, name: &str, text: &str, folder: &Path) -> String {
    let is_file = |name: &str| {
        entry.settings.iter().any(|known| known.name == name && matches!(known.kind, Kind::File))
    };
    if is_file(name) { beside(folder, text) } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::config::keys;
    use clap::Args;
    use std::path::PathBuf;

    fn resolved(text: &str, folder: &str) -> Table {
        let mut settings: Table = text.parse().expect("it is TOML");
        resolve(&mut settings, Path::new(folder));
        settings
    }

    #[test]
    fn paths_are_beside_their_file_and_nothing_else_changes() {
        let text = "[lake]\nuri = \"lake\"\n[source]\nuri = \"files:in\"\nkafka_config = \"../client.properties\"\n\
                    [input.north]\nuri = \"files:/var/north\"\nkafka_config = \"~/north.properties\"\n\
                    [input.south]\nuri = \"kafka:\"\n[cluster]\nhostfile = \"hosts\"\n[job]\nname = \"in\"\n";
        let expected = "[lake]\nuri = \"etc/lake\"\n[source]\nuri = \"files:etc/in\"\nkafka_config = \"etc/../client.properties\"\n\
                    [input.north]\nuri = \"files:/var/north\"\nkafka_config = \"~/north.properties\"\n\
                    [input.south]\nuri = \"kafka:\"\n[cluster]\nhostfile = \"etc/hosts\"\n[job]\nname = \"in\"\n";
        assert_eq!(resolved(text, "etc"), expected.parse::<Table>().expect("it is TOML"));
        let here: Table = text.parse().expect("it is TOML");
        assert_eq!(resolved(text, ""), here, "a file in the folder where the command runs");
    }

    #[test]
    fn every_key_that_is_a_path_is_known() {
        // Of a flag whose value is a file: all but those of inputs, which are text until the pipeline is known.
        let command = crate::cli::settings::config::Settings::augment_args(clap::Command::new("x"));
        let is_path = |arg: &clap::Arg| arg.get_value_parser().type_id() == std::any::TypeId::of::<PathBuf>();
        let found = command.get_arguments().filter(|arg| is_path(arg)).map(|arg| arg.get_id().to_string());
        let known: Vec<String> = PATHS.iter().map(|(section, key)| format!("{section}.{key}")).collect();
        let found: Vec<String> = found.collect();
        assert!(found.len() >= 7, "{found:?}");
        for key in &found {
            assert!(known.contains(key), "{key} is a path, and is not relative to its file");
        }
        let all = keys();
        for (section, key) in PATHS {
            assert!(
                all.iter().any(|known| (known.section.as_str(), known.name.as_str()) == (section, key)),
                "{section}.{key}"
            );
        }
    }
}
