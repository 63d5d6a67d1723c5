//! What becomes of the settings of a file: a table of files, and of what is refused.

use super::config::Properties;
use crate::connect::error::Error;
use rdkafka::consumer::BaseConsumer;
use std::path::Path;

/// A value that nothing may show.
const CANARY: &str = "kanarienvogel";

fn parse(text: &str) -> Properties {
    Properties::parse(text, "client.properties")
        .unwrap_or_else(|error| panic!("{error}: {:?}", error.detail()))
}

/// All that a person is told of a refused file.
fn refusal(text: &str) -> String {
    let error =
        Properties::parse(text, "client.properties").err().unwrap_or_else(|| panic!("it is refused: {text}"));
    format!("{error}\n{}\n{}", error.detail().unwrap_or_default(), error.hint())
}

fn reader(text: &str) -> rdkafka::ClientConfig {
    parse(&format!("bootstrap.servers=a:1\n{text}")).reader(None).unwrap()
}

/// Names and fates of what a reader's person is told.
fn told(text: &str) -> Vec<(String, String)> {
    parse(text).reader_notices(None).into_iter().map(|notice| (notice.name, notice.what)).collect()
}

fn warnings(text: &str) -> Vec<String> {
    let all = parse(text).reader_notices(None).into_iter();
    all.filter(|notice| notice.is_warning).map(|notice| notice.name).collect()
}

#[test]
fn settings_are_taken_as_java_writes_them() {
    let table: &[(&str, &str, &str)] = &[
        ("client.id = a\\=b", "client.id", "a=b"),
        ("client.id:c", "client.id", "c"),
        ("client.id d", "client.id", "d"),
        ("client.id=e   ", "client.id", "e"),
        ("client.id=f \\\n   g", "client.id", "f g"),
        ("client.id=\\u0068", "client.id", "h"),
        ("client.id=\\\"i\\\"", "client.id", "\"i\""),
        ("client.id=j\nclient.id=k", "client.id", "k"),
        ("fetch.max.wait.ms=7", "fetch.wait.max.ms", "7"),
        ("receive.buffer.bytes=-1", "socket.receive.buffer.bytes", "0"),
        ("send.buffer.bytes=4096", "socket.send.buffer.bytes", "4096"),
        ("buffer.memory=33554432", "queue.buffering.max.kbytes", "32768"),
        ("buffer.memory=12", "queue.buffering.max.kbytes", "1"),
        ("max.request.size=2000000", "message.max.bytes", "2000000"),
        ("connections.max.idle.ms=-1", "connections.max.idle.ms", "0"),
        ("topic.compression.type=gzip", "compression.type", "gzip"),
        ("topic.metadata.refresh.sparse=false", "topic.metadata.refresh.sparse", "false"),
        ("statistics.interval.ms=1000", "statistics.interval.ms", "1000"),
        ("auto.offset.reset=none", "auto.offset.reset", "error"),
        ("auto.offset.reset=by_duration:P1D", "auto.offset.reset", "error"),
        ("topic.auto.offset.reset=latest", "auto.offset.reset", "error"),
        ("isolation.level=read_uncommitted", "isolation.level", "read_committed"),
    ];
    for (text, name, value) in table {
        assert_eq!(reader(text).get(name), Some(*value), "{text}");
    }
    assert_eq!(parse("metadata.broker.list=a:1").brokers().unwrap(), "a:1");
    assert_eq!(parse("bootstrap.servers=127.0.0.1\\:9092").brokers().unwrap(), "127.0.0.1:9092");
    assert_eq!(parse("\u{feff}bootstrap.servers=127.0.0.1:9092\r\n").brokers().unwrap(), "127.0.0.1:9092");
}

#[test]
fn exactness_is_not_for_a_file_to_change() {
    let file = parse(
        "bootstrap.servers=a:1\nrequest.required.acks=0\nenable.idempotence=false\ngroup.id=g\nenable.auto.commit=true",
    );
    let writer = file.writer().unwrap();
    assert_eq!((writer.get("acks"), writer.get("enable.idempotence")), (Some("all"), Some("true")));
    assert_eq!(writer.get("request.required.acks"), None, "a second name could win by chance");
    let notices: Vec<String> = file.writer_notices().into_iter().map(|notice| notice.name).collect();
    assert!(notices.contains(&"acks".to_string()) && notices.contains(&"enable.idempotence".to_string()));
    assert_eq!(file.reader(None).unwrap().get("group.id"), None);
    assert_eq!(file.reader(Some("observers")).unwrap().get("group.id"), Some("observers"));
    let told = told("group.id=g\nenable.auto.commit=true\ncheck.crcs=TRUE");
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["enable.auto.commit", "group.id"]);
}

