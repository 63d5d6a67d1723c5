//! The command line, by whole runs: what is printed where, and the exit code.
//!
//! `REWRITE=1 cargo test` rewrites the snapshots of `--help`; a person reads the difference.

use crate::process::signal;
use rustix::process::Signal;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Every subcommand, in the order of `headway --help`.
const COMMANDS: [&str; 21] = [
    "demo",
    "run",
    "cluster",
    "rescale",
    "check",
    "produce",
    "status",
    "audit",
    "checkpoint",
    "dead",
    "state",
    "late",
    "lake",
    "backup",
    "views",
    "build",
    "init",
    "new",
    "explain",
    "completions",
    "man",
];

/// What a run of the program left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Demands that a run has ended well.
pub(crate) fn succeeds(run: &Run) {
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
}

/// Runs `headway` with `args` in `folder`, with nothing on its input and a plain environment.
pub(crate) fn headway(folder: &Path, args: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_headway"))
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .env_remove("COLUMNS")
        // The twin of a flag, and of some tests.
        .env_remove("HEADWAY_SEED")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Starts the program in `at` with `args`, and kills it once there are `count` files in the folder `manifests`, or it has ended.
pub(crate) fn killed_after(at: &Path, args: &[&str], manifests: &Path, count: usize) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_headway"))
        .args(args)
        .current_dir(at)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    while child.try_wait().expect("it can be asked").is_none() && files_in(manifests) < count {
        std::thread::yield_now();
    }
    child.kill().expect("it can be killed, or has ended");
    child.wait().expect("it has ended");
}

/// How many files a folder holds that may not be there.
pub(crate) fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
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

