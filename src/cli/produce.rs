//! `headway produce`: writes a pipeline's generated messages where a job, or another program, can read them.

use super::settings::config::{Generate, Settings};
use super::settings::given::Given;
use super::settings::kafka;
use super::settings::made;
use super::settings::origin::Origin;
use super::settings::plan::{entry, first_input, flag_path, generate_options, no_generator, topic};
use super::settings::twins::Twins;
use super::terminal::failure::{Code, Failure};
use super::terminal::progress::Progress;
use super::terminal::signals;
use super::terminal::table::{counted, grouped};
use crate::connect::error::Error;
use crate::connect::produce::{Format, Pace, Produced, to_folder, to_writer};
use crate::engine::Control;
use clap::Args;
use headway_operators::generate::Generate as Messages;
use headway_operators::pipeline::Entry;
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The place that is a topic.
const KAFKA: &str = "kafka:";

/// What `produce` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    /// The pipeline whose messages are made
    #[arg(help_heading = "Arguments")]
    pipeline: String,
    /// Where they go: a folder (a file a partition), - for standard output, or kafka: for the topic
    #[arg(long, value_name = "WHERE")]
    to: String,
    /// Write envelopes as `kcat -J` does, with partition, offset, timestamp and key, instead of bare lines
    #[arg(long)]
    envelope: bool,
    /// Topic to write to, or named in envelopes [default: the pipeline's]
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Kafka client settings: the .properties file that kcat and the Java tools take
    #[arg(long, value_name = "FILE")]
    kafka_config: Option<PathBuf>,
    /// Messages per second of the wall clock [default: as fast as possible]
    #[arg(long, value_name = "X")]
    pace: Option<f64>,
    #[command(flatten)]
    twins: Twins,
    #[command(flatten)]
    settings: Given,
    #[command(flatten, next_help_heading = "Messages")]
    generate: Generate,
}

/// Writes the messages, and says on standard error how many. Ends early, but whole, at the first signal.
pub(crate) fn run(
    flags: &Flags,
    catalogue: &'static [Entry],
    progress: Progress,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let entry = entry(&flags.pipeline, catalogue)?;
    let origin = Origin { flags: &Settings::default(), twins: &flags.twins, file: None };
    let pipeline = made::made(entry, &flags.settings, &origin)?.pipeline;
    let input = first_input(pipeline.as_ref());
    let options = generate_options(entry, input, &flags.generate)?;
    let topic = topic(flags.topic.clone(), pipeline.as_ref());
    fits(flags)?;
    if flags.pace.is_some_and(|pace| !(pace.is_finite() && pace > 0.0)) {
        return Err(
            Failure::new(Code::CommandLine, "--pace must be above 0").hint("Leave it out for no limit.")
        );
    }
    if options.messages.is_none() && !["-", KAFKA].contains(&flags.to.as_str()) {
        return Err(Failure::new(Code::CommandLine, "messages without end do not fit into a folder")
            .hint("Give --messages N, or write to standard output with --to -."));
    }
    let config = flags.kafka_config.as_deref().map(|path| flag_path("--kafka-config", path)).transpose()?;
    let to = match flags.to.as_str() {
        "-" | KAFKA => PathBuf::from(&flags.to),
        folder => flag_path("--to", Path::new(folder))?,
    };
    let control = Control::new();
    signals::drain_on_signal(control.clone())?;
    let bar = progress.count(options.messages);
    let mut tell = |so_far: &Produced| {
        bar.produced(so_far.messages);
        if control.is_draining() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let pace = Pace { per_second: flags.pace, tell: &mut tell };
    let generator = pipeline.generator(input, &options).ok_or_else(|| no_generator(entry.name, input))?;
    let produced = if flags.to == KAFKA {
        kafka::produce(generator.as_ref(), (config.as_deref(), &topic), pace)
    } else {
        let format = if flags.envelope { Format::Envelopes(topic) } else { Format::Lines };
        match write(generator.as_ref(), (&to, out), &format, pace) {
            // A reader who has seen enough (`| head`) is no failure.
            Err(Error::Unwritable { source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
                bar.end();
                return Ok(());
            }
            produced => produced.map_err(Failure::from),
        }
    };
    bar.end();
    let produced = produced?;
    let messages = counted(produced.messages, "message");
    tracing::info!(tombstones = produced.tombstones, bytes = grouped(produced.bytes), "wrote {messages}");
    Ok(())
}

/// Refuses a place that is none, and flags that say nothing about it.
fn fits(flags: &Flags) -> Result<(), Failure> {
    let refuse = |what: String, hint: &str| Err(Failure::new(Code::CommandLine, what).hint(hint));
    let to = flags.to.as_str();
    match to.split_once(':').unwrap_or((to, "")) {
        ("kafka", _) if to != KAFKA => refuse(
            format!("--to {to} is not {KAFKA}"),
            "Use --to kafka: with --topic TOPIC and --kafka-config FILE; a folder of that name is ./kafka.",
        ),
        ("kafka", _) if flags.envelope => refuse(
            "--envelope does not go with --to kafka:".to_string(),
            "A topic keeps partition, offset, timestamp and key by itself: leave --envelope out.",
        ),
        ("kafka", _) => Ok(()),
        _ if flags.kafka_config.is_some() => refuse(
            format!("--kafka-config does not go with --to {to}"),
            "Use --to kafka: to write to a topic, or leave --kafka-config out.",
        ),
        _ if flags.topic.is_some() && !flags.envelope => refuse(
            format!("--topic does not go with --to {to}"),
            "Bare lines name no topic: give --envelope too, or leave --topic out.",
        ),
        _ => Ok(()),
    }
}

fn write(
    messages: &dyn Messages,
    (to, out): (&Path, &mut dyn Write),
    format: &Format,
    pace: Pace<'_>,
) -> Result<Produced, Error> {
    if to == Path::new("-") {
        to_writer(messages, (out, "standard output"), format, pace)
    } else {
        to_folder(messages, to, format, pace)
    }
}
