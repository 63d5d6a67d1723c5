//! Why the certificate of a server is refused, in words that say what to mend.

use rustls::CertificateError;
use std::error::Error;
use std::io;
use std::path::Path;

/// Why the certificate of the server is refused, where `ca` has those who may vouch for it; `None` if `error` is another failure.
pub(super) fn refused(error: &(dyn Error + 'static), ca: Option<&Path>) -> Option<String> {
    let found = cause(error)?;
    let trusted = ca.map_or("of the system".to_string(), |ca| format!("in \"{}\"", ca.display()));
    Some(match found {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("no certificate {trusted} vouches for the certificate of the server (--postgres-ca)")
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the certificate of the server is not for the host \"{}\" of the URL, only for {}",
            expected.to_str(),
            hosts(presented)
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate of the server has expired".to_string()
        }
        other => format!("the certificate of the server is refused: {other}"),
    })
}

/// The names in a certificate, which the library writes as `DnsName("db.example.org")`.
fn hosts(presented: &[String]) -> String {
    let name = |name: &String| name.split('"').nth(1).unwrap_or(name).to_string();
    let names: Vec<String> = presented.iter().map(name).collect();
    if names.is_empty() { "no host".to_string() } else { names.join(", ") }
}

/// What TLS has found wrong with a certificate, as a cause of `error`.
fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e CertificateError> {
    let mut next = Some(error);
    while let Some(error) = next {
        // An I/O error leaves what it wraps out of its causes.
        let wrapped = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        let found = wrapped.and_then(|wrapped| wrapped.downcast_ref()).or_else(|| error.downcast_ref());
        if let Some(rustls::Error::InvalidCertificate(found)) = found {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;

    /// As the client of a database wraps it.
    #[derive(Debug, thiserror::Error)]
    #[error("error performing TLS handshake")]
    struct Handshake(#[source] io::Error);

    fn said(found: CertificateError, ca: Option<&str>) -> String {
        let error =
            Handshake(io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(found)));
        refused(&error, ca.map(Path::new)).expect("a certificate is refused")
    }

    #[test]
    fn refused_certificate_says_what_does_not_fit() {
        let unknown = said(CertificateError::UnknownIssuer, Some("ours.pem"));
        assert!(unknown.starts_with("no certificate in \"ours.pem\" vouches for"), "{unknown}");
        let unknown = said(CertificateError::UnknownIssuer, None);
        assert!(unknown.starts_with("no certificate of the system vouches for"), "{unknown}");
        let expected = ServerName::try_from("127.0.0.1").expect("an address").to_owned();
        let presented = vec!["DnsName(\"db.example.org\")".to_string()];
        let other = said(CertificateError::NotValidForNameContext { expected, presented }, None);
        let named = "not for the host \"127.0.0.1\" of the URL, only for db.example.org";
        assert!(other.ends_with(named), "{other}");
        assert_eq!(refused(&io::Error::other("no route"), None), None);
    }
}
