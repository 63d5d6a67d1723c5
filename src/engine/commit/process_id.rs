//! Which process this is, so that another one can tell whether it still lives.

use serde::{Deserialize, Serialize};

/// A process among all that ever ran on any host. Outside Linux parts are empty, and then nothing is concluded from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the host did: a later process may have the same number.
    pub started: u64,
    /// The start of the host: another one after each boot.
    pub boot: String,
    /// The process-number namespace that the number is of: containers have one each.
    pub namespace: String,
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is the one that asks, which may have executed itself again.
    Own,
    /// It is there.
    Lives,
    /// It is not there any more.
    Gone,
    /// It is of another host, boot or namespace: nothing can be said from here.
    Elsewhere,
}

impl ProcessId {
    /// This process.
    pub fn own() -> ProcessId {
        let pid = std::process::id();
        ProcessId { pid, started: started(pid).unwrap_or(0), boot: boot(), namespace: namespace() }
    }

    /// Whether the process still lives.
    pub fn find(&self) -> Found {
        let own = ProcessId::own();
        let is_here = !self.boot.is_empty()
            && !self.namespace.is_empty()
            && (&self.boot, &self.namespace) == (&own.boot, &own.namespace);
        match is_here {
            false => Found::Elsewhere,
            true if *self == own => Found::Own,
            true if started(self.pid) == Some(self.started) => Found::Lives,
            true => Found::Gone,
        }
    }
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_string())
        .unwrap_or_default()
}

fn namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// When a process started; `None` if there is none of this number, or it has ended and only its parent has not noticed.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold blanks and parentheses itself.
    let after = stat.rsplit_once(')')?.1;
    let mut fields = after.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    // Field 22 of the line, the 19th after the state.
    fields.nth(18)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn process_is_found_by_number_and_start() {
        let own = ProcessId::own();
        assert!(own.started > 0 && !own.boot.is_empty() && !own.namespace.is_empty(), "{own:?}");
        assert_eq!(own.find(), Found::Own);
        let init = ProcessId { pid: 1, started: started(1).unwrap(), ..own.clone() };
        assert_eq!(init.find(), Found::Lives);
        assert_eq!(
            ProcessId { started: own.started + 1, ..own.clone() }.find(),
            Found::Gone,
            "another had the number"
        );
        assert_eq!(ProcessId { boot: "another".into(), ..own.clone() }.find(), Found::Elsewhere);
        assert_eq!(
            ProcessId { namespace: String::new(), ..own }.find(),
            Found::Elsewhere,
            "nothing is known"
        );
    }

    #[test]
    fn process_that_ended_is_gone_before_its_parent_notices() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let id = ProcessId { pid, started: started(pid).unwrap_or(1), ..ProcessId::own() };
        // It has no work, and becomes a process that only its parent has to notice.
        while started(pid).is_some() {
            std::thread::yield_now();
        }
        assert_eq!(id.find(), Found::Gone);
        child.wait().unwrap();
        assert_eq!(id.find(), Found::Gone);
    }
}
