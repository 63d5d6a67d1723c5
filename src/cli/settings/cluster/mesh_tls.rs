//! The certificates of the mesh: three files, checked before anything starts.

use super::named_file::{self, Setting};
use crate::cli::settings::config::Cluster;
use crate::cli::settings::origin::Origin;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::units::When;
use crate::connect::Notice;
use crate::mesh::Tls;
use crate::mesh::trust::{File, Pem, Unfit};
use std::path::{Path, PathBuf};

const CERT: Setting<'static> = ("cert_file", "--mesh-cert");
const KEY: Setting<'static> = ("key_file", "--mesh-key");
const CA: Setting<'static> = ("ca_file", "--mesh-ca");

/// The three files.
struct Files<'a> {
    cert: &'a Path,
    key: &'a Path,
    ca: &'a Path,
}

/// The certificate of this process, checked but for its host, and where it was set.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// What sockets are made with.
    pub(crate) tls: Tls,
    /// The name of the setting.
    place: String,
    file: PathBuf,
}

impl Certificate {
    /// Refuses a certificate that does not name the host of `address`, the own entry of the host list.
    ///
    /// # Errors
    /// Exit 2: the other processes would refuse it.
    pub(crate) fn check_host(&self, address: &str) -> Result<(), Failure> {
        let Err(why) = self.tls.check_host(address) else { return Ok(()) };
        let (place, file) = (&self.place, self.file.display());
        let what = format!("{place}: the certificate in \"{file}\" {why}");
        Err(Failure::new(Code::SettingInvalid, what)
            .detail(format!("The address of this process is \"{address}\" in the list of hosts. Other processes check that."))
            .hint(SIGN_ANOTHER))
    }

    /// What a person should know of it: that it ends soon.
    pub(crate) fn notice(&self) -> Option<Notice> {
        let ends = i64::try_from(self.tls.ends_soon()?).unwrap_or(i64::MAX);
        let what = format!(
            "the certificate, or one after it in the file, ends at {}",
            When(ends.saturating_mul(1_000))
        );
        Some(Notice { name: self.file.display().to_string(), what, is_warning: true })
    }
}

/// What to do about a certificate that the others would refuse.
const SIGN_ANOTHER: &str =
    "Let the CA of the job sign a new certificate, which names the host of this process.";

/// What the process proves itself with; `None` if no file is set.
///
/// # Errors
/// Exit 2 if one of the files is missing, or they do not fit.
pub(in crate::cli) fn certificate(
    set: &Cluster,
    origin: &Origin<'_>,
) -> Result<Option<Certificate>, Failure> {
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
    Err(origin.refuse("cluster", given, flag, what).hint(hint))
}

impl Files<'_> {
    fn read(&self, origin: &Origin<'_>) -> Result<Certificate, Failure> {
        let certificate = named_file::bytes(self.cert, CERT, origin)?;
        let key = named_file::bytes(self.key, KEY, origin)?;
        let ca = named_file::bytes(self.ca, CA, origin)?;
        let pem = Pem { certificate: &certificate, key: &key, ca: &ca };
        let tls = Tls::of(pem).map_err(|unfit| self.refused(unfit, origin))?;
        let (key, flag) = CERT;
        Ok(Certificate { tls, place: origin.place("cluster", key, flag), file: self.cert.to_path_buf() })
    }

    /// What is wrong, with the name of the file, and the way out.
    fn refused(&self, unfit: Unfit, origin: &Origin<'_>) -> Failure {
        let refuse = |(key, flag): Setting<'_>, what: String| origin.refuse("cluster", key, flag, what);
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
                    .hint(SIGN_ANOTHER)
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
