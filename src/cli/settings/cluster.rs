//! The other processes of a job, as flags, variables and file say: how many, which one this is, where they listen.

use super::config;
use super::origin::Origin;
use super::place::Surroundings;
use super::secret::first_line;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::units::{Count, Millis};
use crate::engine::cluster::place::Cluster;
use crate::mesh::{Process, hosts};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// More processes than this are a typing error.
const PROCESSES_MAX: u64 = 256;

/// How long to wait for the other processes where nothing is said.
const JOIN_WITHIN: Millis = Millis(60_000);

/// The shortest secret that is taken, in bytes.
const SECRET_MIN: usize = 16;

/// The other processes of the job; `None` if it has one.
///
/// # Errors
/// Exit 2 if the numbers and files do not fit together.
pub(crate) fn cluster(set: &config::Cluster, origin: &Origin<'_>) -> Result<Option<Cluster>, Failure> {
    let refuse = |key: &str, flag: &str, what: String| origin.refuse(("cluster", key), flag, what);
    let listed = set.hostfile.as_deref().map(|path| addresses(path, origin)).transpose()?;
    let lines = listed.as_ref().map(|listed| listed.len() as u64);
    let processes = set.processes.map_or(lines.unwrap_or(1), |Count(processes)| processes);
    if !(1..=PROCESSES_MAX).contains(&processes) {
        let what = format!("{processes} processes are not between 1 and {PROCESSES_MAX}");
        return Err(refuse("processes", "--processes", what).hint("One for each machine is usual."));
    }
    if processes == 1 {
        let is_first = set.process.is_none_or(|Count(process)| process == 0);
        let what = || "a job of one process has process 0 only".to_string();
        return if is_first {
            Ok(None)
        } else {
            Err(refuse("process", "--process", what()).hint("Set --processes."))
        };
    }
    let Some(mut addresses) = listed else {
        let what = format!("{processes} processes need a file that says where they listen");
        return Err(refuse("processes", "--processes", what)
            .hint("Use --hostfile FILE, or headway cluster run for a job on this machine."));
    };
    let lines = addresses.len() as u64;
    if lines < processes {
        let what = format!("{processes} processes, and the host file has {lines} addresses");
        return Err(
            refuse("processes", "--processes", what).hint("List one address a line, from process 0 on.")
        );
    }
    let process = match set.process {
        Some(Count(process)) => process,
        None => own_number().ok_or_else(|| {
            refuse("process", "--process", "which of the processes this is was not said".to_string())
                .hint("Use --process N, from 0 on.")
        })?,
    };
    if process >= processes {
        let what = format!("there is no process {process} of {processes}: they count from 0");
        return Err(refuse("process", "--process", what).hint("Set --processes, or another --process."));
    }
    addresses.truncate(usize::try_from(processes).unwrap_or(usize::MAX));
    let Millis(within) = set.join_within.unwrap_or(JOIN_WITHIN);
    Ok(Some(Cluster {
        process: Process(u32::try_from(process).unwrap_or(u32::MAX)),
        addresses,
        secret: set.secret_file.as_deref().map(|path| secret(path, origin)).transpose()?.unwrap_or_default(),
        within: Duration::from_millis(within.unsigned_abs()),
    }))
}

/// The number at the end of this host's name, where Kubernetes has given it.
fn own_number() -> Option<u64> {
    std::env::var_os("KUBERNETES_SERVICE_HOST")?;
    number_of(&fs::read_to_string("/proc/sys/kernel/hostname").ok()?)
}

/// The number behind the last hyphen of a host's name.
fn number_of(host: &str) -> Option<u64> {
    let (_, number) = host.trim().rsplit_once('-')?;
    number.parse().ok()
}

