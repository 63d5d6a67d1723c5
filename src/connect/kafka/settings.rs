//! What the settings of a `.properties` file mean to librdkafka: taken, translated, passed over, or refused.
//!
//! Java's client, its tools and kcat take the same file. So a setting that only they need is no mistake: it is passed over
//! and listed once. A setting that nobody knows is a mistake, and so is a value that librdkafka refuses: all of them are
//! refused together, each by its line. Values may be secrets: no notice and no refusal quotes one.
//!
//! Like Kafka's Java client, and unlike Java itself, this drops blanks at the end of a value.

use super::jaas;
use super::java_properties::{BLANKS, Entry};
use super::setting_names::{Convert, NAMES, PASSED_OVER, READER, RENAMED, UNKNOWN, Why};
use crate::connect::Notice;
use crate::connect::error::Problem;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use std::collections::BTreeMap;

/// The SASL mechanisms that this client has without further libraries.
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// Other mechanisms that a refusal may quote: a word that is none of them may be a part of a secret.
const OTHER_MECHANISMS: [&str; 5] = ["AWS_MSK_IAM", "DIGEST-MD5", "GSSAPI", "KERBEROS", "OAUTHBEARER"];

/// How alike two names are where one was probably meant to be the other.
const ALIKE: f64 = 0.88;

/// A setting in librdkafka's words, and its line (0 if it is from no line).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) line: usize,
}

/// The notice of a setting that does nothing here.
pub(super) fn passed_over(name: &str, why: &str) -> Notice {
    Notice { name: name.to_string(), what: format!("passed over, {why}"), is_warning: false }
}

/// The settings of a file, in librdkafka's words.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) values: BTreeMap<String, Value>,
    pub(super) notices: Vec<Notice>,
}

/// The settings that `entries` make. Of two lines with one name the last counts.
///
/// # Errors
/// All lines that cannot be used.
pub(super) fn translate(entries: Vec<Entry>) -> Result<Settings, Vec<Problem>> {
    let mut translation = Translation::default();
    for entry in entries {
        translation.take(entry);
    }
    let protocol = translation.value("security.protocol").to_lowercase();
    let (has_tls, has_sasl) = (protocol.ends_with("ssl"), protocol.starts_with("sasl"));
    if has_sasl {
        translation.login(has_tls);
    }
    if has_tls {
        translation.stores();
    }
    for (name, given) in std::mem::take(&mut translation.given) {
        let unused = match name.split('.').next() {
            Some("ssl") if !has_tls => Some("security.protocol does not use TLS"),
            Some("sasl") if !has_sasl => Some("security.protocol does not use SASL"),
            _ => None,
        };
        translation.settle(name, given, unused);
    }
    translation.problems.sort_by_key(|problem| problem.line);
    match translation.problems.is_empty() {
        true => Ok(translation.settings),
        false => Err(translation.problems),
    }
}

/// A setting of the file.
struct Given {
    /// Its name there.
    name: String,
    value: String,
    line: usize,
}

/// Settings on their way.
#[derive(Default)]
struct Translation {
    /// By the name here: what is not settled yet.
    given: BTreeMap<String, Given>,
    settings: Settings,
    problems: Vec<Problem>,
}

impl Translation {
    /// Takes an entry, under the name that its setting has here.
    fn take(&mut self, entry: Entry) {
        if let Some((why, hint)) = misshapen(&entry) {
            return self.refuse(entry.line, why, hint);
        }
        if drops_backslash(&entry.written) {
            let what = "a single backslash in its value is dropped, as Java does: write \\\\ for one";
            self.notice(&entry.name, what, true);
        }
        let (name, value) = canonical(&entry.name, entry.value.trim_matches(|letter: char| letter <= ' '));
        if name != entry.name {
            self.notice(&entry.name, &format!("taken as {name}"), false);
        }
        let given = Given { name: entry.name, value: value.clone(), line: entry.line };
        if let Some(before) = self.given.insert(name, given).filter(|before| before.value != value) {
            let what = format!("line {} is passed over: line {} counts", before.line, entry.line);
            self.notice(&before.name, &what, true);
        }
    }

