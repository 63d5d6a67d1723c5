//! Causes by invented boards: each is named for what is on the board, and for nothing else.

use super::*;
use crate::engine::format::board::{Elsewhere, MemoryUse, OperatorTime, Recent, Steps, WorkerTime};
use crate::engine::format::manifest::tests::first;
use crate::engine::format::waits::{FeedWait, PartWait, Silence, StageWait};
use headway_operators::ack::InputIx;
use headway_operators::error::Reason;
use headway_operators::pace::InputsWatermark;
use headway_operators::record::{Offset, Partition};

/// A job of one input whose partitions are at these event times, in seconds.
fn head(own: &[i64]) -> Manifest {
    let mut head = first(own.len() as u32);
    for (part, own) in head.inputs[0].partitions.iter_mut().zip(own) {
        part.own = if *own < 0 { EventTime::MIN } else { EventTime(own * 1_000) };
    }
    head
}

/// The feed of input 0: what each of its partitions waits for, and since when it has not been read to its end.
fn feed(open_for: Option<u64>, parts: &[(Waits, Option<u64>)]) -> FeedWait {
    let seconds = Duration::from_secs;
    let part = |(number, (waits, behind)): (u32, &(Waits, Option<u64>))| PartWait {
        partition: Partition(number),
        waits: *waits,
        waits_for: seconds(30),
        behind_for: behind.map(seconds),
    };
    let partitions = (0..).zip(parts).map(part).collect();
    FeedWait { input: 0, worker: 0, open_for: open_for.map(seconds), partitions }
}

fn lag(partition: u32, records: i64, for_s: i64) -> Lag {
    let end = Offset(1_000 + records);
    Lag {
        input: 0,
        partition: Partition(partition),
        end,
        records,
        for_ms: for_s * 1_000,
        stalled: false,
        first_ms: None,
    }
}

/// The board of a run whose workers were busy for these shares of the last ten seconds.
fn board(lags: Vec<Lag>, busy: &[f64]) -> Snapshot {
    let over = Duration::from_secs(10);
    let time = |share: &f64| WorkerTime {
        busy: over.mul_f64(*share),
        waiting: over.mul_f64(1.0 - share),
        ..WorkerTime::default()
    };
    let recent = Recent { over, records: 500, workers: busy.iter().map(time).collect(), ..Recent::default() };
    Snapshot {
        epoch: Duration::from_secs(1),
        recent,
        lags,
        running: Duration::from_secs(100),
        max_skew_ms: Some(600_000),
        ..Snapshot::default()
    }
}

#[test]
fn each_cause_is_named() {
    let seconds = Duration::from_secs;
    let calm = [0.1, 0.1];
    let late = || vec![lag(0, 500, 30), lag(1, 480, 29)];
    let stalled = vec![Lag { stalled: true, ..lag(0, 5, 40) }, lag(1, 0, 0)];
    let with = |mut board: Snapshot, change: &dyn Fn(&mut Snapshot)| {
        change(&mut board);
        board
    };
    let publishing =
        |board: &mut Snapshot| board.recent.steps = Steps { publish: seconds(9), ..Steps::default() };
    let stuck = |board: &mut Snapshot| (board.doing, board.doing_for) = (Doing::Committing, seconds(20));
    let asking = |board: &mut Snapshot| (board.doing, board.doing_for) = (Doing::Confirming, seconds(20));
    let full = |board: &mut Snapshot| {
        board.memory = Some(MemoryUse { resident: 91 << 20, limit: 100 << 20, paused: true });
    };
    let both = [100, 100];
    let mut refused = head(&both);
    refused.inputs[0].partitions[0].total.dead.insert(Reason::FUTURE_EVENT_TIME, 3);
    let cases = [
        ("nothing waits", head(&both), board(vec![lag(0, 0, 0)], &calm), Cause::None),
        ("what waits has just come", head(&both), board(vec![lag(0, 900, 4)], &[0.9, 0.9]), Cause::None),
        ("a transaction", head(&both), board(stalled, &[0.95, 0.1]), Cause::OpenTransaction),
        ("memory", head(&both), with(board(late(), &calm), &full), Cause::PausedByMemory),
        ("the source is asked", head(&both), with(board(late(), &calm), &asking), Cause::SourceSilent),
        ("commits take 90 %", head(&both), with(board(late(), &[0.9, 0.9]), &publishing), Cause::SlowLake),
        ("one commit hangs", head(&both), with(board(late(), &calm), &stuck), Cause::SlowLake),
        ("one worker of two", head(&both), board(late(), &[0.97, 0.1]), Cause::HotShard),
        ("all workers", head(&both), board(late(), &[0.97, 0.9]), Cause::SlowOperators),
        ("the only worker", head(&both), board(late(), &[0.97]), Cause::SlowOperators),
        (
            "20 minutes ahead",
            head(&[100, 1_300]),
            board(vec![lag(0, 0, 0), lag(1, 40, 30)], &calm),
            Cause::PausedBySkew,
        ),
        (
            "one partition",
            head(&both),
            board(vec![lag(0, 10, 5), lag(1, 900, 30)], &calm),
            Cause::SlowPartition,
        ),
        ("both partitions", head(&both), board(late(), &calm), Cause::SlowSource),
        ("neither calm nor busy", head(&both), board(late(), &[0.6, 0.6]), Cause::Unknown),
        (
            "an empty partition",
            head(&[100, -1]),
            board(vec![lag(0, 0, 0)], &calm),
            Cause::PartitionHoldsWindows,
        ),
        ("a quiet one", head(&[100, 200]), board(vec![lag(0, 0, 0)], &calm), Cause::PartitionHoldsWindows),
        ("a future record", refused, board(vec![lag(0, 0, 0)], &calm), Cause::FutureRefused),
    ];
    for (what, head, board, expected) in cases {
        let found = diagnose(&head, &board);
        assert_eq!(found.cause, expected, "{what}: {found:?}");
        assert!(
            found.sentence.ends_with('.') && !found.evidence.is_empty() && found.next.ends_with('.'),
            "{found:?}"
        );
    }
}

