//! Which processes a job has, as one of them finds out at its start: by its flags, the last manifest and a pending request.
//!
//! 1. A pending request wins: a person has made it since the last claim.
//! 2. A process that was started without a size, or is told to go by the manifest, goes by the manifest.
//! 3. Else the flags decide. What they leave open is as the manifest says.
//! 4. A process whose number is too high for the answer stands by, as does one that a running job works without.
//!
//! No I/O: the table of cases below is all there is to it.

use crate::engine::commit::rescale::Membership;
use crate::engine::format::manifest::Members;
use crate::mesh::{LEADER, Process};

/// What a process was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Its number; `None` if nobody has said.
    pub process: Option<Process>,
    /// Where the processes listen, if that was said: none for one process.
    pub addresses: Option<Vec<String>>,
    /// Workers of each process, if that was said.
    pub workers: Option<u32>,
    /// The manifest decides where there is one.
    pub as_committed: bool,
}

/// What a membership follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The flags, variables and file of the process.
    Settings,
    /// The last manifest.
    Manifest,
    /// A request that the next claim takes.
    Request,
}

/// The processes of the next run, and what that follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The processes and workers.
    pub members: Members,
    /// What decided.
    pub by: By,
}

/// Where a process belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seat {
    /// It is one of the processes.
    Member(Process),
    /// The job works, or is to work, on these processes without it.
    Standby(Process, Members),
    /// There are several processes, and nobody has said which one it is.
    Unnumbered(Members),
}

/// The processes that the next run is to have, as `wish` and the `lake` say.
pub fn wanted(wish: &Wish, lake: Option<&Membership>) -> Wanted {
    if let Some(members) = lake.and_then(|lake| lake.pending.clone()) {
        return Wanted { members, by: By::Request };
    }
    let committed = lake.map(|lake| &lake.committed);
    let is_silent = wish.addresses.is_none() && wish.workers.is_none();
    if let Some(members) = committed.filter(|_| is_silent || wish.as_committed) {
        return Wanted { members: members.clone(), by: By::Manifest };
    }
    let one = Members::one_process(1);
    let rest = committed.unwrap_or(&one);
    let addresses = wish.addresses.clone().unwrap_or_else(|| rest.addresses.clone());
    let processes = u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let members = Members { processes, workers: wish.workers.unwrap_or(rest.workers), addresses };
    Wanted { members, by: By::Settings }
}

/// Where the process of `wish` belongs if `wanted` is the next run, and the job `is_running` now.
pub fn seat(wish: &Wish, wanted: &Wanted, lake: Option<&Membership>, is_running: bool) -> Seat {
    let Wanted { members, by } = wanted;
    let process = match wish.process {
        Some(process) => process,
        None if members.processes == 1 => LEADER,
        None => return Seat::Unnumbered(members.clone()),
    };
    let committed = lake.map(|lake| &lake.committed).filter(|_| is_running && *by == By::Settings);
    if process.0 >= members.processes {
        return Seat::Standby(process, committed.unwrap_or(members).clone());
    }
    match committed.filter(|committed| process.0 >= committed.processes) {
        Some(committed) => Seat::Standby(process, committed.clone()),
        None => Seat::Member(process),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::names::Generation;

    /// Members of size `processes` x `workers`.
    fn members(processes: u32, workers: u32) -> Members {
        let several = (0..processes).filter(|_| processes > 1);
        Members { processes, workers, addresses: several.map(|at| format!("h{at}:1")).collect() }
    }

    fn lake(committed: (u32, u32), pending: Option<(u32, u32)>) -> Option<Membership> {
        let committed = members(committed.0, committed.1);
        let pending = pending.map(|(processes, workers)| members(processes, workers));
        Some(Membership { generation: Generation(3), committed, pending })
    }

    fn wish(process: Option<u32>, processes: Option<u32>, workers: Option<u32>) -> Wish {
        let addresses = processes.map(|processes| members(processes, 1).addresses);
        Wish { process: process.map(Process), addresses, workers, as_committed: false }
    }

    #[test]
    fn request_comes_before_manifest_and_that_before_settings_that_do_not_say() {
        let committed = |wish: Wish| Wish { as_committed: true, ..wish };
        let cases = [
            (wish(None, None, None), None, "1x1", By::Settings),
            (wish(None, None, Some(2)), None, "1x2", By::Settings),
            (wish(None, Some(3), None), None, "3x1", By::Settings),
            (wish(None, None, None), lake((2, 3), None), "2x3", By::Manifest),
            (wish(None, None, Some(1)), lake((2, 3), None), "2x1", By::Settings),
            (wish(None, Some(1), None), lake((2, 3), None), "1x3", By::Settings),
            (wish(None, Some(3), Some(1)), lake((2, 3), None), "3x1", By::Settings),
            (committed(wish(None, Some(3), Some(1))), lake((2, 3), None), "2x3", By::Manifest),
            (committed(wish(None, Some(3), Some(1))), None, "3x1", By::Settings),
            (wish(None, Some(3), Some(1)), lake((2, 3), Some((1, 2))), "1x2", By::Request),
            (wish(None, None, None), lake((2, 3), Some((1, 2))), "1x2", By::Request),
        ];
        for (wish, lake, size, by) in cases {
            let wanted = wanted(&wish, lake.as_ref());
            assert_eq!((wanted.members.size().as_str(), wanted.by), (size, by), "{wish:?} {lake:?}");
            assert_eq!(wanted.members.addresses.len() > 1, wanted.members.processes > 1);
        }
    }

    #[test]
    fn process_that_is_too_many_or_that_a_running_job_does_without_stands_by() {
        let cases = [
            (wish(Some(0), Some(2), None), None, false, "member 0"),
            (wish(Some(2), Some(2), None), None, false, "standby 2 of 2"),
            (wish(Some(1), None, None), lake((1, 1), None), false, "standby 1 of 1"),
            (wish(Some(1), None, None), lake((2, 1), None), true, "member 1"),
            (wish(None, None, None), lake((1, 4), None), false, "member 0"),
            (wish(None, None, None), lake((2, 1), None), false, "unnumbered of 2"),
            // Somebody has made the list of hosts longer: the job goes on, and so it does if all were drained before.
            (wish(Some(2), Some(3), None), lake((2, 1), None), true, "standby 2 of 2"),
            (wish(Some(2), Some(1), None), lake((2, 1), None), true, "standby 2 of 2"),
            (wish(Some(2), Some(1), None), lake((2, 1), None), false, "standby 2 of 1"),
            (wish(Some(1), Some(3), None), lake((2, 1), None), true, "member 1"),
            (wish(Some(2), Some(3), None), lake((2, 1), None), false, "member 2"),
            (wish(Some(2), Some(3), None), lake((2, 1), Some((3, 1))), true, "member 2"),
            (wish(Some(2), Some(3), None), lake((3, 1), Some((2, 1))), true, "standby 2 of 2"),
        ];
        for (wish, lake, is_running, expected) in cases {
            let wanted = wanted(&wish, lake.as_ref());
            let found = match seat(&wish, &wanted, lake.as_ref(), is_running) {
                Seat::Member(process) => format!("member {}", process.0),
                Seat::Standby(process, members) => format!("standby {} of {}", process.0, members.processes),
                Seat::Unnumbered(members) => format!("unnumbered of {}", members.processes),
            };
            assert_eq!(found, expected, "{wish:?} {lake:?} {is_running}");
        }
    }
}
