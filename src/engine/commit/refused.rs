//! The last start that came to nothing before it took the job over, since a system that it needs was away. Advisory: the outcome of the
//! last run stays as it was, and people see all the same why the job does not run.

use crate::engine::commit::alive;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::process_id::ProcessId;
use crate::engine::commit::site::Site;
use crate::engine::format::names;
use serde::{Deserialize, Serialize};

/// The longest file that is read, in bytes.
const BYTES_MAX: u64 = 1 << 16;

/// A start that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// When, milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The code of the error that ended it.
    pub code: String,
    /// The error in words.
    pub why: String,
    /// Its process.
    #[serde(flatten)]
    pub process: ProcessId,
}

/// Notes that a start of `job` came to nothing, if a run of the job has been there. A failure is not worth more than a line.
pub async fn note(site: &Site, job: &str, code: &str, why: &str) {
    if !matches!(alive::read(site, job).await, Ok(Some(_))) {
        return;
    }
    let (code, why) = (code.to_string(), why.to_string());
    let refused = Refused { time_ms: site.now_ms(), code, why, process: ProcessId::own() };
    let (name, bytes) = (names::refused(job), serde_json::to_vec(&refused).expect("plain values encode"));
    if let Err(error) = site.replace(&name, &bytes).await {
        tracing::debug!(%error, "could not note that the start came to nothing");
    }
}

/// The last start of `job` that came to nothing; `None` if there was none.
///
/// # Errors
/// If the file cannot be read.
pub async fn read(site: &Site, job: &str) -> Result<Option<Refused>, CheckpointError> {
    let bytes = site.read(&names::refused(job), BYTES_MAX).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}
