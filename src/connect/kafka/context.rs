//! What the clients of one topic report beside messages: trouble with brokers, for the log and for errors.

use crate::connect::error::Error;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How often the same trouble is worth a line in the log.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// Collects the reports of the clients of one topic. Clones share what they collect.
#[derive(Clone, Default)]
pub(super) struct Context(Arc<Mutex<Reports>>);

#[derive(Default)]
struct Reports {
    /// The newest trouble.
    newest: Option<String>,
    /// A broker whose name could not be resolved, since the last answer.
    unresolved: Option<Unresolved>,
    warned: Option<Instant>,
    /// When the log last said that offsets could not be committed for the group.
    commit_warned: Option<Instant>,
    /// Commits for the group that were not answered yet.
    pending_commits: usize,
}

/// A broker whose name this machine cannot resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unresolved {
    /// Host and port.
    name: String,
    /// A broker gave the name; else it is from the settings.
    is_advertised: bool,
    /// What the resolver says.
    why: String,
}

impl Unresolved {
    /// What librdkafka says of such a broker: `HOST:PORT/ID: Failed to resolve 'HOST:PORT': WHY (after 3ms in state CONNECT)`.
    /// Before a broker has answered, its id is the word `bootstrap`.
    fn parse(text: &str) -> Option<Unresolved> {
        let (broker, rest) = text.split_once(": Failed to resolve '")?;
        let (name, why) = rest.split_once("': ")?;
        let why = why.split_once(" (after ").map_or(why, |(why, _)| why);
        Some(Unresolved {
            name: name.to_string(),
            is_advertised: !broker.ends_with("/bootstrap"),
            why: why.to_string(),
        })
    }
}

impl Context {
    fn reports(&self) -> MutexGuard<'_, Reports> {
        // The client calls back from C, where a panic aborts the process. Whoever poisoned the lock has stopped the job.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The newest trouble, in the client's words.
    pub(super) fn newest(&self) -> Option<String> {
        self.reports().newest.clone()
    }

    /// Why `broker` could not be reached: the name that cannot be resolved, else the newest trouble, else `reason`.
    pub(super) fn unreachable(&self, broker: &str, reason: &str) -> Error {
        let reports = self.reports();
        match &reports.unresolved {
            Some(Unresolved { name, is_advertised, why }) => Error::Unresolved {
                name: name.clone(),
                advertised_by: is_advertised.then(|| broker.to_string()),
                detail: why.clone(),
            },
            None => {
                let detail = reports.newest.clone().unwrap_or_else(|| reason.to_string());
                Error::Unreachable { what: broker.to_string(), detail }
            }
        }
    }

    /// The error for a broker that gave a name which cannot be resolved, if one did.
    pub(super) fn unresolved(&self, broker: &str) -> Option<Error> {
        let is_advertised = self.reports().unresolved.as_ref().is_some_and(|name| name.is_advertised);
        is_advertised.then(|| self.unreachable(broker, ""))
    }

    /// Forgets trouble that is over.
    pub(super) fn clear(&self) {
        let mut reports = self.reports();
        (reports.newest, reports.unresolved) = (None, None);
    }

    /// Notes that a commit for the group was sent.
    pub(super) fn commit_sent(&self) {
        self.reports().pending_commits += 1;
    }

    /// How many commits for the group were not answered yet.
    pub(super) fn pending_commits(&self) -> usize {
        self.reports().pending_commits
    }

    fn note_trouble(&self, text: &str) {
        let mut reports = self.reports();
        reports.unresolved = Unresolved::parse(text).or(reports.unresolved.take());
        // A count says less than the reason before it.
        if reports.newest.is_none() || !text.ends_with("brokers are down") {
            reports.newest = Some(text.to_string());
        }
        if reports.warned.is_none_or(|warned| warned.elapsed() > WARN_EVERY) {
            reports.warned = Some(Instant::now());
            tracing::warn!(reason = text, "kafka client in trouble");
        }
    }

    /// Notes that offsets could not be committed for the group.
    pub(super) fn commit_failed(&self, error: &KafkaError) {
        let mut reports = self.reports();
        if reports.commit_warned.is_none_or(|warned| warned.elapsed() > WARN_EVERY) {
            reports.commit_warned = Some(Instant::now());
            tracing::warn!(%error, "could not commit offsets for the group");
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // Begins with the name of a thread of the client's.
        let text = text.split_once("]: ").map_or(text, |(_, text)| text);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => self.note_trouble(text),
            _ => tracing::debug!(facility, "{text}"),
        }
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        self.note_trouble(reason);
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        let mut reports = self.reports();
        reports.pending_commits = reports.pending_commits.saturating_sub(1);
        drop(reports);
        if let Err(error) = result {
            self.commit_failed(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_whose_name_cannot_be_resolved_is_named() {
        let context = Context::default();
        assert!(
            matches!(context.unreachable("broker \"b\"", "no answer"), Error::Unreachable { detail, .. } if detail == "no answer")
        );
        context.note_trouble(
            "b:1/bootstrap: Failed to resolve 'b:1': Name or service not known (after 3ms in state CONNECT)",
        );
        assert!(context.unresolved("broker \"b\"").is_none(), "the name is from the settings");
        let error = context.unreachable("broker \"b\"", "");
        assert!(
            matches!(error, Error::Unresolved { advertised_by: None, detail, .. } if detail == "Name or service not known")
        );
        context.note_trouble("c:1/7: Failed to resolve 'c:1': No address (after 0ms in state CONNECT, 1 identical error(s) suppressed)");
        context.note_trouble("2/2 brokers are down");
        let error = context.unresolved("broker \"b\"").expect("a broker gave the name");
        assert_eq!(
            error.to_string(),
            "broker \"b\" answers, and advertises \"c:1\", a name that cannot be resolved here"
        );
        context.clear();
        assert!(matches!(context.unreachable("broker \"b\"", ""), Error::Unreachable { .. }));
    }
}
