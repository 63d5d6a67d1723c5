//! One job over many processes, as people start it: the same command on each, and the same lake as one process leaves.

use crate::cli::{Run, folder, headway, succeeds};
use crate::process::{signal, write};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The job: epochs so small that there are many.
pub(crate) const JOB: [&str; 9] =
    ["run", "turnstile", "--source", "files:in", "--lake", "lake", "--epoch", "50ms", "--epoch-bytes=8KiB"];

/// A source that never ends.
pub(crate) const ENDLESS: &str = "generate:messages=none";

/// No answer takes so long.
#[cfg(feature = "serve")]
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The processes of a job. Whatever is left of them ends with the test.
pub(crate) struct Processes<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) children: Vec<Child>,
    /// What is started.
    pub(crate) program: PathBuf,
}

impl Drop for Processes<'_> {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How many processes, and workers of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) processes: usize,
    pub(crate) workers: usize,
}

impl<'a> Processes<'a> {
    /// Writes the host file of a job in `folder`, whose processes listen where nobody does yet.
    pub(crate) fn of(folder: &'a Path, processes: usize) -> Processes<'a> {
        let free: Vec<_> =
            (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free")).collect();
        let lines = free.iter().map(|free| format!("{}\n", free.local_addr().expect("it is bound")));
        write(folder, "hosts", &lines.collect::<String>());
        Processes { folder, children: Vec::new(), program: env!("CARGO_BIN_EXE_headway").into() }
    }

    /// A job of one process, with `args`, that no host file names.
    pub(crate) fn alone(folder: &'a Path, args: &[&str]) -> Processes<'a> {
        let mut job = Processes::of(folder, 0);
        job.start_alone(args);
        job
    }

    /// Starts a process with `args` that no host file names.
    pub(crate) fn start_alone(&mut self, args: &[&str]) {
        self.spawn(0, args);
    }

    /// Starts process `process` of the host file with `args`.
    pub(crate) fn start(&mut self, process: usize, args: &[&str]) {
        self.spawn(process, &[args, &["-H", "hosts", "-p", &process.to_string()]].concat());
    }

    fn spawn(&mut self, process: usize, args: &[&str]) {
        let log = |name: &str| {
            File::create(self.folder.join(format!("{name}-{process}"))).expect("the log can be written")
        };
        let child = Command::new(&self.program)
            .args(args)
            .arg("-v")
            .current_dir(self.folder)
            .env_clear()
            .env("TMPDIR", self.folder)
            .stdin(Stdio::null())
            .stdout(log("out"))
            .stderr(log("err"))
            .spawn();
        self.children.push(child.expect("the program starts"));
    }

    /// Starts a process `process` that is to end with `code` while the others live: what it has said.
    pub(crate) fn ends(&mut self, process: usize, code: i32, args: &[&str]) -> String {
        self.start(process, args);
        let mut ending = self.children.pop().expect("it was started");
        let (ended, said) = (ending.wait().expect("it ends").code(), self.log("err", process));
        assert_eq!(ended, Some(code), "{said}");
        said
    }

    /// Starts process `process`, which has ended, with `args` again, as its supervisor does.
    pub(crate) fn start_again(&mut self, process: usize, args: &[&str]) {
        self.start(process, args);
        let again = self.children.pop().expect("it was started");
        self.children[process] = again;
    }

    /// Kills process `process`, and starts it again as its supervisor does.
    pub(crate) fn kill(&mut self, process: usize, args: &[&str]) {
        signal(&self.children[process], Signal::KILL);
        assert_eq!(self.children[process].wait().expect("it ends").code(), None);
        self.start_again(process, args);
    }

    /// Waits until all have ended: the exit code of each, in the order of their starts.
    pub(crate) fn codes(&mut self) -> Vec<Option<i32>> {
        self.children.iter_mut().map(|child| child.wait().expect("it ends").code()).collect()
    }

    /// What a process has said.
    pub(crate) fn log(&self, name: &str, process: usize) -> String {
        std::fs::read_to_string(self.folder.join(format!("{name}-{process}"))).unwrap_or_default()
    }
}

/// Runs the job to its end on `size`.
fn run(folder: &Path, size: Size, more: &[&str]) {
    run_job(folder, size, &[&JOB[..], more].concat());
}

/// Runs the job of `args` to its end on `size`.
pub(crate) fn run_job(folder: &Path, size: Size, args: &[&str]) {
    let workers = size.workers.to_string();
    let args = [args, &["-w", &workers]].concat();
    if size.processes == 1 {
        let run = headway(folder, &[&args[..], &["-n", "1"]].concat());
        assert_eq!(run.code, Some(0), "{}", run.err);
        return;
    }
    let mut processes = Processes::of(folder, size.processes);
    (0..size.processes).for_each(|process| processes.start(process, &args));
    let codes = processes.codes();
    let logs = || (0..size.processes).map(|process| processes.log("err", process)).collect::<String>();
    assert_eq!(codes, vec![Some(0); size.processes], "{size:?}:\n{}", logs());
    assert!(processes.log("out", 0).starts_with("done"), "{size:?}: {}", logs());
    assert_eq!(processes.log("out", 1), format!("done: process 1 of {}\n", size.processes));
}

/// The lines of the files in a folder of the lake, sorted, without header rows.
pub(crate) fn lines(folder: &Path, below: &str) -> Vec<String> {
    let mut all = Vec::new();
    let Ok(files) = std::fs::read_dir(folder.join("lake").join(below)) else { return all };
    for file in files {
        let path = file.expect("it can be read").path();
        let mut text = String::new();
        let packed = File::open(&path).expect("it is there");
        flate2::read::MultiGzDecoder::new(packed).read_to_string(&mut text).expect("it is gzipped text");
        let header = usize::from(path.to_string_lossy().ends_with(".csv.gz"));
        all.extend(text.lines().skip(header).map(str::to_string));
    }
    all.sort_unstable();
    all
}

/// Everything that must not depend on how many processes there were: rows, late records, dead letters, fates. Which of two
/// equal records in two partitions is the repeat depends on which was read first, with one process, too.
pub(crate) fn answer(folder: &Path) -> (Vec<Vec<String>>, Vec<String>) {
    let rows = ["turnstile", "_late/turnstile", "_dead/turnstile"].map(|below| lines(folder, below)).into();
    audit(folder);
    let status: Value = serde_json::from_str(&status(folder).out).expect("the status is JSON");
    let partitions = status["inputs"][0]["partitions"].as_array().expect("there are partitions");
    let count = |part: &Value, fate: &str| part[fate].as_u64().expect("it is a count");
    let mut fates: Vec<String> = partitions
        .iter()
        .map(|part| {
            let kept = count(part, "accepted") + count(part, "duplicate");
            format!("{} {} {kept} {} {}", part["next"], part["consumed"], part["late"], part["dead"])
        })
        .collect();
    fates.push(partitions.iter().map(|part| count(part, "accepted")).sum::<u64>().to_string());
    (rows, fates)
}

fn status(folder: &Path) -> Run {
    headway(folder, &["status", "--lake", "lake", "-o", "json"])
}

/// Messages in files: five partitions with duplicates, late and bad ones.
pub(crate) fn messages(folder: &Path, count: u32) {
    let count = count.to_string();
    let args = ["produce", "turnstile", "--to", "in", "--messages", &count, "--partitions", "5"];
    let troubles = ["--dup", "3%", "--late", "2%", "--bad", "1%", "--seed", "7"];
    let run = headway(folder, &[&args[..], &troubles].concat());
    assert_eq!(run.code, Some(0), "{}", run.err);
}

/// Puts the messages of folder `from` into `folder`, too.
pub(crate) fn same_messages(from: &Path, folder: &Path) {
    std::fs::create_dir(folder.join("in")).expect("a folder can be made");
    for file in std::fs::read_dir(from.join("in")).expect("messages were written") {
        let file = file.expect("it can be read");
        let to = folder.join("in").join(file.file_name());
        std::fs::hard_link(file.path(), to).expect("a file can be linked");
    }
}

/// The head of the job in the folder `lake` of `folder`, as JSON.
pub(crate) fn head(folder: &Path) -> Option<Value> {
    head_of(&folder.join("lake"))
}

/// The head of the job in `lake`, as JSON.
pub(crate) fn head_of(lake: &Path) -> Option<Value> {
    let manifests = std::fs::read_dir(lake.join("_headway/turnstile/manifest")).ok()?;
    let newest = manifests
        .map(|file| file.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .max()?;
    serde_json::from_slice(&std::fs::read(newest).ok()?).ok()
}

/// The last manifest's number; -1 if there is none.
pub(crate) fn seq(folder: &Path) -> i64 {
    head(folder).and_then(|head| head["seq"].as_i64()).unwrap_or(-1)
}

/// Waits until the job has written `more` manifests beyond number `before`.
pub(crate) fn until(processes: &mut Processes<'_>, before: i64, more: i64) {
    let folder = processes.folder;
    while seq(folder) < before + more {
        for (at, child) in processes.children.iter_mut().enumerate() {
            let ended = child.try_wait().expect("it is our child");
            assert_eq!(ended, None, "process {at} ended");
        }
    }
}

#[test]
fn rows_and_fates_are_those_of_one_process_however_many_there_are() {
    let sizes =
        [(1, 1), (2, 1), (1, 2), (3, 1), (2, 2)].map(|(processes, workers)| Size { processes, workers });
    let mut expected = None;
    for size in sizes {
        let folder = folder();
        messages(folder.path(), 6_000);
        run(folder.path(), size, &[]);
        let found = answer(folder.path());
        assert!(found.0.iter().all(|lines| !lines.is_empty()), "there is something of everything");
        assert_eq!(*expected.get_or_insert_with(|| found.clone()), found, "{size:?}");
        let members = head(folder.path()).expect("there is a manifest")["members"].clone();
        assert_eq!(
            (members["processes"].as_u64(), members["workers"].as_u64()),
            (Some(size.processes as u64), Some(size.workers as u64))
        );
    }
}

#[test]
fn any_number_of_processes_goes_on_where_another_was_drained() {
    let whole = folder();
    messages(whole.path(), 12_000);
    run(whole.path(), Size { processes: 1, workers: 1 }, &[]);
    let folder = folder();
    messages(folder.path(), 12_000);
    for (processes, workers) in [(2, "1"), (3, "1"), (2, "2")] {
        let before = seq(folder.path());
        let mut job = Processes::of(folder.path(), processes);
        let args = [&JOB[..], &["-w", workers]].concat();
        (0..processes).for_each(|process| job.start(process, &args));
        until(&mut job, before, 5);
        // Whoever gets the signal, all drain.
        signal(&job.children[processes - 1], Signal::TERM);
        assert_eq!(job.codes(), vec![Some(0); processes], "{}", job.log("err", 0));
        assert!(job.log("out", 0).starts_with("drained"), "{}", job.log("out", 0));
        assert!(job.log("out", 1).starts_with("drained: process 1"), "{}", job.log("out", 1));
    }
    run(folder.path(), Size { processes: 1, workers: 2 }, &[]);
    assert_eq!(answer(folder.path()), answer(whole.path()));
}

#[test]
fn signal_to_a_process_without_a_partition_drains_all() {
    let folder = folder();
    messages(folder.path(), 12_000);
    // Five partitions: the five workers of process 0 have them all.
    let args = [&JOB[..], &["-w", "5"]].concat();
    for round in 0..5 {
        let before = seq(folder.path());
        let mut job = Processes::of(folder.path(), 2);
        (0..2).for_each(|process| job.start(process, &args));
        until(&mut job, before, 3);
        signal(&job.children[1], Signal::TERM);
        assert_eq!(job.codes(), [Some(0); 2], "round {round}: {}{}", job.log("err", 0), job.log("err", 1));
        assert!(job.log("out", 0).starts_with("drained"), "round {round}: {}", job.log("out", 0));
        assert!(job.log("out", 1).starts_with("drained: process 1"), "round {round}: {}", job.log("out", 1));
    }
    audit(folder.path());
}

#[test]
fn clusters_whose_processes_have_different_lakes_end_nobody() {
    fn job(lake: &str) -> [&str; 8] {
        ["run", "turnstile", "--source", ENDLESS, "--lake", lake, "--epoch=50ms", "--if-running=take-over"]
    }
    let folder = folder();
    let mut running = Processes::alone(folder.path(), &[&job("lake")[..], &["-n", "1"]].concat());
    until(&mut running, -1, 2);
    // Its logs stay its own.
    let folder_of_others = crate::cli::folder();
    let lake = folder.path().join("lake").to_string_lossy().into_owned();
    for lakes in [[lake.as_str(), "other"], ["other", lake.as_str()]] {
        let mut torn = Processes::of(folder_of_others.path(), 2);
        for (process, lake) in lakes.iter().enumerate() {
            torn.start(process, &job(lake));
        }
        assert_eq!(torn.codes(), [Some(2); 2], "{}", torn.log("err", 0));
        let said = torn.log("err", 0) + &torn.log("err", 1);
        assert!(said.contains("(lake-not-shared)"), "{said}");
    }
    let at = seq(folder.path());
    until(&mut running, at, 2);
    assert_eq!(head(folder.path()).expect("there is a manifest")["generation"], 1, "nobody took it over");
    signal(&running.children[0], Signal::TERM);
    assert_eq!(running.codes(), [Some(0)], "{}", running.log("err", 0));
}

#[test]
fn second_process_of_a_number_is_refused_by_name_while_the_job_goes_on() {
    let (folder, other) = (folder(), crate::cli::folder());
    let lake = folder.path().join("lake").to_string_lossy().into_owned();
    let args = ["run", "turnstile", "--source", ENDLESS, "--lake", &lake, "--epoch=50ms"];
    let mut job = Processes::of(folder.path(), 2);
    (0..2).for_each(|process| job.start(process, &args));
    until(&mut job, -1, 2);
    let mut second = Processes::of(other.path(), 0);
    let hosts = std::fs::read_to_string(folder.path().join("hosts")).expect("it was written");
    write(other.path(), "hosts", &hosts);
    let said = second.ends(1, 3, &[&args[..], &["--restarts", "0"]].concat());
    assert!(
        said.contains("another process with number 1 takes part") && said.contains("(mesh-superseded)"),
        "{said}"
    );
    let at = seq(folder.path());
    until(&mut job, at, 2);
    signal(&job.children[0], Signal::TERM);
    assert_eq!(job.codes(), [Some(0); 2], "{}", job.log("err", 0));
}

#[test]
fn job_that_loses_a_process_comes_back_when_that_one_does() {
    let whole = folder();
    messages(whole.path(), 12_000);
    run(whole.path(), Size { processes: 1, workers: 1 }, &[]);
    let folder = folder();
    messages(folder.path(), 12_000);
    let mut job = Processes::of(folder.path(), 3);
    (0..3).for_each(|process| job.start(process, &JOB));
    for lost in [1, 0, 2] {
        until(&mut job, seq(folder.path()), 5);
        // The others start themselves again.
        job.kill(lost, &JOB);
    }
    assert_eq!(job.codes(), [Some(0); 3], "{}", job.log("err", 1));
    assert_eq!(answer(folder.path()), answer(whole.path()));
    assert_eq!(head(folder.path()).expect("there is a manifest")["generation"], 4);
}

#[test]
fn process_that_does_not_belong_to_the_others_is_refused_by_name() {
    let folder = folder();
    messages(folder.path(), 2_000);
    let mut job = Processes::of(folder.path(), 2);
    job.start(0, &JOB);
    let cases: [(&[&str], &str); 3] = [
        (&["--window", "1m"], "mesh-plan"),
        (&["-w", "2"], "mesh-addresses"),
        (&["--job", "other"], "mesh-plan"),
    ];
    for (more, code) in cases {
        let said = job.ends(1, 2, &[&JOB[..], more].concat());
        assert!(said.contains(&format!("({code})")), "{code}: {said}");
    }
    job.start(1, &JOB);
    assert_eq!(job.codes(), [Some(0); 2], "{}", job.log("err", 0));
}

#[test]
fn settings_that_do_not_fit_are_refused_before_anything_is_made() {
    let folder = folder();
    messages(folder.path(), 100);
    drop(Processes::of(folder.path(), 2));
    let cases: [(&[&str], &str); 3] = [
        (&["--listen", "nowhere"], "setting-invalid"),
        (&["-n", "3"], "setting-invalid"),
        (&["--restarts", "x"], "invalid value"),
    ];
    for (more, code) in cases {
        let run = headway(folder.path(), &[&JOB[..], &["-H", "hosts", "-p", "0"], more].concat());
        assert_eq!(run.code, Some(2), "{more:?}: {}", run.err);
        assert!(run.err.contains(code), "{more:?}: {}", run.err);
        assert!(!folder.path().join("lake").exists(), "{more:?}");
    }
}

#[test]
fn workers_without_a_partition_are_named_by_a_check_and_by_a_start() {
    let folder = folder();
    messages(folder.path(), 2_000);
    // Five partitions.
    drop(Processes::of(folder.path(), 3));
    let check = |workers| {
        let args = [&["check"], &JOB[1..], &["-H", "hosts", "-p", "0", "-w", workers]].concat();
        let run = headway(folder.path(), &args);
        assert_eq!(run.code, Some(0), "{}", run.err);
        run.out.contains("no partition for workers 5, 6, 7, 8: ")
    };
    assert!(check("3") && !check("1"));
    let mut job = Processes::of(folder.path(), 3);
    (0..3).for_each(|process| job.start(process, &[&JOB[..], &["-w", "3"]].concat()));
    assert_eq!(job.codes(), [Some(0); 3], "{}", job.log("err", 0));
    let said = job.log("err", 0);
    assert!(said.contains("event=\"worker-idle\" workers=\"5 6 7 8\""), "{said}");
    // The next run has another size, and says so.
    let run = headway(folder.path(), &[&JOB[..], &["-n", "1", "-v"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("size=\"3x3 → 1x3\""), "{}", run.err);
}

#[test]
fn who_is_missing_is_named_and_nothing_is_taken_over() {
    let folder = folder();
    messages(folder.path(), 100);
    drop(Processes::of(folder.path(), 3));
    let args = [&JOB[..], &["-H", "hosts", "-p", "0", "--join-within", "300ms", "--restarts", "0"]].concat();
    let run = headway(folder.path(), &args);
    assert_eq!(run.code, Some(3), "{}", run.err);
    assert!(run.err.contains("(join-timeout)") && run.err.contains("process 2 at 127.0.0.1:"), "{}", run.err);
    assert_eq!(head(folder.path()), None);
}

#[test]
fn one_command_runs_all_processes_of_a_machine() {
    let whole = folder();
    messages(whole.path(), 3_000);
    run(whole.path(), Size { processes: 1, workers: 1 }, &[]);
    let folder = folder();
    messages(folder.path(), 3_000);
    let more = ["-n", "3", "-w", "2", "--listen", "0"];
    let run = headway(folder.path(), &[&["cluster"], &JOB[..], &more].concat());
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.out.starts_with("done: ") && run.out.lines().count() == 1, "{}", run.out);
    assert!(run.err.contains("[2] done: process 2 of 3"), "{}", run.err);
    let listening = run.err.lines().filter(|line| line.contains("event=\"listening\"")).count();
    assert_eq!(listening, 3, "each has a port of its own: {}", run.err);
    assert_eq!(answer(folder.path()), answer(whole.path()));
    // What ends one of them for good ends all, with its exit code.
    let other = headway(folder.path(), &[&["cluster"], &JOB[..], &["-n", "2", "--window", "1m"]].concat());
    assert_eq!(other.code, Some(4), "{}", other.err);
    assert!(other.err.contains("(state-does-not-fit)"), "{}", other.err);
}

/// Where process `process` answers by HTTP, as its log says; waits until it does.
#[cfg(feature = "serve")]
pub(crate) fn address(job: &Processes<'_>, process: usize) -> String {
    let began = std::time::Instant::now();
    loop {
        let log = job.log("err", process);
        let line = log.lines().find(|line| line.contains("event=\"listening\""));
        if let Some((_, rest)) = line.and_then(|line| line.split_once("address=")) {
            return rest.split(' ').next().unwrap_or_default().to_string();
        }
        assert!(began.elapsed() < PATIENCE, "process {process} does not listen after {PATIENCE:?}: {log}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The status and the body that a server gives for `path`.
#[cfg(feature = "serve")]
pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("it takes requests");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("there is a head");
    (head.split(' ').nth(1).unwrap_or_default().to_string(), body.to_string())
}

#[cfg(feature = "serve")]
#[test]
fn process_0_serves_the_job_and_the_others_themselves() {
    let folder = folder();
    let args = ["run", "turnstile", "--views", "--source", "generate:messages=30000000", "--lake", "lake"];
    let args = [&args[..], &["--epoch", "50ms", "--listen", "0"]].concat();
    let mut job = Processes::of(folder.path(), 2);
    job.start(1, &args);
    let member = address(&job, 1);
    // Alone it lives, and is not ready.
    assert_eq!(get(&member, "/livez").0, "200");
    assert_eq!(get(&member, "/readyz").0, "503");
    let (status, body) = get(&member, "/v1/views");
    assert!(status == "421" && body.contains("is known here once the job has begun"), "{status}: {body}");
    job.start(0, &args);
    until(&mut job, -1, 4);
    let leader = address(&job, 0);
    assert_eq!([&leader, &member].map(|address| get(address, "/readyz").0), ["200", "200"]);
    let (status, body) = get(&leader, "/v1/views");
    assert!(status == "200" && body.contains("station_day"), "{status}: {body}");
    for path in ["/v1/views/station_day", "/v1/status", "/v1/events", "/"] {
        let (status, body) = get(&member, path);
        assert!(
            status == "421" && body.contains(&format!("http://{leader}{path}")),
            "{path}: {status} {body}"
        );
    }
    let (_, own) = get(&member, "/metrics");
    assert!(own.contains("headway_worker_seconds_total{") && !own.contains("headway_commits"), "{own}");
    assert!(own.contains("headway_operator_records_out_total{operator=\"Ingest-turnstile\"}"), "{own}");
    assert!(get(&leader, "/metrics").1.contains("headway_commits_total "));
    signal(&job.children[0], Signal::TERM);
    assert_eq!(job.codes(), [Some(0); 2], "{}", job.log("err", 0));
}

/// Whatever the lake holds is whole.
pub(crate) fn audit(folder: &Path) {
    succeeds(&headway(folder, &["audit", "--lake", "lake", "--deep"]));
}

/// The number of the system for process `number` of the cluster that process `supervisor` runs.
pub(crate) fn pid_of(supervisor: u32, number: usize) -> Option<i32> {
    let of_supervisor = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == format!("PPid:\t{supervisor}"))
    };
    let is_number = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|set| set == format!("HEADWAY_PROCESS={number}").as_bytes())
    };
    let all = std::fs::read_dir("/proc").expect("processes can be listed").filter_map(Result::ok);
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| of_supervisor(pid) && is_number(pid))
}

#[test]
fn member_that_is_killed_during_a_drain_keeps_no_other_from_ending_well() {
    let args = ["cluster", "run", "turnstile", "--source", "generate", "--lake", "lake", "-n", "3"];
    let args = [&args[..], &["--epoch", "50ms", "--epoch-bytes", "64KiB", "--join-within", "20s"]].concat();
    for (number, delay_ms) in [(1, 5), (2, 40), (0, 70), (1, 110), (2, 160), (0, 220)] {
        let folder = folder();
        let mut job = Processes::alone(folder.path(), &args);
        until(&mut job, -1, 6);
        let victim = pid_of(job.children[0].id(), number).expect("it runs");
        signal(&job.children[0], Signal::TERM);
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        // It may have ended just now.
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_raw(victim).expect("a number"),
            Signal::KILL,
        );
        let codes = job.codes();
        assert_eq!(codes, [Some(0)], "process {number} after {delay_ms} ms:\n{}", job.log("err", 0));
        audit(folder.path());
    }
}
