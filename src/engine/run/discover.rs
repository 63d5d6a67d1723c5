//! Looks for partitions that appear while a job runs, off the engine's threads.

use crate::connect::{Connector, Entry, PartitionInfo, error};
use crate::engine::commit::discovered::Discovered;
use crate::engine::control::Control;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use headway_operators::record::Partition;
use std::collections::BTreeMap;
use std::time::Duration;

/// Logs which entries of an input are read, and which are passed over, and why.
pub fn log_entries(connector: &dyn Connector) {
    let entries = connector.entries();
    let count = |read| entries.iter().filter(|entry| entry.read == read).count();
    if let Some(line) = Entry::line(&entries, true) {
        tracing::info!(event = "entries-read", count = count(true), "reads {line}");
    }
    if let Some(line) = Entry::line(&entries, false) {
        tracing::warn!(event = "entries-passed-over", count = count(false), "passes over {line}");
    }
}

/// Looks again every `every`, until `stop` is closed. Partitions in `known` are compared, not reported.
pub fn run(
    (connector, topic): (&dyn Connector, &str),
    mut known: BTreeMap<Partition, String>,
    discovered: &Discovered,
    every: Duration,
    (stop, control): (&Receiver<()>, &Control),
) {
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(every) {
        let partitions = match connector.partitions() {
            Ok(partitions) => partitions,
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "could not look for new partitions");
                continue;
            }
            Err(error) => return control.fail(error.into()),
        };
        match compare(topic, &known, partitions) {
            Err(error) => return control.fail(error.into()),
            Ok(new) => {
                for info in new {
                    tracing::info!(partition = %info.partition, first = %info.first, "found a new partition");
                    known.insert(info.partition, info.identity.clone());
                    discovered.announce(info);
                }
            }
        }
    }
}

/// What is new in `seen`; an error if a known partition is another one now, or is gone.
fn compare(
    topic: &str,
    known: &BTreeMap<Partition, String>,
    seen: Vec<PartitionInfo>,
) -> Result<Vec<PartitionInfo>, error::Error> {
    for (partition, expected) in known {
        let found = seen.iter().find(|info| info.partition == *partition);
        let found = found.map_or("nothing", |info| info.identity.as_str());
        if found != expected {
            let (input, partition) = (topic.to_string(), *partition);
            let (expected, found) = (expected.clone(), found.to_string());
            return Err(error::Error::OtherIdentity { input, partition, expected, found });
        }
    }
    Ok(seen.into_iter().filter(|info| !known.contains_key(&info.partition)).collect())
}