    fn value(&self, name: &str) -> &str {
        self.given.get(name).map_or("", |given| given.value.as_str())
    }

    fn refuse(&mut self, line: usize, why: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem { line, why: why.into(), hint: hint.into() });
    }

    fn notice(&mut self, name: &str, what: &str, is_warning: bool) {
        let (name, what) = (name.to_string(), what.to_string());
        self.settings.notices.push(Notice { name, what, is_warning });
    }

    fn pass_over(&mut self, name: &str, why: &str) {
        self.settings.notices.push(passed_over(name, why));
    }

    fn set(&mut self, name: &str, text: &str, line: usize) {
        self.settings.values.insert(name.to_string(), Value { text: text.to_string(), line });
    }

    /// User name, password and mechanism of SASL.
    fn login(&mut self, has_tls: bool) {
        if let Some(Given { value, line, .. }) = self.given.remove("sasl.jaas.config") {
            match jaas::login(&value) {
                Err(why) => self.refuse(line, format!("sasl.jaas.config: {why}"), JAAS_HINT),
                Ok(login) if login.username.contains('\0') || login.password.contains('\0') => {
                    self.refuse(line, "sasl.jaas.config: it holds a NUL character", JAAS_HINT);
                }
                Ok(login) => {
                    self.logged_in("sasl.username", &login.username, line);
                    self.logged_in("sasl.password", &login.password, line);
                    self.notice("sasl.jaas.config", "taken as sasl.username and sasl.password", false);
                }
            }
        }
        let line = self.given.get("sasl.mechanism").or_else(|| self.given.get("security.protocol"));
        let line = line.map_or(0, |given| given.line);
        let mechanism = self.value("sasl.mechanism").to_string();
        if !MECHANISMS.contains(&mechanism.as_str()) {
            let why = match mechanism.as_str() {
                "" => "SASL needs a mechanism, and the file names none".to_string(),
                other if OTHER_MECHANISMS.contains(&other) => {
                    format!("the SASL mechanism {other} is not supported")
                }
                _ => "sasl.mechanism is none that is supported".to_string(),
            };
            self.refuse(line, why, "Add or change sasl.mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.");
        }
        if mechanism == "PLAIN" && !has_tls {
            let what = "SASL PLAIN without TLS sends the password in clear: use security.protocol=SASL_SSL";
            self.notice("security.protocol", what, true);
        }
    }

    /// A value of the login module, unless the file has another one.
    fn logged_in(&mut self, name: &str, text: &str, line: usize) {
        match self.given.remove(name) {
            Some(other) if other.value != text => {
                let why = format!("{name} is not the one of sasl.jaas.config in line {line}");
                self.refuse(other.line, why, "Remove one of them.");
            }
            _ => self.set(name, text, line),
        }
    }

    /// Java's stores of keys and certificates. Those that are PEM are what librdkafka takes, too.
    fn stores(&mut self) {
        let kind = |name: &str| self.value(name).to_uppercase();
        let (trust, key) = (kind("ssl.truststore.type"), kind("ssl.keystore.type"));
        let has_ca = self.given.contains_key("ssl.ca.location") || self.given.contains_key("ssl.ca.pem");
        self.given.remove("ssl.truststore.type");
        self.given.remove("ssl.keystore.type");
        if let Some(Given { name, value, line }) = self.given.remove("ssl.truststore.location") {
            match (trust.as_str(), has_ca) {
                (_, true) => self.pass_over(&name, "the file gives the certificates in PEM, too"),
                ("PEM", false) => {
                    self.set("ssl.ca.location", &value, line);
                    self.notice(&name, "taken as ssl.ca.location", false);
                }
                _ => {
                    let why = "a truststore of Java cannot be read: only PEM can";
                    self.refuse(line, why, TRUSTSTORE_HINT);
                }
            }
        }
        match (key.as_str(), self.given.get("ssl.keystore.location").map(|given| given.line)) {
            ("PEM", Some(line)) => {
                let value =
                    self.given.remove("ssl.keystore.location").map_or(String::new(), |given| given.value);
                self.set("ssl.key.location", &value, line);
                self.set("ssl.certificate.location", &value, line);
                let what = "taken as ssl.key.location and ssl.certificate.location";
                self.notice("ssl.keystore.location", what, false);
            }
            ("" | "PKCS12" | "PEM", _) | (_, None) => {}
            (_, Some(line)) => {
                self.refuse(line, "a keystore of Java cannot be read: only PKCS12 and PEM can", KEYSTORE_HINT)
            }
        }
        let unchecked = match self.given.get_mut("ssl.endpoint.identification.algorithm") {
            // Java's word for it is an empty value.
            Some(given) if given.value.is_empty() || given.value.eq_ignore_ascii_case("none") => {
                given.value = "none".to_string();
                true
            }
            _ => false,
        };
        if unchecked {
            let what = "TLS does not check that the broker is the one that was asked for";
            self.notice("ssl.endpoint.identification.algorithm", what, true);
        }
        if self.value("enable.ssl.certificate.verification").eq_ignore_ascii_case("false") {
            self.notice("enable.ssl.certificate.verification", "TLS does not check who the broker is", true);
        }
    }

    /// Takes, passes over or refuses a setting that is not settled yet. One that is `unused` only has to be known.
    fn settle(&mut self, name: String, Given { name: written, value, line }: Given, unused: Option<&str>) {
        if name == "config.providers" {
            let why = "values of a configuration provider cannot be read";
            return self.refuse(line, why, "Write the values into the file, and let only its owner read it.");
        }
        if let Some((_, why)) = PASSED_OVER.iter().find(|(other, _)| *other == name) {
            return self.pass_over(&written, unused.unwrap_or(why.words()));
        }
        // Whatever the file says, the reader says otherwise, and Java has values for them that librdkafka refuses.
        if READER.iter().any(|(ours, _)| *ours == name) {
            return self.set(&name, &value, line);
        }
        let is_java = JAVA_SECURITY.contains(&name.as_str());
        match (probe(&name, &value), unused) {
            (Probe::Unknown, _) if !is_java => match unknown(&name) {
                Some(why) => self.pass_over(&written, why.words()),
                None => self.refuse(line, no_setting(&written), meant(&name)),
            },
            (_, Some(why)) => self.pass_over(&written, why),
            (Probe::Taken, None) => self.set(&name, &value, line),
            (Probe::Unknown, None) => self.pass_over(&written, Why::Java.words()),
            (Probe::Lacking, None) => self.refuse(line, format!("{written} needs TLS"), NO_TLS),
            (Probe::Refused(why), None) => {
                self.refuse(line, why, "The values are those of librdkafka's CONFIGURATION.md.");
            }
        }
    }
}