#[test]
fn slow_operator_is_named_with_its_share() {
    let time = |(name, ms): (&str, u64)| OperatorTime { name: name.into(), busy: Duration::from_millis(ms) };
    let late = vec![lag(0, 500, 30), lag(1, 480, 29)];
    let mut busy = board(late, &[0.97, 0.9]);
    busy.recent.operators =
        [("engine", 5_000), ("Dedup", 3_000), ("steps", 1_000), ("Sum", 1_000), ("Idle", 0)].map(time).into();
    let found = diagnose(&head(&[100, 100]), &busy);
    assert_eq!(found.cause, Cause::SlowOperators);
    assert!(found.sentence.contains("30 % of it in operator Dedup"), "{found:?}");
    let evidence = "most time in operators: engine 50 %, Dedup 30 %, steps 10 %";
    assert!(found.evidence.iter().any(|line| line == evidence), "{found:?}");
}

#[test]
fn idle_partition_holds_nothing() {
    let mut quiet = head(&[100, -1]);
    quiet.inputs[0].partitions[1].idle = true;
    assert_eq!(diagnose(&quiet, &board(vec![lag(0, 0, 0)], &[0.1])).cause, Cause::None);
}

#[test]
fn source_that_gives_no_answer_is_named_while_nothing_waits() {
    let mut board = board(vec![lag(0, 0, 0), lag(1, 0, 0)], &[0.1]);
    assert_eq!(diagnose(&head(&[100, 100]), &board).cause, Cause::None);
    let silence = |seconds| Silence { input: 0, for_: Duration::from_secs(seconds), why: "refused".into() };
    board.silent = vec![silence(3)];
    assert_eq!(diagnose(&head(&[100, 100]), &board).cause, Cause::None, "it may answer yet");
    board.silent = vec![silence(30)];
    let found = diagnose(&head(&[100, 100]), &board);
    assert_eq!(found.cause, Cause::SourceSilent);
    assert!(found.evidence[0].ends_with("has not answered for 30 s: refused"), "{found:?}");
}

