//! `headway produce`: writes a pipeline's generated messages where a job, or another program, can read them.

use super::together::{self, KAFKA, Part, STDOUT, Speed, Together};
use crate::cli::settings::config::{Generate, Settings};
use crate::cli::settings::given::Given;
use crate::cli::settings::kafka;
use crate::cli::settings::made;
use crate::cli::settings::origin::Origin;
use crate::cli::settings::place::flag_path;
use crate::cli::settings::plan::entry;
use crate::cli::settings::source::{generate_options, no_generator};
use crate::cli::settings::suggest::suggest;
use crate::cli::settings::twins::Twins;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::terminal::progress::Progress;
use crate::cli::terminal::signals;
use crate::cli::terminal::table::{counted, grouped};
use crate::cli::units::Limit;
use crate::connect::error::Error;
use crate::connect::produce::{Format, Lines, Pace, Produced, to_folder, to_writer};
use crate::engine::Control;
use clap::Args;
use headway_operators::pipeline::{Entry, Pipeline};
use headway_operators::spec::InputSpec;
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// What `produce` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    /// The pipeline whose messages are made
    #[arg(help_heading = "Arguments")]
    pipeline: String,
    /// The input whose messages are made [default: all; each has a folder or topic of its own]
    #[arg(long, value_name = "NAME")]
    input: Option<String>,
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
    /// Write the messages of all inputs side by side, in the order of time, without an end unless --messages says one
    #[arg(long, conflicts_with_all = ["pace", "input"])]
    continuous: bool,
    /// Seconds of event time per second of the wall clock, or max, as fast as possible; up to 1, event time begins now unless --start
    /// says when [default: 1]
    #[arg(long, value_name = "X", requires = "continuous")]
    speed: Option<Speed>,
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
    let all = parts(flags, entry, pipeline.as_ref())?;
    fits(flags)?;
    if flags.pace.is_some_and(|pace| !(pace.is_finite() && pace > 0.0)) {
        return Err(
            Failure::new(Code::CommandLine, "--pace must be above 0").hint("Leave it out for no limit.")
        );
    }
    let config = flags.kafka_config.as_deref().map(|path| flag_path("--kafka-config", path)).transpose()?;
    let to = match flags.to.as_str() {
        STDOUT | KAFKA => PathBuf::from(&flags.to),
        folder => flag_path("--to", Path::new(folder))?,
    };
    let control = Control::new();
    signals::drain_on_signal(control.clone())?;
    if flags.continuous {
        let messages_max = flags.generate.messages.and_then(Limit::at).map(|count| count.0);
        let job = Together {
            entry,
            pipeline: pipeline.as_ref(),
            parts: &all,
            to: &to,
            config: config.as_deref(),
            has_envelopes: flags.envelope,
            speed: flags.speed.unwrap_or_default(),
            messages_max,
        };
        return said(job.run(&control, &progress.count(messages_max), out)?);
    }
    let bar = progress.count(all.iter().map(|part| part.options.messages).sum());
    let mut done = Produced::default();
    for Part { input, topic, options } in &all {
        let before = done.messages;
        let mut tell = |so_far: &Produced| {
            bar.produced(before + so_far.messages);
            if control.is_draining() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let pace = Pace { per_second: flags.pace, tell: &mut tell };
        let generator = pipeline.generator(input, options).ok_or_else(|| no_generator(entry.name, input))?;
        let produced = if flags.to == KAFKA {
            kafka::produce(generator.as_ref(), config.as_deref(), topic, pace)?
        } else {
            let format = if flags.envelope { Format::Envelopes(topic.clone()) } else { Format::Lines };
            let to = if all.len() > 1 { to.join(input) } else { to.clone() };
            let written = if to == Path::new(STDOUT) {
                to_writer(generator.as_ref(), Lines::new(out, "standard output", vec![format]), pace)
            } else {
                to_folder(generator.as_ref(), &to, &format, pace)
            };
            match written {
                // A reader who has seen enough (`| head`) is no failure.
                Err(Error::Unwritable { source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
                    bar.end();
                    return Ok(());
                }
                produced => produced?,
            }
        };
        done.messages += produced.messages;
        done.tombstones += produced.tombstones;
        done.bytes += produced.bytes;
        if control.is_draining() {
            break;
        }
    }
    bar.end();
    said(done)
}

/// Says how many messages were written.
fn said(done: Produced) -> Result<(), Failure> {
    let messages = counted(done.messages, "message");
    tracing::info!(tombstones = done.tombstones, bytes = grouped(done.bytes), "wrote {messages}");
    Ok(())
}

/// What is made: the messages of the input that was named, or of all that have some.
fn parts(flags: &Flags, entry: &Entry, pipeline: &dyn Pipeline) -> Result<Vec<Part>, Failure> {
    let inputs = pipeline.inputs();
    let names: Vec<&str> = inputs.iter().map(|input| input.name).collect();
    let refuse = |what: String| Failure::new(Code::CommandLine, what);
    if let Some(name) = flags.input.as_deref().filter(|name| !names.contains(name)) {
        let kind = format!("inputs of \"{}\"", entry.name);
        return Err(refuse(format!("--input: pipeline \"{}\" has no input \"{name}\"", entry.name))
            .hint(suggest(name, &names, &kind)));
    }
    let is_wanted = |name: &str| match &flags.input {
        Some(wanted) => wanted == name,
        None => inputs.len() == 1 || (entry.generate)(name).is_some(),
    };
    let part = |input: InputSpec| {
        let mut options = generate_options(entry, input.name, &flags.generate)?;
        if flags.continuous {
            // The end is that of all inputs together.
            options.messages = None;
            options.start_ms = flags.speed.unwrap_or_default().start_ms(&flags.generate, options.start_ms);
        } else if options.messages.is_none() && ![STDOUT, KAFKA].contains(&flags.to.as_str()) {
            return Err(together::endless());
        }
        Ok(Part { input: input.name, topic: flags.topic.clone().unwrap_or(input.topic.to_string()), options })
    };
    let wanted = inputs.iter().filter(|input| is_wanted(input.name)).cloned();
    let parts = wanted.map(part).collect::<Result<Vec<_>, _>>()?;
    let names = parts.iter().map(|part| part.input).collect::<Vec<_>>().join(", ");
    match parts.as_slice() {
        [] => Err(no_generator(entry.name, names.as_str())),
        _ if flags.continuous => {
            together::fits(flags.generate.messages, &flags.to, parts.len(), flags.envelope)?;
            if flags.topic.is_some() && parts.len() > 1 {
                return Err(refuse(format!("--topic is for one input, and there are {}", parts.len()))
                    .hint("Leave --topic out: each input has a topic of its own."));
            }
            Ok(parts)
        }
        [_] => Ok(parts),
        _ if flags.to == STDOUT
            || flags.topic.is_some()
            || parts.iter().any(|part| part.options.messages.is_none()) =>
        {
            let one = if flags.to == STDOUT { "standard output" } else { "what is given" };
            Err(refuse(format!("{one} is for one input, and there are {}", parts.len()))
                .hint(format!("Name it with --input: one of {names}.")))
        }
        _ => Ok(parts),
    }
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