/// Java's settings of logins and stores, which are settled before the others where the protocol uses them.
const JAVA_SECURITY: [&str; 4] =
    ["sasl.jaas.config", "ssl.keystore.type", "ssl.truststore.location", "ssl.truststore.type"];

const JAAS_HINT: &str = "Write it as org.apache.kafka.common.security.scram.ScramLoginModule (or plain.PlainLoginModule) \
                         required username=\"NAME\" password=\"PASSWORD\";";

const TRUSTSTORE_HINT: &str = "Write its certificates to a file, keytool -exportcert -rfc -keystore STORE -alias ALIAS, and \
                               give that: ssl.ca.location=FILE.";

const KEYSTORE_HINT: &str = "Convert it, keytool -importkeystore -srckeystore STORE -destkeystore FILE -deststoretype PKCS12, \
                             and give that: ssl.keystore.location=FILE.";

/// What a build says that lacks TLS.
pub(super) const NO_TLS: &str = "This build has no TLS and no SCRAM: build it with --features kafka-tls.";

/// Why an entry is no setting, and the way out.
fn misshapen(entry: &Entry) -> Option<(&'static str, &'static str)> {
    let quotes = |text: &str| {
        let text = text.trim_end_matches(BLANKS);
        text.len() > 1 && ["\"", "'"].iter().any(|quote| text.starts_with(quote) && text.ends_with(quote))
    };
    let hint =
        "A line is NAME=VALUE. A value goes on in the next line after a backslash; a comment begins with #.";
    if entry.name.starts_with('[') {
        return Some(("a section in brackets is no setting", "The file has no sections: remove the line."));
    }
    if entry.name.starts_with(['"', '\'']) {
        return Some(("the name is quoted", "Remove the quotes, and write NAME=VALUE."));
    }
    if quotes(&entry.written) {
        let hint =
            "Remove the quotes: they would be a part of the value. Where they are one, write \\\" for each.";
        return Some(("the value is quoted", hint));
    }
    if entry.name.is_empty() {
        return Some(("the line names no setting", hint));
    }
    if entry.name.contains('\0') || entry.value.contains('\0') {
        return Some(("the line holds a NUL character", hint));
    }
    None
}

