//! Runs the turnstile job on lists in memory: no broker, no files, no lake.
//!
//! The same pipeline that reads Kafka takes its messages from [`Lists`] here, and its rows end in [`Kept`]. Making
//! an epoch true is one trait, [`Commit`]; this one only counts. That is all a test of your own pipeline needs.
//!
//! ```text
//! cargo run --example from_lists -- [messages] [workers]
//! ```

#![allow(clippy::print_stdout, reason = "an example tells its story on stdout")]

use headway::connect::Connector;
use headway::connect::memory::{Kept, Lists, Message};
use headway::engine::clock::{Clock, System};
use headway::engine::commit::discovered::Discovered;
use headway::engine::run::committing::Commit;
use headway::engine::run::feed::{self, Assigned, Until};
use headway::engine::{Board, Control, Error, InputOptions, Memory, Options, STUCK_AFTER, StartPoint};
use headway_operators::ack::Ack;
use headway_operators::generate::Generate;
use headway_operators::pipeline::Pipeline;
use headway_operators::port::Start;
use headway_operators::port::{InputStart, NotAfter};
use headway_operators::progress::Standing;
use headway_operators::record::{Offset, Partition};
use headway_operators::time::{Epoch, EventTime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts epochs instead of committing them.
struct Count(Arc<AtomicU64>);

impl Commit for Count {
    fn commit(&mut self, _epoch: Epoch, _acks: Vec<Ack>) -> Result<(), Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn heartbeat(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let messages = arguments.next().map_or(Ok(50_000), |text| text.parse())?;
    let workers = arguments.next().map_or(Ok(1), |text| text.parse())?;

    // 1. A pipeline, from the catalogue, as the command line makes it.
    let entry = headway_pipelines::find("turnstile").ok_or("the catalogue has the turnstile pipeline")?;
    let pipeline = entry.configure([])?.pipeline;

    // 2. Messages: here from the pipeline's own generator.
    let name = pipeline.inputs()[0].name;
    let usual = (entry.generate)(name).ok_or("the pipeline makes messages for its input")?;
    let options = headway_operators::generate::Options { messages: Some(messages), ..usual };
    let generator = pipeline.generator(name, &options).ok_or("the pipeline makes messages for its input")?;
    let lists = Lists::new(lists(generator.as_ref()));

    // 3. Run to the end of the lists.
    let (kept, epochs) = (Kept::default(), Arc::new(AtomicU64::new(0)));
    let clock = Arc::new(System::default());
    let run = Options {
        inputs: vec![input(&lists, pipeline.as_ref())?],
        discovered: vec![Discovered::default()],
        sink: Arc::new(kept.clone()),
        commit: Some(Box::new(Count(Arc::clone(&epochs)))),
        start: StartPoint::default(),
        workers,
        crew: None,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        board: Board::new(clock.clone()),
        memory: Memory::default(),
        stuck_after: STUCK_AFTER,
        pipeline,
    };
    headway::engine::run_workers(run, &Control::new())?;

    // 4. What came out.
    let rows = kept.rows();
    let batch = rows.iter().filter(|row| row.output == "turnstile");
    let busiest = batch.max_by_key(|row| row.cells[9].parse::<i64>().ok());
    let (epochs, took) = (epochs.load(Ordering::SeqCst), clock.elapsed());
    println!("{messages} messages, {epochs} epochs, {} rows in {took:?}", rows.len());
    println!("busiest: {}", busiest.map(|row| row.cells.join(",")).unwrap_or_default());
    Ok(())
}

/// The generator's partitions as lists.
fn lists(generator: &dyn Generate) -> Vec<Vec<Message>> {
    let mut message = headway_operators::generate::Message::default();
    let mut one = |partition| {
        let end = generator.end(partition).map_or(0, |end| end.0);
        let read = |offset| {
            generator.message(partition, offset, &mut message);
            Message { value: message.value.clone(), timestamp_ms: Some(message.timestamp_ms) }
        };
        (0..end).map(Offset).map(read).collect()
    };
    (0..generator.partitions()).map(Partition).map(&mut one).collect()
}

/// The pipeline's only input, read from `lists` from the start.
fn input(lists: &Lists, pipeline: &dyn Pipeline) -> Result<InputOptions, Box<dyn std::error::Error>> {
    let spec = pipeline.inputs().remove(0);
    let partitions = lists.partitions()?;
    let assign = |info: &headway::connect::PartitionInfo| Assigned {
        start: Start::first(info.partition, info.first),
        end: info.end,
        quiet_since_ms: None,
    };
    Ok(InputOptions {
        connector: Arc::new(lists.clone()),
        start: InputStart {
            topic: spec.topic.to_string(),
            watermark: EventTime::MIN,
            partitions: partitions
                .iter()
                .map(|info| Standing {
                    partition: info.partition,
                    own: EventTime::MIN,
                    floor: EventTime::MIN,
                })
                .collect(),
            max_ahead_ms: 3_600_000,
            not_after: NotAfter::Never,
            rules: std::sync::Arc::default(),
            idle_flush_ms: None,
        },
        assigned: partitions.iter().map(assign).collect(),
        feed: feed::Options {
            epoch: Duration::from_secs(1),
            epoch_bytes: 16 << 20,
            idle_after: None,
            idle_flush: None,
            max_skew_ms: spec.max_skew_ms(),
            until: Until::End,
        },
        known: BTreeMap::new(),
        discover_every: None,
        leader_reads: false,
    })
}
