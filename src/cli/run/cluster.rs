//! `headway cluster run`: all processes of a job on this machine, started and supervised by one command.
//!
//! Each process is this program with `run` and the same flags; what differs is in its environment. Its log goes to standard
//! error with its number in front, its answer too; only process 0 writes to standard output. A process that was killed is
//! started again: the others start themselves again meanwhile. The first signal drains all of them. Where each listens, and their
//! secret, is in memory that all of them share: no cleaner of folders can take it from a process that starts itself again.

use super::listen::Listen;
use super::{command, restart};
use crate::cli::settings::plan;
use crate::cli::terminal::failure::{Code, Failure, sentence};
use crate::cli::terminal::form::Form;
use crate::cli::terminal::log_end::LogEnd;
use crate::cli::terminal::signals;
use crate::cli::units::Count;
use crate::engine::code::{self, Exit};
use crate::random::random;
use clap::{Args, Subcommand};
use headway_operators::pipeline::Entry;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

/// How often a process that was killed is started again, until none was killed for [`restart::FORGIVEN`].
const STARTS_MAX: u32 = 20;

/// The pause before that.
const PAUSE: Duration = Duration::from_millis(500);

/// How often it looks whether a process has ended.
const LOOK: Duration = Duration::from_millis(20);

/// After how long the processes that are left are told to end, once process 0 has ended well.
const LEFT: Duration = Duration::from_secs(2);

/// How long the other processes may take to end after one has ended for good.
const GRACE: Duration = Duration::from_secs(15);

/// What `cluster` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Run a job on several processes of this machine, until it ends or is drained
    Run(Box<command::Flags>),
}

/// Runs the processes, until all have ended.
///
/// # Errors
/// The first exit code that is final. What stopped that process is in its log.
pub(crate) fn run(flags: Flags, catalogue: &'static [Entry], form: Form) -> Result<(), Failure> {
    let What::Run(flags) = flags.what;
    let (processes, listen) = processes(flags.into_plan(), catalogue)?;
    let scratch = Scratch::make(processes)?;
    let stopping = Arc::new(AtomicBool::new(false));
    let children: Shared = Arc::default();
    let (draining, to_drain, to_kill) = (Arc::clone(&stopping), Arc::clone(&children), Arc::clone(&children));
    signals::listen(
        move || {
            draining.store(true, Ordering::SeqCst);
            lock(&to_drain).iter().for_each(|child| signal(child, Signal::TERM));
        },
        move |number| {
            lock(&to_kill).iter().for_each(|child| signal(child, Signal::KILL));
            process::exit(128 + number);
        },
    )?;
    let starts = Starts::default();
    Supervisor { scratch: &scratch, children, stopping, form, listen, starts }.run(processes)
}

/// How many processes there are to be, and where process 0 answers by HTTP. Everything else that is set must make a job.
fn processes(plan: plan::Flags, catalogue: &'static [Entry]) -> Result<(u64, Option<SocketAddr>), Failure> {
    let (plan, set) = plan.without_cluster();
    let refuse = |what: &str, hint: &str| Err(Failure::new(Code::SettingInvalid, what).hint(hint));
    let has_tls = [&set.cert_file, &set.key_file, &set.ca_file].into_iter().any(Option::is_some);
    if has_tls {
        return refuse(
            "headway cluster run connects its processes on this machine alone, without TLS",
            "Leave out --mesh-cert, --mesh-key and --mesh-ca.",
        );
    }
    if set.hostfile.is_some() || set.process.is_some() || set.secret_file.is_some() {
        return refuse(
            "headway cluster run starts all processes, and says itself where each of them listens",
            "Leave out --hostfile, --process and --mesh-secret-file.",
        );
    }
    let listen = Listen::of(&plan.plan(catalogue)?)?.map(|listen| listen.address());
    match set.processes {
        Some(Count(processes @ 2..=64)) => Ok((processes, listen)),
        Some(_) => refuse("--processes: not between 2 and 64", "For one process use headway run."),
        None => refuse("how many processes was not said", "Use --processes N."),
    }
}

