//! The digest of a plan: equal in all processes of a job, else none of them starts.
//!
//! Timely matches the channels of processes by their number only: a process that has built another dataflow would read
//! bytes of one type as another. So the digest covers everything that the build of a dataflow or a feed reads.

use crate::mesh::hello::Facts;
use sha2::{Digest, Sha256};
use std::fmt::{Debug, Write as _};
use std::io::Read;
use xxhash_rust::xxh3::Xxh3;

/// The digest of what was [noted](Plan::note).
#[derive(Default)]
pub struct Plan(String);

impl Plan {
    /// Notes a setting, or a part of the dataflow.
    pub fn note(&mut self, name: &str, value: &dyn Debug) {
        let _ = writeln!(self.0, "{name}: {value:?}");
    }

    /// What all processes of the job `job` must have in common.
    ///
    /// # Errors
    /// If the running program cannot be read.
    pub fn facts(&self, job: &str, workers: usize, addresses: &[String]) -> std::io::Result<Facts> {
        tracing::debug!(plan = self.0, "what all processes must have in common");
        Ok(Facts {
            job: job.to_string(),
            build: build()?,
            plan: Sha256::digest(&self.0).into(),
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
            addresses: addresses.to_vec(),
        })
    }
}

/// The hash of the running program: two builds of one version are two builds.
fn build() -> std::io::Result<u128> {
    let (mut file, mut hash, mut buffer) =
        (std::fs::File::open("/proc/self/exe")?, Xxh3::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest128()),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_setting_that_differs_makes_another_plan() {
        let digest = |window: u32| {
            let mut plan = Plan::default();
            plan.note("window", &window);
            plan.facts("gate", 1, &[]).unwrap()
        };
        assert_eq!(digest(5), digest(5));
        assert_ne!(digest(5).plan, digest(6).plan);
        assert_eq!(digest(5).build, digest(6).build);
    }
}
