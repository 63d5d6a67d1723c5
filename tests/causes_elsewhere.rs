//! Why a job on two processes lags, where the cause lies in the one that does not lead: process 0 names it, and the process.
//! Both run in this one, over real sockets; what holds the second one up is in the hands of the test.

use crate::causes::{Around, LONG, Running, memory_of, visits, visits_job};
use crate::played::Gate;
use headway::engine::cluster::place::Cluster;
use headway::engine::{Control, Error, Launch, Summary, launch};
use headway::mesh::Process;
use headway::serve::lag::{Cause, Diagnosis};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

/// A job on two processes of one worker: process 1 reads the second partition.
struct Pair {
    leader: Running,
    member: Around,
    doorman: Gate,
    thread: JoinHandle<Result<Summary, Error>>,
}

fn cluster(process: u32, addresses: &[String]) -> Option<Cluster> {
    let (secret, tls, within) = (Vec::new(), None, Duration::from_secs(60));
    Some(Cluster { process: Process(process), addresses: addresses.to_vec(), secret, tls, within })
}

impl Pair {
    /// Starts both; `of_member` changes process 1.
    fn start(of_member: impl FnOnce(Launch) -> Launch) -> Pair {
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
        let addresses = free.each_ref().map(|free| free.local_addr().expect("it is bound").to_string());
        drop(free);
        let looks = |mut job: Launch| {
            job.sources[0].discover_every = Some(Duration::from_millis(1));
            job
        };
        let around = Around::new(2);
        let member = Around {
            topic: around.topic.elsewhere(),
            disk: around.disk.elsewhere(),
            clock: Arc::clone(&around.clock),
        };
        let (doorman, made) = visits_job();
        let job = Launch { cluster: cluster(1, &addresses), ..looks(member.job(made)) };
        let job = of_member(job);
        let thread = std::thread::spawn(move || launch(job, &Control::new()));
        let (of_leader, made) = visits_job();
        let leader = Running::of(around, made, of_leader, |job| Launch {
            cluster: cluster(0, &addresses),
            ..looks(job)
        });
        leader.wait("the board of process 1", || !leader.board.snapshot().elsewhere.is_empty());
        Pair { leader, member, doorman, thread }
    }

    /// Writes visits of one page to partition `partition`, of which `given` come.
    fn write(&self, partition: usize, from: u64, count: u64, given: usize) {
        self.leader.topic.write(partition, visits("a", from, count), given);
    }

    /// Lets much time pass at once, and waits until process 1 has said what it does since then and `cause` is named for it.
    fn after_long(&self, cause: Cause) -> Diagnosis {
        self.member.clock.advance(LONG);
        self.leader.wait("a word of process 1", || !self.leader.board.snapshot().elsewhere.is_empty());
        self.leader.named(cause)
    }

    /// Drains the job, which was well until then.
    fn end(self) {
        [&self.member.disk.staging, &self.doorman].into_iter().for_each(Gate::open);
        self.member.topic.answers_again();
        self.leader.end();
        self.thread.join().expect("no panic").expect("it drains with the leader");
    }
}

#[test]
fn slow_store_of_another_process_is_named() {
    let job = Pair::start(|job| job);
    (0..2).for_each(|part| job.write(part, 0, 5, 5));
    job.leader.wait_for_commits(10);
    job.member.disk.staging.close();
    // Of so many pages both processes have some, which are state until the watermark has passed them.
    let pages = (0..50).flat_map(|page| visits(&page.to_string(), 5 + page, 1));
    job.leader.topic.write(1, pages, 50);
    job.leader.wait("the store that stands still", || job.member.disk.staging.is_waited_at());
    let found = job.after_long(Cause::SlowLake);
    let sentence =
        "The lake is slow: writing files before they are committed takes all of the time in process 1.";
    assert_eq!(found.sentence, sentence, "{found:?}");
    assert!(
        found.evidence[0].starts_with("the files of worker 1 of process 1 are being written"),
        "{found:?}"
    );
    let call = "the store of process 1 has not come back from \"open ";
    assert!(found.evidence[1].starts_with(call), "{found:?}");
    job.member.disk.staging.open();
    job.leader.wait_for_commits(60);
    job.leader.named(Cause::None);
    job.end();
}

#[test]
fn memory_that_is_nearly_full_in_another_process_is_named() {
    let (memory, takes) = memory_of(200);
    let job = Pair::start(|job| Launch { memory, ..job });
    job.write(0, 0, 10, 10);
    job.write(1, 0, 10, 5);
    job.leader.wait_for_commits(15);
    takes.store(190, Ordering::SeqCst);
    let is_paused = || {
        let board = job.leader.board.snapshot();
        board.elsewhere.iter().any(|said| said.board.memory.is_some_and(|memory| memory.paused))
    };
    job.leader.wait("sources that pause", is_paused);
    let found = job.after_long(Cause::PausedByMemory);
    assert_eq!(found.sentence, "Sources are paused: process 1 takes nearly as much memory as it may.");
    assert_eq!(found.evidence[0], "190 of 200 MiB are resident");
    takes.store(10, Ordering::SeqCst);
    job.write(1, 10, 0, 5);
    job.leader.wait_for_commits(20);
    job.leader.named(Cause::None);
    job.end();
}

#[test]
fn slow_operator_of_another_process_is_named() {
    let job = Pair::start(|job| job);
    job.doorman.close();
    let pages = (0..50).flat_map(|page| visits(&page.to_string(), page, 1));
    job.leader.topic.write(0, pages, 50);
    job.write(1, 0, 60, 60);
    job.leader.wait("the operator that stands still", || job.doorman.is_waited_at());
    let found = job.after_long(Cause::HotShard);
    assert!(found.sentence.starts_with("Worker 1 of process 1 has most of the work"), "{found:?}");
    job.doorman.open();
    job.leader.wait_for_commits(110);
    job.leader.named(Cause::None);
    job.end();
}

#[test]
fn broker_that_does_not_answer_another_process_is_named() {
    let job = Pair::start(|job| job);
    (0..2).for_each(|part| job.write(part, 0, 5, 5));
    job.leader.wait_for_commits(10);
    job.member.topic.goes_away();
    let is_noticed = || {
        let board = job.leader.board.snapshot();
        board.silent.is_empty() && board.elsewhere.iter().any(|said| !said.board.silent.is_empty())
    };
    job.leader.wait("a question of process 1 without an answer", is_noticed);
    let found = job.after_long(Cause::SourceSilent);
    let evidence = "input visits has not answered process 1 for ";
    assert!(found.evidence[0].starts_with(evidence), "{found:?}");
    job.member.topic.answers_again();
    job.leader.named(Cause::None);
    job.end();
}

#[test]
fn quiet_partition_of_another_process_that_holds_windows_open_is_named() {
    let job = Pair::start(|job| job);
    job.write(0, 0, 200, 200);
    job.write(1, 0, 1, 1);
    job.leader.wait_for_commits(201);
    let found = job.after_long(Cause::PartitionHoldsWindows);
    assert_eq!(found.sentence, "Partition 1 of visits has nothing to read, and holds all windows open.");
    assert!(found.evidence[1].starts_with("it was read to its end, and nothing came for "), "{found:?}");
    job.end();
}