/// The children, by number. Each is there from its start until it has ended for good.
type Shared = Arc<Mutex<Vec<Process>>>;

fn lock(children: &Shared) -> MutexGuard<'_, Vec<Process>> {
    children.lock().expect("no thread panics with this lock held")
}

/// One child.
struct Process {
    number: u64,
    child: Child,
    /// How it ended, once it has.
    ended: Option<ExitStatus>,
}

/// Sends a signal to a child, unless it has ended: its number may be another's then.
fn signal(process: &Process, signal: Signal) {
    let pid = i32::try_from(process.child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|_| process.ended.is_none()) {
        // It may have ended by itself just now; it is not reaped before it is noted.
        let _ = kill_process(pid, signal);
    }
}

struct Supervisor<'a> {
    scratch: &'a Scratch,
    children: Shared,
    stopping: Arc<AtomicBool>,
    form: Form,
    /// Where process 0 answers by HTTP.
    listen: Option<SocketAddr>,
    starts: Starts,
}

/// How often processes were started again.
#[derive(Default)]
struct Starts {
    count: u32,
    last: Option<Instant>,
}

impl Starts {
    /// Counts one more at `now`; false if there were too many, with none of them long enough before the next.
    fn allow(&mut self, now: Instant) -> bool {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) >= restart::FORGIVEN) {
            self.count = 0;
        }
        if self.count >= STARTS_MAX {
            return false;
        }
        (self.count, self.last) = (self.count + 1, Some(now));
        true
    }
}

