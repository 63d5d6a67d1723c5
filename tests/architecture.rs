//! The house rules that a wish in a document does not keep: who may use whom, what a room may not know, sizes, cards.
//!
//! Each rule is a function from sources to complaints, so each is also shown to complain about a planted violation.

mod circles;

use crate::rust_text::{Keep, Source, absolute, blank, paths, sources, without_tests};
use std::path::{Path, PathBuf};

/// The rooms of the root package, lowest first: a room may use itself and those before it.
const ROOMS: [&str; 6] = ["store", "connect", "mesh", "engine", "serve", "cli"];

/// Longest source file, in lines, tests included.
const LINES_MAX: usize = 600;

/// What each operator's card says, in this order.
const CARD: [&str; 7] = ["Input", "Output", "State", "Progress", "Late and bad data", "Restart", "Cost"];

/// What lies beside the operators and is none.
const HELPERS: [&str; 6] = ["decode.rs", "kept.rs", "row.rs", "table.rs", "text.rs", "window.rs"];

/// The files of the kit that are operators.
const KIT_OPERATORS: [&str; 4] = ["interval_join.rs", "lookup.rs", "session.rs", "table_join.rs"];

/// What `operators` and `pipelines` may not touch: the outside world, and time.
const OUTSIDE: [&str; 8] =
    ["std::fs", "std::net", "std::env", "std::process", "std::thread", "tokio", "rdkafka", "async_std"];

/// What stands between us and librdkafka.
const UNSAFE: &str = "src/connect/kafka/native.rs";

/// Folders that hold Rust sources.
const FOLDERS: [&str; 6] = ["operators", "pipelines", "src", "tests", "benches", "examples"];

/// The rooms of `src/engine`, lowest first: `engine/format`, `engine/commit`, ... A file beside them stands on one floor with
/// the rooms named here, and a room may use it if that floor is not above its own.
const ENGINE: [&[&str]; 6] = [
    &["clock", "code", "failpoint"],
    &["format"],
    &["commit"],
    &["cluster", "control", "error", "guard", "run"],
    &["audit"],
    &["kit"],
];

type Rule = fn(&[Source]) -> Vec<String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn check(rule: Rule) {
    let tree = sources(&root(), &FOLDERS, "rs");
    assert!(tree.len() > 10, "the sources were not found");
    let complaints = rule(&tree);
    assert!(complaints.is_empty(), "the house rules are broken:\n  {}", complaints.join("\n  "));
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_string(), text: text.to_string() }
}

/// Asserts that `rule` complains about `text` at `path`, naming the file and `word`.
fn refuses(rule: Rule, path: &str, text: &str, word: &str) {
    let complaints = rule(&[source(path, text)]);
    assert!(
        complaints.iter().any(|c| c.contains(path) && c.contains(word)),
        "no complaint about \"{word}\" in {path}: {complaints:?}"
    );
}

fn accepts(rule: Rule, path: &str, text: &str) {
    let complaints = rule(&[source(path, text)]);
    assert!(complaints.is_empty(), "{path} is as it should be, but: {complaints:?}");
}

/// The room of a file: `src/engine/x.rs` and `src/engine.rs` are in `engine`; `src/main.rs` is in none.
fn room(path: &str) -> Option<usize> {
    let name = path.strip_prefix("src/")?.split('/').next()?;
    ROOMS.iter().position(|room| *room == name.trim_end_matches(".rs"))
}

fn rooms_use_only_rooms_below(tree: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree {
        let Some(own) = room(&file.path) else { continue };
        for (line, path) in paths(&blank(&file.text, Keep::Code)) {
            let after_root = path.iter().rposition(|p| p == "crate" || p == "super").map(|n| n + 1);
            let used = after_root
                .and_then(|n| path.get(n))
                .and_then(|name| ROOMS.iter().position(|room| room == name))
                .filter(|used| *used > own);
            if let Some(used) = used {
                complaints.push(format!(
                    "{}:{line} says {}, and {} is a room above {}",
                    file.path,
                    path.join("::"),
                    ROOMS[used],
                    ROOMS[own]
                ));
            }
            let from_below = ROOMS[own] != "cli";
            if from_below && path[0] == "headway_pipelines" {
                complaints.push(format!("{}:{line} says headway_pipelines: only cli names it", file.path));
            }
        }
    }
    complaints
}

