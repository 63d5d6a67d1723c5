//! The public face of the library is small: what other crates may use of it is listed here, by hand.

use std::collections::BTreeSet;
use std::path::Path;

/// Everything that `src/lib.rs` shows.
const FACE: [&str; 19] = [
    "Connector",
    "Control",
    "Error",
    "Files",
    "FilesOptions",
    "Launch",
    "Local",
    "Program",
    "Source",
    "SourceError",
    "Store",
    "StoreError",
    "Summary",
    "Until",
    "kit",
    "launch",
    "main",
    "main_of",
    "main_with",
];

/// The names that the text of a `lib.rs` shows: those of its `pub use`, and of `pub` items that are not hidden from its page.
fn shown(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut hidden = false;
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let text: Vec<&str> = lines.collect();
    for statement in text.join(" ").split_inclusive([';', ']']).map(str::trim) {
        if statement.starts_with("#[") {
            hidden |= statement == "#[doc(hidden)]";
            continue;
        }
        if let Some(path) = statement.strip_prefix("pub use ").and_then(|path| path.strip_suffix(';')) {
            let (_, last) =
                path.split_once('{').unwrap_or_else(|| path.rsplit_once("::").unwrap_or(("", path)));
            for item in last.trim_end_matches('}').split(',').map(str::trim).filter(|item| !item.is_empty()) {
                let name = item.rsplit_once(" as ").map_or(item, |(_, name)| name);
                names.insert(name.rsplit("::").next().unwrap_or(name).to_string());
            }
        } else if statement.starts_with("pub ") && !hidden {
            names.insert(statement.to_string());
        }
        hidden = false;
    }
    names
}

#[test]
fn library_shows_what_is_listed_and_no_more() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let text = std::fs::read_to_string(path).expect("src/lib.rs is there");
    let listed: BTreeSet<String> = FACE.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown(&text),
        listed,
        "whoever shows more writes it into the list, and knows that it must stay"
    );
}

#[test]
fn list_sees_every_way_to_show_something() {
    let text = "//! Docs.\nmod a;\n#[doc(hidden)]\npub mod b;\npub mod c;\npub use a::{X, y::Z as W};\npub use a::f;\n";
    let expected = ["W", "X", "f", "pub mod c;"].map(str::to_string);
    assert_eq!(shown(text), BTreeSet::from(expected));
}
