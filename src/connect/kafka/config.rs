//! The settings of a Kafka client: a `.properties` file as kcat and the Java tools take it, and what we add.
//!
//! [`java_properties`] has the syntax, [`settings`](super::settings) what each name means. Values are
//! secrets until proven otherwise: neither `Debug` nor an error shows one.

use super::java_properties::{self, Malformed};
use super::setting_names::{READER, WRITER};
use super::settings::{NO_TLS, Settings, Value, passed_over, translate};
use crate::connect::Notice;
use crate::connect::error::{Error, Problem};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use std::fmt;
use std::path::Path;

/// What a reader uses where the file says nothing. What waits in a worker's memory is bounded by the queue and one answer
/// of each broker, unpacked: with uncompressed messages about 32 MiB, and as much again for the client's own notes on
/// messages as small as 100 bytes.
const DEFAULTS: [(&str, &str); 5] = [
    ("fetch.max.bytes", "16777216"),
    // A full queue is looked at again after this time, not after the default second.
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.wait.max.ms", "100"),
    ("queued.max.messages.kbytes", "16384"),
    ("reconnect.backoff.max.ms", "5000"),
];

/// What a writer uses where the file says nothing: a topic whose name is mistyped must not come into being.
const WRITER_DEFAULTS: [(&str, &str); 2] = [("allow.auto.create.topics", "false"), ("linger.ms", "5")];

/// The settings of a file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// The file's path, for errors.
    file: String,
    settings: Settings,
}

impl Properties {
    /// Reads `path`.
    ///
    /// # Errors
    /// If it cannot be read, or has lines that are no settings.
    pub fn read(path: &Path) -> Result<Properties, Error> {
        let bytes =
            std::fs::read(path).map_err(|source| Error::Unreadable { path: path.to_path_buf(), source })?;
        Properties::parse(&bytes, &path.display().to_string())
    }

    /// The settings in `bytes`, which errors call `file`. The last line that sets a name counts.
    ///
    /// # Errors
    /// If lines are no settings: all of them.
    pub fn parse(bytes: impl AsRef<[u8]>, file: &str) -> Result<Properties, Error> {
        let file = file.to_string();
        let entries =
            java_properties::decode(bytes.as_ref()).and_then(|text| java_properties::entries(&text));
        let settings = entries
            .map_err(|Malformed { line, why, hint }| {
                vec![Problem { line, why: why.into(), hint: hint.into() }]
            })
            .and_then(translate);
        match settings {
            Ok(settings) => Ok(Properties { file, settings }),
            Err(problems) => Err(Error::Settings { file, problems }),
        }
    }

    /// Sets `name`, whatever the file says.
    #[must_use]
    pub fn with(mut self, name: &str, text: &str) -> Properties {
        let value = Value { text: text.to_string(), line: 0 };
        self.settings.values.insert(name.to_string(), value);
        self
    }

    /// The brokers to ask first.
    ///
    /// # Errors
    /// If there are none.
    pub fn brokers(&self) -> Result<&str, Error> {
        self.get("bootstrap.servers").filter(|brokers| !brokers.is_empty()).ok_or_else(|| Error::Unusable {
            what: if self.file.is_empty() { "kafka".into() } else { self.file.clone() },
            why: "it names no broker".into(),
            hint: "Add the line bootstrap.servers=HOST:PORT.".into(),
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.settings.values.get(name).map(|value| value.text.as_str())
    }

    /// What a person should know of the settings of a reader that commits offsets for `group`.
    pub fn reader_notices(&self, group: Option<&str>) -> Vec<Notice> {
        let mut notices = self.notices(&READER);
        if self.get("group.id").is_some_and(|id| group != Some(id)) {
            notices.push(passed_over("group.id", "--group names the group to commit offsets for"));
        }
        notices
    }

    /// What a person should know of the settings of a writer.
    pub fn writer_notices(&self) -> Vec<Notice> {
        self.notices(&WRITER)
    }

    /// What is known of all settings, and which of them `ours` overrules.
    fn notices(&self, ours: &[(&str, &str)]) -> Vec<Notice> {
        let mut notices = self.settings.notices.clone();
        for (name, value) in ours {
            if self.get(name).is_some_and(|other| !other.eq_ignore_ascii_case(value)) {
                notices.push(passed_over(name, &format!("it is always {value} here")));
            }
        }
        notices
    }

    /// The settings of a reader; it commits offsets for `group`, if there is one.
    ///
    /// # Errors
    /// If they name no broker.
    pub fn reader(&self, group: Option<&str>) -> Result<ClientConfig, Error> {
        let mut config = self.client(&DEFAULTS)?;
        WRITER.iter().for_each(|(name, _)| _ = config.remove(name));
        READER.iter().for_each(|(name, value)| _ = config.set(*name, *value));
        config.remove("group.id");
        if let Some(group) = group {
            config.set("group.id", group);
        }
        Ok(config)
    }

    /// The settings of a writer.
    pub(super) fn writer(&self) -> Result<ClientConfig, Error> {
        let mut config = self.client(&WRITER_DEFAULTS)?;
        READER.iter().for_each(|(name, _)| _ = config.remove(name));
        WRITER.iter().for_each(|(name, value)| _ = config.set(*name, *value));
        Ok(config)
    }

    fn client(&self, defaults: &[(&str, &str)]) -> Result<ClientConfig, Error> {
        self.brokers()?;
        let mut config = ClientConfig::new();
        config.set("client.id", "headway");
        // The wrapper's own default hides all but errors, whatever `debug` is set to.
        config.set_log_level(match self.get("debug") {
            Some(_) => RDKafkaLogLevel::Debug,
            None => RDKafkaLogLevel::Info,
        });
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.settings.values {
            config.set(name, &value.text);
        }
        Ok(config)
    }

    /// The error for settings that the client refuses: each of them is known, but they do not fit together.
    pub(super) fn refused(&self, error: KafkaError) -> Error {
        let why = match error {
            KafkaError::ClientConfig(_, why, name, _) => format!("{name}: {why}"),
            KafkaError::ClientCreation(why) => why,
            other => other.to_string(),
        };
        // Whatever it says, it does not quote the file.
        let values =
            self.settings.values.iter().filter(|(name, value)| is_secret(name) && !value.text.is_empty());
        let why = values.fold(why, |why, (_, value)| why.replace(&value.text, "…"));
        let what = if self.file.is_empty() { "kafka".to_string() } else { self.file.clone() };
        let hint = match cfg!(feature = "kafka-tls") || !(why.contains("SSL") || why.contains("SASL")) {
            true => "The settings are those of librdkafka's CONFIGURATION.md.",
            false => NO_TLS,
        };
        Error::Unusable { what, why, hint: hint.into() }
    }
}

/// True if the value of a setting is a secret.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "key.pem", "passphrase", "oauthbearer.config"]
        .iter()
        .any(|end| name.ends_with(end))
}

impl fmt::Debug for Properties {
    /// Names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.settings.values.keys();
        f.debug_struct("Properties").field("file", &self.file).field("names", &names).finish()
    }
}
