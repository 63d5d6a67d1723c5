//! The settings of a Kafka client: a `.properties` file as kcat and the Java tools take it, and what we add.
//!
//! A line that begins with `#` is a comment; else it is split at the first `=`, and both sides are trimmed. What a
//! value is stays with librdkafka, which takes the same names as the Java client for nearly everything. Values are
//! secrets until proven otherwise: neither `Debug` nor an error shows one.

use crate::connect::error::Error;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What a reader's exactness rests on: a file that says otherwise is overruled.
const OURS: [(&str, &str); 7] = [
    ("auto.offset.reset", "error"),
    ("check.crcs", "true"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
    ("topic.metadata.refresh.interval.ms", "10000"),
];

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

/// What a writer's exactness rests on.
const WRITER: [(&str, &str); 2] = [("acks", "all"), ("enable.idempotence", "true")];

/// What a writer uses where the file says nothing: a topic whose name is mistyped must not come into being.
const WRITER_DEFAULTS: [(&str, &str); 2] = [("allow.auto.create.topics", "false"), ("linger.ms", "5")];

/// Settings that Java tools need and we do not.
const JAVA_ONLY: [&str; 4] = ["key.deserializer", "key.serializer", "value.deserializer", "value.serializer"];

/// The settings of a file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// The file's path, for errors.
    file: String,
    /// By name: value, and line from 1 (0: not from a line).
    values: BTreeMap<String, (String, usize)>,
}

impl Properties {
    /// Reads `path`.
    ///
    /// # Errors
    /// If it cannot be read, or has a line that is neither a comment nor a setting.
    pub fn read(path: &Path) -> Result<Properties, Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_path_buf(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Properties::parse(&text, &path.display().to_string())
    }

    /// The settings in `text`, which errors call `file`. The last line that sets a name counts.
    ///
    /// # Errors
    /// If a line is neither a comment nor a setting.
    pub fn parse(text: &str, file: &str) -> Result<Properties, Error> {
        let mut values = BTreeMap::new();
        for (line, text) in text.lines().enumerate().map(|(n, text)| (n + 1, text.trim())) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (name, value) = text.split_once('=').map_or(("", ""), |(n, v)| (n.trim(), v.trim()));
            if name.is_empty() {
                return Err(Error::Unusable {
                    what: format!("{file}:{line}"),
                    why: "the line is not of the form name=value".into(),
                    hint: "Comments begin with #. A value cannot go on in the next line.".into(),
                });
            }
            values.insert(name.to_string(), (value.to_string(), line));
        }
        Ok(Properties { file: file.to_string(), values })
    }

    /// Sets `name`, whatever the file says.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Properties {
        self.values.insert(name.to_string(), (value.to_string(), 0));
        self
    }

    /// The brokers to ask first.
    ///
    /// # Errors
    /// If there are none.
    pub fn brokers(&self) -> Result<&str, Error> {
        let brokers = self.get("bootstrap.servers").or_else(|| self.get("metadata.broker.list"));
        brokers.filter(|brokers| !brokers.is_empty()).ok_or_else(|| Error::Unusable {
            what: if self.file.is_empty() { "kafka".into() } else { self.file.clone() },
            why: "it names no broker".into(),
            hint: "Add the line bootstrap.servers=HOST:PORT.".into(),
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(value, _)| value.as_str())
    }

    /// The settings of a reader; it commits offsets for `group`, if there is one.
    ///
    /// # Errors
    /// If they name no broker.
    pub fn reader(&self, group: Option<&str>) -> Result<ClientConfig, Error> {
        let mut config = self.client(&DEFAULTS)?;
        for (name, value) in OURS {
            if self.get(name).is_some_and(|other| other != value) {
                tracing::info!(setting = name, value, "overrules a setting of the properties file");
            }
            config.set(name, value);
        }
        config.remove("group.id");
        config.remove("group.instance.id");
        if let Some(group) = group {
            config.set("group.id", group);
        }
        Ok(config)
    }

    /// The settings of a writer.
    pub(super) fn writer(&self) -> Result<ClientConfig, Error> {
        let mut config = self.client(&WRITER_DEFAULTS)?;
        for (name, value) in WRITER {
            config.set(name, value);
        }
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
        for (name, (value, _)) in &self.values {
            if !JAVA_ONLY.contains(&name.as_str()) {
                config.set(name, value);
            }
        }
        Ok(config)
    }

    /// The error for settings that the client refuses.
    pub(super) fn refused(&self, error: KafkaError) -> Error {
        let (name, why) = match error {
            KafkaError::ClientConfig(_, why, name, value) => {
                (name, if value.is_empty() { why } else { why.replace(&value, "…") })
            }
            KafkaError::ClientCreation(why) => (String::new(), why),
            other => (String::new(), other.to_string()),
        };
        let line = self.values.get(&name).map_or(0, |(_, line)| *line);
        let what = match line {
            0 if self.file.is_empty() => "kafka".to_string(),
            0 => self.file.clone(),
            line => format!("{}:{line}", self.file),
        };
        let is_tls = why.contains("OpenSSL") || why.contains("SSL") || why.contains("SASL");
        let hint = match cfg!(feature = "kafka-tls") || !is_tls {
            true => "The names are those of librdkafka's CONFIGURATION.md.",
            false => "This build has no TLS and no SASL: build it with --features kafka-tls.",
        };
        Error::Unusable { what, why: format!("{name}: {why}"), hint: hint.into() }
    }
}

