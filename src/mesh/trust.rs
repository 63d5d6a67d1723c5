//! The files by which a process proves that it belongs to a mesh, and why they are refused before anything starts.

use std::time::Duration;

/// The contents of the three files, in PEM form. It cannot be printed: one of them is a key.
#[derive(Clone, Copy)]
pub struct Pem<'a> {
    /// The certificate of this process, and after it those between it and the CA's.
    pub certificate: &'a [u8],
    /// The private key of that certificate.
    pub key: &'a [u8],
    /// The certificates of the CAs that sign the certificates of the job's processes.
    pub ca: &'a [u8],
}

/// A start warns of a certificate that ends sooner than this.
pub const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// That of the certificate.
    Certificate,
    /// That of the key.
    Key,
    /// That of the CA.
    Ca,
}

/// Why the files are of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A file has nothing of its kind in PEM form.
    Empty(File),
    /// A file has something of its kind that cannot be understood, and why.
    Damaged(File, String),
    /// The key belongs to another certificate.
    OtherKey,
    /// Every other process would refuse the certificate, and why: to follow "the certificate in FILE".
    Refused(String),
    /// This build has no TLS.
    Absent,
}
