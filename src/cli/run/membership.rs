//! Which of the job's processes this one is, as its settings and the lake say: settled before anything is opened for writing.

use super::restart;
use crate::cli::settings::cluster::members::Asked;
use crate::cli::settings::cluster::mesh_tls::Certificate;
use crate::cli::settings::config::IfRunning;
use crate::cli::settings::plan::Plan;
use crate::cli::status::life::Life;
use crate::cli::terminal::failure::{Code, Failure};
use crate::connect::Notice;
use crate::engine::clock::{Clock, System};
use crate::engine::cluster::membership::{By, Seat, Wanted, Wish, seat, wanted};
use crate::engine::cluster::place::Cluster;
use crate::engine::commit::alive;
use crate::engine::commit::rescale::{self, Membership};
use crate::engine::commit::site::{self, Site};
use crate::engine::format::manifest::Members;
use crate::mesh::Process;
use crate::store::local::Local;
use std::path::Path;
use std::sync::Arc;

/// How often a process of several may start itself again, where nothing is said.
const RESTARTS: u64 = 20;

/// A process that the job does without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standby {
    /// Its number.
    pub(crate) process: Process,
    /// The processes of the job.
    pub(crate) members: Members,
}

/// Where a process belongs now.
pub(crate) struct Settled {
    /// Its place.
    pub(crate) seat: Seat,
    /// The processes of the next run.
    pub(crate) wanted: Wanted,
    /// What the process goes by.
    pub(crate) wish: Wish,
    /// The job gives signs of life, and is not to be taken over.
    pub(crate) is_running: bool,
}

/// Notes in `plan` which processes the job has; gives a process that is none of them.
///
/// # Errors
/// Exit 2 if there are several processes, and nobody has said which one this is; exits 3 to 5 if the lake cannot be read.
pub(crate) fn settle(plan: &mut Plan) -> Result<Option<Standby>, Failure> {
    plan.asked.wish.as_committed |= restart::goes_by_manifest();
    let Settled { seat, wanted: Wanted { members, by }, wish, .. } = look(plan)?;
    plan.asked.wish = wish;
    match seat {
        Seat::Member(process) => {
            if by != By::Settings {
                let (size, whose) = (members.size(), if by == By::Request { "request" } else { "manifest" });
                tracing::debug!(size, whose, "processes and workers are not as set");
            }
            let certificate = certificate(plan, process, &members)?;
            if let Some(Notice { name, what, .. }) = certificate.and_then(Certificate::notice) {
                tracing::warn!(event = "certificate-ends", file = name, "{what}");
            }
            let Asked { secret, certificate, within, .. } = plan.asked.clone();
            let tls = certificate.map(|certificate| certificate.tls);
            plan.is_settled = true;
            plan.workers = usize::try_from(members.workers).unwrap_or(usize::MAX);
            let addresses = members.addresses;
            let is_cluster = addresses.len() > 1;
            plan.cluster = is_cluster.then_some(Cluster { process, addresses, secret, tls, within });
            Ok(None)
        }
        Seat::Standby(Process(process), members) if is_typing_error(plan, &members) => {
            let what = format!("--process: a job of one process has process 0 only, not {process}");
            Err(Failure::new(Code::SettingInvalid, what).hint("Set --processes and --hostfile."))
        }
        Seat::Standby(process, members) => Ok(Some(Standby { process, members })),
        Seat::Unnumbered(members) => {
            let count = members.processes;
            let what = format!("--process: which of the {count} processes this is was not said");
            let hint = "Use --process N, from 0 on; or --processes 1 to go on with one process.";
            Err(Failure::new(Code::SettingInvalid, what).hint(hint))
        }
    }
}

/// Notes in `plan` how many workers a run would have, as its settings and the lake say; gives the members.
///
/// # Errors
/// If the lake cannot be read; exit 2 if the certificate does not name the host of this process.
pub(crate) fn workers(plan: &mut Plan) -> Result<Members, Failure> {
    let Settled { wanted, seat, .. } = look(plan)?;
    if let Seat::Member(process) = seat {
        certificate(plan, process, &wanted.members)?;
    }
    plan.workers = usize::try_from(wanted.members.workers).unwrap_or(usize::MAX);
    Ok(wanted.members)
}

