//! The process at its edges: a log that nobody reads, signals that come twice, paths that a shell would have replaced,
//! and data that a terminal would obey.

use crate::cli::{Run, folder, headway};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Messages of one turnstile, ten seconds apart, whose IDs begin with `id`.
pub(crate) fn lines(id: &str, from_s: u32, count: u32) -> String {
    let line = |n: u32| {
        let at = from_s + n * 10;
        let (hour, minute, second) = (10 + at / 3600, at / 60 % 60, at % 60);
        format!(
            "A002,R051,02-00-00,59 ST,NQR456W,BMT,01-30-24,{hour}:{minute:02}:{second:02},REGULAR,1,2,{id}{n},\
             2024-01-30 {hour}:{minute:02}:{second:02}\n"
        )
    };
    (0..count).map(line).collect()
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder can be made");
    std::fs::write(path, text).expect("the file can be written");
}

/// The program with `args` in `folder`, and nothing of the surroundings but what is given.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headway"));
    command.args(args).current_dir(folder).env_clear().env("HOME", folder.join("home")).stdin(Stdio::null());
    command
}

pub(crate) fn finished(command: &mut Command) -> Run {
    let output = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// How many records the job in `lake` has read, once it has begun.
pub(crate) fn read(folder: &Path) -> Option<u64> {
    let status = headway(folder, &["status", "--lake", "lake", "-o", "json"]);
    let status: Value = serde_json::from_str(&status.out).ok()?;
    let partitions = status["inputs"][0]["partitions"].as_array()?.clone();
    Some(partitions.iter().filter_map(|part| part["consumed"].as_u64()).sum())
}

/// Sends a signal to a process that was not yet waited for.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process has a number");
    kill_process(pid, signal).expect("it is our child");
}

pub(crate) const FOLLOW: [&str; 7] =
    ["run", "turnstile", "--source", "files:in", "--follow", "--lake", "lake"];

