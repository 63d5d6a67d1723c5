//! Refuses circles of imports: two files that need each other are one file, or a third one is missing below them.

use super::{check, source};
use crate::rust_text::{Keep, Source, absolute, blank, module, paths, without_tests};
use std::collections::{BTreeMap, BTreeSet};

/// The sources of one crate, by the module that each of them is.
type Modules<'a> = BTreeMap<Vec<String>, &'a Source>;

/// How a front door re-exports what is in its room.
const EXPORTS: [&str; 2] = ["pub use ", "pub(crate) use "];

/// Which crate a file of a product belongs to; `None` for tests, benches and examples, which nothing imports.
fn product(path: &str) -> Option<&str> {
    let (product, below) = path.split_once("src/")?;
    let name = below.rsplit('/').next()?.trim_end_matches(".rs");
    (["", "operators/"].contains(&product) && !name.ends_with("tests")).then_some(product)
}

/// A file's code without its tests, and without what a front door re-exports: whoever uses a name that is re-exported uses
/// the file it comes from.
fn imports(file: &Source) -> String {
    let code = blank(without_tests(&file.text), Keep::Code);
    let mut kept = String::new();
    let mut rest = code.as_str();
    while let Some(at) = EXPORTS.iter().filter_map(|export| rest.find(export)).min() {
        let end = rest[at..].find(';').map_or(rest.len(), |n| at + n);
        kept.push_str(&rest[..at]);
        kept.extend(rest[at..end].matches('\n'));
        rest = &rest[end..];
    }
    kept + rest
}

/// `path` from the root of the crate, if `file` means a module of the crate by it.
fn resolved(file: &Source, path: &[String], modules: &Modules<'_>) -> Option<Vec<String>> {
    absolute(&file.path, path).or_else(|| {
        // In a front door, a path may begin with the name of a room's file.
        let child = [module(&file.path), path[..1].to_vec()].concat();
        (path.len() > 1 && modules.contains_key(&child)).then(|| [module(&file.path), path.to_vec()].concat())
    })
}

/// The file that `path` leads to, through the front doors that re-export what it names.
fn target<'a>(path: &[String], modules: &Modules<'a>, depth: usize) -> Option<&'a Source> {
    let (known, rest) =
        (0..=path.len()).rev().find_map(|n| modules.get(&path[..n]).map(|file| (*file, &path[n..])))?;
    let Some(name) = rest.first().filter(|_| depth < 9) else { return Some(known) };
    let code = blank(without_tests(&known.text), Keep::Code);
    for statement in EXPORTS.iter().flat_map(|export| code.split(export).skip(1)) {
        let statement = statement.split(';').next().unwrap_or_default();
        let exported =
            paths(statement).into_iter().map(|(_, path)| path).find(|path| path.last() == Some(name));
        if let Some(path) = exported.and_then(|path| resolved(known, &path, modules)) {
            return target(&path, modules, depth + 1);
        }
    }
    Some(known)
}

/// Which files each file of a crate imports from.
fn graph<'a>(modules: &Modules<'a>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut graph = BTreeMap::new();
    for file in modules.values() {
        let used = paths(&imports(file)).into_iter();
        let used = used.filter_map(|(_, path)| target(&resolved(file, &path, modules)?, modules, 0));
        let others = used.map(|used| used.path.as_str()).filter(|used| *used != file.path);
        graph.insert(file.path.as_str(), others.collect());
    }
    graph
}

/// The shortest way from `start` back to it, if there is one.
fn circle<'a>(start: &'a str, graph: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut ways = std::collections::VecDeque::from([vec![start]]);
    while let Some(way) = ways.pop_front() {
        let here = *way.last().expect("a way has a beginning");
        for next in graph.get(here).into_iter().flatten() {
            if *next == start {
                return Some(way);
            }
            if seen.insert(*next) {
                ways.push_back([way.as_slice(), &[*next]].concat());
            }
        }
    }
    None
}

fn files_import_in_no_circle(tree: &[Source]) -> Vec<String> {
    let mut complaints = BTreeSet::new();
    for crate_of in ["", "operators/"] {
        let files = tree.iter().filter(|file| product(&file.path) == Some(crate_of));
        let modules: Modules<'_> = files.map(|file| (module(&file.path), file)).collect();
        let graph = graph(&modules);
        for start in graph.keys() {
            if let Some(mut way) = circle(start, &graph) {
                // One complaint a circle, wherever it was entered.
                let first = way.iter().enumerate().min_by_key(|(_, path)| **path).map_or(0, |(n, _)| n);
                way.rotate_left(first);
                complaints.insert(format!("{} imports itself again: {}", way[0], way.join(" -> ")));
            }
        }
    }
    complaints.into_iter().collect()
}

/// Asserts that the rule names a circle through `path` among `files`.
fn finds(files: &[(&str, &str)], path: &str) {
    let tree: Vec<Source> = files.iter().map(|(path, text)| source(path, text)).collect();
    let complaints = files_import_in_no_circle(&tree);
    assert!(complaints.iter().any(|c| c.contains(path)), "no circle through {path}: {complaints:?}");
}

fn finds_none(files: &[(&str, &str)]) {
    let tree: Vec<Source> = files.iter().map(|(path, text)| source(path, text)).collect();
    assert_eq!(files_import_in_no_circle(&tree), Vec::<String>::new());
}

#[test]
fn no_file_imports_itself_by_way_of_others() {
    check(files_import_in_no_circle);
    let (a, b, c) = ("src/room/a.rs", "src/room/b.rs", "src/room/c.rs");
    finds(&[(a, "use crate::room::b::B;"), (b, "use super::a::A;")], "src/room/a.rs -> src/room/b.rs");
    finds(&[(a, "use super::b;"), (b, "fn f() { crate::room::c::f() }"), (c, "use super::{a::A, b};")], b);
    // Through a front door.
    let door = ("src/room/mod.rs", "mod a;\nmod b;\npub use a::{A, Other};\npub use self::b::B as Name;");
    finds(&[door, (a, "use crate::room::b::B;"), (b, "use crate::room::A;")], b);
    let upper = ("src/upper.rs", "use crate::room::A;");
    finds(&[door, upper, (a, "use crate::upper::f;")], "src/upper.rs");
    let logic = ("operators/src/p/mod.rs", "mod a;\nfn build() { a::decode() }");
    finds(&[logic, ("operators/src/p/a.rs", "use super::build;")], "operators/src/p/mod.rs");

    finds_none(&[door, upper, (a, "use std::fmt;"), (b, "use crate::room::a::A;")]);
    finds_none(&[door, (a, "// use crate::room::b;"), (b, "use super::A;")]);
    finds_none(&[(a, "use super::b;"), (b, "\n#[cfg(test)]\nmod tests { use super::super::a; }")]);
    finds_none(&[(a, "use super::b;"), (b, "fn f() {}"), ("src/room/b_tests.rs", "use super::{a, b};")]);
    finds_none(&[("src/a.rs", "use crate::b;"), ("operators/src/b.rs", "use crate::a;")]);
}