impl Supervisor<'_> {
    fn run(mut self, processes: u64) -> Result<(), Failure> {
        let mut over: Option<(Instant, Failure)> = None;
        for number in 0..processes {
            match self.start(number, false) {
                Ok(child) => lock(&self.children).push(Process { number, child, ended: None }),
                Err(failure) => {
                    over = Some(self.give_up(failure));
                    break;
                }
            }
        }
        let (mut done, mut is_told) = (None, false);
        loop {
            thread::sleep(LOOK);
            if done.is_none() && self.leader_is_done() {
                done = Some(Instant::now());
            }
            let is_left = done.is_some_and(|done| done.elapsed() >= LEFT);
            if is_left && !is_told && !self.stopping.load(Ordering::SeqCst) {
                // Processes that stand by do not see the end of the job; those that take part have ended by themselves.
                is_told = true;
                lock(&self.children).iter().for_each(|child| signal(child, Signal::TERM));
            }
            for (number, status) in self.look() {
                let what = format!("process {number} ended with {status}");
                if self.is_drained() && status.signal().is_some() {
                    // Process 0 has made its last commit: one that is started now would find nobody to join.
                    tracing::warn!(event = "process-gone", process = number, "{what}, after the drain");
                } else if over.is_none() && self.comes_back(status) {
                    tracing::warn!(
                        event = "process-restarts",
                        process = number,
                        "{what}: it is started again"
                    );
                    thread::sleep(PAUSE);
                    match self.start(number, true) {
                        Ok(child) => self.replace(number, child),
                        Err(failure) => over = Some(self.give_up(failure)),
                    }
                } else if !status.success() && over.is_none() {
                    let exit = status
                        .code()
                        .and_then(|code| u8::try_from(code).ok())
                        .unwrap_or(Exit::Panicked as u8);
                    let failure = Failure::named(code::Code::PeerFailed.name(), exit, what);
                    over = Some((Instant::now(), failure.detail("Its own log says why.")));
                }
            }
            let are_all = lock(&self.children).iter().all(|process| process.ended.is_some());
            match over.take() {
                Some((_, failure)) if are_all => return Err(failure),
                Some((since, failure)) if since.elapsed() >= GRACE => {
                    lock(&self.children).iter().for_each(|process| signal(process, Signal::KILL));
                    return Err(failure);
                }
                None if are_all => return Ok(()),
                still => over = still,
            }
        }
    }

    /// Takes `child` as process `number`, which has ended.
    fn replace(&self, number: u64, child: Child) {
        let mut children = lock(&self.children);
        let place = children.iter_mut().find(|process| process.number == number);
        *place.expect("it was started before") = Process { number, child, ended: None };
    }

    /// Tells all processes to end, since one could not be started: no other will take its place.
    fn give_up(&self, failure: Failure) -> (Instant, Failure) {
        lock(&self.children).iter().for_each(|child| signal(child, Signal::TERM));
        (Instant::now(), failure)
    }

    /// Which processes have ended since the last look, and how.
    fn look(&self) -> Vec<(u64, ExitStatus)> {
        let mut ended = Vec::new();
        let mut children = lock(&self.children);
        for process in children.iter_mut().filter(|process| process.ended.is_none()) {
            process.ended = process.child.try_wait().ok().flatten();
            ended.extend(process.ended.map(|status| (process.number, status)));
        }
        ended
    }

    /// True if process 0 has ended well: it has made its last commit. Others may end well before: those that stand by.
    fn leader_is_done(&self) -> bool {
        let is_done =
            |process: &Process| process.number == 0 && process.ended.is_some_and(|status| status.success());
        lock(&self.children).iter().any(is_done)
    }

    /// True if the processes were told to drain, and process 0 has done so.
    fn is_drained(&self) -> bool {
        self.stopping.load(Ordering::SeqCst) && self.leader_is_done()
    }

    /// True if a process that ended with `status` is to be started again: it was killed, or died of a bug.
    fn comes_back(&mut self, status: ExitStatus) -> bool {
        let died = status.signal().is_some() || status.code() == Some(i32::from(Exit::Panicked as u8));
        died && self.starts.allow(Instant::now())
    }

    /// Starts process `number`, the first time or `again`.
    fn start(&self, number: u64, again: bool) -> Result<Child, Failure> {
        let failed = |error: io::Error| {
            Failure::named(
                code::Code::StartFailed.name(),
                Exit::Unreachable as u8,
                format!("process {number} could not be started"),
            )
            .detail(sentence(&error.to_string()))
        };
        let mut command = Command::new(restart::program());
        command.args(arguments(env::args_os())).stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(if number == 0 { Stdio::inherit() } else { Stdio::piped() });
        command.env("HEADWAY_PROCESS", number.to_string());
        command.env("HEADWAY_HOSTFILE", self.scratch.hosts());
        command.env("HEADWAY_MESH_SECRET_FILE", self.scratch.secret());
        if let Some(listen) = self.listen {
            command.env("HEADWAY_LISTEN", answers_at(listen, number).to_string());
        }
        if again {
            // The job may have been rescaled since.
            restart::as_committed(&mut command);
        }
        if self.stopping.load(Ordering::SeqCst) {
            // The drain goes on with the process that was lost.
            command.env(restart::DRAINING, "0");
        }
        let mut child = command.spawn().map_err(failed)?;
        let form = self.form;
        if let Some(log) = child.stderr.take() {
            thread::spawn(move || pass_on(number, log, form));
        }
        if let Some(answer) = child.stdout.take() {
            thread::spawn(move || pass_on(number, answer, form));
        }
        Ok(child)
    }
}

/// The arguments of a process: those of this one, without the word `cluster`, and without `--listen`: each process has an
/// address of its own, in its environment.
fn arguments(own: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = own.skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "cluster") {
        arguments.remove(at);
    }
    while let Some(at) = arguments.iter().position(|argument| argument == "--listen") {
        // The address follows.
        arguments.drain(at..arguments.len().min(at + 2));
    }
    arguments.retain(|argument| !argument.to_string_lossy().starts_with("--listen="));
    arguments
}

/// Where process `number` answers by HTTP: each has the port after that of the one before; any free one, if that was asked for.
fn answers_at(first: SocketAddr, number: u64) -> SocketAddr {
    let number = u16::try_from(number).unwrap_or(u16::MAX);
    let port = if first.port() == 0 { 0 } else { first.port().saturating_add(number) };
    SocketAddr::new(first.ip(), port)
}