/// A job on files: where its partitions end is not known.
#[test]
fn job_without_known_ends_lags_by_what_it_has_read_and_not_committed() {
    let both = head(&[100, 100]);
    let of = |change: &dyn Fn(&mut Snapshot)| {
        let mut board = board(Vec::new(), &[0.1]);
        change(&mut board);
        diagnose(&both, &board).cause
    };
    let quiet = [(Waits::NextRecord, None); 2];
    let gate = [(Waits::Commit, Some(30)); 2];
    let stuck =
        |board: &mut Snapshot| (board.doing, board.doing_for) = (Doing::Committing, Duration::from_secs(20));
    let writing = |board: &mut Snapshot| {
        board.stages = vec![StageWait { writing_for: Some(Duration::from_secs(20)), ..StageWait::default() }];
    };
    assert_eq!(of(&|board| board.feeds = vec![feed(Some(1), &quiet)]), Cause::None);
    assert_eq!(of(&stuck), Cause::SlowLake, "a hung commit");
    assert_eq!(of(&writing), Cause::SlowLake, "a hung stage");
    let busy = |board: &mut Snapshot| {
        board.feeds = vec![feed(Some(30), &gate)];
        board.recent.workers[0].busy = Duration::from_secs(9);
    };
    assert_eq!(of(&busy), Cause::SlowOperators, "what was read is not committed");
    let one = [(Waits::NextRecord, None), (Waits::Records, Some(30))];
    assert_eq!(of(&|board| board.feeds = vec![feed(None, &one)]), Cause::SlowPartition);
    let all = [(Waits::Records, Some(30)); 2];
    assert_eq!(of(&|board| board.feeds = vec![feed(None, &all)]), Cause::SlowSource);
    let skew = [(Waits::Slowest, Some(30)), (Waits::Records, Some(30))];
    assert_eq!(of(&|board| board.feeds = vec![feed(None, &skew)]), Cause::PausedBySkew);
}

#[test]
fn stage_that_takes_all_of_the_time_is_a_slow_lake_and_not_a_slow_source() {
    let late = vec![lag(0, 500, 30), lag(1, 480, 29)];
    let mut board = board(late, &[0.1, 0.1]);
    board.recent.stages = vec![Duration::from_secs(1), Duration::from_secs(9)];
    let found = diagnose(&head(&[100, 100]), &board);
    assert_eq!(found.cause, Cause::SlowLake);
    assert!(found.sentence.contains("writing files"), "{found:?}");
}

#[test]
fn worker_in_one_long_step_is_a_slow_operator() {
    let mut board = board(vec![lag(0, 500, 30), lag(1, 480, 29)], &[0.1]);
    let step_for = Duration::from_secs(25);
    board.workers = vec![WorkerTime { step_for, ..WorkerTime::default() }];
    board.recent.workers[0].step_for = step_for;
    let found = diagnose(&head(&[100, 100]), &board);
    assert_eq!(found.cause, Cause::SlowOperators);
    assert!(found.sentence.contains("in one step for 25 s"), "{found:?}");
}

#[test]
fn run_that_begins_hours_behind_lags_from_its_first_second_on() {
    let mut board = board(vec![lag(0, 500, 1), lag(1, 480, 1)], &[0.1]);
    (board.running, board.at_ms) = (Duration::from_secs(2), 20_000_000);
    let both = head(&[100, 100]);
    assert_eq!(diagnose(&both, &board).cause, Cause::None, "what has just come");
    board.lags[0].first_ms = Some(10_000_000);
    assert_eq!(diagnose(&both, &board).cause, Cause::CatchingUp);
    board.running = Duration::from_secs(60);
    assert_eq!(diagnose(&both, &board).cause, Cause::SlowSource);
    // Records that are old when they come do not wait: their partition was read to its end.
    board.feeds = vec![feed(Some(1), &[(Waits::NextRecord, None); 2])];
    assert_eq!(diagnose(&both, &board).cause, Cause::None);
}

#[test]
fn partition_that_is_behind_is_said_to_be_quiet_only_where_that_was_seen() {
    let mut board = board(vec![lag(0, 0, 0)], &[0.1]);
    let sentence = |board: &Snapshot| diagnose(&head(&[100, 200]), board).sentence;
    board.feeds = vec![feed(None, &[(Waits::NextRecord, None); 2])];
    assert!(sentence(&board).contains("has nothing to read"), "{}", sentence(&board));
    board.feeds = vec![feed(None, &[(Waits::Records, Some(1)), (Waits::NextRecord, None)])];
    assert!(sentence(&board).contains("is behind the others in event time"), "{}", sentence(&board));
}

#[test]
fn input_that_holds_back_another_one_is_named() {
    let mut head = head(&[100, 100]);
    let mut other = head.inputs[0].clone();
    other.name = "stations".into();
    (head.inputs[0].watermark, other.watermark) = (EventTime(900_000), EventTime(100_000));
    head.inputs.push(other);
    let quiet = board(vec![lag(0, 0, 0)], &[0.1]);
    assert_eq!(diagnose(&head, &quiet).cause, Cause::None, "nothing takes both");
    head.watermarks =
        vec![InputsWatermark { inputs: vec![InputIx(0), InputIx(1)], watermark: EventTime(100_000) }];
    let found = diagnose(&head, &quiet);
    assert_eq!(found.cause, Cause::InputHoldsWindows);
    assert!(found.sentence.starts_with("Input stations holds open"), "{found:?}");
    head.inputs[1].partitions.iter_mut().for_each(|part| part.idle = true);
    assert_eq!(diagnose(&head, &quiet).cause, Cause::None, "an idle input holds nothing");
}