/// The commands that a help text lists, without `help` itself.
fn listed(help: &str) -> Vec<&str> {
    let commands = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    let lines = commands.lines().take_while(|line| !line.is_empty());
    // A text that is longer than a line goes on further to the right.
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

#[test]
fn help_is_as_it_was_read_and_approved() {
    let folder = folder();
    let run = headway(folder.path(), &["--help"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    snapshot("help.txt", &run.out);
    assert_eq!(listed(&run.out), COMMANDS);
    for command in COMMANDS {
        let run = headway(folder.path(), &[command, "--help"]);
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{command}");
        snapshot(&format!("help_{command}.txt"), &run.out);
        for second in listed(&run.out) {
            let run = headway(folder.path(), &[command, second, "--help"]);
            assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{command} {second}");
            snapshot(&format!("help_{command}_{second}.txt"), &run.out);
        }
    }
}

#[test]
fn a_wrong_command_line_is_refused_with_2_and_nothing_on_standard_output() {
    let folder = folder();
    let cases: [(&[&str], &str); 18] = [
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
        (&["check", "turnstile", "--window", "1500ms"], "--window: window \"1s500ms\" is not a whole number"),
        (&["check", "turnstile", "--source", "generate:late=2", "--lake", "l"], "unfit value of \"late\""),
        (&["check", "turnstile", "--source", "generate:messages=none", "--until", "end"], "never ends"),
        (&["produce", "turnstile", "--to", "kafka"], "--to kafka is not kafka:"),
        (&["produce", "turnstile", "--to", "kafka:trips"], "--to kafka:trips is not kafka:"),
        (
            &["produce", "turnstile", "--to", "kafka:", "--envelope"],
            "--envelope does not go with --to kafka:",
        ),
        (
            &["produce", "turnstile", "--to", "m", "--kafka-config", "c"],
            "--kafka-config does not go with --to m",
        ),
        (&["produce", "turnstile", "--to", "m", "--topic", "t"], "--topic does not go with --to m"),
    ];
    for (args, words) in cases {
        let run = headway(folder.path(), args);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(run.err.contains(words), "{args:?} said:\n{}", run.err);
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0, "nothing was written");
}

#[test]
fn a_wrong_file_is_refused_by_line_and_column() {
    let folder = folder();
    let cases = [
        (
            "[pipeline]\nwindow = \"5m\"\nslyde = \"1m\"\n",
            "headway.toml:3:1: pipeline \"turnstile\" has no setting \"slyde\"",
        ),
        ("[wndow]\n", "headway.toml:1:2: unknown section \"wndow\""),
        ("[pipeline]\nwindow = \"5 minutes\"\n", "headway.toml:2:10: \"5 minutes\" is not a duration"),
        ("[pipeline]\nwindow = \"5m\"\nslide = \"6m\"\n", "headway.toml:3:9: slide \"6m\" is longer than"),
        ("[job]\nworkers = 0\n", "headway.toml:2:11: 0 workers are not between"),
        ("[epoch]\nlength = \"1ms\"\n", "headway.toml:2:10: an epoch of 1ms is shorter than 50ms"),
        ("[pipeline]\nzone = \"Mars\"\n", "headway.toml:2:8: there is no time zone \"Mars\""),
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
    assert_eq!(run.code, Some(2));
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

#[test]
fn every_command_has_a_man_page_that_names_its_flags() {
    let folder = folder();
    let run = headway(folder.path(), &["man", "man1"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    let page = |name: &str| {
        std::fs::read_to_string(folder.path().join(format!("man1/{name}.1"))).expect("it was written")
    };
    let of_all = page("headway");
    for command in COMMANDS {
        let own = page(&format!("headway-{command}"));
        assert!(of_all.contains(&format!("headway\\-{command}(1)")), "{command} is not listed");
        assert!(own.contains(".SH SYNOPSIS"), "{command}: {own}");
    }
    let run = page("headway-run");
    assert!(run.contains("idle\\-after") && run.contains(".SH OPTIONS"), "{run}");
    assert!(page("headway-views-show").contains(".SH SYNOPSIS"), "commands of commands have pages, too");
}

/// A job of a few windows that ends by itself: every run of it reads the same messages.
const SMALL: [&str; 7] =
    ["turnstile", "--source", "generate:messages=20000,rate=20,bad=1%", "--lateness", "1m", "--lake", "lake"];

fn with<'a>(command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[command], SMALL.as_slice(), more].concat()
}

#[test]
fn a_run_commits_rows_and_status_tells_where_it_stands() {
    let folder = folder();
    let checked = headway(folder.path(), &with("check", &[]));
    assert_eq!((checked.code, checked.err.as_str()), (Some(0), ""), "{checked:?}");
    assert!(checked.out.contains("4 partitions, 20,000 messages"), "{}", checked.out);
    assert!(!folder.path().join("lake").exists(), "check leaves nothing behind");

    let run = headway(folder.path(), &with("run", &["-w", "2", "-o", "json"]));
    assert_eq!(run.code, Some(0), "{run:?}");
    let summary: serde_json::Value = serde_json::from_str(&run.out).expect("the summary is JSON");
    assert!(summary["rows"].as_u64() > Some(1_000), "{summary}");

    let status = headway(folder.path(), &["status", "--lake", "lake", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status.out).expect("the status is JSON");
    let input = &status["inputs"][0];
    assert_eq!(input["ended"], true);
    let sum = |of: &str| -> u64 {
        let partitions = input["partitions"].as_array().expect("partitions are a list");
        partitions.iter().map(|part| part[of].as_u64().expect("a count")).sum()
    };
    assert_eq!(sum("consumed"), 20_000);
    assert!(sum("accepted") + sum("duplicate") + sum("late") < 20_000, "some are dead");
    let text = headway(folder.path(), &["status", "--lake", "lake"]);
    assert!(text.out.contains("PARTITION") && text.out.contains("ended"), "{}", text.out);

    let listed = headway(folder.path(), &["checkpoint", "ls", "--lake", "lake"]);
    assert!(listed.out.lines().count() >= 3 && listed.out.contains("start"), "{}", listed.out);
    let shown = headway(folder.path(), &["checkpoint", "show", "1", "--lake", "lake"]);
    assert!(shown.out.starts_with("Manifest 1 of job turnstile: run 1 committed epoch"), "{}", shown.out);
    assert_eq!(headway(folder.path(), &["checkpoint", "show", "9999", "--lake", "lake"]).code, Some(2));

    let audit = headway(folder.path(), &["audit", "--lake", "lake", "--deep"]);
    assert_eq!(audit.code, Some(0), "{audit:?}");
    assert!(audit.out.contains("records    20,000: offsets tile"), "{}", audit.out);
    assert_eq!(headway(folder.path(), &["checkpoint", "verify", "--lake", "lake"]).out, audit.out);

    let litter = folder.path().join("lake/turnstile/.tmp-1-2-3");
    std::fs::write(&litter, "left by a killed start").expect("the lake can be written to");
    let pruned = headway(folder.path(), &["checkpoint", "prune", "--lake", "lake", "--keep", "2"]);
    assert_eq!(pruned.code, Some(0), "{pruned:?}");
    assert_eq!(pruned.out, "folded 0 commits, removed 1 file that nothing names\n");
    assert!(!litter.exists());
    assert_eq!(headway(folder.path(), &["checkpoint", "verify", "--lake", "lake"]).out, audit.out);
    assert_eq!(
        headway(folder.path(), &["checkpoint", "prune", "--lake", "lake", "--keep", "1"]).code,
        Some(2)
    );

    let dead = headway(folder.path(), &["dead", "ls", "--lake", "lake", "-o", "json"]);
    let dead: serde_json::Value = serde_json::from_str(&dead.out).expect("the counts are JSON");
    let bad = headway(folder.path(), &["dead", "show", "--lake", "lake", "--reason", "bad-number"]);
    assert_eq!(dead["dead"]["bad-number"].as_u64(), Some(bad.out.lines().count() as u64), "{}", bad.out);
    let late = headway(folder.path(), &["dead", "show", "--lake", "lake", "--late"]);
    assert_eq!(dead["late"].as_u64(), Some(late.out.lines().count() as u64), "{}", late.out);

    let again = headway(folder.path(), &with("run", &["-o", "json"]));
    let again: serde_json::Value = serde_json::from_str(&again.out).expect("the summary is JSON");
    assert_eq!((again["rows"].as_u64(), again["generation"].as_u64()), (Some(0), Some(2)), "{again}");
}

#[test]
fn audit_names_a_file_that_was_changed() {
    let folder = folder();
    assert_eq!(headway(folder.path(), &with("run", &[])).code, Some(0));
    let rows = folder.path().join("lake/turnstile");
    let file = std::fs::read_dir(&rows).expect("there are rows").next().expect("there is a file");
    let name = file.expect("it can be listed").path();
    let mut bytes = std::fs::read(&name).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&name, bytes).expect("it can be written");
    assert_eq!(headway(folder.path(), &["audit", "--lake", "lake"]).code, Some(0), "its size is the same");
    let deep = headway(folder.path(), &["audit", "--lake", "lake", "--deep"]);
    assert_eq!(deep.code, Some(1), "{deep:?}");
    let name = name.file_name().expect("it has a name").to_string_lossy().into_owned();
    assert!(deep.err.contains(&name), "{deep:?}");
    std::fs::remove_dir_all(folder.path().join("lake/_headway/prefix")).expect("claims are there");
    let unclaimed = headway(folder.path(), &["audit", "--lake", "lake"]);
    assert_eq!(unclaimed.code, Some(1), "{unclaimed:?}");
    assert!(unclaimed.err.contains("where the job has no claim"), "{unclaimed:?}");
}

#[test]
fn start_that_cannot_read_the_state_takes_nothing_over() {
    let folder = folder();
    assert_eq!(headway(folder.path(), &with("run", &["--until", "caught-up"])).code, Some(0));
    let manifests = || {
        let listed = std::fs::read_dir(folder.path().join("lake/_headway/turnstile/manifest"));
        listed.expect("there are manifests").count()
    };
    let before = manifests();
    let mut states = vec![folder.path().join("lake/_headway/turnstile/state")];
    while let Some(path) = states.pop().filter(|path| path.is_dir()) {
        let entries =
            std::fs::read_dir(&path).expect("it can be listed").map(|entry| entry.expect("an entry").path());
        states.extend(entries);
        if let Some(file) = states.iter().find(|path| path.is_file()) {
            std::fs::write(file, "no state").expect("it can be written");
            break;
        }
    }
    for command in ["check", "run"] {
        let refused = headway(folder.path(), &with(command, &["--until", "caught-up"]));
        assert_eq!(refused.code, Some(5), "{refused:?}");
    }
    assert_eq!(manifests(), before);
}

#[test]
fn check_and_run_refuse_alike() {
    let folder = folder();
    let first = headway(folder.path(), &with("run", &[]));
    assert_eq!(first.code, Some(0), "{first:?}");
    std::fs::write(folder.path().join("file"), "").expect("a file can be written");
    std::fs::create_dir(folder.path().join("empty")).expect("a folder can be made");
    // Not even root can read a link to itself.
    std::os::unix::fs::symlink("loop.csv", folder.path().join("loop.csv")).expect("a link can be made");
    std::fs::write(folder.path().join("torn.csv"), b"\x1f\x8b and no more").expect("a file can be written");
    let cases: [(&[&str], i32, &str); 18] = [
        (&["--window", "1m"], 4, "was made with --slide 5m, not 1m; --window 5m, not 1m ("),
        (&["--zone", "Asia/Tokyo"], 4, "hint: Go on with --zone UTC,"),
        (&["--csv-index=true"], 4, "--csv-index false, not true"),
        (&["--csv-window-end-utc=true"], 4, "Go on with --csv-window-end-utc=false"),
        (&["--lateness", "-5s"], 2, "\"-5s\" is not a duration"),
        (&["--source", "files:torn.csv"], 3, "hint: It is not whole"),
        (&["--job", "other"], 4, "belongs to job \"turnstile\""),
        (&["--source", "files:absent"], 3, "could not read \"absent\""),
        (&["--source", "files:loop.csv"], 3, "could not read \"loop.csv\""),
        (&["--source", "files:lake/turnstile"], 4, "was made with"),
        (&["--source", "files:empty"], 2, "the folder holds no files"),
        (&["--source", "kafka:"], 2, "Kafka needs a file with the client"),
        (&["--kafka-config", "absent", "--source", "kafka:"], 3, "could not read \"absent\""),
        (&["--lake", "file"], 3, "could not create"),
        (&["--lake", "/proc/lake"], 3, "could not create"),
        (&["--listen", "somewhere"], 2, "\"somewhere\" is no address"),
        (&["--listen", "0.0.0.0:7070"], 2, "can be reached from other machines, and no token is set"),
        (&["--listen", "7070", "--listen-token-file", "absent"], 2, "\"absent\" cannot be read"),
    ];
    for (more, code, words) in cases {
        // A flag that is there already takes the new value.
        let replaced = |command| {
            let mut args = with(command, &[]);
            for pair in more.chunks(2) {
                match args.iter().position(|arg| *arg == pair[0]) {
                    Some(at) => args[at + 1] = pair[1],
                    None => args.extend(pair),
                }
            }
            headway(folder.path(), &args)
        };
        let (checked, run) = (replaced("check"), replaced("run"));
        assert_eq!((checked.code, run.code), (Some(code), Some(code)), "{more:?}: {checked:?} {run:?}");
        assert!(checked.err.contains(words), "{more:?}: {}", checked.err);
        assert_eq!(checked.err, run.err, "{more:?}");
    }
    let refused =
        headway(folder.path(), &["run", "turnstile", "--source", "files:empty", "--lake", "new/lake"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(!folder.path().join("new").exists(), "a job that is refused leaves nothing behind");
}

#[test]
fn files_that_were_changed_or_cut_are_refused_before_anything_changes() {
    let folder = folder();
    let write = |text: &str| std::fs::write(folder.path().join("in.csv"), text).expect("it can be written");
    let line = |id: u32| format!("A002,R051,02-00-00,59 ST,NQ,BMT,,,REGULAR,6,7,{id},2024-01-30 12:32:04\n");
    let lines = |ids: std::ops::Range<u32>| ids.map(line).collect::<String>();
    let job = ["turnstile", "--source", "files:in.csv", "--lake", "lake", "--until", "caught-up"];
    let go = |command| headway(folder.path(), &[&[command], job.as_slice()].concat());
    write(&lines(0..200));
    assert_eq!(go("run").code, Some(0));
    let before = headway(folder.path(), &["status", "--lake", "lake", "-o", "json"]).out;
    for (text, why) in [
        (lines(0..150) + &lines(300..400), "changed in what was read"),
        (lines(0..199), "which ends at 199, before 200"),
    ] {
        write(&text);
        for command in ["check", "run"] {
            let refused = go(command);
            assert_eq!(refused.code, Some(4), "{refused:?}");
            assert!(refused.err.contains(why) && refused.err.contains("hint: "), "{refused:?}");
        }
    }
    let head = |status: &str| {
        let status: serde_json::Value = serde_json::from_str(status).expect("JSON");
        (status["seq"].clone(), status["epoch"].clone(), status["generation"].clone())
    };
    let after = headway(folder.path(), &["status", "--lake", "lake", "-o", "json"]).out;
    assert_eq!(head(&after), head(&before));
    assert!(head(&after).0.is_u64(), "{after}");
    write(&lines(0..300));
    assert_eq!(go("run").code, Some(0), "a file that grew is the same");
}

#[test]
fn a_folder_of_the_lake_that_leads_elsewhere_is_refused() {
    let (folder, other) = (self::folder(), self::folder());
    std::fs::create_dir(folder.path().join("lake")).expect("a folder can be made");
    std::os::unix::fs::symlink(other.path(), folder.path().join("lake/turnstile"))
        .expect("a link can be made");
    for command in ["check", "run"] {
        let refused = headway(folder.path(), &with(command, &[]));
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains("turnstile\" is a symbolic link"), "{refused:?}");
        assert!(refused.err.contains("\nhint: "), "{refused:?}");
    }
    assert_eq!(
        std::fs::read_dir(other.path()).expect("it can be listed").count(),
        0,
        "nothing is left there"
    );
}

#[test]
fn demo_ends_by_itself_with_its_sums_checked() {
    let folder = folder();
    for (pipeline, title) in [("turnstile", "busiest stations"), ("music", "songs played most")] {
        let demo = headway(folder.path(), &["demo", pipeline, "--messages", "10000"]);
        assert_eq!(demo.code, Some(0), "{demo:?}");
        let lines = |words: &str| demo.out.lines().filter(|line| line.contains(words)).count();
        assert_eq!(lines("checked: each message has one fate, and "), 1, "{}", demo.out);
        assert_eq!(lines(title), 1, "{}", demo.out);
        assert_eq!((lines("done: "), lines(" records: ")), (1, 1), "{}", demo.out);
        let jobs = std::fs::read_dir(folder.path().join("headway-demo/lake/_headway")).expect("a lake");
        let jobs: Vec<_> = jobs.map(|job| job.expect("a folder can be listed").file_name()).collect();
        assert!(jobs.contains(&pipeline.into()), "the demo starts over: {jobs:?}");
        let others = jobs.iter().filter(|job| **job == "turnstile" || **job == "music").count();
        assert_eq!(others, 1, "the demo starts over: {jobs:?}");
    }
    std::fs::create_dir(folder.path().join("mine")).expect("a folder can be made");
    std::fs::write(folder.path().join("mine/letter"), "dear").expect("a file can be written");
    let refused = headway(folder.path(), &["demo", "--folder", "mine"]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
    assert!(folder.path().join("mine/letter").exists());
}

#[test]
fn what_produce_writes_is_what_generate_reads() {
    let folder = folder();
    let rows = |source: &str, lake: &str| -> (u64, Vec<String>) {
        let args = ["run", "turnstile", "--source", source, "--lake", lake, "--lateness", "1m", "-o", "json"];
        let run = headway(folder.path(), &args);
        assert_eq!(run.code, Some(0), "{run:?}");
        let summary: serde_json::Value = serde_json::from_str(&run.out).expect("the summary is JSON");
        let status = headway(folder.path(), &["status", "--lake", lake, "-o", "json"]);
        let status: serde_json::Value = serde_json::from_str(&status.out).expect("the status is JSON");
        let partitions = status["inputs"][0]["partitions"].as_array().expect("partitions are a list");
        let fates = partitions.iter().map(|part| {
            // Which of two equal messages in two partitions is the repeat depends on which came first.
            let kept = part["accepted"].as_u64().zip(part["duplicate"].as_u64()).map(|(a, d)| a + d);
            format!("{} {kept:?} {} {}", part["consumed"], part["late"], part["dead"])
        });
        (summary["rows"].as_u64().expect("a count"), fates.collect())
    };
    let messages = ["--messages", "5000", "--rate", "10", "--seed", "3"];
    let produced = headway(
        folder.path(),
        &[&["produce", "turnstile", "--to", "m", "--envelope"], messages.as_slice()].concat(),
    );
    assert_eq!((produced.code, produced.out.as_str()), (Some(0), ""), "{produced:?}");
    let generated = rows("generate:messages=5000,rate=10,seed=3", "a");
    assert_eq!(rows("files:m", "b"), generated);

    let lines =
        headway(folder.path(), &[&["produce", "turnstile", "--to", "-"], messages.as_slice()].concat());
    assert_eq!((lines.code, lines.out.lines().count()), (Some(0), 5000));
    let endless = headway(folder.path(), &["produce", "turnstile", "--to", "x", "--messages", "none"]);
    assert_eq!(endless.code, Some(2), "{endless:?}");
}

#[test]
fn first_signal_drains_the_job() {
    let folder = folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_headway"))
        .args([
            "run",
            "turnstile",
            "--source",
            "generate:messages=none",
            "--lake",
            "lake",
            "-v",
            "-o",
            "json",
        ])
        .args(["--epoch", "50ms", "--epoch-bytes", "64KiB"])
        .current_dir(folder.path())
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let log = std::io::BufReader::new(child.stderr.take().expect("standard error is piped"));
    let mut lines = log.lines().map(|line| line.expect("the log is UTF-8"));
    assert!(lines.any(|line| line.contains("committed")), "it ended before its first commit");
    signal(&child, Signal::TERM);
    assert!(lines.any(|line| line.contains("draining")), "it does not say that it drains");
    lines.for_each(drop);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the summary is JSON");
    assert_eq!(summary["drained"], true, "{summary}");
    assert!(summary["commits"].as_u64() >= Some(1), "{summary}");
}

#[test]
fn file_that_init_writes_is_accepted_once_source_and_lake_are_filled_in() {
    let folder = folder();
    let at = folder.path();
    let wrote = headway(at, &["init", "turnstile"]);
    assert!(wrote.code == Some(0) && wrote.out.starts_with("wrote headway.toml"), "{wrote:?}");
    let text = std::fs::read_to_string(at.join("headway.toml")).expect("it was written");
    assert!(headway(at, &["check", "-c", "headway.toml"]).code == Some(2), "nothing is filled in");
    let again = headway(at, &["init"]);
    assert!(again.code == Some(2) && again.err.contains("(file-taken)"), "{again:?}");
    assert_eq!(std::fs::read_to_string(at.join("headway.toml")).expect("it is there"), text);
    let filled = text.replacen("uri = \"\"", "uri = \"generate:messages=100\"", 1);
    let filled = filled.replacen("uri = \"\"", "uri = \"lake\"", 1);
    std::fs::write(at.join("headway.toml"), filled).expect("it can be written");
    for command in ["check", "run"] {
        let run = headway(at, &[command, "-c", "headway.toml"]);
        assert_eq!(run.code, Some(0), "{run:?}");
    }
    let unknown = headway(at, &["init", "turnstyle", "--to", "other.toml"]);
    assert!(unknown.code == Some(2) && unknown.err.contains("Did you mean \"turnstile\"?"), "{unknown:?}");
    assert!(!at.join("other.toml").exists());
}

#[test]
fn paths_in_a_file_are_relative_to_the_file_wherever_the_command_runs() {
    let folder = folder();
    let at = folder.path();
    crate::process::write(at, "etc/in/a.csv", &crate::process::lines("a", 0, 50));
    let text = "[job]\npipeline = \"turnstile\"\n[source]\nuri = \"files:in\"\n[lake]\nuri = \"../lake\"\n";
    crate::process::write(at, "etc/headway.toml", text);
    let run = headway(at, &["run", "-c", "etc/headway.toml"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(at.join("lake/_headway").exists(), "the lake lies beside the folder of the file");
    // From there it is the same job, which has nothing left to do; a flag is a path from where the command runs.
    let again = headway(&at.join("etc"), &["run", "-c", "headway.toml", "-o", "json"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    for (from, file) in [(at.to_path_buf(), "etc/headway.toml"), (at.join("etc"), "headway.toml")] {
        let status = headway(&from, &["status", "-c", file, "-o", "json"]);
        let status: serde_json::Value = serde_json::from_str(&status.out).expect("the status is JSON");
        assert_eq!(
            (&status["generation"], &status["inputs"][0]["total"]["consumed"]),
            (&2.into(), &50.into()),
            "{status}"
        );
    }
    let flag = headway(at, &["check", "-c", "etc/headway.toml", "--source", "files:in"]);
    assert!(flag.code != Some(0) && flag.err.contains("\"in\""), "{flag:?}");
}