#[test]
fn what_means_nothing_here_is_passed_over_and_told_once() {
    // What the console of a hosted broker gives, without TLS and SASL.
    let file = "bootstrap.servers=127.0.0.1:9092\nclient.dns.lookup=use_all_dns_ips\nsession.timeout.ms=45000\nacks=all\n\
                client.id=ccloud\nschema.registry.url=https://registry.invalid\nbasic.auth.credentials.source=USER_INFO\n\
                basic.auth.user.info=KEY:SECRET\nkey.deserializer=X\nmax.poll.records=10\nmetrics.num.samples=2\n\
                partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor\nssl.truststore.location=/x.jks";
    let told = told(file);
    let why = |name: &str| {
        let all: Vec<&str> =
            told.iter().filter(|(other, _)| other == name).map(|(_, what)| what.as_str()).collect();
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        all[0]
    };
    assert_eq!(why("schema.registry.url"), "passed over, headway asks no schema registry");
    assert_eq!(why("basic.auth.user.info"), "passed over, headway asks no schema registry");
    assert_eq!(why("session.timeout.ms"), "passed over, headway is no member of a consumer group");
    assert_eq!(why("key.deserializer"), "passed over, keys and values are bytes here");
    assert_eq!(why("max.poll.records"), "passed over, it is of Java's client alone");
    assert_eq!(why("ssl.truststore.location"), "passed over, security.protocol does not use TLS");
    assert_eq!(told.len(), 9, "{told:?}");
    let config = parse(file).reader(None).unwrap();
    assert!(config.create::<BaseConsumer>().is_ok(), "the client takes the rest");
    assert_eq!(config.get("client.dns.lookup"), Some("use_all_dns_ips"));
    assert!(format!("{told:?}").find("SECRET").is_none());
}

#[test]
fn settings_that_are_none_are_refused_with_their_line_and_the_way_out() {
    let table: &[(&str, &str, &str)] = &[
        ("a.b=c", "client.properties:1\": there is no setting \"a.b\"", "CONFIGURATION.md"),
        ("\n\nbootstrap.server=a:1", "client.properties:3\"", "Did you mean bootstrap.servers?"),
        ("sasl.pasword=x", "there is no setting \"sasl.pasword\"", "Did you mean sasl.password?"),
        ("spring.kafka.bootstrap-servers=a:1", "client.properties:1\"", "Did you mean bootstrap.servers?"),
        ("kafka.security.protocol=SSL", "client.properties:1\"", "Did you mean security.protocol?"),
        ("BOOTSTRAP_SERVERS=a:1", "the line begins with no setting", "Did you mean bootstrap.servers?"),
        ("[default]", "a section in brackets is no setting", "remove the line"),
        ("# x\n[client section]\na=b", "client.properties:2\": a section in brackets", "no sections"),
        ("bootstrap.servers=\"a:1\"", "the value is quoted", "Remove the quotes"),
        ("bootstrap.servers = 'a:1'  ", "the value is quoted", "Remove the quotes"),
        ("\"bootstrap.servers\"=a:1", "the name is quoted", "Remove the quotes"),
        ("key.\u{1b}[31m=x", "the line begins with no setting", ""),
        ("{", "the line begins with no setting", ""),
        ("= value", "the line names no setting", "NAME=VALUE"),
        ("client.id=\\u0000", "NUL", "NAME=VALUE"),
        ("client.id=\\u12", "client.properties:1\": the escape", "four hexadecimal digits"),
        ("config.providers=file", "configuration provider", "Write the values"),
        ("\u{feff}a.b=c", "there is no setting \"a.b\"", ""),
        (
            "socket.timeout.ms=1",
            "client.properties:1\": socket.timeout.ms must be in 10..300000",
            "CONFIGURATION.md",
        ),
        ("security.protocol=TLS", "client.properties:1\": ", "CONFIGURATION.md"),
    ];
    for (text, what, hint) in table {
        let refusal = refusal(text);
        assert!(refusal.contains(what) && refusal.contains(hint), "{text}: {refusal}");
    }
    let utf16 = Properties::parse(b"\xff\xfeb\0", "client.properties").unwrap_err();
    assert!(utf16.to_string().contains("UTF-16") && utf16.hint().contains("UTF-8"), "{utf16}");
    let all = refusal("a.b=c\nclient.id=x\nc.d=e\n[f]");
    assert!(
        all.contains("client.properties:1\"")
            && all.contains("line 3: there is no")
            && all.contains("line 4: a section"),
        "{all}"
    );
    let missing = parse("client.id=a").brokers().unwrap_err().to_string();
    assert!(missing.contains("names no broker"), "{missing}");
    let missing = Properties::read(Path::new("/no/such.properties")).unwrap_err().to_string();
    assert!(missing.contains("/no/such.properties"), "{missing}");
}

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";

