//! The other processes of a job, as flags, variables and file say: how many, which one this is, where they listen.

use super::mesh_tls::{self, Certificate};
use super::named_file;
use crate::cli::settings::config::{self, MembersOf, Settings};
use crate::cli::settings::origin::Origin;
use crate::cli::settings::secret::first_line;
use crate::cli::settings::twins::Twins;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::units::{Count, Millis};
use crate::engine::cluster::membership::Wish;
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

/// The other processes of the job, as they were asked for. The last manifest may say something else.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The number of this process, and the processes and workers.
    pub(crate) wish: Wish,
    /// `--members as-committed` was set.
    pub(crate) as_committed: bool,
    /// What only processes of the job know.
    pub(crate) secret: Vec<u8>,
    /// What proves to the others that this process belongs to them.
    pub(crate) certificate: Option<Certificate>,
    /// How long to wait for the others.
    pub(crate) within: Duration,
    /// How often the process may start itself again, if that was said.
    pub(crate) restarts: Option<u64>,
}

/// What was asked for; each process is to have so many `workers`.
///
/// # Errors
/// Exit 2 if the numbers and files do not fit together.
pub(crate) fn asked(
    set: &config::Cluster,
    workers: Option<usize>,
    origin: &Origin<'_>,
) -> Result<Asked, Failure> {
    let process = set.process.map(|Count(process)| process).or_else(own_number);
    let as_committed = set.members == Some(MembersOf::AsCommitted);
    let Millis(within) = set.join_within.unwrap_or(JOIN_WITHIN);
    Ok(Asked {
        wish: Wish {
            process: process.map(|process| Process(u32::try_from(process).unwrap_or(u32::MAX))),
            addresses: processes(set, origin)?,
            workers: workers.map(|workers| u32::try_from(workers).unwrap_or(u32::MAX)),
            as_committed,
        },
        as_committed,
        secret: set.secret_file.as_deref().map(|path| secret(path, origin)).transpose()?.unwrap_or_default(),
        certificate: mesh_tls::certificate(set, origin)?,
        within: Duration::from_millis(within.unsigned_abs()),
        restarts: set.restarts.map(|Count(restarts)| restarts),
    })
}

/// Where the processes listen, none for one process; `None` if nothing says how many there are.
fn processes(set: &config::Cluster, origin: &Origin<'_>) -> Result<Option<Vec<String>>, Failure> {
    let refuse = |what: String| origin.refuse("cluster", "processes", "--processes", what);
    let known = set.hostfile.as_deref().map(|path| listed(path, "--hostfile", origin)).transpose()?;
    let lines = known.as_ref().map(|known| known.len() as u64);
    let Some(processes) = set.processes.map(|Count(processes)| processes).or(lines) else { return Ok(None) };
    if !(1..=PROCESSES_MAX).contains(&processes) {
        let what = format!("{processes} processes are not between 1 and {PROCESSES_MAX}");
        return Err(refuse(what).hint("One for each machine is usual."));
    }
    if processes == 1 {
        return Ok(Some(Vec::new()));
    }
    let Some(mut addresses) = known else {
        let what = format!("{processes} processes need a file that says where they listen");
        return Err(
            refuse(what).hint("Use --hostfile FILE, or headway cluster run for a job on this machine.")
        );
    };
    let lines = addresses.len() as u64;
    if lines < processes {
        let what = format!("{processes} processes, and the host file has {lines} addresses");
        return Err(refuse(what).hint("List one address a line, from process 0 on."));
    }
    addresses.truncate(usize::try_from(processes).unwrap_or(usize::MAX));
    Ok(Some(addresses))
}

/// The number at the end of this host's name, where Kubernetes has given it.
fn own_number() -> Option<u64> {
    std::env::var_os("KUBERNETES_SERVICE_HOST")?;
    number_of(&fs::read_to_string("/proc/sys/kernel/hostname").ok()?)
}

/// The number behind the last hyphen of a host's name; the name may have a domain (`setHostnameAsFQDN`).
fn number_of(host: &str) -> Option<u64> {
    let name = host.trim().split('.').next()?;
    let (_, number) = name.rsplit_once('-')?;
    number.parse().ok()
}

/// The addresses in the host file of a command that has no settings of a job.
///
/// # Errors
/// Exit 2 if it cannot be read, or lists none.
pub(crate) fn host_file(flag: &str, path: &Path) -> Result<Vec<String>, Failure> {
    let (flags, twins) = (Settings::default(), Twins::default());
    let origin = Origin { flags: &flags, twins: &twins, file: None };
    listed(path, flag, &origin)
}

fn listed(path: &Path, flag: &str, origin: &Origin<'_>) -> Result<Vec<String>, Failure> {
    let key = ("hostfile", flag);
    let refuse = |what: String| origin.refuse("cluster", key.0, key.1, what);
    let hint = "Write HOST:PORT, one a line, from process 0 on.";
    let addresses = hosts::parse(&named_file::text(path, key, origin)?)
        .map_err(|(line, why)| refuse(format!("\"{}\", line {line}: {why}", path.display())).hint(hint))?;
    if addresses.is_empty() {
        return Err(refuse(format!("\"{}\" lists no address", path.display())).hint(hint));
    }
    Ok(addresses)
}

/// The first line of the secret's file.
fn secret(path: &Path, origin: &Origin<'_>) -> Result<Vec<u8>, Failure> {
    let key = ("secret_file", "--mesh-secret-file");
    let text = named_file::text(path, key, origin)?;
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
        let found = asked(&set, Some(1), &Origin { flags: &flags, twins: &Twins::default(), file: None });
        let found = found.map_err(|failure| failure.render(crate::cli::terminal::form::Form::Text))?;
        let Wish { process, addresses, .. } = found.wish;
        let number = process.map_or("?".to_string(), |process| process.0.to_string());
        Ok(format!("{number} of {}", addresses.map_or("?".to_string(), |all| all.join(" "))))
    }

    #[test]
    fn numbers_and_host_file_fit_together_or_are_refused() {
        let three = Some("a:1\nb:2\nc:3\n");
        let cases = [
            (None, None, None, Ok("? of ?")),
            (Some(1), Some(0), three, Ok("0 of ")),
            (None, Some(2), three, Ok("2 of a:1 b:2 c:3")),
            (Some(2), Some(1), three, Ok("1 of a:1 b:2")),
            // It stands by.
            (Some(2), Some(2), three, Ok("2 of a:1 b:2")),
            (None, None, three, Ok("? of a:1 b:2 c:3")),
            (Some(0), None, None, Err("--processes: 0 processes")),
            (Some(2), Some(0), None, Err("need a file")),
            (Some(4), Some(0), three, Err("has 3 addresses")),
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
        assert_eq!(number_of("headway-2.headway.prod-7.svc.cluster.local\n"), Some(2));
        assert_eq!(number_of("headway.prod-7.svc"), None);
        assert_eq!((number_of("headway"), number_of("headway-a1")), (None, None));
    }
}
