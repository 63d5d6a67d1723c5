//! The certificates of the mesh: three files, checked before anything starts.

use super::config::Cluster;
use super::named_file::{self, Setting};
use super::origin::Origin;
use crate::cli::terminal::failure::{Code, Failure};
use crate::mesh::Tls;
use crate::mesh::trust::{File, Pem, Unfit};
use std::path::Path;

const CERT: Setting<'static> = ("cert_file", "--mesh-cert");
const KEY: Setting<'static> = ("key_file", "--mesh-key");
const CA: Setting<'static> = ("ca_file", "--mesh-ca");

/// The three files.
struct Files<'a> {
    cert: &'a Path,
    key: &'a Path,
    ca: &'a Path,
}

/// What the process proves itself with; `None` if no file is set.
///
/// # Errors
/// Exit 2 if one of the files is missing, or they do not fit.
pub(super) fn tls(set: &Cluster, origin: &Origin<'_>) -> Result<Option<Tls>, Failure> {
    let (cert, key, ca) = (set.cert_file.as_deref(), set.key_file.as_deref(), set.ca_file.as_deref());
    if let (Some(cert), Some(key), Some(ca)) = (cert, key, ca) {
        return Files { cert, key, ca }.read(origin).map(Some);
    }
    let all = [(cert, CERT), (key, KEY), (ca, CA)];
    let Some(&(_, (given, flag))) = all.iter().find(|(path, _)| path.is_some()) else { return Ok(None) };
    let missing: Vec<&str> =
        all.iter().filter(|(path, _)| path.is_none()).map(|(_, (_, flag))| *flag).collect();
    let what = format!("TLS between processes also needs {}", missing.join(" and "));
    let hint = "Give all three files, or none for a mesh without TLS.";
    Err(origin.refuse(("cluster", given), flag, what).hint(hint))
}

impl Files<'_> {
    fn read(&self, origin: &Origin<'_>) -> Result<Tls, Failure> {
        let certificate = named_file::bytes(self.cert, CERT, origin)?;
        let key = named_file::bytes(self.key, KEY, origin)?;
        let ca = named_file::bytes(self.ca, CA, origin)?;
        let pem = Pem { certificate: &certificate, key: &key, ca: &ca };
        Tls::of(pem).map_err(|unfit| self.refused(unfit, origin))
    }

    /// What is wrong, with the name of the file, and the way out.
    fn refused(&self, unfit: Unfit, origin: &Origin<'_>) -> Failure {
        let refuse = |(key, flag): Setting<'_>, what: String| origin.refuse(("cluster", key), flag, what);
        match unfit {
            Unfit::Empty(file) => {
                let (setting, path, kind) = self.of(file);
                refuse(setting, format!("\"{}\" has no {kind} in PEM form", path.display())).hint(form(file))
            }
            Unfit::Damaged(file, why) => {
                let (setting, path, kind) = self.of(file);
                refuse(setting, format!("\"{}\" has no {kind} that can be used", path.display()))
                    .detail(format!("The TLS library says: {why}."))
                    .hint(form(file))
            }
            Unfit::OtherKey => {
                let (cert, key) = (self.cert.display(), self.key.display());
                refuse(KEY, format!("the key in \"{key}\" is not that of the certificate in \"{cert}\""))
                    .hint("Name the key that was made with this certificate; the certificate of the process itself comes first in its file.")
            }
            Unfit::Refused(why) => {
                let (cert, ca) = (self.cert.display(), self.ca.display());
                refuse(CERT, format!("the certificate in \"{cert}\" {why}"))
                    .detail(format!("Every other process would refuse it. --mesh-ca is \"{ca}\"."))
                    .hint(
                        "Let the CA of the job sign a new certificate, which names the host of this process.",
                    )
            }
            Unfit::Absent => Failure::new(Code::NotInThisBuild, "this build has no TLS between processes")
                .hint("Build with --features mesh-tls, or leave --mesh-cert, --mesh-key and --mesh-ca out."),
        }
    }

    fn of(&self, file: File) -> (Setting<'static>, &Path, &'static str) {
        match file {
            File::Certificate => (CERT, self.cert, "certificate"),
            File::Key => (KEY, self.key, "private key"),
            File::Ca => (CA, self.ca, "certificate"),
        }
    }
}

/// How a file should look.
fn form(file: File) -> &'static str {
    match file {
        File::Certificate | File::Ca => {
            "It begins with -----BEGIN CERTIFICATE-----. openssl x509 -inform der -in FILE writes that form."
        }
        File::Key => {
            "It begins with -----BEGIN PRIVATE KEY-----, and has no passphrase. openssl pkey -in FILE writes that form."
        }
    }
}