#[test]
fn login_of_java_is_translated() {
    let login = |jaas: &str| {
        format!("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config={jaas}")
    };
    let config = reader(&login(&format!("{PLAIN} required username=\"u\" \\\n  password='p;\\\\'q';")));
    assert_eq!((config.get("sasl.username"), config.get("sasl.password")), (Some("u"), Some("p;'q")));
    assert_eq!(config.get("sasl.jaas.config"), None);
    let told = told(&login(&format!("{PLAIN} required username=u password=p;")));
    assert!(
        told.contains(&("sasl.jaas.config".into(), "taken as sasl.username and sasl.password".into())),
        "{told:?}"
    );
    let twice = format!("{}\nsasl.username=u", login(&format!("{PLAIN} required username=u password=p;")));
    assert_eq!(reader(&twice).get("sasl.username"), Some("u"));

    let table: &[(&str, &str)] = &[
        (
            "com.sun.security.auth.module.Krb5LoginModule required;",
            "\"com.sun.security.auth.module.Krb5LoginModule\" is not supported",
        ),
        ("software.amazon.msk.auth.iam.IAMLoginModule required;", "IAMLoginModule\" is not supported"),
        (&format!("{PLAIN} required username=u;"), "it has no password"),
        (&format!("{PLAIN} required username=u password={CANARY}"), "does not end with a semicolon"),
        (&format!("{PLAIN} required username=u password={CANARY}!x;"), "an option has no name"),
        (&format!("{PLAIN} required username=u password=1{CANARY};"), "one that needs quotes"),
        (&format!("{PLAIN} required username=u password=\"{CANARY};"), "a quote is not closed"),
        (&format!("{PLAIN} username=u password={CANARY};"), "there is no \"required\""),
        (&format!("{PLAIN} required username=u password=\"\\\\0\";"), "NUL"),
        (
            &format!("{PLAIN} required username=u password={CANARY}; {PLAIN} required;"),
            "only one login module",
        ),
        (&format!("{PLAIN} required tokenauth=true username=u password={CANARY};"), "tokenauth"),
        (CANARY, "does not begin with the name of a login module"),
        ("", "names no login module"),
    ];
    for (jaas, why) in table {
        let refusal = refusal(&login(jaas));
        assert!(
            refusal.contains("client.properties:3\": sasl.jaas.config: ") && refusal.contains(why),
            "{jaas}: {refusal}"
        );
        assert!(refusal.contains("ScramLoginModule") && !refusal.contains(CANARY), "{refusal}");
    }
    let other =
        format!("{}\nsasl.password={CANARY}", login(&format!("{PLAIN} required username=u password=p;")));
    let refusal = refusal(&other);
    assert!(
        refusal.contains("client.properties:4\": sasl.password is not the one of sasl.jaas.config in line 3"),
        "{refusal}"
    );
    assert!(!refusal.contains(CANARY), "{refusal}");
}

#[test]
fn sasl_has_a_mechanism_that_is_supported() {
    for (mechanism, why) in [
        ("", "names none"),
        ("sasl.mechanism=GSSAPI", "GSSAPI is not supported"),
        ("sasl.mechanisms=OAUTHBEARER", "OAUTHBEARER is not supported"),
        ("sasl.mechanism=plain", "is none that is supported"),
    ] {
        let refusal = refusal(&format!("security.protocol=SASL_PLAINTEXT\n{mechanism}"));
        assert!(refusal.contains(why) && refusal.contains("SCRAM-SHA-512"), "{mechanism}: {refusal}");
    }
    let unused = told("sasl.mechanism=GSSAPI\nsasl.jaas.config=x");
    assert!(
        unused.iter().all(|(_, what)| what == "passed over, security.protocol does not use SASL"),
        "{unused:?}"
    );
    assert_eq!(unused.len(), 2);
}

#[test]
fn what_is_risky_is_warned_of() {
    let plain = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=u\nsasl.password=p";
    assert_eq!(warnings(plain), ["security.protocol"]);
    assert_eq!(warnings("client.id=C:\\Users"), ["client.id"]);
    assert!(warnings("client.id=a\\:b\\=c\\\\d").is_empty());
    assert_eq!(warnings("linger.ms=1\nqueue.buffering.max.ms=2"), ["linger.ms"]);
    assert!(warnings("linger.ms=1\nqueue.buffering.max.ms=1").is_empty());
}

