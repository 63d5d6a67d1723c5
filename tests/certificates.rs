//! Certificates for tests, made on the spot: no network, no file of the repository that expires, no program beside Rust.

#![allow(dead_code, reason = "the unit tests of the mesh and the tests of whole processes each use a part")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use std::time::{Duration, UNIX_EPOCH};

/// Those who sign.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(crate) pem: String,
}

/// A certificate and its key, in PEM form.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What is unusual about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    Expired,
    NotYetValid,
    /// It is valid for so many more days.
    EndsInDays(u64),
    ForServersOnly,
}

impl Ca {
    pub(crate) fn new() -> Ca {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is a name that fits");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the system has random numbers");
        let certificate = params.self_signed(&key).expect("it signs itself");
        let pem = pem("CERTIFICATE", certificate.der());
        Ca { issuer: Issuer::new(params, key), pem }
    }

    /// Signs a certificate of whoever has these names: of DNS, or IP addresses.
    pub(crate) fn signs(&self, names: &[&str], flaw: Flaw) -> Signed {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("the names fit");
        match flaw {
            Flaw::None => {}
            Flaw::Expired => params.not_after = date_time_ymd(2001, 1, 1),
            Flaw::NotYetValid => params.not_before = date_time_ymd(4000, 1, 1),
            Flaw::EndsInDays(days) => {
                let now = UNIX_EPOCH.elapsed().expect("it is after 1970");
                params.not_after = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(days * 24 * 3600);
            }
            Flaw::ForServersOnly => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        }
        let key = KeyPair::generate().expect("the system has random numbers");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        Signed {
            certificate: pem("CERTIFICATE", certificate.der()),
            key: pem("PRIVATE KEY", key.serialized_der()),
        }
    }
}

/// What is in a file in PEM form.
fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN {kind}-----\n{}-----END {kind}-----\n", lines.collect::<String>())
}
