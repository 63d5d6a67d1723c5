//! The certificate of this process, its key, and the CA that vouches for the others.

use crate::mesh::error::{Distrust, Failed};
use crate::mesh::tls::session::Session;
use crate::mesh::tls::words;
use crate::mesh::trust::{ENDS_SOON, File, Pem, Unfit};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection,
};
use std::fmt;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// What a process needs to be one end of a session, as caller or called. The files are read once, when the process starts.
#[derive(Clone)]
pub struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    /// The certificate of this process.
    own: CertificateDer<'static>,
    /// When it, or one between it and the CA's, ends; `None` if not soon.
    ends: Option<UnixTime>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// The files, decoded.
struct Files {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    /// Judges the certificates of callers.
    callers: Arc<dyn ClientCertVerifier>,
}

impl Tls {
    /// Checks the files, also that another process with the same CA would take the certificate now.
    ///
    /// # Errors
    /// If it would not, or a file does not hold what it should.
    pub fn of(pem: Pem<'_>) -> Result<Tls, Unfit> {
        let files = Files::read(pem)?;
        let now = UnixTime::now();
        files.check(now).map_err(unfit)?;
        let ends =
            files.end_before(UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + ENDS_SOON));
        Ok(Tls { ends, ..files.tls()? })
    }

    /// When the certificate ends, in seconds since the Unix epoch, if that is within [`ENDS_SOON`] of the start.
    pub fn ends_soon(&self) -> Option<u64> {
        self.ends.map(|ends| ends.as_secs())
    }

    /// Checks that another process that calls this one at `address`, of the form HOST:PORT, would accept the certificate.
    ///
    /// # Errors
    /// Why it would not: to follow "the certificate in FILE".
    pub fn check_host(&self, address: &str) -> Result<(), String> {
        let unnamed = || format!("is not for the host \"{}\"", host(address));
        let name = server_name(address).map_err(|_| unnamed())?;
        let own = ParsedCertificate::try_from(&self.own).map_err(|_| unnamed())?;
        verify_server_name(&own, &name).map_err(|error| match error {
            Error::InvalidCertificate(found @ CertificateError::NotValidForNameContext { .. }) => {
                words::certificate(&found)
            }
            _ => unnamed(),
        })
    }

    /// The same without a check of what others would say to it.
    #[cfg(test)]
    pub(in crate::mesh) fn unchecked(pem: Pem<'_>) -> Result<Tls, Unfit> {
        Files::read(pem)?.tls()
    }

    /// A caller that has no certificate.
    #[cfg(test)]
    pub(in crate::mesh) fn nameless(pem: Pem<'_>) -> Result<Tls, Unfit> {
        let files = Files::read(pem)?;
        let mut tls = files.tls()?;
        let client = ClientConfig::builder_with_provider(Arc::clone(&files.provider));
        let client = client.with_protocol_versions(&[&TLS13]).expect("the provider has TLS 1.3");
        tls.client = Arc::new(client.with_root_certificates(files.roots).with_no_client_auth());
        Ok(tls)
    }

    /// A session with a caller, of which nothing is known yet.
    pub(in crate::mesh) fn server(&self, tcp: TcpStream) -> Result<Session, Failed> {
        let end = ServerConnection::new(Arc::clone(&self.server)).map_err(|_| Failed::Stranger)?;
        Ok(Session::new(tcp, end.into()))
    }

    /// A session with the process at `address`, of the form HOST:PORT, which is to prove that it is that host.
    pub(in crate::mesh) fn client(&self, tcp: TcpStream, address: &str) -> Result<Session, Failed> {
        let name = server_name(address).map_err(Failed::Distrust)?;
        let end = ClientConnection::new(Arc::clone(&self.client), name).map_err(|_| Failed::Stranger)?;
        Ok(Session::new(tcp, end.into()))
    }
}

