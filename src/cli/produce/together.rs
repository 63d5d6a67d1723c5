//! `headway produce --continuous`: the messages of all inputs side by side, in the order of time, as a running service sends them.

use crate::cli::settings::config::Generate;
use crate::cli::settings::kafka;
use crate::cli::settings::source::no_generator;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::terminal::progress::Bar;
use crate::cli::units::{Count, Limit};
use crate::connect::error::Error;
use crate::connect::produce::{Folder, Format, Lines, Produced};
use crate::connect::together::{Course, Folders, Take, together};
use crate::engine::Control;
use crate::engine::clock::{Clock, System};
use headway_operators::generate::{Generate as Messages, Options};
use headway_operators::pipeline::{Entry, Pipeline};
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;

/// The place that is a topic.
pub(in crate::cli) const KAFKA: &str = "kafka:";

/// Standard output, as a place.
pub(in crate::cli) const STDOUT: &str = "-";

/// The messages of one input.
pub(in crate::cli) struct Part {
    /// Its name.
    pub(in crate::cli) input: &'static str,
    /// The topic they go to, or that envelopes name.
    pub(in crate::cli) topic: String,
    /// Which ones.
    pub(in crate::cli) options: Options,
}

/// How fast event time runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cli) enum Speed {
    /// So many seconds a second of the wall clock.
    Times(f64),
    /// As fast as possible.
    Max,
}

impl Default for Speed {
    fn default() -> Speed {
        Speed::Times(1.0)
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Speed, String> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        let times = text.parse().ok().filter(|times: &f64| times.is_finite() && *times > 0.0);
        times.map(Speed::Times).ok_or_else(|| "it is neither a number above 0 nor max".to_string())
    }
}

impl Speed {
    /// When event time begins: where `set` says, else now if it keeps step with the clock, else at `own`: what overtakes the clock
    /// would lie in the future.
    pub(in crate::cli) fn start_ms(self, set: &Generate, own: i64) -> i64 {
        match self {
            Speed::Times(times) if times <= 1.0 && set.start.is_none() => {
                System::default().wall_ms().div_euclid(1000) * 1000
            }
            Speed::Times(_) | Speed::Max => own,
        }
    }
}

/// Refuses a place that cannot take the messages of so many inputs side by side.
///
/// # Errors
/// Exit 2.
pub(in crate::cli) fn fits(
    messages: Option<Limit<Count>>,
    to: &str,
    inputs: usize,
    has_envelopes: bool,
) -> Result<(), Failure> {
    let refuse = |what: &str, hint: &str| Err(Failure::new(Code::CommandLine, what).hint(hint));
    match to {
        KAFKA => Ok(()),
        STDOUT if inputs > 1 && !has_envelopes => refuse(
            "a bare line does not say which input it is of",
            "Give --envelope too: an envelope names the topic.",
        ),
        STDOUT => Ok(()),
        _ if messages.and_then(Limit::at).is_none() => Err(endless()),
        _ => Ok(()),
    }
}

/// The refusal of a folder for messages without an end.
pub(in crate::cli) fn endless() -> Failure {
    Failure::new(Code::CommandLine, "messages without end do not fit into a folder")
        .hint("Give --messages N, or write to standard output with --to -.")
}

/// What is written, and where.
pub(in crate::cli) struct Together<'a> {
    /// The pipeline's line in the catalogue.
    pub(in crate::cli) entry: &'a Entry,
    /// The pipeline.
    pub(in crate::cli) pipeline: &'a dyn Pipeline,
    /// Its inputs.
    pub(in crate::cli) parts: &'a [Part],
    /// A folder, [`KAFKA`] or [`STDOUT`].
    pub(in crate::cli) to: &'a Path,
    /// The file with the settings of a Kafka client.
    pub(in crate::cli) config: Option<&'a Path>,
    /// Lines are envelopes.
    pub(in crate::cli) has_envelopes: bool,
    /// How fast event time runs.
    pub(in crate::cli) speed: Speed,
    /// How many messages there are at most.
    pub(in crate::cli) messages_max: Option<u64>,
}

