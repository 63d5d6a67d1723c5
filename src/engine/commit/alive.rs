//! The sign of life of a run, and how it ended. Advisory: it keeps a job from being started twice by mistake, and tells people
//! and supervisors whether a job lives; nothing that is committed depends on it.

use crate::connect::End;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::job::IfRunning;
use crate::engine::commit::loose;
use crate::engine::commit::process_id::{Found, ProcessId};
use crate::engine::commit::site::Site;
use crate::engine::format::board::Snapshot;
use crate::engine::format::manifest::Nonce;
use crate::engine::format::names::{self, Generation};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often a sign is given, in milliseconds.
const EVERY_MS: i64 = 5_000;

/// For how long a start watches for a sign where it cannot see the process: three of them.
pub const WATCH: Duration = Duration::from_secs(15);

/// How long a sign that is being replaced may be away.
const REPLACED_WITHIN: Duration = Duration::from_millis(50);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What ended a run that did not say so: it was killed, or its host went down.
pub const GONE: &str = "process-gone";

/// The longest sign that is read, in bytes: room for the ends of tens of thousands of partitions.
const BYTES_MAX: u64 = 1 << 20;

/// What a run says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alive {
    /// The run.
    pub generation: Generation,
    /// Its process.
    #[serde(flatten)]
    pub process: ProcessId,
    /// Its host, if it has a name.
    pub host: String,
    /// Unique to this run, also among runs that were given the same generation by copies of a lake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Nonce>,
    /// When it said so, milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// How it ended; `None` while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// For each input, where partitions end, as far as the run knows it.
    #[serde(default)]
    pub ends: Ends,
    /// What it was doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<Snapshot>,
}

