//! The sign of life of a run. Advisory: it helps a person not to start a job twice; nothing safe depends on it.

use crate::connect::End;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::loose;
use crate::engine::commit::site::Site;
use crate::engine::format::names::{self, Generation};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often a sign is given, in milliseconds.
const EVERY_MS: i64 = 5_000;

/// For how long a cautious run watches for a sign: three of them.
const WATCH: Duration = Duration::from_secs(15);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The longest sign that is read, in bytes: room for the ends of tens of thousands of partitions.
const BYTES_MAX: u64 = 1 << 20;

/// What a run says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// The run.
    pub generation: Generation,
    /// Its process.
    pub pid: u32,
    /// Its host, if it has a name.
    pub host: String,
    /// When it said so, milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// For each input, where partitions end, as far as the run knows it.
    #[serde(default)]
    pub ends: Ends,
}

/// Where partitions end, for each input.
pub type Ends = Vec<Vec<End>>;

/// The sign of one run.
#[derive(Debug)]
pub struct Sign {
    name: String,
    generation: Generation,
    given_ms: Option<i64>,
    /// What the next sign says of the sources.
    pub ends: Ends,
}

impl Sign {
    /// The sign of run `generation` of `job`; not given yet.
    pub fn new(job: &str, generation: Generation) -> Sign {
        Sign { name: names::alive(job), generation, given_ms: None, ends: Ends::new() }
    }

    /// Gives the sign, if the last one is old. Failures are not worth stopping for.
    pub async fn give(&mut self, site: &Site) {
        let time_ms = site.now_ms();
        if self.given_ms.is_some_and(|given| (0..EVERY_MS).contains(&time_ms.saturating_sub(given))) {
            return;
        }
        self.given_ms = Some(time_ms);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let (pid, host) = (std::process::id(), host.trim().to_string());
        let ends = std::mem::take(&mut self.ends);
        let alive = Alive { generation: self.generation, pid, host, time_ms, ends };
        let bytes = serde_json::to_vec(&alive).expect("plain values encode");
        let replaced = match site.delete(&self.name).await {
            Ok(()) => site.create(&self.name, &bytes).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = replaced {
            tracing::debug!(%error, "could not give a sign of life");
        }
    }

    /// Takes the sign away, at the end of a run.
    pub async fn take(&mut self, site: &Site) {
        if self.given_ms.take().is_some()
            && let Err(error) = site.delete(&self.name).await
        {
            tracing::debug!(%error, "could not take the sign of life away");
        }
    }
}

/// What the last run of `job` said of itself; `None` if it ended well or never ran.
///
/// # Errors
/// If the file cannot be read.
pub async fn read(site: &Site, job: &str) -> Result<Option<Alive>, CheckpointError> {
    let bytes = site.read(&names::alive(job), BYTES_MAX).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Watches whether another run of `job` gives signs or commits.
///
/// # Errors
/// [`CheckpointError::Running`] if it does.
pub async fn refuse_if_running(site: &Site, job: &str) -> Result<(), CheckpointError> {
    let first = (loose::highest(site, job).await?, read(site, job).await?);
    let Some(sign) = first.1.clone() else { return Ok(()) };
    let mut watched = Duration::ZERO;
    while watched < WATCH {
        site.pause(LOOK_EVERY).await;
        watched += LOOK_EVERY;
        let now = (loose::highest(site, job).await?, read(site, job).await?);
        // A sign that is just being replaced is not there for a moment.
        if now.0 != first.0 || now.1.as_ref().is_some_and(|now| *now != sign) {
            let Alive { generation, pid, host, .. } = now.1.unwrap_or(sign);
            let who = format!("Run {generation} gives signs of life: process {pid} on \"{host}\".");
            return Err(CheckpointError::Running { job: job.to_string(), who });
        }
    }
    Ok(())
}
