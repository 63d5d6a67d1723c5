//! A source is asked before each commit whether it is still what the job began to read: nothing is committed on a "no", and
//! nothing before there is an answer.

use crate::folders::{job_of, lists, plays};
use headway::SourceError;
use headway::connect::memory::Lists;
use headway::connect::{Connector, PartitionInfo, Source, Wake};
use headway::engine::{Control, Launch, launch};
use headway::store::memory::Memory;
use headway_operators::record::{Offset, Partition};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Lists that are asked for the sake of a test.
struct Asked {
    lists: Lists,
    files: Memory,
    /// How many commits were there at each time of asking.
    commits: Mutex<Vec<usize>>,
}

/// The first answer comes only when the source is asked again, and after this many the lists are others.
const ANSWERS: usize = 4;

fn unreachable() -> SourceError {
    SourceError::Unreachable { what: "the lists".to_string(), detail: "nobody answers".to_string() }
}

fn manifests(files: &Memory) -> usize {
    files.files().keys().filter(|name| name.contains("/manifest/")).count()
}

impl Connector for Asked {
    fn kind(&self) -> &'static str {
        self.lists.kind()
    }

    fn partitions(&self) -> Result<Vec<PartitionInfo>, SourceError> {
        self.lists.partitions()
    }

    fn open(&self, assigned: &[(Partition, Offset)], wake: Wake) -> Result<Box<dyn Source>, SourceError> {
        self.lists.open(assigned, wake)
    }

    fn confirm(&self) -> Result<(), SourceError> {
        let mut commits = self.commits.lock().expect("no thread panicked");
        commits.push(manifests(&self.files));
        match commits.len() {
            1 => Err(unreachable()),
            asked if asked <= ANSWERS => Ok(()),
            _ => Err(SourceError::OtherIdentity {
                input: "plays".to_string(),
                partition: Partition(0),
                expected: "these lists".to_string(),
                found: "others".to_string(),
            }),
        }
    }
}

#[test]
fn nothing_is_committed_before_the_source_says_that_it_is_the_same() {
    let files = Memory::new();
    let asked = Asked { lists: lists(&plays(400)), files: files.clone(), commits: Mutex::default() };
    let asked = Arc::new(asked);
    let job = Launch {
        // Epochs end by their bytes alone.
        epoch: Duration::from_secs(3600),
        epoch_bytes: 1 << 10,
        ..job_of(Arc::clone(&asked) as Arc<dyn Connector>, Arc::new(files.clone()))
    };
    let code = launch(job, &Control::new()).map(drop).map_err(|error| error.code());
    assert_eq!(code, Err("other-identity"));
    let commits = asked.commits.lock().expect("no thread panicked").clone();
    let start = commits[0];
    let each_once: Vec<usize> = [start].into_iter().chain(start..start + ANSWERS).collect();
    assert_eq!(commits, each_once, "one commit for each yes");
    assert_eq!(manifests(&files), start + ANSWERS - 1, "and none for a no");
}
