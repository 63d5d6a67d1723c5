//! How the server is reached: URL, password, TLS.

use ::postgres::config::{Host, SslMode};
use ::postgres::{Client, Config, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the network may leave what was sent unanswered.
const SILENCE: Duration = Duration::from_secs(30);

/// How a person wants the server to be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `postgresql://user@host:port/database`, without a password.
    pub url: String,
    /// The password.
    pub password: Option<String>,
    /// A file with the certificates of those who may vouch for the server; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// A role that may read the tables.
    pub reader: Option<String>,
}

/// Why options are refused before anything is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: &'static str,
}

/// How the server is reached, checked.
#[derive(Clone)]
pub(super) struct Way {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// The file with the certificates of those who may vouch for the server; `None`: those of the system.
    pub(super) ca: Option<PathBuf>,
    /// Host, port and database, for messages.
    pub(super) place: String,
}

impl Way {
    /// Checks `options`.
    pub(super) fn of(options: &Options) -> Result<Way, Refused> {
        let refuse = |what: String, hint| Refused { what, hint };
        if !["postgres://", "postgresql://"].iter().any(|start| options.url.starts_with(start)) {
            return Err(refuse("it is no URL".to_string(), "Write postgresql://USER@HOST/DATABASE."));
        }
        let mut config: Config = as_parsed(&options.url).parse().map_err(|error: ::postgres::Error| {
            let why = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
            refuse(format!("it is no URL of a database: {why}"), "Write postgresql://USER@HOST/DATABASE.")
        })?;
        if config.get_password().is_some() {
            return Err(refuse(
                "a password stands in the URL, where others can see it".to_string(),
                "Put it into a file for --postgres-password-file, or into the variable PGPASSWORD.",
            ));
        }
        if config.get_hosts().is_empty() || config.get_dbname().is_none() || config.get_user().is_none() {
            return Err(refuse(
                "user, host or database is missing".to_string(),
                "Write postgresql://USER@HOST/DATABASE.",
            ));
        }
        // On this machine nobody listens in between; elsewhere a server must prove who it is.
        if !names_mode(&options.url) {
            let is_near = config.get_hosts().iter().all(is_near);
            config.ssl_mode(if is_near { SslMode::Disable } else { SslMode::Require });
        }
        if let Some(password) = &options.password {
            config.password(password);
        }
        config.connect_timeout(CONNECT).keepalives(true).tcp_user_timeout(SILENCE);
        config.keepalives_idle(SILENCE).application_name("headway");
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls(options)?),
        };
        let place = place(&config);
        let ca = options.ca.clone();
        Ok(Way { config, tls, ca, place })
    }

    /// Connects.
    pub(super) fn connect(&self) -> Result<Client, ::postgres::Error> {
        match &self.tls {
            None => self.config.connect(NoTls),
            Some(tls) => self.config.connect(tls.clone()),
        }
    }
}

/// `url` in the words of the client library, which does not have libpq's modes that verify the server, and needs none of them:
/// with TLS the server must always prove its name.
fn as_parsed(url: &str) -> String {
    let Some((place, query)) = url.split_once('?') else { return url.to_string() };
    let setting = |setting| match setting {
        "sslmode=verify-full" | "sslmode=verify-ca" => "sslmode=require",
        other => other,
    };
    format!("{place}?{}", query.split('&').map(setting).collect::<Vec<_>>().join("&"))
}

/// True if the query of `url` says whether to use TLS.
fn names_mode(url: &str) -> bool {
    url.split_once('?').is_some_and(|(_, query)| query.split('&').any(|part| part.starts_with("sslmode=")))
}

fn is_near(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => ["localhost", "127.0.0.1", "::1"].contains(&name.as_str()),
        Host::Unix(_) => true,
    }
}

fn place(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => String::new(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("{host}:{port}/{}", config.get_dbname().unwrap_or_default())
}

/// TLS that takes only a server whose name a certificate vouches for.
fn tls(options: &Options) -> Result<MakeRustlsConnect, Refused> {
    let mut roots = RootCertStore::empty();
    match &options.ca {
        Some(path) => {
            let unreadable = |why: String| Refused {
                what: format!("\"{}\" has no certificates: {why}", path.display()),
                hint: "Name a file with certificates in PEM form.",
            };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
        }
        None => {
            // Some certificates of a system may be beyond what is understood here.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(Refused {
            what: "there are no certificates that could vouch for the server".to_string(),
            hint: "Name a file with --postgres-ca FILE, or write sslmode=disable in the URL if nobody listens in between.",
        });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the protocol's versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(url: &str) -> Result<Way, Refused> {
        Way::of(&Options { url: url.to_string(), ..Options::default() })
    }

    #[test]
    fn password_in_the_url_is_refused_and_never_shown() {
        let refused = way("postgresql://me:secret@localhost/db").err().expect("it is refused");
        assert!(refused.what.contains("password") && !refused.what.contains("secret"), "{}", refused.what);
    }

    #[test]
    fn server_on_another_machine_must_prove_who_it_is() {
        let near = [
            "postgresql://me@localhost/db",
            "postgresql://me@%2Frun%2Fpostgresql/db",
            "postgresql://me@[::1]:1/db",
        ];
        for url in near {
            assert!(way(url).expect("it is fine").tls.is_none(), "{url}");
        }
        // A machine without certificates refuses; none goes there without TLS.
        assert!(way("postgresql://me@example.org/db").map_or(true, |way| way.tls.is_some()));
        assert!(
            way("postgresql://me@example.org/db?sslmode=disable").expect("it was asked for").tls.is_none()
        );
    }

    #[test]
    fn modes_that_verify_the_server_are_taken_as_psql_takes_them() {
        for mode in ["verify-full", "verify-ca", "require"] {
            let url = as_parsed(&format!("postgresql://me@localhost/db?sslmode={mode}&connect_timeout=3"));
            let config: Config = url.parse().unwrap_or_else(|error| panic!("{mode}: {error}"));
            assert_eq!(config.get_ssl_mode(), SslMode::Require, "{mode}");
        }
        let refused =
            way("postgresql://me@localhost/db?sslmode=verify").err().expect("there is no such mode");
        assert!(refused.what.contains("sslmode"), "{}", refused.what);
    }

    #[test]
    fn mode_counts_where_the_query_has_it_and_nowhere_else() {
        let mode = |url: &str| way(url).expect("it is fine").config.get_ssl_mode();
        let named = "postgresql://me@localhost/sslmode=verify-full";
        assert_eq!(as_parsed(named), named, "it is the name of a database");
        assert_eq!(mode("postgresql://me@localhost/db?application_name=sslmode=x"), SslMode::Disable);
        assert_eq!(mode("postgresql://me@localhost/db?connect_timeout=3&sslmode=disable"), SslMode::Disable);
        assert_eq!(mode("postgresql://me@localhost/sslmode=require"), SslMode::Disable);
        for words in ["host=localhost user=me dbname=db sslmode = require", "host=h user=me dbname=d"] {
            let refused = way(words).err().expect("words are no URL");
            assert_eq!(refused.what, "it is no URL", "{words}");
        }
    }

    #[test]
    fn place_names_host_port_and_database() {
        assert_eq!(way("postgresql://me@localhost:7/db").expect("it is fine").place, "localhost:7/db");
        assert!(way("postgresql://localhost/db").is_err(), "no user");
        assert!(way("nonsense").is_err());
    }
}