/// Writes every line that a process says to the log, with the number of the process.
fn pass_on(number: u64, from: impl Read, form: Form) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // A process that cannot be read any more has ended.
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches('\n');
        let said = match (form, text.strip_prefix('{')) {
            (Form::Json, Some(rest)) => format!("{{\"process\":{number},{rest}\n"),
            (Form::Json | Form::Text, _) => format!("[{number}] {text}\n"),
        };
        let _ = LogEnd.write_all(said.as_bytes());
        line.clear();
    }
}

/// The host file and the secret of one cluster, in memory: each process has them open, and reads them again when it starts itself
/// again.
struct Scratch {
    hosts: OwnedFd,
    secret: OwnedFd,
}

impl Scratch {
    fn make(processes: u64) -> Result<Scratch, Failure> {
        let made = hosts(processes).and_then(|hosts| {
            let secret = format!("{:032x}\n", random());
            Ok(Scratch {
                hosts: in_memory("headway-hosts", &hosts)?,
                secret: in_memory("headway-secret", &secret)?,
            })
        });
        made.map_err(|error| {
            let what = "the addresses of the processes could not be made";
            Failure::named(code::Code::StartFailed.name(), Exit::Unreachable as u8, what)
                .detail(sentence(&error.to_string()))
        })
    }

    fn hosts(&self) -> String {
        path_of(&self.hosts)
    }

    fn secret(&self) -> String {
        path_of(&self.secret)
    }
}

/// A file with `text` that has no name. Programs that this one starts have it open, too, with the same number.
fn in_memory(name: &str, text: &str) -> io::Result<OwnedFd> {
    let mut file = fs::File::from(memfd_create(name, MemfdFlags::empty())?);
    file.write_all(text.as_bytes())?;
    Ok(file.into())
}

/// Where any process that has `file` open reads it from its beginning.
fn path_of(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Addresses on this machine at which nobody listens.
fn hosts(processes: u64) -> io::Result<String> {
    let free: Vec<TcpListener> =
        (0..processes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
    let lines = free.iter().map(|free| Ok(format!("{}\n", free.local_addr()?)));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_gets_the_arguments_of_the_cluster() {
        let of = |line: &str| -> Vec<String> {
            let own = line.split(' ').map(OsString::from);
            arguments(own).into_iter().map(|argument| argument.into_string().unwrap()).collect()
        };
        assert_eq!(of("headway -v cluster run turnstile -n 3"), ["-v", "run", "turnstile", "-n", "3"]);
        assert_eq!(of("headway cluster run x --job cluster"), ["run", "x", "--job", "cluster"]);
        assert_eq!(of("headway cluster run x --listen 7070 -n 2"), ["run", "x", "-n", "2"]);
        assert_eq!(of("headway cluster run x --listen=:7070 -n 2 --listen"), ["run", "x", "-n", "2"]);
    }

    #[test]
    fn starts_are_counted_until_none_was_needed_for_long() {
        let (began, mut starts) = (Instant::now(), Starts::default());
        let after = |seconds| began + Duration::from_secs(seconds);
        assert!((0..20).all(|at| starts.allow(after(at))) && !starts.allow(after(20)));
        assert!(!starts.allow(after(138)), "119 s after the last one");
        assert!((0..20).all(|at| starts.allow(after(139 + at))) && !starts.allow(after(160)));
    }

    #[test]
    fn every_process_answers_at_a_port_of_its_own() {
        let ports = |first: &str| [0, 1, 2].map(|number| answers_at(first.parse().unwrap(), number).port());
        assert_eq!(ports("127.0.0.1:7070"), [7070, 7071, 7072]);
        assert_eq!(ports("127.0.0.1:0"), [0, 0, 0]);
    }

    #[test]
    fn every_process_has_an_address_of_its_own() {
        let text = hosts(3).unwrap();
        let addresses = crate::mesh::hosts::parse(&text).unwrap();
        assert_eq!(addresses.len(), 3, "{text}");
    }
}