/// Whether a value that was written so loses a backslash before a letter or digit that is no escape.
fn drops_backslash(written: &str) -> bool {
    let mut letters = written.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\'
            && letters.next().is_some_and(|next| next.is_alphanumeric() && !"tnrfu".contains(next))
        {
            return true;
        }
    }
    false
}

/// Name and value as they are here.
fn canonical(name: &str, value: &str) -> (String, String) {
    // librdkafka's own beginning for settings of topics; some of the client's begin so, too.
    let short =
        name.strip_prefix("topic.").filter(|rest| !rest.starts_with("metadata.") && *rest != "blacklist");
    let name = short.unwrap_or(name);
    let Some((_, to, convert)) = RENAMED.iter().find(|(from, ..)| *from == name) else {
        return (name.to_string(), value.to_string());
    };
    let value = match convert {
        Convert::MinusOne if value == "-1" => "0".to_string(),
        Convert::Kib => {
            value.parse::<u64>().map_or(value.to_string(), |bytes| (bytes / 1024).max(1).to_string())
        }
        Convert::MinusOne | Convert::Same => value.to_string(),
    };
    (to.to_string(), value)
}

/// What librdkafka says of a setting.
enum Probe {
    Taken,
    Unknown,
    /// This build lacks what it needs.
    Lacking,
    /// Why; without the value.
    Refused(String),
}

fn probe(name: &str, value: &str) -> Probe {
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Probe::Taken,
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Probe::Unknown,
        Err(KafkaError::ClientConfig(_, why, ..)) if why.contains("at build time") => Probe::Lacking,
        // What librdkafka says may quote the value.
        Err(KafkaError::ClientConfig(_, why, ..)) => match why.split_once("outside allowed range ") {
            Some((_, range)) => Probe::Refused(format!("{name} must be in {range}")),
            None => Probe::Refused(format!("{name} cannot have this value")),
        },
        Err(_) => Probe::Refused(format!("{name} cannot have this value")),
    }
}

/// Why a setting that librdkafka does not know may be passed over.
fn unknown(name: &str) -> Option<Why> {
    let fits = |pattern: &str| name == pattern || (pattern.ends_with('.') && name.starts_with(pattern));
    let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic());
    UNKNOWN.iter().find(|(pattern, _)| is_plain && fits(pattern)).map(|(_, why)| *why)
}

/// The refusal of a name. One that does not look like a name is not quoted: a secret that was broken into lines begins a
/// line, too.
fn no_setting(written: &str) -> String {
    let is_plain =
        written.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
    let is_name =
        is_plain && written.len() <= 64 && written.starts_with(|first: char| first.is_ascii_lowercase());
    match is_name && (written.contains('.') || nearest(written).is_some()) {
        true => format!("there is no setting \"{written}\""),
        false => "the line begins with no setting".to_string(),
    }
}

/// The name that is most like `name`.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase().replace(['_', '-'], ".");
    // As Spark and Spring write it: spring.kafka.bootstrap-servers.
    let end = NAMES.iter().filter(|known| name.strip_suffix(*known).is_some_and(|rest| rest.ends_with('.')));
    let near = NAMES.iter().map(|known| (strsim::jaro_winkler(&name, known), known));
    let near = near.filter(|(likeness, _)| *likeness > ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    end.max_by_key(|known| known.len()).or(near.map(|(_, known)| known)).copied()
}

/// The hint for an unknown name.
fn meant(name: &str) -> String {
    match nearest(name) {
        Some(known) => format!("Did you mean {known}?"),
        None => {
            "The names are those of Kafka's Java client and of librdkafka's CONFIGURATION.md.".to_string()
        }
    }
}