#[test]
fn job_goes_on_when_the_reader_of_its_log_is_gone() {
    let folder = folder();
    write(folder.path(), "in/a.csv", &lines("a", 0, 50));
    let mut child = command(folder.path(), &[FOLLOW.as_slice(), &["-v", "--epoch", "50ms"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut log = BufReader::new(child.stderr.take().expect("standard error is piped"));
    assert!(log.read_line(&mut String::new()).expect("the log is UTF-8") > 0, "it says that it starts");
    drop(log);
    while read(folder.path()) != Some(50) {}
    // From here on each commit writes a line that nobody can read.
    write(folder.path(), "in/b.csv", &lines("b", 500, 50));
    while read(folder.path()) != Some(100) {
        assert_eq!(child.try_wait().expect("it is our child"), None, "it ended");
    }
    signal(&child, Signal::TERM);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("drained"), "{output:?}");
}

#[test]
fn job_ends_though_the_reader_of_its_log_does_not_read() {
    let folder = folder();
    write(folder.path(), "in/a.csv", &lines("a", 0, 50));
    let pipe = folder.path().join("log");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there").success());
    // The pipe is open and full, and nobody empties it.
    let open = |flags| {
        std::fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(&pipe).expect("it opens")
    };
    let nonblock = 0o4000;
    let mut full = open(nonblock);
    while full.write(&[b'x'; 4096]).is_ok() {}
    let began = std::time::Instant::now();
    for (name, code) in [("in", 0), ("absent", 3)] {
        let (source, lake) = (format!("files:{name}"), format!("lake-{name}"));
        let args = ["run", "turnstile", "-vv", "--source", &source, "--lake", &lake, "--until", "end"];
        let mut child = command(folder.path(), &args);
        let mut child = child.stderr(open(0)).stdout(Stdio::null()).spawn().expect("the program starts");
        assert_eq!(child.wait().expect("it ends").code(), Some(code), "{name}");
    }
    assert!(began.elapsed().as_secs() < 60, "it took {:?}", began.elapsed());
}

#[test]
fn full_disk_under_the_log_ends_no_job() {
    let folder = folder();
    write(folder.path(), "in.csv", &lines("a", 0, 50));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("this system has /dev/full");
    let run =
        command(folder.path(), &["run", "turnstile", "--source", "files:in.csv", "--lake", "lake", "-vv"])
            .stderr(full)
            .output()
            .expect("the program starts");
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(read(folder.path()), Some(50));
}

#[test]
fn demo_does_its_work_though_nobody_reads_its_story() {
    let folder = folder();
    let mut child = command(folder.path(), &["demo", "turnstile", "--messages", "20000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let audit = headway(folder.path(), &["audit", "--lake", "headway-demo/lake"]);
    assert!(audit.out.contains("records    20,000"), "{audit:?}");
}

#[test]
fn audit_fails_though_nobody_reads_its_answer() {
    let folder = folder();
    write(folder.path(), "in.csv", &lines("a", 0, 50));
    let job = ["run", "turnstile", "--source", "files:in.csv", "--lake", "lake"];
    assert_eq!(headway(folder.path(), &job).code, Some(0));
    std::fs::remove_dir_all(folder.path().join("lake/turnstile")).expect("there are rows");
    let mut child = command(folder.path(), &["audit", "--lake", "lake"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}

#[test]
fn stop_that_arrives_twice_is_one_stop() {
    for signals in [[Signal::TERM, Signal::TERM], [Signal::INT, Signal::INT], [Signal::INT, Signal::TERM]] {
        let folder = folder();
        write(folder.path(), "in/a.csv", &lines("a", 0, 500));
        let child = command(folder.path(), &[FOLLOW.as_slice(), &["--epoch", "50ms", "-o", "json"]].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        while read(folder.path()) != Some(500) {}
        signals.into_iter().for_each(|each| signal(&child, each));
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{signals:?}");
        let summary: Value = serde_json::from_slice(&output.stdout).expect("the summary is JSON");
        assert_eq!(summary["drained"], true, "{summary}");
    }
}

/// A way to say where the lake is.
#[derive(Clone, Copy, Debug)]
enum Way {
    Flag,
    Variable,
    File,
}

/// Runs a job whose lake is written as `lake`.
fn run_into(folder: &Path, lake: &str, way: Way) -> Run {
    let source = ["run", "turnstile", "--source", "files:in.csv"];
    match way {
        Way::Flag => finished(&mut command(folder, &[source.as_slice(), &["--lake", lake]].concat())),
        Way::Variable => finished(command(folder, &source).env("HEADWAY_LAKE", lake)),
        Way::File => {
            write(folder, "headway.toml", &format!("[lake]\nuri = {lake:?}\n"));
            finished(&mut command(folder, &[source.as_slice(), &["-c", "headway.toml"]].concat()))
        }
    }
}

#[test]
fn path_that_a_shell_would_have_replaced_is_never_a_folder() {
    for way in [Way::Flag, Way::Variable, Way::File] {
        let folder = folder();
        write(folder.path(), "in.csv", &lines("a", 0, 5));
        write(folder.path(), "home/.profile", "");
        let there = folder.path().display().to_string();
        let meant = [
            ("~/one", "home/one".to_string()),
            ("$HOME/two", "home/two".to_string()),
            (&format!("file://{there}/three"), "three".to_string()),
            (&format!("file:{there}/four"), "four".to_string()),
        ];
        for (lake, expected) in &meant {
            let run = run_into(folder.path(), lake, way);
            assert_eq!(run.code, Some(0), "{way:?} {lake}: {run:?}");
            assert!(folder.path().join(expected).join("turnstile").is_dir(), "{way:?} {lake}");
        }
        for lake in [
            "~bob/lake",
            "$DATA/lake",
            "${DATA}/lake",
            "file:lake",
            "file://lake",
            "s3:/b/l",
            "s3://b/l",
            "d:/l",
        ] {
            let run = run_into(folder.path(), lake, way);
            assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{way:?} {lake}: {run:?}");
            let place = match way {
                Way::Flag => "error: --lake: ",
                Way::Variable => "error: HEADWAY_LAKE: ",
                Way::File => "error: headway.toml:2:7: ",
            };
            assert!(run.err.starts_with(place) && run.err.contains("is no lake"), "{way:?} {lake}: {run:?}");
        }
        let mut names: Vec<String> = std::fs::read_dir(folder.path())
            .expect("it can be listed")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name != "headway.toml")
            .collect();
        names.sort();
        assert_eq!(names, ["four", "home", "in.csv", "three"], "{way:?}");
    }
}

#[test]
fn paths_of_sources_and_settings_are_read_the_same_way() {
    let folder = folder();
    write(folder.path(), "home/in.csv", &lines("a", 0, 5));
    write(folder.path(), "home/headway.toml", "[source]\nuri = \"files:$HOME/in.csv\"\n");
    let run = finished(&mut command(
        folder.path(),
        &["run", "turnstile", "-c", "~/headway.toml", "--lake", "lake", "-o", "json"],
    ));
    assert_eq!(run.code, Some(0), "{run:?}");
    let refusals: [(&[&str], &str); 6] = [
        (&["run", "turnstile", "--source", "files:$DATA/in.csv", "--lake", "l"], "$DATA/in.csv"),
        (&["run", "turnstile", "--source", "files://in.csv", "--lake", "l"], "Write files:in.csv"),
        (&["run", "turnstile", "--source", "file:in.csv", "--lake", "l"], "Did you mean files:in.csv?"),
        (
            &["run", "turnstile", "--source", "kafka:", "--kafka-config", "~x/c", "--lake", "l"],
            "another user",
        ),
        (&["demo", "--folder", "$DATA/demo"], "--folder: \"$DATA/demo\" is no path"),
        (&["produce", "turnstile", "--to", "~x/m"], "--to: \"~x/m\" is no path"),
    ];
    for (args, words) in refusals {
        let run = finished(&mut command(folder.path(), args));
        assert_eq!(run.code, Some(2), "{args:?}: {run:?}");
        assert!(run.err.contains(words) && run.err.contains("\nhint: "), "{args:?}: {run:?}");
    }
}

#[test]
fn every_flag_has_a_twin_in_the_environment() {
    let folder = folder();
    write(folder.path(), "in.csv", &lines("a", 0, 5));
    write(folder.path(), "headway.toml", "[pipeline]\nwindow = \"1m\"\nzone = \"Europe/Paris\"\n");
    let check = |args: &[&str], twins: &[(&str, &str)]| {
        let args = [&["check", "turnstile", "-c", "headway.toml", "--lake", "l"], args].concat();
        finished(
            command(folder.path(), &args).env("HEADWAY_SOURCE", "files:in.csv").envs(twins.iter().copied()),
        )
    };
    let file = check(&[], &[]);
    assert!(file.out.contains("window 1m,") && file.out.contains("Europe/Paris"), "{file:?}");
    let twin = check(&[], &[("HEADWAY_WINDOW", "2m")]);
    assert!(twin.out.contains("window 2m,") && twin.out.contains("Europe/Paris"), "{twin:?}");
    let flag = check(&["--window", "3m"], &[("HEADWAY_WINDOW", "2m"), ("HEADWAY_OUTPUT", "json")]);
    let answer: Value = serde_json::from_str(&flag.out).expect("the answer is JSON");
    assert_eq!(answer["settings"]["window_ms"], "180000", "{answer}");
    let empty = check(&[], &[("HEADWAY_WINDOW", "")]);
    assert_eq!(empty.out, file.out, "an empty variable says nothing");
    let unfit = check(&[], &[("HEADWAY_SLIDE", "9m")]);
    assert!(unfit.err.starts_with("error: HEADWAY_SLIDE: slide \"9m\" is longer"), "{unfit:?}");
    let dead = finished(command(folder.path(), &["dead", "ls"]).env("HEADWAY_LAKE", "absent"));
    assert!(dead.err.starts_with("error: there is no lake \"absent\""), "{dead:?}");
}

#[test]
fn last_error_is_json_where_the_log_or_the_answer_is() {
    let folder = folder();
    let source = ["--source", "files:absent", "--lake", "lake"];
    let cases: [(Vec<&str>, &str, i32); 6] = [
        ([&["--log-format", "json", "run", "turnstile"], source.as_slice()].concat(), "source-failed", 3),
        ([&["run", "turnstile", "-o", "json"], source.as_slice()].concat(), "source-failed", 3),
        (vec!["check", "turnstyle", "-o", "json"], "pipeline-unknown", 2),
        (vec!["run", "--output", "json", "--windw", "5m"], "command-line-invalid", 2),
        (vec!["--log-format=json", "chek"], "command-line-invalid", 2),
        (vec!["status", "-ojson", "--lake", "absent"], "lake-not-found", 3),
    ];
    for (args, code, exit) in cases {
        let run = finished(&mut command(folder.path(), &args));
        assert_eq!((run.code, run.out.as_str()), (Some(exit), ""), "{args:?}: {run:?}");
        let last = run.err.lines().last().unwrap_or_default();
        let error: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {run:?}"));
        assert_eq!((&error["code"], &error["exit_code"]), (&code.into(), &exit.into()), "{error}");
        for part in ["error", "detail", "hint", "timestamp", "level"] {
            assert!(error[part].as_str().is_some_and(|text| !text.is_empty()), "{args:?} {part}: {error}");
        }
    }
    let twin = finished(command(folder.path(), &["run", "--x"]).env("HEADWAY_LOG_FORMAT", "json"));
    assert!(twin.err.starts_with('{'), "{twin:?}");
}

#[test]
fn every_error_is_explained() {
    let folder = folder();
    let all = headway(folder.path(), &["explain"]);
    assert!(all.out.lines().count() > 30, "{all:?}");
    for code in all.out.lines().skip(1).filter_map(|line| line.split_whitespace().next()) {
        let page = headway(folder.path(), &["explain", code]);
        for part in ["what happened", "why", "whose turn", "what to do"] {
            assert!(page.out.contains(part), "{code}: {page:?}");
        }
    }
    let unknown = headway(folder.path(), &["explain", "record-gone"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("Did you mean \"records-gone\"?"), "{unknown:?}");
    let json = headway(folder.path(), &["explain", "(fenced)", "-o", "json"]);
    let page: Value = serde_json::from_str(&json.out).expect("the answer is JSON");
    assert_eq!(page["turn"], "user", "{page}");
}

/// Clears the screen, then turns the letters round.
const HOSTILE: &str = "\u{1b}[2J\u{9b}31m\u{202e}evil\u{7}";

/// True for what a terminal would obey.
fn obeyed(text: &str) -> Option<char> {
    text.chars().find(|c| {
        c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

#[test]
fn data_cannot_speak_to_the_terminal() {
    let folder = folder();
    let bad = format!(
        "A002,R051,02-00-00,59 ST,NQ,BMT,01-30-24,10:00:00,REGULAR,{HOSTILE},2,x,2024-01-30 10:00:00\n"
    );
    let input = format!("in/{HOSTILE}\nhint: none.csv");
    write(folder.path(), &input, &(lines("a", 0, 50) + &bad));
    let job = ["turnstile", "--source", "files:in", "--topic", HOSTILE, "--lake", "lake"];
    let check = headway(folder.path(), &[&["check"], job.as_slice()].concat());
    assert_eq!(check.code, Some(0), "{check:?}");
    let run = headway(folder.path(), &[&["run", "-vv"], job.as_slice()].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    // The file was shortened: the refusal names both identities.
    write(folder.path(), &input, &lines("a", 0, 40));
    let refused = headway(folder.path(), &[&["run"], job.as_slice()].concat());
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert_eq!(refused.err.lines().filter(|line| line.starts_with("hint: ")).count(), 1, "{refused:?}");
    let lake = ["--lake", "lake"];
    let mut seen = vec![check, run, refused];
    for command in [
        &["status"][..],
        &["status", "-o", "json"],
        &["checkpoint", "ls"],
        &["checkpoint", "show"],
        &["checkpoint", "show", "-o", "json"],
        &["dead", "ls"],
        &["dead", "show"],
        &["audit", "--deep"],
        &["explain", HOSTILE],
        &["status", "--job", HOSTILE],
        &["run", HOSTILE],
        &["check", "turnstile", "--zone", HOSTILE],
    ] {
        let lake = if ["explain", "run", "check"].contains(&command[0]) { &[][..] } else { &lake };
        seen.push(headway(folder.path(), &[command, lake].concat()));
    }
    for run in &seen {
        assert_eq!(obeyed(&run.out), None, "{run:?}");
        assert_eq!(obeyed(&run.err), None, "{run:?}");
    }
    let shown = headway(folder.path(), &["dead", "show", "--lake", "lake"]);
    let letter: Value = serde_json::from_str(&shown.out).expect("a dead letter is JSON");
    assert_eq!(letter["topic"], HOSTILE, "JSON means the same");
    assert!(letter["payload"].as_str().is_some_and(|payload| payload.contains(HOSTILE)), "{letter}");
}

#[test]
fn status_tells_a_job_that_runs_from_one_that_was_killed_and_one_that_ended() {
    let folder = folder();
    write(folder.path(), "in/a.csv", &lines("a", 0, 50));
    let start = || {
        let mut child = command(folder.path(), &[FOLLOW.as_slice(), &["--epoch", "50ms"]].concat());
        child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
    };
    let mut child = start();
    while read(folder.path()) != Some(50) {}
    let status = |expected| {
        let status = headway(folder.path(), &["status", "--lake", "lake"]);
        assert_eq!(status.code, Some(expected), "{status:?}");
        status
    };
    let said = status(0);
    assert!(said.out.starts_with("running    run 1, process "), "{said:?}");
    // A second one leaves it alone.
    let second =
        finished(&mut command(folder.path(), &[FOLLOW.as_slice(), &["--if-running", "refuse"]].concat()));
    assert_eq!(second.code, Some(4), "{second:?}");
    assert!(second.err.contains("(already-running)"), "{second:?}");
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let said = status(3);
    assert!(said.out.starts_with("failed     run 1 with process-gone: "), "{said:?}");
    assert!(said.err.contains("(not-alive)"), "{said:?}");
    // The next start sees that nobody runs, and need not wait.
    let mut child = start();
    while !headway(folder.path(), &["status", "--lake", "lake"]).out.contains("running    run 2") {
        assert_eq!(child.try_wait().expect("it is our child"), None, "it ended");
    }
    signal(&child, Signal::TERM);
    child.wait_with_output().expect("it ends");
    let said = status(0);
    assert!(said.out.starts_with("stopped    run 2 ended at "), "{said:?}");
    assert!(said.out.contains("restarted  after: process-gone 1"), "{said:?}");
}

#[test]
fn status_tells_why_a_job_failed() {
    let folder = folder();
    write(folder.path(), "in/a.csv", &"no reading\n".repeat(2_000));
    let run = headway(folder.path(), &["run", "turnstile", "--source", "files:in", "--lake", "lake"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let status = headway(folder.path(), &["status", "--lake", "lake", "-o", "json"]);
    assert_eq!(status.code, Some(3), "{status:?}");
    let answer: Value = serde_json::from_str(&status.out).expect("the status is JSON");
    let life = &answer["life"];
    assert_eq!((&life["state"], &life["code"]), (&"failed".into(), &"too-many-dead".into()), "{life}");
}

#[cfg(feature = "serve")]
#[test]
fn job_that_listens_tells_its_metrics_and_why_it_does_not_lag() {
    use std::io::{Read, Write};
    let folder = folder();
    write(folder.path(), "in/a.csv", &lines("a", 0, 50));
    let mut child =
        command(folder.path(), &[FOLLOW.as_slice(), &["--epoch", "50ms", "--listen", "0"]].concat())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
    let mut log = BufReader::new(child.stderr.take().expect("standard error is piped")).lines();
    let address = loop {
        let line = log.next().expect("it says where it listens").expect("the log is UTF-8");
        if let Some((_, rest)) = line.split_once("address=") {
            break rest.split_whitespace().next().expect("an address follows").to_string();
        }
    };
    // Nobody may stop reading its log: it would wait for that.
    let reader = std::thread::spawn(move || log.for_each(drop));
    while read(folder.path()) != Some(50) {}
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(&address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    };
    assert!(get("/readyz").starts_with("HTTP/1.1 200"));
    let metrics = get("/metrics");
    assert!(
        metrics.contains("headway_records_total{input=\"turnstile\",fate=\"accepted\"} 50.0"),
        "{metrics}"
    );
    assert!(metrics.contains("headway_commit_duration_seconds_bucket"), "{metrics}");
    assert!(metrics.contains("headway_worker_seconds_total{worker=\"0\",state=\"waiting\"}"), "{metrics}");
    for (name, records) in
        [("out_total{operator=\"Ingest-turnstile\"}", 50.0), ("in_total{operator=\"Aggregate\"}", 50.0)]
    {
        assert!(
            metrics.contains(&format!("headway_operator_records_{name} {records:?}\n")),
            "{name}: {metrics}"
        );
    }
    // The run says what it does once every five seconds.
    let lag = loop {
        let lag = headway(folder.path(), &["explain", "lag", "--lake", "lake"]);
        if !lag.err.contains("does not run") {
            break lag;
        }
    };
    assert_eq!(lag.code, Some(0), "{lag:?}");
    assert!(lag.out.starts_with("The job keeps up"), "{lag:?}");
    let status = |form: &str| headway(folder.path(), &["status", "--lake", "lake", "-o", form]).out;
    let taken = "\nheadway_operator_records_in_total{operator=\"Aggregate\"} 50\n";
    while !status("prometheus").contains(taken) {}
    let shown = status("text");
    assert!(shown.contains("\nrate       ") && shown.contains(" records a second\n"), "{shown}");
    let answer: Value = serde_json::from_str(&status("json")).expect("the status is JSON");
    assert!(answer["records_per_second"].is_number(), "{answer}");
    let partition = answer["inputs"][0]["partitions"][0].as_object().expect("there is a partition");
    assert_eq!(partition.get("lag_ms"), Some(&Value::Null), "where a file ends is not known: {answer}");
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    reader.join().expect("the log ends with the process");
    let file = status("prometheus");
    let accepted = "\nheadway_records_total{input=\"turnstile\",fate=\"accepted\"} 50\n";
    assert!(file.contains(accepted) && !file.contains("headway_operator_records"), "nothing runs: {file}");
    assert!(!status("text").contains("\nrate  "), "nothing runs");
    let lag = headway(folder.path(), &["explain", "lag", "--lake", "lake"]);
    assert_eq!(lag.code, Some(1), "{lag:?}");
    assert!(lag.err.contains("does not run: stopped"), "{lag:?}");
}

#[test]
fn address_that_others_can_reach_needs_a_token() {
    let folder = folder();
    write(folder.path(), "in/a.csv", &lines("a", 0, 50));
    let run = headway(
        folder.path(),
        &["run", "turnstile", "--source", "files:in", "--lake", "lake", "--listen", "0.0.0.0:0"],
    );
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("--listen-token-file"), "{run:?}");
}