impl fmt::Debug for Properties {
    /// Names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Properties").field("file", &self.file).field("names", &self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::consumer::BaseConsumer;

    fn parse(text: &str) -> Properties {
        Properties::parse(text, "client.properties").unwrap()
    }

    #[test]
    fn settings_are_split_at_the_first_equals_sign_and_trimmed() {
        let text = "# a comment\n\n  bootstrap.servers =  a:1,b:2  \r\nsasl.password=p=w#d = \nempty=\n #x\nempty = 2";
        let properties = parse(text);
        assert_eq!(properties.brokers().unwrap(), "a:1,b:2");
        assert_eq!(properties.get("sasl.password"), Some("p=w#d ="));
        assert_eq!(properties.get("empty"), Some("2"), "the last line counts");
        assert_eq!(properties.values.len(), 3);
    }

    #[test]
    fn line_that_is_no_setting_is_refused_by_its_number() {
        for text in ["a=b\n\nno setting", "a=b\n# x\n = value"] {
            let error = Properties::parse(text, "client.properties").unwrap_err().to_string();
            assert!(error.contains("\"client.properties:3\""), "{error}");
        }
        let error = parse("a=b").brokers().unwrap_err().to_string();
        assert!(error.contains("names no broker"), "{error}");
        let error = Properties::read(Path::new("/no/such.properties")).unwrap_err().to_string();
        assert!(error.contains("/no/such.properties"), "{error}");
    }

    #[test]
    fn what_exactness_rests_on_is_overruled_and_the_rest_is_not() {
        let text = "bootstrap.servers=a:1\nauto.offset.reset=latest\nfetch.wait.max.ms=7\ngroup.id=g\nvalue.deserializer=X";
        let config = parse(text).reader(None).unwrap();
        assert_eq!(config.get("auto.offset.reset"), Some("error"));
        assert_eq!(config.get("fetch.wait.max.ms"), Some("7"));
        assert_eq!((config.get("group.id"), config.get("value.deserializer")), (None, None));
        let config = parse(text).reader(Some("observers")).unwrap();
        assert_eq!(config.get("group.id"), Some("observers"));
        let config = parse("bootstrap.servers=a:1\nacks=0").writer().unwrap();
        assert_eq!((config.get("acks"), config.get("enable.idempotence")), (Some("all"), Some("true")));
    }

    #[test]
    fn setting_that_the_client_refuses_is_named_by_its_line_without_its_value() {
        let refused = |text: &str| {
            let properties = parse(text);
            let created = properties.reader(None).unwrap().create::<BaseConsumer>();
            properties.refused(created.err().expect("it is refused")).to_string()
        };
        let error = refused("bootstrap.servers=a:1\nno.such.setting=canary");
        assert!(error.contains("client.properties:2") && error.contains("no.such.setting"), "{error}");
        assert!(!error.contains("canary"), "{error}");
        let error = refused("bootstrap.servers=a:1\n\nsocket.timeout.ms=canary");
        assert!(error.contains("client.properties:3") && !error.contains("canary"), "{error}");
    }

    #[test]
    fn debug_shows_no_value() {
        let text = format!("{:?}", parse("sasl.password=canary\nssl.key.pem=canary"));
        assert!(text.contains("sasl.password") && !text.contains("canary"), "{text}");
    }

    #[test]
    #[cfg(not(feature = "kafka-tls"))]
    fn build_without_tls_says_which_one_has_it() {
        let properties = parse("bootstrap.servers=a:1\nsecurity.protocol=SASL_SSL\nsasl.password=canary");
        let created = properties.reader(None).unwrap().create::<BaseConsumer>();
        let error = properties.refused(created.err().expect("it is refused"));
        let Error::Unusable { why, hint, .. } = &error else { panic!("{error}") };
        assert!(hint.contains("--features kafka-tls") && !why.contains("canary"), "{error}: {hint}");
    }
}