/// The certificate of this process, if it has one, which names the host of `process`.
fn certificate<'a>(
    plan: &'a Plan,
    process: Process,
    members: &Members,
) -> Result<Option<&'a Certificate>, Failure> {
    let own = plan.asked.certificate.as_ref();
    let address = members.addresses.get(process.index());
    if let Some((certificate, address)) = own.zip(address) {
        certificate.check_host(address)?;
    }
    Ok(own)
}

/// True if there is no job yet, and nobody has said that it is to have several processes.
fn is_typing_error(plan: &Plan, members: &Members) -> bool {
    members.processes == 1
        && plan.asked.wish.addresses.is_none()
        && matches!(membership_of(&plan.lake, &plan.job), Ok(None))
}

/// Where the process of `plan` belongs now.
///
/// # Errors
/// If the lake cannot be read.
pub(crate) fn look(plan: &Plan) -> Result<Settled, Failure> {
    look_as(plan, plan.asked.wish.clone())
}

/// Where the process of `plan` would belong now with this wish.
fn look_as(plan: &Plan, mut wish: Wish) -> Result<Settled, Failure> {
    let lake = membership_of(&plan.lake, &plan.job)?;
    let life = if lake.is_some() { life(&plan.lake, &plan.job)? } else { Life::Stopped };
    // Whoever takes over does not stand by for the run that is there.
    let is_running = life == Life::Running && !matches!(plan.if_running, IfRunning::TakeOver);
    let wanted_by = |wish: &Wish| {
        let wanted = wanted(wish, lake.as_ref());
        (seat(wish, &wanted, lake.as_ref(), is_running), wanted)
    };
    let (mut seat, mut wanted) = wanted_by(&wish);
    let has = |process: &Process| lake.as_ref().is_some_and(|lake| process.0 < lake.committed.processes);
    if wanted.by == By::Settings
        && life != Life::Stopped
        && matches!(&seat, Seat::Standby(process, _) if has(process))
    {
        // The job has not ended as it was asked to, and waits for this process, which its supervisor has started again.
        wish.as_committed = true;
        (seat, wanted) = wanted_by(&wish);
    }
    Ok(Settled { seat, wanted, wish, is_running })
}

/// True if the process of `plan` goes by the manifest only since it has seen a claim, and would be one of the job's by its settings.
pub(crate) fn is_member_as_set(plan: &Plan) -> bool {
    let wish = Wish { as_committed: false, ..plan.asked.wish.clone() };
    restart::goes_by_manifest()
        && !plan.asked.as_committed
        && look_as(plan, wish).is_ok_and(|settled| matches!(settled.seat, Seat::Member(_)))
}

/// How often the process of `plan` may start itself again.
pub(crate) fn restarts(plan: &Plan) -> u64 {
    let is_one_of_several = plan.cluster.is_some() || restart::goes_by_manifest();
    plan.asked.restarts.unwrap_or(if is_one_of_several { RESTARTS } else { 0 })
}

/// What is known of the membership of `job` in `lake`; `None` if the job has never started.
///
/// # Errors
/// If the lake is there and cannot be read.
fn membership_of(lake: &Path, job: &str) -> Result<Option<Membership>, Failure> {
    let Some(site) = site(lake)? else { return Ok(None) };
    Ok(site::run(rescale::membership(&site, job))?)
}

/// Whether the last run of `job` lives.
fn life(lake: &Path, job: &str) -> Result<Life, Failure> {
    let Some(site) = site(lake)? else { return Ok(Life::Stopped) };
    let sign = site::run(alive::read(&site, job))?;
    Ok(Life::look(sign.as_ref(), site.now_ms()))
}

/// The lake, if it is there.
///
/// # Errors
/// Exit 3 if it cannot be opened.
pub(crate) fn site(lake: &Path) -> Result<Option<Site>, Failure> {
    if !lake.is_dir() {
        return Ok(None);
    }
    let clock: Arc<dyn Clock> = Arc::new(System::default());
    Ok(Some(Site::new(Arc::new(Local::existing(lake)?), clock)))
}
