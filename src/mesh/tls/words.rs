//! Why a certificate is refused, in words that say what to mend. Each follows "its certificate" or "the certificate in FILE".

use crate::mesh::error::{Distrust, Failed, NotTaken, Refusal};
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
use std::io;

/// Why a certificate is not taken.
pub(super) fn certificate(found: &CertificateError) -> String {
    match found {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not signed by the CA in the file of --mesh-ca".to_string()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("is not for the host \"{}\", only for {}", expected.to_str(), hosts(presented))
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_string(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet".to_string()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "may not be used by both ends of a connection: its extended key usage must have serverAuth and clientAuth"
                .to_string()
        }
        other => format!("is refused: {other}"),
    }
}

/// The names in a certificate, which the library writes as `DnsName("db.example.org")`.
fn hosts(presented: &[String]) -> String {
    let name = |name: &String| name.split('"').nth(1).unwrap_or(name).to_string();
    let names: Vec<String> = presented.iter().map(name).collect();
    if names.is_empty() { "no host".to_string() } else { names.join(", ") }
}

/// Why the other end does not take the certificate of this process, as far as its alert says; `None` if it says something else.
pub(super) fn alert(said: AlertDescription) -> Option<String> {
    let why = match said {
        AlertDescription::CertificateExpired => "it has expired, or is not valid yet, by the clock there",
        // The second says that a CA of the same name has another key.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it is not signed by the CA in the file of --mesh-ca there"
        }
        AlertDescription::UnsupportedCertificate => "its extended key usage does not allow it",
        AlertDescription::CertificateRequired => "none was shown",
        AlertDescription::BadCertificate => "it is not for the host that was called, or is damaged",
        AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => "it was refused",
        _ => return None,
    };
    Some(why.to_string())
}

/// Why there is no session with a caller.
pub(super) fn of_caller(error: io::Error) -> Failed {
    match fault(&error) {
        Some(Error::AlertReceived(said)) => match alert(*said) {
            Some(why) => Failed::NotTaken(NotTaken(why)),
            None => Failed::Distrust(Distrust::tls(format!("it has ended the TLS handshake: {said:?}"))),
        },
        Some(error) => of_either(error),
        None => Failed::Silent(error),
    }
}

/// Why there is no session with a called process. Nothing that it says before it has proved itself is final.
pub(super) fn of_called(error: io::Error) -> Failed {
    match fault(&error) {
        Some(Error::AlertReceived(said)) => {
            Failed::Distrust(Distrust::tls(format!("it has ended the TLS handshake: {said:?}")))
        }
        Some(error) => of_either(error),
        None => Failed::Silent(error),
    }
}

fn of_either(error: &Error) -> Failed {
    let refused = |why: String| Failed::Distrust(Distrust { refusal: Refusal::Certificate, why });
    match error {
        Error::InvalidCertificate(found) => refused(format!("its certificate {}", certificate(found))),
        Error::NoCertificatesPresented => refused("it has shown no certificate".to_string()),
        Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls12NotOffered,
        ) => Failed::Distrust(Distrust::tls("it does not speak TLS 1.3".to_string())),
        _ => Failed::Stranger,
    }
}

/// What TLS has found wrong, if it was TLS.
fn fault(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}
