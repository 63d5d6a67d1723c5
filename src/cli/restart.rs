//! A process of several that starts itself again: after a lost process, a panic, or a start that missed the others.
//!
//! It replaces itself by the same program with the same command line. So its process number stays, no supervisor counts it as
//! a crash, and no pause of a supervisor lets the processes miss each other. What it has to remember is in its environment:
//! how often it has done so, and that it was told to drain.

use super::terminal::failure::{Failure, sentence};
use super::terminal::log_end;
use crate::engine::code::may_come_back;
use crate::engine::format::names::Generation;
use crate::engine::{self, Control};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, io};

/// How often this process has started itself again since it last ran for [`FORGIVEN`].
const COUNT: &str = "HEADWAY_RESTARTED";

/// Set if the process was draining when it started itself again: to the run that was drained, 0 if that is not known.
pub(crate) const DRAINING: &str = "HEADWAY_DRAINING";

/// Set if the process goes by the last manifest, whatever it was started with: it has seen a claim.
const COMMITTED: &str = "HEADWAY_GOES_BY_MANIFEST";

/// After a run of this length earlier restarts count no more.
const FORGIVEN: Duration = Duration::from_secs(120);

/// The pause before the first restart; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Goes on with a drain that was under way when this process started itself again.
pub(crate) fn go_on_draining(control: &Control) {
    if let Ok(run) = env::var(DRAINING) {
        control.go_on_draining(Generation(run.parse().unwrap_or_default()));
    }
}

/// Starts the program again, if `failure` may get better by that and `restarts` are left; else gives it back. The run that
/// failed began at `began`.
pub(crate) fn again(failure: Failure, restarts: u64, began: Instant, control: &Control) -> Failure {
    let before = env::var(COUNT).ok().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
    let count = if began.elapsed() >= FORGIVEN { 0 } else { before };
    // Another size is no failure: nobody counts it.
    let is_free = failure.name() == engine::code::Code::MembershipChanged.name();
    if !may_come_back(failure.exit()) || count >= restarts && !is_free {
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

fn pause(restarts: u64) -> Duration {
    let doubled = u32::try_from(restarts).ok().and_then(|restarts| 2_u32.checked_pow(restarts));
    doubled.map_or(PAUSE_MAX, |factor| PAUSE.saturating_mul(factor).min(PAUSE_MAX))
}

/// The program as it is installed now, so that a new build is taken up; the running one if that file is gone.
fn program() -> PathBuf {
    env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses: Vec<u128> = [0, 1, 2, 6, 7, 40, u64::MAX].map(|n| pause(n).as_millis()).into();
        assert_eq!(pauses, [500, 1_000, 2_000, 32_000, 60_000, 60_000, 60_000]);
    }
}
