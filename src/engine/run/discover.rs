//! Looks for partitions that appear while a job runs, off the engine's threads.

use crate::connect::{Connector, Entry, PartitionInfo, error};
use crate::engine::cluster::crew::Crew;
use crate::engine::commit::discovered::Discovered;
use crate::engine::control::Control;
use crate::engine::run::board::Board;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use headway_operators::record::Partition;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A look that takes long, as into a folder of thousands of files, is not repeated at once: looks take a tenth of the time at most, or
/// are as far apart as this.
const SLOW_LOOKS_EVERY: Duration = Duration::from_secs(1);

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

/// Announces new partitions. Does nothing in a process that does not lead: process 0 finds the partitions.
pub struct Announce<'a> {
    /// For the workers and manifests of this process.
    pub discovered: &'a Discovered,
    /// For the other processes of the job, if there are any.
    pub crew: Option<&'a Crew>,
    /// The input, by number.
    pub input: usize,
    /// Where it is noted whether the source answers.
    pub board: &'a Board,
}

impl Announce<'_> {
    /// Tells of a partition, unless it is not for this process to do.
    fn found(&self, info: PartitionInfo) {
        if self.crew.is_some_and(|crew| !crew.leads()) {
            return;
        }
        tracing::info!(partition = %info.partition, first = %info.first, "found a new partition");
        // First where this process commits: no ack of it may come before it is known there.
        self.discovered.announce(info.clone());
        if let Some(crew) = self.crew {
            crew.found(self.input, &info);
        }
    }
}

/// An input whose partitions may grow.
pub struct Growing<'a> {
    /// Where its messages come from.
    pub connector: &'a dyn Connector,
    /// Its topic, for errors.
    pub topic: &'a str,
    /// How often it is looked at, if a look is quick.
    pub every: Duration,
}

/// Looks again and again, until `stop` is closed. Partitions in `known` are compared, not reported.
pub fn run(
    growing: &Growing<'_>,
    mut known: BTreeMap<Partition, String>,
    announce: &Announce<'_>,
    stop: &Receiver<()>,
    control: &Control,
) {
    let Growing { connector, topic, every } = *growing;
    let mut wait = every;
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(wait) {
        let asked = Instant::now();
        let answer = connector.partitions();
        wait = every.max((asked.elapsed() * 10).min(SLOW_LOOKS_EVERY));
        let partitions = match answer {
            Ok(partitions) => {
                announce.board.source_asked(announce.input, None);
                partitions
            }
            Err(error) if error.is_transient() => {
                announce.board.source_asked(announce.input, Some(error.to_string()));
                tracing::warn!(%error, "could not look for new partitions");
                continue;
            }
            Err(error) => return control.fail(error.into()),
        };
        match compare(topic, &known, partitions) {
            Err(error) => return control.fail(error.into()),
            Ok(new) => {
                for info in new {
                    known.insert(info.partition, info.identity.clone());
                    announce.found(info);
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
