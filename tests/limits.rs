//! What stops a job by name before it hangs or is killed: memory, and a worker that does not come back.

use crate::cli::{folder, headway, succeeds};
use headway::connect::memory::{Lists, Message};
use headway::connect::{self, Connector, Event, PartitionInfo, Polled, Source, Wake};
use headway::engine::{Control, Launch, launch};
use headway::store::memory::Memory;
use headway_operators::record::{Offset, Partition};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

#[test]
fn job_that_takes_more_memory_than_it_may_stops_by_name_with_a_table() {
    let folder = folder();
    let job =
        ["run", "turnstile", "--source", "generate:messages=20000", "--lake", "lake", "--until", "caught-up"];
    succeeds(&headway(folder.path(), &job));
    // The program alone takes more than this. What it had saved is in the table, and not read: the job is not taken over.
    let limited =
        |lake| ["run", "turnstile", "--source", "generate", "--lake", lake, "--memory-limit", "16MiB"];
    let cases = [("lake", "bytes  state of "), ("new", "bytes  open messages of mta-turnstile")];
    for (lake, what) in cases {
        let run = headway(folder.path(), &limited(lake));
        assert_eq!(run.code, Some(3), "{}", run.err);
        for part in ["(memory-limit)", "and may take 16 MiB", what, "everything else"] {
            assert!(run.err.contains(part), "{part}: {}", run.err);
        }
        let status = headway(folder.path(), &["status", "--lake", lake]);
        let first = status.out.lines().next().unwrap_or_default();
        assert_eq!(first.contains("with memory-limit"), lake == "new", "{}", status.out);
        // The outcome of the run before stays, and the start is seen all the same.
        assert_eq!(status.out.contains("\nrefused    a start at "), lake == "lake", "{}", status.out);
    }
    succeeds(&headway(folder.path(), &["audit", "--lake", "lake", "--deep"]));
    succeeds(&headway(folder.path(), &[&job[..], &["--memory-limit", "8GiB"]].concat()));
    let run = headway(folder.path(), &[&job[..], &["--memory-limit", "1MiB"]].concat());
    assert!(run.code == Some(2) && run.err.contains("--memory-limit"), "{}", run.err);
}

/// Lists whose sources never come back from a call, once they have given something.
struct Blocking {
    lists: Lists,
    /// Nothing is ever sent.
    _never: Sender<()>,
    waits: std::sync::Mutex<Option<Receiver<()>>>,
}

struct BlockingSource {
    source: Box<dyn Source>,
    waits: Option<Receiver<()>>,
    polls: u32,
}

impl Connector for Blocking {
    fn kind(&self) -> &'static str {
        self.lists.kind()
    }

    fn partitions(&self) -> Result<Vec<PartitionInfo>, connect::error::Error> {
        self.lists.partitions()
    }

    fn open(
        &self,
        assigned: &[(Partition, Offset)],
        wake: Wake,
    ) -> Result<Box<dyn Source>, connect::error::Error> {
        let waits = self.waits.lock().expect("no thread panics with it").take();
        Ok(Box::new(BlockingSource { source: self.lists.open(assigned, wake)?, waits, polls: 0 }))
    }
}

impl Source for BlockingSource {
    fn poll(
        &mut self,
        bytes_max: usize,
        each: &mut dyn FnMut(Event<'_>),
    ) -> Result<Polled, connect::error::Error> {
        self.polls += 1;
        if self.polls > 60 {
            let _ = self.waits.as_ref().expect("one worker reads").recv();
        }
        self.source.poll(bytes_max, each)
    }

    fn assign(&mut self, partition: Partition, next: Offset) -> Result<(), connect::error::Error> {
        self.source.assign(partition, next)
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        self.source.pause(partition, paused);
    }
}

#[test]
fn worker_that_does_not_come_back_stops_the_job_by_name() {
    let entry = headway_pipelines::find("turnstile").expect("it is in the catalogue");
    let pipeline = entry.configure([]).expect("the defaults are right").pipeline;
    let (_never, waits) = channel();
    let message = Message { value: Some(b"no reading".to_vec()), timestamp_ms: Some(0) };
    let lists = Lists::new(vec![vec![message; 100_000]]);
    let blocking = Blocking { lists, _never, waits: std::sync::Mutex::new(Some(waits)) };
    let launched = Launch {
        stuck_after: Duration::from_millis(600),
        ..Launch::new(pipeline, [Arc::new(blocking) as Arc<dyn Connector>], Arc::new(Memory::new()))
    };
    let began = Instant::now();
    let error = launch(launched, &Control::new()).expect_err("its worker is stuck");
    assert_eq!((error.code(), error.exit_code()), ("worker-stuck", 101), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "it did not wait for the worker");
}