#[test]
fn no_text_that_a_person_sees_has_a_secret() {
    for text in [
        format!("no.such.setting={CANARY}"),
        CANARY.to_string(),
        format!("{CANARY}{CANARY}=x"),
        format!("socket.timeout.ms={CANARY}"),
        format!("security.protocol={CANARY}"),
        format!("security.protocol=SASL_SSL\nsasl.mechanism={CANARY}"),
        format!("sasl.password=\"{CANARY}\""),
        format!("[{CANARY}]"),
        format!("ssl.key.pem=-----BEGIN PRIVATE KEY-----\n{CANARY}+/x\n-----END PRIVATE KEY-----"),
    ] {
        let refusal = refusal(&text);
        assert!(!refusal.contains(CANARY), "{text}: {refusal}");
        let debug = format!("{:?}", Properties::parse(&text, "client.properties").unwrap_err());
        assert!(!debug.contains(CANARY), "{debug}");
    }
    let file = parse(&format!("sasl.password={CANARY}\nbasic.auth.user.info={CANARY}"));
    assert!(!format!("{file:?} {:?}", file.reader_notices(None)).contains(CANARY));
    assert!(format!("{file:?}").contains("client.properties"));
}

#[test]
fn settings_that_do_not_fit_together_are_refused_without_a_secret() {
    let text = format!(
        "bootstrap.servers=a:1\nreconnect.backoff.ms=9000\nreconnect.backoff.max.ms=10\nclient.id={CANARY}"
    );
    let properties = parse(&text);
    let created = properties.reader(None).unwrap().create::<BaseConsumer>();
    let error = properties.refused(created.err().expect("it is refused"));
    let Error::Unusable { what, why, .. } = &error else { panic!("{error}") };
    assert!(
        what == "client.properties" && why.contains("reconnect.backoff") && !why.contains(CANARY),
        "{error}"
    );
}

#[test]
#[cfg(not(feature = "kafka-tls"))]
fn build_without_tls_says_which_one_has_it() {
    let text = format!(
        "bootstrap.servers=a:1\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\nsasl.username=u\nsasl.password={CANARY}"
    );
    let properties = parse(&text);
    let created = properties.reader(None).unwrap().create::<BaseConsumer>();
    let error = properties.refused(created.err().expect("it is refused"));
    assert!(error.hint().contains("--features kafka-tls") && !error.to_string().contains(CANARY), "{error}");
    let refusal = refusal("security.protocol=SSL\nssl.ca.location=/ca.pem");
    assert!(
        refusal.contains("line 2: ssl.ca.location needs TLS") && refusal.contains("--features kafka-tls"),
        "{refusal}"
    );
}

#[test]
fn stores_of_java_are_translated_where_they_are_pem() {
    let jks = refusal(
        "security.protocol=SSL\nssl.truststore.location=/t.jks\nssl.truststore.password=x\nssl.keystore.location=/k.jks\nssl.keystore.type=JKS",
    );
    assert!(jks.contains("2: a truststore of Java") || jks.contains("2\": a truststore of Java"), "{jks}");
    assert!(jks.contains("line 4: a keystore of Java"), "{jks}");
}

#[test]
#[cfg(feature = "kafka-tls")]
fn stores_that_are_pem_are_taken() {
    let config = reader(
        "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=/ca.pem\nssl.keystore.type=PEM\n\
         ssl.keystore.location=/me.pem\nssl.key.password=x\nssl.endpoint.identification.algorithm=",
    );
    assert_eq!(config.get("ssl.ca.location"), Some("/ca.pem"));
    assert_eq!(config.get("ssl.key.location"), Some("/me.pem"));
    assert_eq!(config.get("ssl.certificate.location"), Some("/me.pem"));
    assert_eq!(config.get("ssl.endpoint.identification.algorithm"), Some("none"));
    let unchecked = "security.protocol=SSL\nssl.endpoint.identification.algorithm=\nenable.ssl.certificate.verification=false";
    assert_eq!(
        warnings(unchecked),
        ["enable.ssl.certificate.verification", "ssl.endpoint.identification.algorithm"]
    );
    let both = told(
        "security.protocol=SSL\nssl.ca.location=/ca.pem\nssl.truststore.location=/t.jks\nssl.truststore.password=x",
    );
    assert_eq!(both.len(), 2, "{both:?}");
}