/// The floor of `name` within the engine; `None` if no room and no file there is called so.
fn floor(name: &str) -> Option<usize> {
    ENGINE.iter().position(|floor| floor.contains(&name))
}

fn engine_rooms_use_only_rooms_below(tree: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.iter().filter(|file| file.path.starts_with("src/engine/")) {
        let name = file.path["src/engine/".len()..].split('/').next().unwrap_or_default();
        if name == "mod.rs" {
            continue;
        }
        let Some(own) = floor(name.trim_end_matches(".rs")) else {
            complaints.push(format!("{}: {name} is on no floor of the engine", file.path));
            continue;
        };
        let tests_from = without_tests(&file.text).lines().count();
        for (line, path) in paths(&blank(&file.text, Keep::Code)) {
            // In the tests at a file's end, `super` is the file.
            if line > tests_from && path[0] == "super" {
                continue;
            }
            let Some(path) = absolute(&file.path, &path) else { continue };
            let Some(used) = path.strip_prefix(&["engine".to_string()]).and_then(|rest| rest.first()) else {
                continue;
            };
            // What the front door re-exports has no floor by its name alone.
            if floor(used).is_none_or(|used| used > own) {
                complaints.push(format!("{}:{line} says {used}, which is not below {name}", file.path));
            }
        }
    }
    complaints
}

fn crates_use_only_crates_below(tree: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree {
        let refused: &[&str] = match file.path.split('/').next() {
            Some("operators") => &["headway", "headway_pipelines"],
            Some("pipelines") => &["headway"],
            _ => continue,
        };
        for (line, path) in paths(&blank(&file.text, Keep::Code)) {
            if path.len() > 1 && refused.contains(&path[0].as_str()) {
                complaints.push(format!("{}:{line} says {}", file.path, path[0]));
            }
        }
    }
    complaints
}

fn files_are_short(tree: &[Source]) -> Vec<String> {
    tree.iter()
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(file, lines)| format!("{} has {lines} lines, more than {LINES_MAX}", file.path))
        .collect()
}

fn nothing_is_unfinished(tree: &[Source]) -> Vec<String> {
    let marks = ["#[ignore", "todo!", "unimplemented!", "dbg!"];
    let mut complaints = Vec::new();
    for file in tree {
        for (n, line) in blank(&file.text, Keep::Code).lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(**mark)) {
                complaints.push(format!("{}:{} says {mark}", file.path, n + 1));
            }
        }
    }
    complaints
}

fn dataflow_does_no_io(tree: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree {
        if !file.path.starts_with("operators/src/") && !file.path.starts_with("pipelines/src/") {
            continue;
        }
        for (line, path) in paths(&blank(&file.text, Keep::Code)) {
            let whole = path.join("::");
            let outside = OUTSIDE.iter().any(|o| whole == *o || whole.starts_with(&format!("{o}::")));
            let clock = path.iter().any(|p| p == "Instant" || p == "SystemTime");
            if outside || clock {
                complaints.push(format!(
                    "{}:{line} says {whole}: dataflow does no I/O and reads no clock",
                    file.path
                ));
            }
        }
    }
    complaints
}

/// A `mod.rs` declares: modules, re-exports, traits, types. What computes lives in a file with a name.
/// A pipeline's `mod.rs` is its dataflow on one screen, and may; so may what tests share.
fn front_doors_have_no_logic(tree: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree {
        let is_room = file.path.starts_with("src/") || file.path.starts_with("operators/src/");
        if !is_room || !file.path.ends_with("/mod.rs") {
            continue;
        }
        let code = blank(&file.text, Keep::Code);
        let words: Vec<&str> = code.split_whitespace().collect();
        if words.iter().any(|w| *w == "impl" || w.starts_with("impl<") || w.starts_with("macro_rules!")) {
            complaints.push(format!("{} implements something: give it a file with a name", file.path));
        }
        // A function without a body ends in `;` before any brace opens.
        for (at, _) in code.match_indices("fn ") {
            let ends = code[at..].find(['{', ';']).map(|n| code.as_bytes()[at + n]);
            if ends == Some(b'{') {
                let line = code[..at].lines().count().max(1);
                complaints.push(format!("{}:{line} has a function with a body", file.path));
            }
        }
    }
    complaints
}

