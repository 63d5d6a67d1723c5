//! Reads Rust sources as far as the rules in `architecture.rs` need: what is code, what is a comment, which paths
//! does a file name. Not a parser: it knows literals, comments and `use` trees, and keeps every line's number.

use std::path::Path;

/// A source file: its path relative to the repository, with `/`, and its text.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All files ending in `.{extension}` in `folders` below `root`, sorted by path.
pub(crate) fn sources(root: &Path, folders: &[&str], extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut todo: Vec<_> = folders.iter().map(|f| root.join(f)).filter(|f| f.is_dir()).collect();
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository can be listed") {
            let path = entry.expect("a folder of the repository can be listed").path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let relative = path.strip_prefix(root).expect("found below the root");
                found.push(Source {
                    path: relative.to_string_lossy().replace('\\', "/"),
                    text: std::fs::read_to_string(&path).expect("sources are UTF-8"),
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// What [`blank`] leaves standing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Code only: comments and the insides of literals become blanks.
    Code,
    /// Code and literals: only comments become blanks.
    CodeAndLiterals,
}

/// `text` with comments (and, as `keep` says, literals) replaced by blanks; line breaks stay where they are.
pub(crate) fn blank(text: &str, keep: Keep) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (end, literal) = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => (line_end(bytes, at), false),
            b'/' if bytes[at..].starts_with(b"/*") => (comment_end(bytes, at), false),
            b'"' => (string_end(bytes, at), true),
            b'r' if !in_word(bytes, at) && raw_end(bytes, at).is_some() => {
                (raw_end(bytes, at).expect("just seen"), true)
            }
            b'\'' => (char_end(bytes, at), true),
            _ => (at + 1, true),
        };
        let blanks = end - at > 1 && (!literal || keep == Keep::Code);
        if blanks {
            for byte in &mut out[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole literals and comments were replaced by ASCII blanks")
}

fn in_word(bytes: &[u8], at: usize) -> bool {
    let is_word =
        |n: usize| at.checked_sub(n).is_some_and(|i| bytes[i].is_ascii_alphanumeric() || bytes[i] == b'_');
    // `br"…"` is a literal, `for` is a word.
    let prefix = at > 0 && matches!(bytes[at - 1], b'b' | b'c') && !is_word(2);
    is_word(1) && !prefix
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| at + n)
}

fn comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

fn raw_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(at + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let body = at + 2 + hashes;
    let found = bytes[body..].windows(close.len()).position(|w| w == close);
    Some(found.map_or(bytes.len(), |n| body + n + close.len()))
}

fn char_end(bytes: &[u8], at: usize) -> usize {
    // A lifetime has no closing quote: `'a` ends where it begins.
    let end = match bytes.get(at + 1) {
        Some(b'\\') => bytes[at + 3..].iter().position(|b| *b == b'\'').map(|n| at + 4 + n),
        Some(_) => {
            let next = at + 1 + bytes[at + 1..].iter().skip(1).take_while(|b| **b & 0xC0 == 0x80).count() + 1;
            (bytes.get(next) == Some(&b'\'')).then_some(next + 1)
        }
        None => None,
    };
    end.unwrap_or(at + 1)
}

/// `text` without what follows `#[cfg(test)]` before a module: by our convention tests come last in a file.
pub(crate) fn without_tests(text: &str) -> &str {
    let marks = ["\n#[cfg(test)]\nmod ", "\n#[cfg(test)]\npub(crate) mod "];
    let at = marks.iter().filter_map(|mark| text.find(mark)).min();
    at.map_or(text, |at| &text[..at])
}

/// Every path that blanked code names, with its line; trees like `a::{b, c::d}` are taken apart.
pub(crate) fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at].1) {
            at = path_at(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// The module of a crate that the file at `path` is, as names below the crate's root: `["engine", "run", "feed"]`.
pub(crate) fn module(path: &str) -> Vec<String> {
    let below = path.split_once("src/").map_or(path, |(_, below)| below).trim_end_matches(".rs");
    let names = below.split('/').filter(|name| !["mod", "lib"].contains(name));
    names.map(ToString::to_string).collect()
}

/// `path` as the file at `file` says it, from the root of its crate; `None` if it leads out of the crate, or may. Of a path in
/// an inline module, `super` is taken to lead out of the file.
pub(crate) fn absolute(file: &str, path: &[String]) -> Option<Vec<String>> {
    let mut base = module(file);
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|word| word == "super") {
                base.pop()?;
                rest = &rest[1..];
            }
        }
        _ => return None,
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

fn path_at(
    tokens: &[(usize, String)],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let line = tokens[at].0;
    let mut path = prefix.to_vec();
    path.push(tokens[at].1.clone());
    at += 1;
    while tokens.get(at).is_some_and(|t| t.1 == "::") {
        match tokens.get(at + 1) {
            Some((_, word)) if is_word(word) => {
                path.push(word.clone());
                at += 2;
            }
            Some((_, brace)) if brace == "{" => {
                at += 2;
                while at < tokens.len() && tokens[at].1 != "}" {
                    at = if is_word(&tokens[at].1) { path_at(tokens, at, &path, found) } else { at + 1 };
                    // `as name` renames; it names nothing more.
                    if tokens.get(at).is_some_and(|t| t.1 == "as") {
                        at += 2;
                    }
                }
                return at + 1;
            }
            _ => break,
        }
    }
    found.push((line, path));
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (n, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let end = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            found.push((n + 1, rest[..end].to_string()));
            rest = rest[end..].trim_start();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        let text = "let a = \"x // y\"; // z\nlet b = r#\"todo!(\" \"#; /* a /* b */ c */ let c = '\"'; let d: &'a str;";
        let code = blank(text, Keep::Code);
        assert_eq!(code.len(), text.len());
        for gone in ["x", "y", "z", "todo", "b */"] {
            assert!(!code.contains(gone), "{gone} is still in {code}");
        }
        for kept in ["let a =", "let b =", "let c =", "let d: &'a str;"] {
            assert!(code.contains(kept), "{kept} is gone from {code}");
        }
        let literals = blank(text, Keep::CodeAndLiterals);
        assert!(literals.contains("x // y") && literals.contains("todo!(") && !literals.contains('z'));
    }

    #[test]
    fn escapes_do_not_end_a_literal() {
        let code = blank(r#"f("\"", '\'', '\u{1F600}', 'é', b'\\'); g()"#, Keep::Code);
        assert!(code.contains("g()") && code.starts_with("f("), "{code}");
    }

    #[test]
    fn use_trees_are_taken_apart() {
        let code = "use std::{fs as files, time::{Duration, Instant}};\nuse crate::engine;\ncrate::cli::run::<u8>();";
        let paths: Vec<String> =
            paths(code).into_iter().map(|(n, p)| format!("{n} {}", p.join("::"))).collect();
        for path in [
            "1 std::fs",
            "1 std::time::Duration",
            "1 std::time::Instant",
            "2 crate::engine",
            "3 crate::cli::run",
        ] {
            assert!(paths.iter().any(|p| p == path), "{path} is not in {paths:?}");
        }
    }

    #[test]
    fn paths_are_followed_from_the_root() {
        let absolute = |file: &str, path: &str| {
            let path: Vec<String> = path.split("::").map(ToString::to_string).collect();
            absolute(file, &path).map(|path| path.join("::"))
        };
        assert_eq!(
            absolute("src/engine/run/feed.rs", "crate::connect::Event").as_deref(),
            Some("connect::Event")
        );
        assert_eq!(
            absolute("src/engine/run/feed.rs", "super::ports::A").as_deref(),
            Some("engine::run::ports::A")
        );
        assert_eq!(absolute("src/engine/run/mod.rs", "super::super::store").as_deref(), Some("store"));
        assert_eq!(absolute("operators/src/lib.rs", "self::time").as_deref(), Some("time"));
        assert_eq!(absolute("src/lib.rs", "super::a"), None);
        assert_eq!(absolute("src/a.rs", "std::fs"), None);
    }

    #[test]
    fn tests_at_the_end_of_a_file_are_cut_off() {
        assert_eq!(without_tests("a\n\n#[cfg(test)]\nmod tests {\n}"), "a\n");
        assert_eq!(without_tests("a\n\n#[cfg(test)]\npub(crate) mod tests {\n}"), "a\n");
        assert_eq!(without_tests("a\n#[cfg(test)]\nfn b() {}"), "a\n#[cfg(test)]\nfn b() {}");
    }
}
