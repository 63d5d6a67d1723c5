//! What goes over a control socket: a length and a frame.

use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// The longest frame, in bytes: a card names every partition of a job. Only processes that know the secret send any.
const BYTES_MAX: u32 = 64 << 20;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Frame {
    /// The sender lives, and has sent so many bytes of the dataflow.
    Beat(u64),
    /// Process 0 has met all: the nonces of the processes, by number.
    Roster(Vec<u128>),
    /// The sender has met all that are in the roster.
    Complete,
    /// A message of whoever uses the mesh.
    Body(Vec<u8>),
    /// The sender has done its work: that its socket closes is no loss.
    Bye,
}

impl Frame {
    /// Writes it in one call.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let body = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let length = u32::try_from(body.len()).ok().filter(|length| *length <= BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("a message is longer than 64 MiB"))?;
        out.write_all(&[&length.to_le_bytes()[..], &body].concat())
    }

    /// Reads one.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Frame> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > BYTES_MAX {
            return Err(io::Error::other("a message says that it is longer than 64 MiB"));
        }
        // Grows with what arrives, not with what was announced.
        let mut body = Vec::new();
        from.by_ref().take(u64::from(length)).read_to_end(&mut body)?;
        if body.len() as u64 != u64::from(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        postcard::from_bytes(&body).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_damage_is_an_error() {
        let mut bytes = Vec::new();
        let frames =
            [Frame::Beat(u64::MAX), Frame::Roster(vec![1, u128::MAX]), Frame::Body(vec![7; 300]), Frame::Bye];
        frames.iter().for_each(|frame| frame.write(&mut bytes).unwrap());
        let mut rest = &bytes[..];
        for frame in frames {
            assert_eq!(Frame::read(&mut rest).unwrap(), frame);
        }
        assert!(Frame::read(&mut &bytes[..3]).is_err());
        assert!(Frame::read(&mut &u32::MAX.to_le_bytes()[..]).is_err());
        assert!(Frame::read(&mut &[1, 0, 0, 0, 99][..]).is_err());
    }
}
