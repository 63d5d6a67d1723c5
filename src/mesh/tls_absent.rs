//! A build without the feature `mesh-tls`: no process has certificates, and no socket has a session.

use crate::mesh::deadline::Deadline;
use crate::mesh::error::Failed;
use crate::mesh::trust::{Pem, Unfit};
use std::io;
use std::net::{Shutdown, TcpStream};

/// The certificates of a process: there are none.
#[derive(Clone, Debug)]
pub enum Tls {}

/// A session: there is none.
#[derive(Debug)]
pub enum Session {}

impl Tls {
    /// Refuses all files.
    ///
    /// # Errors
    /// Always.
    pub fn of(_pem: Pem<'_>) -> Result<Tls, Unfit> {
        Err(Unfit::Absent)
    }

    /// When the certificate ends, if that is soon.
    pub fn ends_soon(&self) -> Option<u64> {
        match *self {}
    }

    /// Checks that the certificate names the host of `address`.
    ///
    /// # Errors
    /// If it does not.
    pub fn check_host(&self, _address: &str) -> Result<(), String> {
        match *self {}
    }

    pub(super) fn server(&self, _tcp: TcpStream) -> Result<Session, Failed> {
        match *self {}
    }

    pub(super) fn client(&self, _tcp: TcpStream, _address: &str) -> Result<Session, Failed> {
        match *self {}
    }
}

impl Session {
    pub(super) fn tcp(&self) -> &TcpStream {
        match *self {}
    }

    pub(super) fn open(&self, _until: Deadline) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn meet_caller(&self, _until: Deadline) -> Result<(), Failed> {
        match *self {}
    }

    pub(super) fn meet_called(&self, _until: Deadline) -> Result<(), Failed> {
        match *self {}
    }

    pub(super) fn binding(&self) -> Vec<u8> {
        match *self {}
    }

    pub(super) fn read_by(&self, _bytes: &mut [u8], _until: Option<Deadline>) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn write(&self, _bytes: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn shutdown(&self, _how: Shutdown) -> io::Result<()> {
        match *self {}
    }
}
