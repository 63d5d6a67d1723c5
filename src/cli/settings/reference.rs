//! The reference of the configuration file in README: made from the flags, and tested to be there.

use super::config::{Key, SECTIONS, keys, keys_of};
use super::given;
use super::source_flags;
use std::fmt::Write as _;

const BEGIN: &str = "<!-- reference: made by `REWRITE=1 cargo test readme` -->\n";
const END: &str = "<!-- end of reference -->";

/// A table for each section, and for the settings of each pipeline: key, flag, meaning.
fn reference(keys: &[Key]) -> String {
    let mut text = String::new();
    for section in
        SECTIONS.into_iter().filter(|section| ![given::SECTION, source_flags::INPUT].contains(section))
    {
        let keys: Vec<&Key> = keys.iter().filter(|key| key.section == section).collect();
        let head = match section {
            source_flags::SECTION => format!("`[{section}]`, `[{}.NAME]`", source_flags::INPUT),
            section => format!("`[{section}]`"),
        };
        table(&head, &keys, &mut text);
    }
    for entry in headway_pipelines::all().iter().filter(|entry| !entry.settings.is_empty()) {
        let keys = keys_of(entry);
        let head = format!("`[{}]` of `{}`", given::SECTION, entry.name);
        table(&head, &keys.iter().collect::<Vec<_>>(), &mut text);
    }
    text
}

fn table(head: &str, keys: &[&Key], text: &mut String) {
    let _ = writeln!(text, "| {head} | flag | meaning |\n| --- | --- | --- |");
    for key in keys {
        let flag = match (&key.flag, key.section.as_str()) {
            (Some(flag), "generate") => format!("`produce {flag}`"),
            (Some(flag), _) => format!("`{flag}`"),
            (None, _) => "by position".to_string(),
        };
        let (about, default) = key.about_and_default();
        let default = if default.is_empty() { String::new() } else { format!(" Default: {default}.") };
        let _ = writeln!(text, "| `{}` | {flag} | {about}.{default} |", key.name);
    }
    text.push('\n');
}

#[test]
fn readme_documents_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("README.md is there");
    let (before, rest) = readme.split_once(BEGIN).expect("README.md has a place for the reference");
    let (found, after) = rest.split_once(END).expect("the reference in README.md has an end");
    let made = format!("\n{}", reference(&keys()));
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{made}{END}{after}")).expect("README.md can be written");
        return;
    }
    assert!(found == made, "the reference in README.md is old; run REWRITE=1 cargo test --lib readme");
}