/// The card of an operator is in its file, or in the front door of its folder. Its parts, and what only helps operators,
/// carry none: a form filled in for its own sake says nothing.
fn operators_have_cards(tree: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree {
        if let Some(name) = file.path.strip_prefix("operators/src/kit/").filter(|name| !name.contains('/')) {
            complaints.extend(card_complaint(file, KIT_OPERATORS.contains(&name)));
            continue;
        }
        let folders = ["operators/src/stream/", "operators/src/view/"];
        let Some(name) = folders.iter().find_map(|folder| file.path.strip_prefix(folder)) else { continue };
        let is_operator = match name.split_once('/') {
            Some((_, below)) => below == "mod.rs",
            None => name != "mod.rs" && !HELPERS.contains(&name),
        };
        complaints.extend(card_complaint(file, is_operator));
    }
    complaints
}

fn card_complaint(file: &Source, is_operator: bool) -> Option<String> {
    let headings: Vec<&str> = file.text.lines().filter_map(|line| line.strip_prefix("//! # ")).collect();
    if is_operator && headings != CARD {
        return Some(format!("{} has the card {headings:?}, not {CARD:?}", file.path));
    }
    let has_card = !is_operator && CARD.iter().any(|heading| headings.contains(heading));
    has_card.then(|| format!("{} is no operator and has a card: {headings:?}", file.path))
}

/// The subject lives in `pipelines`: below it, code and its literals do not know what a turnstile is. Comments and
/// tests may take it as an example.
fn engine_knows_no_subject(tree: &[Source]) -> Vec<String> {
    let blind = ["operators/src/", "src/"];
    let mut complaints = Vec::new();
    for file in tree {
        if !blind.iter().any(|folder| file.path.starts_with(folder)) {
            continue;
        }
        let code = blank(without_tests(&file.text), Keep::CodeAndLiterals).to_lowercase();
        for (n, line) in code.lines().enumerate() {
            if line.contains("turnstile") {
                complaints.push(format!("{}:{} says turnstile", file.path, n + 1));
            }
        }
    }
    complaints
}

/// The compiler denies `unsafe`; one file may allow it, and says why each use is sound.
fn only_one_file_may_be_unsafe(tree: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.iter().filter(|file| file.path != UNSAFE) {
        for (n, line) in blank(&file.text, Keep::Code).lines().enumerate() {
            if line.contains("unsafe_code)") && !line.contains("forbid(") {
                complaints.push(format!("{}:{} says unsafe_code: only {UNSAFE} may", file.path, n + 1));
            }
        }
    }
    complaints
}

/// Cargo does not look for tests here (`autotests = false`): a file nobody names would be silently skipped.
fn every_test_file_is_run(tree: &[Source]) -> Vec<String> {
    let main = tree.iter().find(|file| file.path == "tests/main.rs");
    let named = main.map(|file| blank(&file.text, Keep::Code)).unwrap_or_default();
    tree.iter()
        .filter_map(|file| file.path.strip_prefix("tests/")?.strip_suffix(".rs"))
        .filter(|name| *name != "main" && !name.contains('/'))
        .filter(|name| !named.contains(&format!("mod {name};")))
        .map(|name| format!("tests/{name}.rs is not a module of tests/main.rs"))
        .collect()
}

#[test]
fn a_room_uses_only_rooms_below_its_own() {
    check(rooms_use_only_rooms_below);
    let rule = rooms_use_only_rooms_below;
    refuses(rule, "src/connect/files/connector.rs", "use crate::engine::worker;", "crate::engine");
    refuses(rule, "src/store/local.rs", "use crate::{store, cli::{run, config}};", "crate::cli");
    refuses(rule, "src/engine/run/feed.rs", "fn f() { crate::serve::http::start() }", "crate::serve");
    refuses(rule, "src/engine/run/feed.rs", "use super::super::cli;", "cli");
    refuses(rule, "src/engine/run/feed.rs", "use headway_pipelines::all;", "headway_pipelines");
    accepts(rule, "src/engine/run/feed.rs", "use crate::{store, connect::Source, engine::clock};");
    accepts(rule, "src/connect/files/connector.rs", "// crate::engine reads us\nlet s = \"crate::cli\";");
    accepts(rule, "src/cli/run.rs", "use crate::serve;\nuse headway_pipelines::all;");
}

