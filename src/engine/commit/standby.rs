//! The signs of processes that a job does without, so that `status` can show them. Advisory, as the sign of life of a run is.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::site::Site;
use crate::engine::format::names;
use serde::{Deserialize, Serialize};

/// How often a sign is given, in milliseconds.
const EVERY_MS: i64 = 5_000;

/// A sign that is older has no process any more, in milliseconds: three signs.
const SILENT_MS: i64 = 15_000;

/// The longest sign that is read, in bytes.
const BYTES_MAX: u64 = 64 << 10;

/// What a process that stands by says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// Its number.
    pub process: u32,
    /// Its host, if it has a name.
    pub host: String,
    /// When it said so, milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Why the job does without it.
    pub why: String,
}

impl Sign {
    /// The sign of process `process`, not given yet.
    pub fn new(process: u32, why: String) -> Sign {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Sign { process, host: host.trim().to_string(), time_ms: i64::MIN, why }
    }

    /// Says from now on that the job does without the process because of `why`.
    pub fn change(&mut self, why: String) {
        (self.why, self.time_ms) = (why, i64::MIN);
    }

    /// Gives the sign, if the last one is old. Failures are not worth stopping for.
    pub async fn give(&mut self, site: &Site, job: &str) {
        let now_ms = site.now_ms();
        if (0..EVERY_MS).contains(&now_ms.saturating_sub(self.time_ms)) {
            return;
        }
        self.time_ms = now_ms;
        let name = names::standby(job, self.process);
        let bytes = serde_json::to_vec(self).expect("plain values encode");
        if let Err(error) = site.replace(&name, &bytes).await {
            tracing::debug!(%error, "could not give a sign of a process that stands by");
        }
    }

    /// Takes the sign away.
    pub async fn end(&self, site: &Site, job: &str) {
        // It is too old in a moment, whatever becomes of it.
        let _ = site.delete(&names::standby(job, self.process)).await;
    }
}

/// The processes that stand by for `job` now, by number.
///
/// # Errors
/// If the folder cannot be read.
pub async fn signs(site: &Site, job: &str) -> Result<Vec<Sign>, CheckpointError> {
    let mut signs = Vec::new();
    for file in site.list(&names::standby_folder(job)).await? {
        let bytes = site.read(&format!("{}{file}", names::standby_folder(job)), BYTES_MAX).await?;
        let sign = bytes.and_then(|bytes| serde_json::from_slice::<Sign>(&bytes).ok());
        signs.extend(sign.filter(|sign| site.now_ms().saturating_sub(sign.time_ms) <= SILENT_MS));
    }
    signs.sort_by_key(|sign| sign.process);
    Ok(signs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::Manual;
    use crate::engine::commit::site::run;
    use crate::store::memory::Memory;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn process_stands_by_while_it_gives_signs() {
        let clock = Arc::new(Manual::default());
        let site = Site::new(Arc::new(Memory::new()), clock.clone());
        let seen = || run(signs(&site, "gate")).unwrap().iter().map(|sign| sign.process).collect::<Vec<_>>();
        let [mut second, mut first] = [2, 1].map(|process| Sign::new(process, "why".to_string()));
        run(second.give(&site, "gate"));
        run(first.give(&site, "gate"));
        assert_eq!(seen(), [1, 2]);
        clock.advance(Duration::from_secs(10));
        run(first.give(&site, "gate"));
        clock.advance(Duration::from_secs(6));
        assert_eq!(seen(), [1], "the other one is silent");
        run(first.end(&site, "gate"));
        assert_eq!(seen(), [] as [u32; 0]);
    }
}
