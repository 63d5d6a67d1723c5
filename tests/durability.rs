//! What the store asks of the kernel, as the kernel sees it: the order of calls that a power cut does not break.
//!
//! A test starts itself again under strace. The second process does one thing in a folder; the first reads the trace.

use headway::store::Store;
use headway::store::local::Local;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// The variable that tells the traced process where to work.
const FOLDER: &str = "HEADWAY_TEST_TRACED_FOLDER";

/// The calls that matter.
const TRACED: &str =
    "openat,write,fsync,fdatasync,link,linkat,unlink,unlinkat,mkdir,mkdirat,rename,renameat2,close";

/// Runs the test `name` again under strace. Gives what it did below its folder as (call, path relative to it);
/// `None` where there is no strace. In the traced process, runs `work` and gives `None` too.
#[expect(clippy::print_stdout, reason = "a test that is skipped says why")]
fn traced(name: &str, work: fn(&Local)) -> Option<Vec<(String, String)>> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        work(&Local::new(Path::new(&folder)).expect("the folder can be a lake"));
        return None;
    }
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not installed");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let lake = folder.path().join("lake");
    let log = folder.path().join("log");
    let program = std::env::current_exe().expect("this test");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-s", "32", "-e", &format!("trace={TRACED}"), "-o"]).arg(&log).arg(program);
    strace.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(FOLDER, &lake);
    let ran = strace.output().expect("strace was found before");
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        if said.contains("ptrace") || said.contains("PTRACE") {
            println!("skipped: strace may not trace here: {said}");
            return None;
        }
        panic!("the traced process failed: {said}");
    }
    let log = std::fs::read_to_string(&log).expect("strace wrote its log");
    Some(calls(&log, &lake.display().to_string()))
}

/// The successful calls of a strace log below `lake`; descriptors are followed to the paths they were opened with.
fn calls(log: &str, lake: &str) -> Vec<(String, String)> {
    let relative = |path: &str| path.strip_prefix(lake).map(|path| path.trim_start_matches('/').to_string());
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        // `123 linkat(AT_FDCWD, "/a", AT_FDCWD, "/b", 0) = 0`, and `-1 EEXIST (…)` for a failure.
        let Some((call, result)) = line.split_once(' ').and_then(|(_pid, rest)| rest.rsplit_once(" = "))
        else {
            continue;
        };
        let Some((verb, arguments)) = call.trim().split_once('(') else { continue };
        let number = arguments.split([',', ')']).next().unwrap_or_default().to_string();
        let paths: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
        let result = result.split_whitespace().next().unwrap_or_default();
        if result.starts_with('-') {
            continue;
        }
        match verb {
            "openat" => drop(open.insert(result.to_string(), paths[0].to_string())),
            "close" => drop(open.remove(&number)),
            "write" | "fsync" | "fdatasync" => {
                let path = open.get(&number).and_then(|path| relative(path));
                calls.extend(path.map(|path| (verb.replace("fdatasync", "fsync"), path)));
            }
            _ => {
                let path = paths.last().and_then(|path| relative(path));
                calls.extend(
                    path.map(|path| (verb.trim_end_matches("at2").trim_end_matches("at").to_string(), path)),
                );
            }
        }
    }
    for (_, path) in &mut calls {
        if let Some(at) = path.find(".tmp-") {
            path.replace_range(at.., "TMP");
        }
    }
    calls
}

fn wanted(calls: &[(&str, &str)]) -> Vec<(String, String)> {
    calls.iter().map(|(verb, path)| (verb.to_string(), path.to_string())).collect()
}

#[test]
fn created_file_is_whole_before_it_has_its_name_and_its_name_lasts() {
    let name = "durability::created_file_is_whole_before_it_has_its_name_and_its_name_lasts";
    let Some(calls) = traced(name, |store| {
        store.create("m/1", b"one").expect("created");
        store.create("m/2", b"two").expect("created");
    }) else {
        return;
    };
    let mut want = vec![("mkdir", ""), ("mkdir", "m"), ("fsync", "")];
    for file in ["m/1", "m/2"] {
        want.extend([
            ("write", "m/TMP"),
            ("fsync", "m/TMP"),
            ("link", file),
            ("unlink", "m/TMP"),
            ("fsync", "m"),
        ]);
    }
    assert_eq!(calls, wanted(&want));
}

#[test]
fn staged_file_is_durable_before_it_is_published() {
    let name = "durability::staged_file_is_durable_before_it_is_published";
    let Some(calls) = traced(name, |store| {
        let mut staged = store.stage("stage/1/7/x").expect("staged");
        staged.write_all(b"rows").expect("written");
        staged.finish().expect("finished");
        store.publish("stage/1/7/x", "out/x").expect("published");
        store.sync_folder("out/").expect("synced");
    }) else {
        return;
    };
    let want = [
        ("mkdir", ""),
        ("mkdir", "stage"),
        ("fsync", ""),
        ("mkdir", "stage/1"),
        ("fsync", "stage"),
        ("mkdir", "stage/1/7"),
        ("fsync", "stage/1"),
        ("write", "stage/1/7/x"),
        ("fsync", "stage/1/7/x"),
        ("fsync", "stage/1/7"),
        ("mkdir", "out"),
        ("fsync", ""),
        ("link", "out/x"),
        ("fsync", "out"),
    ];
    assert_eq!(calls, wanted(&want));
}
