//! A process of several that starts itself again: after a lost process, a panic, or a start that missed the others.
//!
//! It replaces itself by the same program with the same command line. So its process number stays, no supervisor counts it as
//! a crash, and no pause of a supervisor lets the processes miss each other. What it has to remember is in its environment:
//! how often it has done so, and that it was told to drain.

use crate::cli::terminal::failure::{Failure, sentence};
use crate::cli::terminal::log_end;
use crate::engine::code::may_come_back;
use crate::engine::format::names::Generation;
use crate::engine::{self, Control};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{env, io};

/// How often this process has started itself again since its workers last ran for [`FORGIVEN`].
const COUNT: &str = "HEADWAY_RESTARTED";

/// Set if the process was draining when it started itself again: to the run that was drained, 0 if that is not known.
pub(crate) const DRAINING: &str = "HEADWAY_DRAINING";

/// Set if the process goes by the last manifest, whatever it was started with: it has seen a claim.
const COMMITTED: &str = "HEADWAY_GOES_BY_MANIFEST";

/// After workers have run for so long, earlier restarts count no more.
pub(crate) const FORGIVEN: Duration = Duration::from_secs(120);

/// The pause before the first restart; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The running program, whatever has become of its file.
const RUNNING: &str = "/proc/self/exe";

/// What the system writes behind the path of a running program whose file was deleted or replaced.
const REPLACED: &[u8] = b" (deleted)";

/// Goes on with a drain that was under way when this process started itself again.
pub(crate) fn go_on_draining(control: &Control) {
    if let Ok(run) = env::var(DRAINING) {
        control.go_on_draining(Generation(run.parse().unwrap_or_default()));
    }
}

/// Starts the program again, if `failure` may get better by that and `restarts` are left; else gives it back.
pub(crate) fn again(failure: Failure, restarts: u64, control: &Control) -> Failure {
    let before = env::var(COUNT).ok().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
    let count = still_counted(before, control.has_worked());
    // Another size is no failure: nobody counts it.
    let is_free = failure.name() == engine::code::Code::MembershipChanged.name();
    // The others may have the build that was installed while this one ran.
    let is_old = failure.name() == engine::code::Code::MeshVersion.name() && is_replaced();
    if !may_come_back(failure.exit()) && !is_old || count >= restarts && !is_free {
        return failure;
    }
    let pause = pause(count);
    let (code, exit) = (failure.name(), failure.exit());
    let (restart, pause_ms) =
        (count + u64::from(!is_free), u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
    tracing::warn!(
        event = "restarting",
        code,
        exit,
        restart,
        of = restarts,
        pause_ms,
        "starts again: {}",
        failure.what()
    );
    std::thread::sleep(pause);
    let mut command = same();
    command.env(COUNT, restart.to_string());
    if control.is_ending() {
        command.env(DRAINING, control.run().map_or(0, |run| run.0).to_string());
    }
    use engine::code::Code::{MembershipChanged, MembershipRefused};
    if code == MembershipRefused.name() {
        command.env_remove(COMMITTED);
    } else if control.run().is_some() || code == MembershipChanged.name() {
        as_committed(&mut command);
    }
    replace(command);
    failure
}

/// True if this process goes by the last manifest, whatever it was started with.
pub(crate) fn goes_by_manifest() -> bool {
    env::var_os(COMMITTED).is_some()
}

/// Starts the program again, since its job is to have other processes or workers, or this process is to join it: going by the
/// manifest if `is_known`, else by its settings. `None` if it was told to end meanwhile.
pub(crate) fn rescaled(is_known: bool, control: &Control) -> Option<Failure> {
    if control.is_ending() {
        return None;
    }
    let mut command = same();
    if is_known {
        as_committed(&mut command);
    } else {
        command.env_remove(COMMITTED);
    }
    let error = replace(command);
    let what = "the program could not be started again";
    let code = engine::code::Code::StartFailed;
    Some(Failure::named(code.name(), code.exit() as u8, what).detail(sentence(&error.to_string())))
}

/// Lets a process go by the last manifest, whatever its flags say.
pub(crate) fn as_committed(command: &mut Command) {
    command.env(COMMITTED, "1");
}

/// This program with the same command line.
fn same() -> Command {
    let mut command = Command::new(program());
    command.args(env::args_os().skip(1));
    command
}

/// Replaces this process by `command`; comes back only if that could not be done.
fn replace(mut command: Command) -> io::Error {
    log_end::end(None);
    let error = command.exec();
    tracing::error!(%error, "could not start again");
    error
}

/// How many of the restarts `before` count after a run in which the workers ran for `worked`. A wait for the others is no run.
fn still_counted(before: u64, worked: Duration) -> u64 {
    if worked >= FORGIVEN { 0 } else { before }
}

fn pause(restarts: u64) -> Duration {
    let doubled = u32::try_from(restarts).ok().and_then(|restarts| 2_u32.checked_pow(restarts));
    doubled.map_or(PAUSE_MAX, |factor| PAUSE.saturating_mul(factor).min(PAUSE_MAX))
}

/// The program as it is installed now, so that a new build is taken up; the running one if that file is gone.
pub(crate) fn program() -> PathBuf {
    let installed = env::current_exe().ok().map(without_mark).filter(|path| path.exists());
    installed.unwrap_or_else(|| PathBuf::from(RUNNING))
}

/// True if another file has taken the place of the program since it was started.
fn is_replaced() -> bool {
    env::current_exe().is_ok_and(|path| without_mark(path.clone()) != path)
}

/// Where `path` was, if the system says that something else has taken its place since: as the rename of a new build does.
fn without_mark(path: PathBuf) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(REPLACED) {
        Some(before) if !path.exists() => PathBuf::from(OsStr::from_bytes(before)),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_whose_file_was_replaced_is_found_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let [plain, marked] = ["headway", "headway (deleted)"].map(|name| folder.path().join(name));
        assert_eq!(without_mark(marked.clone()), plain);
        assert_eq!(without_mark(plain.clone()), plain);
        std::fs::write(&marked, "").unwrap();
        assert_eq!(without_mark(marked.clone()), marked, "that is its name");
        assert!(program().exists());
    }

    #[test]
    fn restarts_are_forgiven_after_work_and_not_after_a_wait() {
        assert_eq!((still_counted(7, FORGIVEN), still_counted(7, FORGIVEN / 2)), (0, 7));
        let control = Control::new();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(control.has_worked(), Duration::ZERO, "it waits for the others");
        control.works();
        std::thread::sleep(Duration::from_millis(2));
        assert!(control.has_worked() >= Duration::from_millis(2));
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses: Vec<u128> = [0, 1, 2, 6, 7, 40, u64::MAX].map(|n| pause(n).as_millis()).into();
        assert_eq!(pauses, [500, 1_000, 2_000, 32_000, 60_000, 60_000, 60_000]);
    }
}