impl Together<'_> {
    /// Writes them; ends early, but whole, when `control` drains.
    ///
    /// # Errors
    /// If a message cannot be written.
    pub(in crate::cli) fn run(
        &self,
        control: &Control,
        bar: &Bar,
        out: &mut dyn Write,
    ) -> Result<Produced, Failure> {
        let generators = self.generators()?;
        let inputs: Vec<&dyn Messages> = generators.iter().map(AsRef::as_ref).collect();
        let mut taker = self.taker(&inputs, out)?;
        let mut so_far = Produced::default();
        let mut tell = |produced: &Produced| {
            so_far = *produced;
            bar.produced(produced.messages);
            if control.is_draining() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let speed = match self.speed {
            Speed::Times(times) => Some(times),
            Speed::Max => None,
        };
        let course = Course { speed, messages_max: self.messages_max, tell: &mut tell };
        let produced =
            together(&inputs, taker.as_mut(), course).and_then(|produced| taker.flush().map(|()| produced));
        bar.end();
        match produced {
            // A reader who has seen enough (`| head`) is no failure.
            Err(Error::Unwritable { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(so_far),
            produced => Ok(produced?),
        }
    }

    fn generators(&self) -> Result<Vec<Box<dyn Messages>>, Failure> {
        let generator = |Part { input, options, .. }: &Part| {
            self.pipeline.generator(input, options).ok_or_else(|| no_generator(self.entry.name, input))
        };
        self.parts.iter().map(generator).collect()
    }

    /// What takes the messages of `inputs`.
    fn taker<'o>(
        &self,
        inputs: &[&dyn Messages],
        out: &'o mut dyn Write,
    ) -> Result<Box<dyn Take + 'o>, Failure> {
        let to = self.to;
        let format = |part: &Part| match self.has_envelopes {
            true => Format::Envelopes(part.topic.clone()),
            false => Format::Lines,
        };
        if to == Path::new(KAFKA) {
            let topics = self.parts.iter().zip(inputs);
            let topics: Vec<(&str, u32)> =
                topics.map(|(part, input)| (part.topic.as_str(), input.partitions())).collect();
            return kafka::topics(self.config, &topics);
        }
        if to == Path::new(STDOUT) {
            let formats = self.parts.iter().map(format).collect();
            return Ok(Box::new(Lines::new(out, "standard output", formats)));
        }
        let folder = |(part, input): (&Part, &&dyn Messages)| {
            let own = if inputs.len() > 1 { to.join(part.input) } else { to.to_path_buf() };
            Folder::create(&own, input.partitions(), format(part))
        };
        let folders = self.parts.iter().zip(inputs).map(folder).collect::<Result<_, _>>()?;
        Ok(Box::new(Folders(folders)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::units::When;

    #[test]
    fn speed_is_a_number_above_nothing_or_max() {
        for (text, speed) in [
            ("1", Some(Speed::Times(1.0))),
            ("0.5", Some(Speed::Times(0.5))),
            ("max", Some(Speed::Max)),
            ("0", None),
            ("-1", None),
            ("inf", None),
            ("fast", None),
        ] {
            assert_eq!(text.parse::<Speed>().ok(), speed, "{text}");
        }
    }

    #[test]
    fn event_time_begins_now_only_where_it_does_not_overtake_the_clock_and_nobody_says_when() {
        let said = Generate { start: Some(When(7_000)), ..Generate::default() };
        let unsaid = Generate::default();
        assert_eq!([Speed::Max, Speed::Times(2.0)].map(|speed| speed.start_ms(&unsaid, 5)), [5, 5]);
        assert_eq!(Speed::default().start_ms(&said, 7_000), 7_000);
        assert!(Speed::default().start_ms(&unsaid, 5) > 1_700_000_000_000);
    }
}
