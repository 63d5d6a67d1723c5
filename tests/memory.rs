//! What a record costs in memory is counted, not its bytes: a file of next to nothing a line does not fill the memory.

use crate::cli::folder;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How much more than a job on three lines a job on very many may take: 64 MiB less the program itself, optimised, are 46.
const MORE_BYTES_MAX: u64 = 40 << 20;

/// The most memory that a run over `file` has had, in bytes.
fn peak(folder: &Path, file: &str, lake: &str) -> u64 {
    let source = format!("files:{file}");
    let args =
        ["run", "turnstile", "--source", &source, "--lake", lake, "--dead-max", "100%", "--workers", "2"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_headway"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut peak = 0;
    let code = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = kib.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        match child.try_wait().expect("it is our child") {
            Some(status) => break status.code(),
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    assert_eq!(code, Some(1), "nothing of {file} is accepted");
    peak
}

#[test]
#[cfg(target_os = "linux")]
fn lines_without_content_take_bounded_memory() {
    let folder = folder();
    let write = |name: &str, text: String| {
        std::fs::write(folder.path().join(name), text).expect("the file can be written");
    };
    write("few.csv", "\n".repeat(3));
    let few = peak(folder.path(), "few.csv", "few");
    assert!(few > 1 << 20, "the system says how much memory a process has had");
    for (name, line) in [("empty", "\n"), ("marks", "x\n"), ("commas", ",,,,,,,,,,,,\n")] {
        write(&format!("{name}.csv"), line.repeat(300_000));
        // What the threads' allocators keep depends on how they take turns, and only ever adds: a record that costs too much does so
        // in every run.
        let more = (0..3).map(|run| {
            peak(folder.path(), &format!("{name}.csv"), &format!("{name}-{run}")).saturating_sub(few)
        });
        let mut least = u64::MAX;
        let is_bounded = more.inspect(|more| least = least.min(*more)).any(|more| more <= MORE_BYTES_MAX);
        assert!(is_bounded, "{name}: {} MiB more", least >> 20);
    }
}