/// A calm process 0 with records that wait, and process 1 with a board that `change` has changed.
fn two_processes(change: impl Fn(&mut Snapshot)) -> Diagnosis {
    let mut other = board(Vec::new(), &[0.1]);
    change(&mut other);
    let late = vec![lag(0, 500, 30), lag(1, 480, 29)];
    let elsewhere = vec![Elsewhere { process: 1, board: other, ..Elsewhere::default() }];
    diagnose(&head(&[100, 100]), &Snapshot { elsewhere, ..board(late, &[0.1]) })
}

#[test]
fn cause_in_another_process_is_named_with_the_process() {
    let seconds = Duration::from_secs;
    assert_eq!(two_processes(|_| ()).cause, Cause::SlowSource);
    let full = MemoryUse { resident: 91 << 20, limit: 100 << 20, paused: true };
    let found = two_processes(|board| board.memory = Some(full));
    assert_eq!(found.cause, Cause::PausedByMemory);
    assert!(found.sentence.contains("process 1 takes"), "{found:?}");
    let found = two_processes(|board| {
        board.silent = vec![Silence { input: 0, for_: seconds(30), why: "refused".into() }];
    });
    assert_eq!(found.cause, Cause::SourceSilent);
    assert!(found.evidence[0].ends_with("has not answered process 1 for 30 s: refused"), "{found:?}");
    let found = two_processes(|board| board.recent.stages = vec![seconds(9)]);
    assert_eq!(found.cause, Cause::SlowLake);
    assert!(found.sentence.ends_with("takes all of the time in process 1."), "{found:?}");
    let found = two_processes(|board| {
        board.stages = vec![StageWait { worker: 1, writing_for: Some(seconds(20)), ..StageWait::default() }];
    });
    assert!(found.evidence[0].starts_with("the files of worker 1 of process 1 are"), "{found:?}");
    let found = two_processes(|board| board.recent.workers[0].busy = seconds(9));
    assert_eq!(found.cause, Cause::HotShard);
    assert!(found.sentence.starts_with("Worker 1 of process 1 has most of the work"), "{found:?}");
    let skew = [(Waits::NextRecord, None), (Waits::Slowest, Some(30))];
    let found = two_processes(|board| board.feeds = vec![feed(None, &skew)]);
    assert_eq!(found.cause, Cause::PausedBySkew);
    assert_eq!(found.evidence[0], "it has been paused for 30 s");
}

#[test]
fn worker_that_is_long_in_one_step_is_named_before_it_has_said_how_it_spends_its_time() {
    let mut both = board(vec![lag(0, 500, 30), lag(1, 480, 29)], &[]);
    both.workers = vec![WorkerTime { step_for: Duration::from_secs(30), ..WorkerTime::default() }];
    let found = diagnose(&head(&[100, 100]), &both);
    assert_eq!(found.cause, Cause::SlowOperators, "{found:?}");
    assert!(found.next.ends_with("-w 2."), "{found:?}");
}

#[test]
fn operators_are_those_of_the_process_that_computes() {
    let time = |name: &str, s| OperatorTime { name: name.into(), busy: Duration::from_secs(s) };
    let mut other = board(Vec::new(), &[0.95]);
    other.recent.operators = vec![time("Sum", 8), time("engine", 1)];
    let mut both = board(vec![lag(0, 500, 30), lag(1, 480, 29)], &[0.85]);
    both.recent.operators = vec![time("Dedup", 2)];
    both.elsewhere = vec![Elsewhere { process: 1, board: other, ..Elsewhere::default() }];
    let found = diagnose(&head(&[100, 100]), &both);
    assert_eq!(found.cause, Cause::SlowOperators);
    let sentence =
        "The operators are slow: the workers of process 1 compute all the time, 89 % of it in operator Sum.";
    assert_eq!(found.sentence, sentence);
    assert!(found.evidence.contains(&"busy: worker 0 85 %, worker 1 95 %".to_string()), "{found:?}");
}