#[test]
fn a_room_of_the_engine_uses_only_rooms_below_its_own() {
    check(engine_rooms_use_only_rooms_below);
    let rule = engine_rooms_use_only_rooms_below;
    refuses(rule, "src/engine/format/names.rs", "use crate::engine::commit::site::Site;", "commit");
    refuses(rule, "src/engine/commit/job.rs", "use crate::engine::{clock, run::{feed, sink}};", "run");
    refuses(rule, "src/engine/commit/job.rs", "fn f() { super::super::audit::run() }", "audit");
    refuses(rule, "src/engine/commit/job.rs", "use crate::engine::error::Error;", "error");
    refuses(rule, "src/engine/run/feed.rs", "use crate::engine::Control;", "Control");
    refuses(rule, "src/engine/clock.rs", "use super::format::names;", "format");
    refuses(rule, "src/engine/other/a.rs", "", "no floor");
    refuses(
        rule,
        "src/engine/clock.rs",
        "\n#[cfg(test)]\nmod tests { use crate::engine::run::feed; }",
        "run",
    );
    accepts(rule, "src/engine/clock.rs", "\n#[cfg(test)]\nmod tests { use super::Clock; }");
    accepts(
        rule,
        "src/engine/run/feed.rs",
        "use crate::engine::{clock::Clock, commit::site, format::names};",
    );
    accepts(rule, "src/engine/run/feed.rs", "use super::launch;\nuse crate::connect::Source;");
    accepts(rule, "src/engine/mod.rs", "pub use run::launch::launch;\npub use crate::engine::audit::run;");
}

#[test]
fn a_crate_uses_only_crates_below_its_own() {
    check(crates_use_only_crates_below);
    refuses(crates_use_only_crates_below, "operators/src/time.rs", "use headway_pipelines::all;", "headway");
    refuses(crates_use_only_crates_below, "pipelines/src/lib.rs", "use headway::engine;", "headway");
    accepts(crates_use_only_crates_below, "pipelines/src/lib.rs", "use headway_operators::time::Epoch;");
}

#[test]
fn no_file_is_longer_than_six_hundred_lines() {
    check(files_are_short);
    refuses(files_are_short, "src/engine/all.rs", &"//\n".repeat(LINES_MAX + 1), "601 lines");
    accepts(files_are_short, "src/engine/all.rs", &"//\n".repeat(LINES_MAX));
}

#[test]
fn nothing_is_ignored_or_left_to_do() {
    check(nothing_is_unfinished);
    refuses(nothing_is_unfinished, "src/a.rs", "#[test]\n#[ignore]\nfn slow() {}", "#[ignore");
    refuses(nothing_is_unfinished, "src/a.rs", "#[ignore = \"slow\"]", "#[ignore");
    refuses(nothing_is_unfinished, "src/a.rs", "fn f() { todo!() }", "todo!");
    accepts(nothing_is_unfinished, "src/a.rs", "// todo!()\nlet s = \"#[ignore]\";");
}

#[test]
fn dataflow_opens_no_file_and_reads_no_clock() {
    check(dataflow_does_no_io);
    refuses(dataflow_does_no_io, "operators/src/a.rs", "use std::fs::File;", "std::fs");
    refuses(dataflow_does_no_io, "operators/src/a.rs", "use std::{fmt, net};", "std::net");
    refuses(dataflow_does_no_io, "pipelines/src/a.rs", "use std::time::{Duration, Instant};", "Instant");
    refuses(dataflow_does_no_io, "pipelines/src/a.rs", "let t = time::SystemTime::now();", "SystemTime");
    refuses(dataflow_does_no_io, "operators/src/a.rs", "tokio::spawn(x);", "tokio");
    refuses(dataflow_does_no_io, "operators/src/a.rs", "use rdkafka;", "rdkafka");
    accepts(
        dataflow_does_no_io,
        "operators/src/a.rs",
        "use std::time::Duration; // not Instant, not std::fs",
    );
    accepts(dataflow_does_no_io, "src/store/local.rs", "use std::fs;");
}

