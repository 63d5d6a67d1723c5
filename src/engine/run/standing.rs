//! Where a run starts, as its claim says.

use crate::connect::{Connector, Earlier, PartitionInfo};
use crate::engine::commit::finished;
use crate::engine::commit::site::{self, Site};
use crate::engine::error::Error;
use crate::engine::format::manifest::{Input, Manifest, PartitionEntry};
use crate::engine::run::feed::Assigned;
use crate::engine::run::ports::{HeldBefore, StartPoint};
use headway_operators::ack::Content;
use headway_operators::port::Start;
use headway_operators::progress::Standing;
use headway_operators::record::Offset;
use headway_operators::time::EventTime;
use std::sync::Arc;

/// Tells the connectors what is known of their partitions: from `head`, and the `new` ones of each input, which another
/// process of this run has found.
///
/// # Errors
/// If the list of finished partitions cannot be read.
pub fn remember(
    site: &Site,
    connectors: &[Arc<dyn Connector>],
    head: &Manifest,
    new: &[Vec<PartitionInfo>],
) -> Result<(), Error> {
    let finished = site::run(finished::read(site, head))?;
    for (index, (connector, input)) in connectors.iter().zip(&head.inputs).enumerate() {
        let gone = finished.get(&input.name).into_iter().flatten().map(|part| Earlier {
            partition: part.partition,
            identity: part.identity.clone(),
            next: Offset(0),
            last_read: None,
            content: Some(Content {
                bytes: part.bytes,
                xxh3: part.xxh3.clone(),
                at_end: true,
                begins: String::new(),
                gaps: Vec::new(),
            }),
            finished: true,
            is_new: false,
        });
        let is_told = !new.is_empty();
        let read = input.partitions.iter().map(|part| Earlier {
            is_new: is_told && part.content.is_none() && part.next == part.first,
            ..known(part)
        });
        let found = new.get(index).into_iter().flatten();
        let unknown = |info: &&PartitionInfo| input.partitions.iter().all(|p| p.partition != info.partition);
        let found = found.filter(unknown).map(|info| Earlier {
            is_new: true,
            ..known(&PartitionEntry::new(info.partition, &info.identity, info.first))
        });
        connector.remember(&read.chain(found).chain(gone).collect::<Vec<_>>());
    }
    Ok(())
}

fn known(part: &PartitionEntry) -> Earlier {
    Earlier {
        partition: part.partition,
        identity: part.identity.clone(),
        next: part.next,
        last_read: part.last_read,
        content: part.content.clone(),
        finished: false,
        is_new: false,
    }
}

/// What the run starts from, beside where its inputs stand.
pub fn start_point(manifest: &Manifest, held: HeldBefore) -> StartPoint {
    StartPoint {
        first_epoch: manifest.epoch + 1,
        watermarks: manifest.watermarks.clone(),
        sealed_up_to: manifest.sealed_up_to,
        unsealed: manifest.unsealed.clone(),
        operators: manifest.operators.keys().cloned().collect(),
        held: Arc::new(held),
    }
}

/// Where a partition stands.
pub fn standing(entry: &PartitionEntry) -> Standing {
    Standing { partition: entry.partition, own: entry.own, floor: entry.floor }
}

/// The partitions of an input where the manifest says they stand, and the ends they have now.
pub fn assigned(input: &Input, seen: &[PartitionInfo]) -> Vec<Assigned> {
    let end = |partition| seen.iter().find(|info| info.partition == partition).and_then(|info| info.end);
    let assign = |p: &PartitionEntry| Assigned {
        start: Start {
            partition: p.partition,
            next: p.next,
            own: p.own,
            floor: p.floor,
            limit: p.limit_ms.map(EventTime),
        },
        end: end(p.partition),
        quiet_since_ms: p.quiet_since_ms,
    };
    input.partitions.iter().map(assign).collect()
}
