//! Records that are gone before they were read: the job stops, and goes on only past the very gap that a person accepts.

use crate::folders::{finding, job_of, message, plays};
use headway::SourceError;
use headway::connect::memory::{Lists, Message};
use headway::connect::{Connector, PartitionInfo, Source, Wake};
use headway::engine::clock::{Clock, System};
use headway::engine::commit::job::AcceptedGap;
use headway::engine::commit::recover;
use headway::engine::commit::site::{self, Site};
use headway::engine::{Control, Error, Summary, launch};
use headway::store::Store;
use headway::store::memory::Memory;
use headway_operators::record::{Offset, Partition};
use std::sync::Arc;

/// Lists whose first messages are gone: those of partition 0 before an offset.
struct Expired(Lists, Offset);

impl Connector for Expired {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn partitions(&self) -> Result<Vec<PartitionInfo>, SourceError> {
        let mut all = self.0.partitions()?;
        all[0].first = self.1;
        Ok(all)
    }

    fn open(&self, assigned: &[(Partition, Offset)], wake: Wake) -> Result<Box<dyn Source>, SourceError> {
        for (partition, next) in assigned {
            assert!(*partition != Partition(0) || *next >= self.1, "what is gone cannot be read");
        }
        self.0.open(assigned, wake)
    }
}

fn lists(first: usize, count: usize) -> Lists {
    let all: Vec<Message> = plays(400).iter().map(message).collect();
    Lists::new(vec![all[..first].to_vec(), all[200..200 + count].to_vec()])
}

fn run(lists: Lists, starts_at: i64, accepted: &[&str], files: &Memory) -> Result<Summary, Error> {
    let store = Arc::new(files.clone()) as Arc<dyn Store>;
    let gap = |text: &&str| text.parse::<AcceptedGap>().expect("it is a gap");
    let mut job = job_of(Arc::new(Expired(lists, Offset(starts_at))), store);
    job.accept_gaps = accepted.iter().map(gap).collect();
    launch(job, &Control::new())
}

#[test]
fn job_goes_on_past_the_gap_that_was_accepted_and_the_audit_shows_it() {
    let files = Memory::new();
    run(lists(50, 50), 0, &[], &files).expect("nothing fails");
    let code = |result: Result<Summary, Error>| result.map(drop).map_err(|error| error.code());
    let before = files.files();
    // Offsets 50 to 64 of partition 0 have expired.
    for (accepted, expected) in [
        (&[][..], "records-gone"),
        (&["0:50..64"], "records-gone"),
        (&["1:50..65"], "records-gone"),
        (&["0:50..65", "1:3..4"], "gap-not-seen"),
    ] {
        assert_eq!(code(run(lists(150, 60), 65, accepted, &files)), Err(expected), "{accepted:?}");
        let kept = |name: &&String| name.contains("/manifest/");
        assert!(files.files().keys().filter(kept).eq(before.keys().filter(kept)), "nothing was claimed");
    }
    let said = run(lists(150, 60), 65, &[], &files).map(drop).expect_err("records are gone");
    assert!(format!("{said:?}").contains("RecordsGone"), "{said:?}");
    run(lists(150, 60), 65, &["plays=0:50..65"], &files).expect("the gap is accepted");
    assert_eq!(finding(&files), None);
    let site = Site::new(Arc::new(files.clone()), Arc::new(System::default()) as Arc<dyn Clock>);
    let head = site::run(recover::chain(&site, "plays")).expect("the chain is whole").loose.pop();
    let head = head.expect("the job has started");
    let gaps: Vec<String> = head.gaps.iter().map(ToString::to_string).collect();
    assert_eq!(gaps, ["offsets 50..65 of partition 0 of \"plays\""]);
    let part = &head.inputs[0].partitions[0];
    assert_eq!((part.next, part.total.consumed), (Offset(150), 135), "100 - 15 more");
    // Who restarts a job gives it the same flags; another gap is refused as before.
    run(lists(150, 60), 65, &["plays=0:50..65"], &files).expect("it was accepted before");
    assert_eq!(code(run(lists(150, 60), 65, &["0:150..151"], &files)), Err("gap-not-seen"));
    run(lists(200, 60), 65, &[], &files).expect("nothing is missing any more");
    assert_eq!(finding(&files), None);
}
