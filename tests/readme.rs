//! README is true: its commands run, its transcript is what the program prints, its links lead somewhere.

use crate::cli::{folder, headway};
use std::path::Path;

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(path).expect("README.md is there")
}

/// The code block that follows `marker`.
fn block(readme: &str, marker: &str) -> Vec<String> {
    let (_, rest) = readme.split_once(marker).unwrap_or_else(|| panic!("README.md lacks {marker}"));
    let lines = rest.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    lines.take_while(|line| !line.starts_with("```")).map(str::to_string).collect()
}

/// What stays the same from run to run: words, not numbers, nor how the program was called, nor which stations and which
/// reasons of dead letters lead.
fn shape(line: &str) -> String {
    let line = line.split_once("; dead: ").map_or(line, |(before, _)| before);
    // A fast machine has read all of it before its first commit.
    let line = &line.replace("; 1 commit,", "; 1 commits,");
    let number = |cell: &str| cell.chars().all(|c| c.is_ascii_digit() || c == ',');
    if line.starts_with("  ") && line.rsplit_once("  ").is_some_and(|(_, cell)| number(cell.trim())) {
        return "  a row of a table".to_string();
    }
    let words = line.split_whitespace().map(|word| {
        if word.ends_with("/headway") {
            return "headway".to_string();
        }
        let mut text = String::new();
        for c in word.chars().filter(|c| *c != ',' || !word.ends_with(|c: char| c.is_ascii_digit())) {
            let c = if c.is_ascii_digit() { '#' } else { c };
            if !(c == '#' && text.ends_with('#')) {
                text.push(c);
            }
        }
        text
    });
    // How many commits a run takes follows from its speed: one is as good as many.
    words.collect::<Vec<_>>().join(" ").replace("# commit,", "# commits,")
}

#[test]
fn transcript_of_the_demo_has_the_shape_of_a_run() {
    let transcript = block(&readme(), "<!-- transcript: demo -->");
    assert_eq!(transcript[0], "$ cargo run --release -- demo");
    let demo = headway(folder().path(), &["demo", "--messages", "20000"]);
    assert_eq!(demo.code, Some(0), "{demo:?}");
    let shapes = |lines: &mut dyn Iterator<Item = &str>| lines.map(shape).collect::<Vec<_>>().join("\n");
    let known = shapes(&mut transcript[1..].iter().map(String::as_str));
    assert_eq!(shapes(&mut demo.out.lines()), known, "the transcript in README.md is old:\n{}", demo.out);
}

#[test]
fn commands_run_one_after_the_other() {
    let folder = folder();
    let (jobs, music) =
        (block(&readme(), "<!-- run by a test -->"), block(&readme(), "<!-- run by a test: music -->"));
    assert!(jobs.len() >= 5 && music.len() >= 4, "{jobs:?} {music:?}");
    for command in jobs.into_iter().chain(music) {
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some("headway"), "{command}");
        let run = headway(folder.path(), &words.collect::<Vec<_>>());
        assert_eq!(run.code, Some(0), "{command}: {run:?}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn expectations_that_are_shown_hold() {
    let folder = folder();
    let rules = block(&readme(), "<!-- file of a test: expect.toml -->");
    std::fs::write(folder.path().join("expect.toml"), rules.join("\n")).expect("the file can be written");
    let commands = block(&readme(), "<!-- run by a test: expect -->");
    assert!(commands.len() >= 3, "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        let run = headway(folder.path(), &words);
        assert_eq!(run.code, Some(0), "{command}: {run:?}");
        if words[0] == "build" {
            assert_eq!(
                run.out.matches("  PASS  ").count() + run.out.matches("  WARN  ").count(),
                6,
                "{run:?}"
            );
        }
    }
}

#[test]
fn refusal_that_is_shown_is_what_is_said() {
    let folder = folder();
    let text = "[pipeline]\nwindow = \"5m\"\nslide = \"10m\"\n";
    std::fs::write(folder.path().join("headway.toml"), text).expect("the file can be written");
    let args = ["check", "-c", "headway.toml", "turnstile", "--source", "generate", "--lake", "lake"];
    let run = headway(folder.path(), &args);
    let shown = block(&readme(), "Every error has three parts");
    assert_eq!(run.err.lines().collect::<Vec<_>>(), shown);
}
