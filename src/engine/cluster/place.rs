//! Where a process stands in its job.

use crate::engine::format::manifest::Members;
use crate::mesh::{LEADER, Process, Tls};
use headway_operators::state::Shard;
use std::time::Duration;

/// A job on several processes, as this one joins it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// This process.
    pub process: Process,
    /// Where the processes listen, by number: at least two.
    pub addresses: Vec<String>,
    /// What only processes of the job know. Without it every address must be on this machine.
    pub secret: Vec<u8>,
    /// What proves to the others that this process belongs to them; with it all sockets between them are TLS.
    pub tls: Option<Tls>,
    /// How long to wait for the others.
    pub within: Duration,
}

/// Where a process stands in its job: which one it is, of how many, with how many workers each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// This process.
    pub process: Process,
    /// Where the processes listen, by number; none if there is one process.
    pub addresses: Vec<String>,
    /// Workers of each process.
    pub workers: usize,
}

impl Place {
    /// The only process of a job.
    pub fn alone(workers: usize) -> Place {
        Place { process: LEADER, addresses: Vec::new(), workers }
    }

    /// One of the processes of `cluster`, or the only one.
    pub fn of(cluster: Option<&Cluster>, workers: usize) -> Place {
        let alone = || Place::alone(workers);
        let of = |cluster: &Cluster| {
            let (process, addresses) = (cluster.process, cluster.addresses.clone());
            Place { process, addresses, workers }
        };
        cluster.map_or_else(alone, of)
    }

    /// How many processes the job has.
    pub fn processes(&self) -> usize {
        self.addresses.len().max(1)
    }

    /// Workers of all processes.
    pub fn peers(&self) -> usize {
        self.processes() * self.workers
    }

    /// True if worker `index` of the job is one of this process.
    pub fn has(&self, index: usize) -> bool {
        index / self.workers == self.process.index()
    }

    /// True if a worker of this process owns `shard`.
    pub fn owns(&self, shard: Shard) -> bool {
        self.has(shard.owner(self.peers()))
    }

    /// The processes and workers, as manifests have them.
    pub fn members(&self) -> Members {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Members {
            processes: count(self.processes()),
            workers: count(self.workers),
            addresses: self.addresses.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_is_owned_by_one_process() {
        for (processes, workers) in [(1, 1), (1, 3), (2, 1), (3, 2)] {
            let addresses: Vec<String> = (0..processes).map(|at| format!("h{at}:1")).collect();
            let place = |at| Place { process: Process(at), addresses: addresses.clone(), workers };
            for shard in (0..1024).map(Shard) {
                let owners = (0..processes).filter(|at| place(*at).owns(shard)).count();
                assert_eq!(owners, 1, "{processes} x {workers}: {shard:?}");
            }
            assert_eq!(place(0).members().total() as usize, place(0).peers());
        }
        assert_eq!(Place::alone(2).members(), Members::one_process(2));
    }
}
