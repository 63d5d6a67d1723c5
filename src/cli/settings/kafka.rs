//! Kafka on the command line. A build without it says so.

use crate::cli::terminal::failure::{Code, Failure};
#[cfg(feature = "kafka")]
use crate::connect::kafka::{self, config::Properties, produce::Topics, produce::Writer, produce::to_topic};
use crate::connect::original::Originals;
use crate::connect::together::Take;
use crate::connect::{Connector, produce};
use headway_operators::generate::Generate;
use std::path::Path;
use std::sync::Arc;

/// How long brokers may take to answer at start.
#[cfg(feature = "kafka")]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// The topic as an input, with the client's settings in `config`. Nothing is opened yet.
///
/// # Errors
/// If the settings are not usable.
#[cfg(feature = "kafka")]
pub(crate) fn connector(
    config: Option<&Path>,
    topic: &str,
    group: Option<&str>,
) -> Result<Arc<dyn Connector>, Failure> {
    let (topic, group) = (topic.to_string(), group.map(str::to_string));
    let options = kafka::Options { properties: properties(config)?, topic, group, patience: PATIENCE };
    Ok(Arc::new(kafka::Kafka::new(options)?))
}

/// Writes the messages of `generate` to a topic.
///
/// # Errors
/// If the settings are not usable, or not every message can be delivered.
#[cfg(feature = "kafka")]
pub(crate) fn produce(
    generate: &dyn Generate,
    config: Option<&Path>,
    topic: &str,
    pace: produce::Pace<'_>,
) -> Result<produce::Produced, Failure> {
    let properties = properties(config)?;
    Ok(to_topic(generate, (&properties, topic), PATIENCE, pace)?)
}

/// Takes the messages of several inputs, each to its topic, which has at least so many partitions.
///
/// # Errors
/// If the settings are not usable, or a topic cannot be written.
#[cfg(feature = "kafka")]
pub(crate) fn topics(config: Option<&Path>, topics: &[(&str, u32)]) -> Result<Box<dyn Take>, Failure> {
    Ok(Box::new(Topics::open(&properties(config)?, topics, PATIENCE)?))
}

/// Writes messages to a topic that were read before.
///
/// # Errors
/// If the settings are not usable, or the topic is not there.
#[cfg(feature = "kafka")]
pub(crate) fn originals(config: Option<&Path>, topic: &str) -> Result<Box<dyn Originals>, Failure> {
    Ok(Box::new(Writer::new(&properties(config)?, topic, PATIENCE)?))
}

#[cfg(feature = "kafka")]
fn properties(config: Option<&Path>) -> Result<Properties, Failure> {
    let Some(config) = config else {
        return Err(Failure::new(Code::SourceInvalid, "Kafka needs a file with the client's settings")
            .hint("Give --kafka-config FILE, with the line bootstrap.servers=HOST:PORT at least."));
    };
    Ok(Properties::read(config)?)
}

/// The topic as an input.
///
/// # Errors
/// Always: this build has no Kafka.
#[cfg(not(feature = "kafka"))]
pub(crate) fn connector(
    _config: Option<&Path>,
    _topic: &str,
    _group: Option<&str>,
) -> Result<Arc<dyn Connector>, Failure> {
    Err(absent())
}

/// Writes messages to a topic.
///
/// # Errors
/// Always: this build has no Kafka.
#[cfg(not(feature = "kafka"))]
pub(crate) fn produce(
    _generate: &dyn Generate,
    _config: Option<&Path>,
    _topic: &str,
    _pace: produce::Pace<'_>,
) -> Result<produce::Produced, Failure> {
    Err(absent())
}

/// Takes the messages of several inputs.
///
/// # Errors
/// Always: this build has no Kafka.
#[cfg(not(feature = "kafka"))]
pub(crate) fn topics(_config: Option<&Path>, _topics: &[(&str, u32)]) -> Result<Box<dyn Take>, Failure> {
    Err(absent())
}

/// Writes messages to a topic that were read before.
///
/// # Errors
/// Always: this build has no Kafka.
#[cfg(not(feature = "kafka"))]
pub(crate) fn originals(_config: Option<&Path>, _topic: &str) -> Result<Box<dyn Originals>, Failure> {
    Err(absent())
}

#[cfg(not(feature = "kafka"))]
fn absent() -> Failure {
    Failure::new(Code::NotInThisBuild, "this build has no Kafka")
        .hint("Build it with --features kafka, or use files.")
}