/// The text of a file that a setting names.
fn read(path: &Path, (key, flag): (&str, &str), origin: &Origin<'_>) -> Result<String, Failure> {
    let refuse = |what: String| origin.refuse(("cluster", key), flag, what);
    let shown = path.to_string_lossy();
    let path = Surroundings::here()
        .path(&shown)
        .map_err(|no| refuse(format!("\"{shown}\" is no path: {}", no.why)).hint(no.hint))?;
    fs::read_to_string(&path).map_err(|error| {
        refuse(format!("\"{shown}\" cannot be read")).detail(format!("The system says: {error}."))
    })
}

fn addresses(path: &Path, origin: &Origin<'_>) -> Result<Vec<String>, Failure> {
    let key = ("hostfile", "--hostfile");
    let refuse = |what: String| origin.refuse(("cluster", key.0), key.1, what);
    let hint = "Write HOST:PORT, one a line, from process 0 on.";
    let addresses = hosts::parse(&read(path, key, origin)?)
        .map_err(|(line, why)| refuse(format!("\"{}\", line {line}: {why}", path.display())).hint(hint))?;
    if addresses.is_empty() {
        return Err(refuse(format!("\"{}\" lists no address", path.display())).hint(hint));
    }
    Ok(addresses)
}

/// The first line of the secret's file.
fn secret(path: &Path, origin: &Origin<'_>) -> Result<Vec<u8>, Failure> {
    let key = ("secret_file", "--mesh-secret-file");
    let text = read(path, key, origin)?;
    let secret = first_line(&text).trim();
    if secret.len() < SECRET_MIN {
        let what = format!("the first line of \"{}\" has fewer than {SECRET_MIN} letters", path.display());
        return Err(Failure::new(Code::SettingInvalid, format!("--mesh-secret-file: {what}"))
            .hint("Make one: head -c 32 /dev/urandom | base64 > FILE."));
    }
    Ok(secret.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::config::Settings;
    use crate::cli::settings::twins::Twins;

    /// What becomes of `-n`, `-p` and a host file with `hosts`.
    fn of(processes: Option<u64>, process: Option<u64>, hosts: Option<&str>) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        fs::write(&path, hosts.unwrap_or_default()).unwrap();
        let set = config::Cluster {
            processes: processes.map(Count),
            process: process.map(Count),
            hostfile: hosts.map(|_| path),
            ..config::Cluster::default()
        };
        let flags = Settings::default();
        let found = cluster(&set, &Origin { flags: &flags, twins: &Twins::default(), file: None });
        let found = found.map_err(|failure| failure.render(crate::cli::terminal::form::Form::Text))?;
        Ok(found.map_or("alone".to_string(), |c| format!("{} of {}", c.process.0, c.addresses.join(" "))))
    }

    #[test]
    fn numbers_and_host_file_fit_together_or_are_refused() {
        let three = Some("a:1\nb:2\nc:3\n");
        let cases = [
            (None, None, None, Ok("alone")),
            (Some(1), Some(0), three, Ok("alone")),
            (None, Some(2), three, Ok("2 of a:1 b:2 c:3")),
            (Some(2), Some(1), three, Ok("1 of a:1 b:2")),
            (Some(0), None, None, Err("--processes: 0 processes")),
            (Some(1), Some(1), None, Err("--process: a job of one process")),
            (Some(2), Some(0), None, Err("need a file")),
            (Some(4), Some(0), three, Err("has 3 addresses")),
            (None, None, three, Err("was not said")),
            (None, Some(3), three, Err("no process 3 of 3")),
            (None, Some(0), Some("a b"), Err("line 1")),
            (None, Some(0), Some("# nobody"), Err("lists no address")),
        ];
        for (processes, process, hosts, expected) in cases {
            match (of(processes, process, hosts), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(word)) => assert!(found.contains(word), "{found}"),
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn host_of_a_stateful_set_has_its_number_in_its_name() {
        assert_eq!(number_of("headway-12\n"), Some(12));
        assert_eq!((number_of("headway"), number_of("headway-a1")), (None, None));
    }
}