#[test]
fn unsafe_code_stays_in_its_file() {
    check(only_one_file_may_be_unsafe);
    refuses(only_one_file_may_be_unsafe, "src/engine/run/feed.rs", "#![allow(unsafe_code)]", "unsafe_code");
    refuses(only_one_file_may_be_unsafe, "operators/src/a.rs", "#[allow(unsafe_code)]", "unsafe_code");
    accepts(only_one_file_may_be_unsafe, "operators/src/lib.rs", "#![forbid(unsafe_code)]");
    accepts(only_one_file_may_be_unsafe, UNSAFE, "#![allow(unsafe_code)]");
}

#[test]
fn the_front_door_of_a_folder_has_no_logic() {
    check(front_doors_have_no_logic);
    refuses(front_doors_have_no_logic, "src/store/mod.rs", "pub fn open() -> u8 { 1 }", "body");
    refuses(front_doors_have_no_logic, "src/store/mod.rs", "struct A;\nimpl A {\n}", "implements");
    accepts(
        front_doors_have_no_logic,
        "src/store/mod.rs",
        "//! fn f() {}\npub mod a;\ntrait T { fn f(&self) -> u8; }",
    );
    accepts(front_doors_have_no_logic, "pipelines/src/turnstile/mod.rs", "fn build() { flow() }");
}

#[test]
fn every_operator_begins_with_its_card() {
    check(operators_have_cards);
    let card =
        |headings: &[&str]| headings.iter().map(|h| format!("//! # {h}\n//! Text.\n")).collect::<String>();
    let (path, mut order) = ("operators/src/stream/a.rs", CARD);
    accepts(operators_have_cards, path, &card(&order));
    refuses(operators_have_cards, path, &card(&order[..6]), "card");
    order.swap(0, 1);
    refuses(operators_have_cards, path, &card(&order), "card");
    refuses(operators_have_cards, "operators/src/view/b.rs", "//! Joins.", "card");
    refuses(operators_have_cards, "operators/src/stream/a/mod.rs", "//! Sums.", "card");
    refuses(operators_have_cards, "operators/src/stream/a/part.rs", &card(&CARD), "no operator");
    refuses(operators_have_cards, "operators/src/stream/window.rs", &card(&CARD), "no operator");
    accepts(operators_have_cards, "operators/src/stream/a/part.rs", "//! A part of the operator.");
    accepts(operators_have_cards, "operators/src/stream/mod.rs", "//! Operators.");
    refuses(operators_have_cards, "operators/src/kit/session.rs", "//! Sessions.", "card");
    refuses(operators_have_cards, "operators/src/kit/logic.rs", &card(&CARD), "no operator");
}

#[test]
fn only_pipelines_know_what_a_turnstile_is() {
    check(engine_knows_no_subject);
    refuses(engine_knows_no_subject, "src/engine/a.rs", "let topic = \"mta-turnstile\";", "turnstile");
    refuses(engine_knows_no_subject, "src/cli/demo.rs", "const PIPELINE: &str = \"turnstile\";", "turnstile");
    refuses(engine_knows_no_subject, "operators/src/a.rs", "struct TurnstileKey;", "turnstile");
    accepts(engine_knows_no_subject, "src/connect/a.rs", "// such as mta-turnstile\n");
    accepts(
        engine_knows_no_subject,
        "src/connect/a.rs",
        "\n#[cfg(test)]\nmod tests { const T: &str = \"turnstile\"; }",
    );
}

/// What is between backticks and looks like a path of this repository.
fn named_paths(text: &str) -> Vec<&str> {
    let inside = text.split('`').skip(1).step_by(2);
    inside.filter(|name| name.contains('/') && !name.contains([' ', '{', '*', '(', ':'])).collect()
}

#[test]
fn the_map_names_only_what_is_there() {
    assert_eq!(named_paths("see `src/a.rs`, `x`, `a b/c` and\n`tests/`"), ["src/a.rs", "tests/"]);
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let named = named_paths(&map);
    assert!(named.len() > 20, "only {named:?} were found");
    let lost: Vec<_> = named.into_iter().filter(|name| !root().join(name).exists()).collect();
    assert!(lost.is_empty(), "ARCHITECTURE.md names what is not there: {lost:?}");
}

#[test]
fn no_test_file_is_left_out() {
    check(every_test_file_is_run);
    let main = source("tests/main.rs", "mod architecture;\n// mod lost;\n");
    let lost = every_test_file_is_run(&[main, source("tests/lost.rs", "")]);
    assert!(lost.len() == 1 && lost[0].contains("tests/lost.rs"), "{lost:?}");
}