impl Alive {
    /// The code of the error that ended the run, if it failed; `process-gone` if the run ended without reporting one.
    pub fn failed(&self) -> Option<String> {
        match &self.ending {
            Some(ending) => ending.code.clone(),
            None => Some(GONE.to_string()),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// The code of what stopped it; `None` if it ended as it was asked to.
    pub code: Option<String>,
    /// What stopped it, in words.
    pub why: Option<String>,
}

/// Where partitions end, for each input.
pub type Ends = Vec<Vec<End>>;

/// The sign of one run.
#[derive(Debug)]
pub struct Sign {
    name: String,
    generation: Generation,
    nonce: Nonce,
    given_ms: Option<i64>,
    /// What the next sign says of the sources.
    pub ends: Ends,
    /// What the next sign says of the run.
    pub board: Option<Snapshot>,
}

impl Sign {
    /// The sign of run `generation` of `job`, whose claim has `nonce`; not given yet.
    pub fn new(job: &str, generation: Generation, nonce: Nonce) -> Sign {
        Sign { name: names::alive(job), generation, nonce, given_ms: None, ends: Ends::new(), board: None }
    }

    /// Gives the sign, if the last one is old. Failures are not worth stopping for.
    pub async fn give(&mut self, site: &Site) {
        if self.is_due(site) {
            self.given_ms = Some(site.now_ms());
            self.write(site, None).await;
        }
    }

    /// True if the last sign is old.
    pub fn is_due(&self, site: &Site) -> bool {
        let age = self.given_ms.map(|given| site.now_ms().saturating_sub(given));
        age.is_none_or(|age| !(0..EVERY_MS).contains(&age))
    }

    /// Says how the run ended, unless another one has given signs since.
    pub async fn end(&mut self, site: &Site, ending: Ending) {
        let bytes = site.read(&self.name, BYTES_MAX).await.ok().flatten();
        let last = bytes.and_then(|bytes| serde_json::from_slice::<Alive>(&bytes).ok());
        if last.is_none_or(|last| last.nonce == Some(self.nonce)) {
            self.write(site, Some(ending)).await;
        }
    }

    async fn write(&mut self, site: &Site, ending: Option<Ending>) {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut alive = Alive {
            generation: self.generation,
            process: ProcessId::own(),
            host: host.trim().to_string(),
            nonce: Some(self.nonce),
            time_ms: site.now_ms(),
            ending,
            ends: std::mem::take(&mut self.ends),
            board: self.board.take(),
        };
        let bytes = encoded(&mut alive);
        if let Err(error) = site.replace(&self.name, &bytes).await {
            tracing::debug!(%error, "could not give a sign of life");
        }
    }
}

/// The sign as it is written, never longer than what is read: what is left out of one that would be is first what other processes
/// say, then what this one does, then where partitions end.
fn encoded(alive: &mut Alive) -> Vec<u8> {
    let less: [fn(&mut Alive); 3] = [
        |alive| alive.board.iter_mut().for_each(|board| board.elsewhere.clear()),
        |alive| alive.board = None,
        |alive| alive.ends.clear(),
    ];
    let text = |alive: &Alive| serde_json::to_vec(alive).expect("plain values encode");
    let mut bytes = text(alive);
    for leave_out in less {
        if bytes.len() as u64 <= BYTES_MAX {
            break;
        }
        leave_out(alive);
        bytes = text(alive);
    }
    bytes
}

/// What the last run of `job` said of itself; `None` if there was none, or an earlier release ended well.
///
/// # Errors
/// If the file cannot be read.
pub async fn read(site: &Site, job: &str) -> Result<Option<Alive>, CheckpointError> {
    let bytes = site.read(&names::alive(job), BYTES_MAX).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// What a start makes of the run before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nobody runs.
    GoOn,
    /// Somebody runs, or may run.
    Refuse,
    /// Only time can tell.
    Watch,
}

/// What a start that is to go by `if_running` makes of the last sign, of a process of which `found` is known. A process that
/// lives is not the whole answer: the run in it may hang for good, and then somebody has to be able to take over.
fn judge(sign: &Alive, found: Found, if_running: IfRunning) -> Verdict {
    match (if_running, found) {
        _ if sign.ending.is_some() => Verdict::GoOn,
        (IfRunning::TakeOver, _) | (_, Found::Own | Found::Gone) => Verdict::GoOn,
        (IfRunning::Refuse, Found::Lives | Found::Elsewhere) => Verdict::Refuse,
        (IfRunning::Wait, Found::Lives | Found::Elsewhere) => Verdict::Watch,
    }
}

/// Lets a start of `job` go on if, by the rule `if_running`, no other run is in its way; waits for that where it has to.
///
/// # Errors
/// [`CheckpointError::Running`] if another run is at work.
pub async fn admit(site: &Site, job: &str, if_running: IfRunning) -> Result<(), CheckpointError> {
    let highest = loose::highest(site, job).await?;
    let mut sign = read(site, job).await?;
    if sign.is_none() && highest.is_some() {
        // One that is just being replaced is not there for a moment.
        site.pause(REPLACED_WITHIN).await;
        sign = read(site, job).await?;
    }
    let Some(sign) = sign else { return Ok(()) };
    match judge(&sign, sign.process.find(), if_running) {
        Verdict::GoOn => return Ok(()),
        Verdict::Refuse => return Err(running(job, &sign, "has not said that it ended")),
        Verdict::Watch => {}
    }
    tracing::info!(
        event = "waiting",
        run = sign.generation.0,
        pid = sign.process.pid,
        host = sign.host,
        seconds = WATCH.as_secs(),
        "the last run has not said that it ended: waiting for a sign of life"
    );
    let mut watched = Duration::ZERO;
    while watched < WATCH {
        site.pause(LOOK_EVERY).await;
        watched += LOOK_EVERY;
        let now = read(site, job).await?.unwrap_or_else(|| sign.clone());
        if now.ending.is_some() || sign.process.find() == Found::Gone {
            return Ok(());
        }
        if now != sign || loose::highest(site, job).await? != highest {
            return Err(running(job, &now, "gives signs of life"));
        }
    }
    Ok(())
}

fn running(job: &str, sign: &Alive, what: &str) -> CheckpointError {
    let Alive { generation, process, host, .. } = sign;
    let who = format!("Run {generation} {what}: process {} on \"{host}\".", process.pid);
    CheckpointError::Running { job: job.to_string(), who }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::board;
    use crate::engine::format::waits::Silence;
    use headway_operators::record::{Offset, Partition};

    #[test]
    fn start_goes_on_waits_or_is_refused() {
        use {Found::*, IfRunning::*, Verdict::*};
        let ended = Ending { code: None, why: None };
        let cases = [
            // A run that has ended does not keep another one from starting.
            (Some(&ended), Elsewhere, IfRunning::Refuse, GoOn),
            (Some(&ended), Lives, Wait, GoOn),
            (None, Own, Wait, GoOn),
            (None, Gone, Wait, GoOn),
            (None, Gone, IfRunning::Refuse, GoOn),
            (None, Lives, Wait, Watch),
            (None, Elsewhere, Wait, Watch),
            (None, Lives, IfRunning::Refuse, Verdict::Refuse),
            (None, Elsewhere, IfRunning::Refuse, Verdict::Refuse),
            (None, Lives, TakeOver, GoOn),
            (None, Elsewhere, TakeOver, GoOn),
        ];
        for (ending, found, if_running, expected) in cases {
            let sign = Alive {
                generation: Generation(3),
                process: ProcessId::own(),
                host: "h".into(),
                nonce: None,
                time_ms: 0,
                ending: ending.cloned(),
                ends: Ends::new(),
                board: None,
            };
            assert_eq!(judge(&sign, found, if_running), expected, "{ending:?} {found:?} {if_running:?}");
        }
    }

    #[test]
    fn sign_is_never_too_long_to_be_read_and_leaves_out_first_what_others_say() {
        let board_with = |elsewhere: usize| {
            let silent = vec![Silence { input: 0, for_: Duration::ZERO, why: "x".repeat(1 << 10) }];
            let board = Snapshot { silent, ..Snapshot::default() };
            let said = board::Elsewhere { process: 1, board, ..board::Elsewhere::default() };
            Snapshot { elsewhere: vec![said; elsewhere], ..Snapshot::default() }
        };
        let end = End { partition: Partition(7), offset: Offset(7), stalled: false, first_reads: Vec::new() };
        for (others, ends, expected) in [(2, 1, (2, 1)), (2_000, 1, (0, 1)), (2_000, 40_000, (0, 0))] {
            let mut alive = Alive {
                generation: Generation(3),
                process: ProcessId::own(),
                host: "h".into(),
                nonce: None,
                time_ms: 0,
                ending: None,
                ends: vec![vec![end.clone(); ends]],
                board: Some(board_with(others)),
            };
            let bytes = encoded(&mut alive);
            assert!(bytes.len() as u64 <= BYTES_MAX);
            let read: Alive = serde_json::from_slice(&bytes).unwrap();
            let found =
                (read.board.map_or(0, |board| board.elsewhere.len()), read.ends.iter().map(Vec::len).sum());
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn sign_of_an_earlier_release_is_read() {
        let sign: Alive =
            serde_json::from_str(r#"{"generation":2,"pid":7,"host":"h","time_ms":5,"ends":[]}"#).unwrap();
        assert_eq!((sign.process.pid, sign.process.find()), (7, Found::Elsewhere), "nothing is concluded");
    }
}
