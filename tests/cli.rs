//! The command line, by whole runs: what is printed where, and the exit code.
//!
//! `REWRITE=1 cargo test` rewrites the snapshots of `--help`; a person reads the difference.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Every subcommand, in the order of `headway --help`.
const COMMANDS: [&str; 2] = ["check", "completions"];

/// What a run of the program left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `headway` with `args` in `folder`, with nothing on its input and a plain environment.
pub(crate) fn headway(folder: &Path, args: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_headway"))
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A new empty folder, gone when the value is.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

fn snapshot(name: &str, text: &str) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "snapshots", name].iter().collect();
    if std::env::var_os("REWRITE").is_some() {
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder can be made");
        std::fs::write(&path, text).expect("the snapshot can be written");
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(known == text, "{name} has changed; if it should, run REWRITE=1 cargo test. It is now:\n{text}");
}

#[test]
fn help_is_as_it_was_read_and_approved() {
    let folder = folder();
    let run = headway(folder.path(), &["--help"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    snapshot("help.txt", &run.out);
    for command in COMMANDS {
        assert!(run.out.contains(&format!("\n  {command} ")), "{command} is not listed");
        let run = headway(folder.path(), &[command, "--help"]);
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{command}");
        snapshot(&format!("help_{command}.txt"), &run.out);
    }
}

#[test]
fn a_wrong_command_line_is_refused_with_2_and_nothing_on_standard_output() {
    let folder = folder();
    let cases: [(&[&str], &str); 13] = [
        (&[], "Usage: headway"),
        (&["chek"], "unrecognized subcommand 'chek'"),
        (&["check", "--windw", "5m"], "unexpected argument '--windw'"),
        (&["check"], "no pipeline was named"),
        (&["check", "turnstyle"], "Did you mean \"turnstile\"?"),
        (&["check", "turnstile"], "no source was named"),
        (&["check", "turnstile", "--source", "generate"], "no lake was named"),
        (&["check", "turnstile", "--source", "ftp:x", "--lake", "l"], "--source: \"ftp:x\" is no source"),
        (&["check", "turnstile", "--window", "5"], "\"5\" is not a duration: it needs a unit"),
        (&["check", "turnstile", "--slide", "6m"], "--slide: slide \"6m\" is longer than window \"5m\""),
        (&["check", "turnstile", "--window", "1500ms"], "--window: window \"1500ms\" is not a whole number"),
        (&["check", "turnstile", "--source", "generate:late=2", "--lake", "l"], "unfit value of \"late\""),
        (&["check", "turnstile", "--source", "generate:messages=none", "--until", "end"], "never ends"),
    ];
    for (args, words) in cases {
        let run = headway(folder.path(), args);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(run.err.contains(words), "{args:?} said:\n{}", run.err);
    }
}

#[test]
fn a_wrong_file_is_refused_by_line_and_column() {
    let folder = folder();
    let cases = [
        ("[window]\nsize = \"5m\"\nslyde = \"1m\"\n", "headway.toml:3:1: unknown key \"slyde\" in [window]"),
        ("[wndow]\n", "headway.toml:1:2: unknown section \"wndow\""),
        ("[window]\nsize = \"5 minutes\"\n", "headway.toml:2:8: \"5 minutes\" is not a duration"),
        ("[window]\nsize = \"5m\"\nslide = \"6m\"\n", "headway.toml:3:9: slide \"6m\" is longer than"),
        ("[job]\nworkers = 0\n", "headway.toml:2:11: 0 workers are not between"),
        ("[epoch]\nlength = \"1ms\"\n", "headway.toml:2:10: an epoch of 1ms is shorter than 50ms"),
        ("[window]\nzone = \"Mars\"\n", "headway.toml:2:8: there is no time zone \"Mars\""),
        ("[lake]\nuri = \"s3://b\"\n", "headway.toml:2:7: \"s3://b\" is no lake"),
    ];
    for (text, words) in cases {
        std::fs::write(folder.path().join("headway.toml"), text).expect("the file can be written");
        let run =
            headway(folder.path(), &["check", "-c", "headway.toml", "turnstile", "--source", "generate"]);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{text}");
        assert!(run.err.starts_with("error: ") && run.err.contains(words), "{text} said:\n{}", run.err);
        assert!(run.err.contains("\nhint: "), "{text} said:\n{}", run.err);
    }
    let run = headway(folder.path(), &["check", "-c", "absent.toml"]);
    assert_eq!(run.code, Some(3));
    assert!(run.err.starts_with("error: could not read configuration file \"absent.toml\""), "{}", run.err);
}

#[test]
fn completions_name_every_command() {
    let run = headway(folder().path(), &["completions", "bash"]);
    assert_eq!(run.code, Some(0));
    for command in COMMANDS {
        assert!(run.out.contains(command), "{command} is missing");
    }
}