/// The host of `address` as a certificate names it.
fn server_name(address: &str) -> Result<ServerName<'static>, Distrust> {
    let host = host(address);
    ServerName::try_from(host.to_string())
        .map_err(|_| Distrust::tls(format!("no certificate can name the host \"{host}\"")))
}

/// The host in HOST:PORT, an IPv6 address without its brackets.
fn host(address: &str) -> &str {
    let (host, _) = address.rsplit_once(':').unwrap_or((address, ""));
    host.trim_start_matches('[').trim_end_matches(']')
}

impl Files {
    fn read(pem: Pem<'_>) -> Result<Files, Unfit> {
        let certificates = certificates(pem.certificate, File::Certificate)?;
        let key = PrivateKeyDer::pem_slice_iter(pem.key).next().ok_or(Unfit::Empty(File::Key))?;
        let key = key.map_err(|error| Unfit::Damaged(File::Key, error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in self::certificates(pem.ca, File::Ca)? {
            roots.add(certificate).map_err(|error| Unfit::Damaged(File::Ca, error.to_string()))?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(rustls::crypto::ring::default_provider()));
        let callers = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        // Invariant: a caller without a certificate is refused.
        let callers = callers.build().map_err(|error| Unfit::Damaged(File::Ca, error.to_string()))?;
        Ok(Files { certificates, key, roots, provider, callers })
    }

    /// The own certificate, and those between it and the CA's.
    fn chain(&self) -> (&CertificateDer<'static>, &[CertificateDer<'static>]) {
        self.certificates.split_first().expect("a file without a certificate is refused")
    }

    /// Judges the own certificate as the other processes will do at the time `at`, but for its names.
    fn check(&self, at: UnixTime) -> Result<(), Error> {
        let (own, between) = self.chain();
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(own)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, at, algorithms)?;
        self.callers.verify_client_cert(own, between, at).map(drop)
    }

    /// When a certificate of the chain ends, if that is before `at`.
    fn end_before(&self, at: UnixTime) -> Option<UnixTime> {
        match self.check(at) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                Some(not_after)
            }
            _ => None,
        }
    }

    /// What both ends of a session need.
    fn tls(&self) -> Result<Tls, Unfit> {
        let versions = &[&TLS13];
        let server = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)
            .expect("the provider has TLS 1.3")
            .with_client_cert_verifier(Arc::clone(&self.callers))
            .with_single_cert(self.certificates.clone(), self.key.clone_key());
        let mut server = server.map_err(unfit)?;
        let client = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)
            .expect("the provider has TLS 1.3")
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(self.certificates.clone(), self.key.clone_key());
        let mut client = client.map_err(unfit)?;
        // Every session checks both certificates anew.
        server.send_tls13_tickets = 0;
        client.resumption = Resumption::disabled();
        Ok(Tls {
            client: Arc::new(client),
            server: Arc::new(server),
            own: self.chain().0.clone(),
            ends: None,
        })
    }
}

/// All certificates in the text of a file; at least one.
fn certificates(pem: &[u8], file: File) -> Result<Vec<CertificateDer<'static>>, Unfit> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| Unfit::Damaged(file, error.to_string()))?;
    if all.is_empty() { Err(Unfit::Empty(file)) } else { Ok(all) }
}

fn unfit(error: Error) -> Unfit {
    match error {
        Error::InconsistentKeys(_) => Unfit::OtherKey,
        Error::InvalidCertificate(CertificateError::BadEncoding) => {
            Unfit::Damaged(File::Certificate, "it is no certificate".to_string())
        }
        Error::InvalidCertificate(found) => Unfit::Refused(words::certificate(&found)),
        other => Unfit::Damaged(File::Key, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_of_an_address_has_no_port_and_no_brackets() {
        for (address, expected) in
            [("a-0.jobs:7000", "a-0.jobs"), ("10.0.0.1:1", "10.0.0.1"), ("[::1]:7", "::1")]
        {
            assert_eq!(host(address), expected);
            assert!(ServerName::try_from(host(address)).is_ok(), "{address}");
        }
    }
}
