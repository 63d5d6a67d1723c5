//! A process that its job does without: it lives, says why it is not ready, and joins once the job is to have it.

use super::listen::Listen;
use super::membership::{self, Settled, Standby};
use super::restart;
use crate::cli::settings::plan::Plan;
use crate::cli::terminal::failure::Failure;
use crate::engine::Control;
use crate::engine::clock::System;
use crate::engine::cluster::membership::{By, Seat};
use crate::engine::commit::site;
use crate::engine::commit::standby::Sign;
use crate::engine::run::board::Board;
use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How often it looks whether the job is to have it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// For how long a job must give no sign of life before the process goes by its own settings again.
const QUIET: Duration = Duration::from_secs(20);

/// Stands by until the process is told to end, or starts itself again as one of the job's.
///
/// # Errors
/// If it cannot answer by HTTP, or start again. A lake that cannot be read for a while is waited for.
pub(crate) fn stand_by(
    plan: &Plan,
    mut standby: Standby,
    control: &Control,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let board = Board::new(Arc::new(System::default()));
    board.stands_by(why(&standby));
    let listen = Listen::of(plan)?;
    let _served = listen.map(|listen| serve(&listen, plan, &board, &standby, control)).transpose()?;
    let (process, size) = (standby.process.0, standby.members.size());
    tracing::info!(event = "standby", process, size, "stands by: {}", why(&standby));
    let mut lived = Instant::now();
    let mut sign = Sign::new(process, why(&standby));
    while !control.is_ending() {
        thread::sleep(LOOK_EVERY);
        let site = membership::site(&plan.lake).ok().flatten();
        site.iter().for_each(|site| site::run(sign.give(site, &plan.job)));
        let Ok(Settled { seat, wanted, is_running, .. }) = membership::look(plan) else { continue };
        if is_running {
            lived = Instant::now();
        }
        let is_said = wanted.by != By::Settings;
        match seat {
            Seat::Member(_) if is_said || lived.elapsed() >= QUIET => {
                let size = wanted.members.size();
                site.iter().for_each(|site| site::run(sign.end(site, &plan.job)));
                tracing::info!(event = "joining", process, size, "the job is to have this process");
                if let Some(failure) = restart::rescaled(is_said, control) {
                    return Err(failure);
                }
            }
            Seat::Standby(..) if lived.elapsed() >= QUIET && membership::is_member_as_set(plan) => {
                // Nobody works on the job: somebody may have started it with another size than the manifest says.
                site.iter().for_each(|site| site::run(sign.end(site, &plan.job)));
                if let Some(failure) = restart::rescaled(false, control) {
                    return Err(failure);
                }
            }
            Seat::Standby(_, members) if members != standby.members => {
                standby.members = members;
                board.stands_by(why(&standby));
                sign.change(why(&standby));
            }
            Seat::Member(_) | Seat::Standby(..) | Seat::Unnumbered(_) => {}
        }
    }
    let site = membership::site(&plan.lake).ok().flatten();
    site.iter().for_each(|site| site::run(sign.end(site, &plan.job)));
    Ok(writeln!(out, "stood by: process {process} of a job of {}", standby.members.processes)?)
}

/// Why the process does nothing.
fn why(Standby { process, members }: &Standby) -> String {
    let has = match members.processes {
        1 => "one process, process 0".to_string(),
        n => format!("{n} processes, 0 to {}", n - 1),
    };
    format!("the job has {has}, and this is process {}; headway rescale lets it join", process.0)
}

/// Answers by HTTP for a process that stands by.
#[cfg(feature = "serve")]
fn serve(
    listen: &Listen,
    plan: &Plan,
    board: &Board,
    standby: &Standby,
    control: &Control,
) -> Result<crate::serve::server::Server, Failure> {
    use crate::engine::run::launch::shape;
    use crate::serve::feed::Limits;
    use crate::serve::live::{About, Live, Member};
    let member = Member {
        process: standby.process.0,
        processes: usize::try_from(standby.members.processes).unwrap_or(usize::MAX),
        control: control.clone(),
    };
    let about = About {
        board: board.clone(),
        clock: Arc::new(System::default()),
        groups: Vec::new(),
        token: listen.token(),
        views: shape(plan.made.pipeline.as_ref())?.views,
        member: Some(member),
    };
    Ok(listen.start(Live::new(about, Limits::default()))?.0)
}

#[cfg(not(feature = "serve"))]
fn serve(
    _listen: &Listen,
    _plan: &Plan,
    _board: &Board,
    _standby: &Standby,
    _control: &Control,
) -> Result<(), Failure> {
    Err(super::listen::does_not_listen())
}
