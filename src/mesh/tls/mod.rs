//! Mutual TLS 1.3 between the processes of a job: each end shows a certificate that the job's CA has signed.
//!
//! [`keys`] checks the files of a process and makes sessions with them, [`session`] is one session over one socket, [`words`] says
//! why a certificate is refused.
//!
//! Who is checked for what:
//!
//! | who | must show a certificate that |
//! | --- | --- |
//! | the called process | the CA has signed, is valid now, and names the host of its line in the host file, by DNS name or IP address |
//! | the caller | the CA has signed, and is valid now. A caller has no name to check: its address may be any, and its number follows in the hello |
//!
//! A certificate that lists extended key usages must list those of servers and of clients: a process calls and is called.

mod keys;
mod session;
mod words;

pub use keys::Tls;
pub use session::Session;
