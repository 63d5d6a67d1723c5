//! Unpacks gzip and zstd: any number of members, one behind the other, and zeros behind the last.

use flate2::bufread::GzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};

/// The bytes of a file, unpacked.
pub(super) type Bytes = Box<dyn Read + Send>;

/// How a file is packed, as its first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// It is not.
    Plain,
    /// One or more members of gzip.
    Gzip,
    /// One or more frames of zstd.
    Zstd,
}

impl Packing {
    /// The word for it; `None` where there is nothing to say.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Packing::Plain => None,
            Packing::Gzip => Some("gzip"),
            Packing::Zstd => Some("zstd"),
        }
    }

    /// What `bytes` hold, unpacked.
    pub(super) fn unpack(self, bytes: impl Read + Send + 'static) -> Bytes {
        match self {
            Packing::Plain => Box::new(bytes),
            Packing::Gzip => {
                Box::new(Gzip::Between(Some(BufReader::with_capacity(BUFFER_BYTES, bytes)), true))
            }
            Packing::Zstd => Box::new(Zstd {
                bytes: BufReader::with_capacity(BUFFER_BYTES, bytes),
                frame: FrameDecoder::new(),
                inside: false,
            }),
        }
    }
}

/// How much packed data is read at once.
const BUFFER_BYTES: usize = 16 << 10;

/// The first bytes of a member of gzip.
pub(super) const GZIP: [u8; 2] = [0x1F, 0x8B];

/// The first bytes of a frame of zstd.
pub(super) const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// A file that is not whole, or not what its first bytes say. Its kind, and no other error of a file has it, tells it from
/// one that cannot be read.
fn damaged(packing: Packing, why: impl Display) -> io::Error {
    let name = packing.name().unwrap_or("file");
    io::Error::new(ErrorKind::InvalidData, format!("its {name} is damaged: {why}"))
}

/// Goes on to the next member. False at the end of the file; zeros before it are padding.
fn next_member(bytes: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = bytes.fill_buf()?;
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let (is_end, is_padding) = (buffer.is_empty(), zeros == buffer.len());
        bytes.consume(zeros);
        if is_end || !is_padding {
            return Ok(!is_end);
        }
    }
}

/// Members of gzip.
enum Gzip<R> {
    /// A member comes next, or the end; whether it is the first. `None` only while it is moved.
    Between(Option<BufReader<R>>, bool),
    /// Inside a member.
    Inside(Box<GzDecoder<BufReader<R>>>),
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match self {
                Gzip::Between(bytes, is_first) => {
                    let mut rest = bytes.take().expect("it is put back before anything else happens");
                    let is_first = std::mem::take(is_first);
                    match next_member(&mut rest) {
                        // One byte may be all that the reader had: then the decoder judges.
                        Ok(true) if !is_first && !starts_member(rest.buffer()) => {
                            *bytes = Some(rest);
                            return Err(damaged(Packing::Gzip, "bytes that are no gzip come after it"));
                        }
                        Ok(true) => *self = Gzip::Inside(Box::new(GzDecoder::new(rest))),
                        end => {
                            *bytes = Some(rest);
                            return end.map(|_| 0);
                        }
                    }
                }
                Gzip::Inside(member) => match member.read(out) {
                    Ok(0) => {
                        // The member is whole: its checksum was right.
                        let empty = Gzip::Between(None, false);
                        let Gzip::Inside(member) = std::mem::replace(self, empty) else { continue };
                        *self = Gzip::Between(Some(member.into_inner()), false);
                    }
                    Err(error) => return Err(read_or_damaged(Packing::Gzip, error)),
                    read => return read,
                },
            }
        }
    }
}

/// True if a member can begin with `bytes`, of which there may be few.
fn starts_member(bytes: &[u8]) -> bool {
    let seen = bytes.len().min(GZIP.len());
    bytes[..seen] == GZIP[..seen]
}

/// An error of a decoder: what it met in the file, or what kept it from reading.
fn read_or_damaged(packing: Packing, error: io::Error) -> io::Error {
    let is_damage =
        matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof);
    match error.kind() {
        ErrorKind::UnexpectedEof => damaged(packing, "it ends too early"),
        _ if is_damage => damaged(packing, error),
        _ => error,
    }
}

/// Frames of zstd.
struct Zstd<R> {
    bytes: BufReader<R>,
    frame: FrameDecoder,
    /// A frame was begun, and its end not seen.
    inside: bool,
}

impl<R: Read> Zstd<R> {
    /// Begins the next frame. False at the end of the file.
    fn begin(&mut self) -> io::Result<bool> {
        while next_member(&mut self.bytes)? {
            match self.frame.reset(&mut self.bytes) {
                Ok(()) => {
                    self.inside = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = io::copy(&mut (&mut self.bytes).take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(damaged(Packing::Zstd, "it ends too early"));
                    }
                }
                Err(error) => return Err(damaged(Packing::Zstd, cause(&error))),
            }
        }
        Ok(false)
    }

    /// Checks what the frame says of itself.
    fn end(&mut self) -> io::Result<()> {
        self.inside = false;
        match self.frame.get_checksum_from_data() {
            Some(sum) if Some(sum) != self.frame.get_calculated_checksum() => {
                Err(damaged(Packing::Zstd, "a checksum is wrong"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !out.is_empty() {
            if !self.inside && !self.begin()? {
                return Ok(0);
            }
            let read = self.frame.read(out)?;
            if read > 0 {
                return Ok(read);
            }
            if self.frame.is_finished() {
                self.end()?;
                continue;
            }
            let blocks = self.frame.decode_blocks(&mut self.bytes, BlockDecodingStrategy::UptoBlocks(1));
            blocks.map_err(|error| damaged(Packing::Zstd, cause(&error)))?;
        }
        Ok(0)
    }
}

/// The innermost reason: the others say which part of the decoder met it.
fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::{Cursor, Write};

    /// A file of gzip with these members.
    pub(in crate::connect::files) fn gz(members: &[&[u8]]) -> Vec<u8> {
        let member = |bytes: &&[u8]| {
            let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
            gz.write_all(bytes).unwrap();
            gz.finish().unwrap()
        };
        members.iter().flat_map(member).collect()
    }

    /// A file of zstd with these frames.
    pub(in crate::connect::files) fn zst(frames: &[&[u8]]) -> Vec<u8> {
        frames.iter().flat_map(|frame| compress_to_vec(*frame, CompressionLevel::Fastest)).collect()
    }

    /// Gives one byte at a time, as a file on a slow disk may.
    struct Slow(Cursor<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let most = out.len().min(1);
            self.0.read(&mut out[..most])
        }
    }

    fn is_damage(error: &io::Error) -> bool {
        error.kind() == ErrorKind::InvalidData
    }

    fn unpacked(packing: Packing, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        packing.unpack(Slow(Cursor::new(bytes))).read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn members_follow_each_other_and_zeros_behind_the_last_are_padding() {
        let long = b"0123456789abcdef".repeat(20_000);
        let skippable = [&[0x5A, 0x2A, 0x4D, 0x18, 3, 0, 0, 0], &b"any"[..]].concat();
        for (packing, file) in [(Packing::Gzip, gz as fn(&[&[u8]]) -> Vec<u8>), (Packing::Zstd, zst)] {
            let text = [&b"one\n"[..], &long, b"", b"two"].concat();
            let whole = file(&[b"one\n", &long, b"", b"two"]);
            let padded = [whole.as_slice(), &[0; 1000]].concat();
            assert!(unpacked(packing, whole.clone()).unwrap() == text);
            assert!(unpacked(packing, padded).unwrap() == text);
            let apart = [file(&[b"one"]), vec![0; 7], file(&[b"two"])].concat();
            assert_eq!(unpacked(packing, apart).unwrap(), b"onetwo");
        }
        let skipped = [zst(&[b"a"]), skippable.clone(), zst(&[b"b"]), skippable].concat();
        assert_eq!(unpacked(Packing::Zstd, skipped).unwrap(), b"ab");
    }

    #[test]
    fn bytes_behind_the_last_member_are_damage_of_that_name() {
        for tail in [&b"garbage\n"[..], b"\0\0x"] {
            let error = unpacked(Packing::Gzip, [gz(&[b"one"]), tail.to_vec()].concat()).unwrap_err();
            assert!(is_damage(&error) && error.to_string().ends_with("come after it"), "{error}");
        }
        // A member that has only begun.
        let error = unpacked(Packing::Gzip, [gz(&[b"one"]), vec![0x1F]].concat()).unwrap_err();
        assert!(error.to_string().ends_with("it ends too early"), "{error}");
    }

    #[test]
    fn what_is_not_whole_is_damage_wherever_it_is_cut_or_changed() {
        let text: Vec<u8> =
            (0..4000_u32).flat_map(|n| format!("line {}\n", n * 7919 % 1000).into_bytes()).collect();
        for (packing, file) in [(Packing::Gzip, gz(&[&text])), (Packing::Zstd, zst(&[&text]))] {
            for cut in [5, 20, file.len() / 2, file.len() - 1] {
                let error = unpacked(packing, file[..cut].to_vec()).unwrap_err();
                assert!(is_damage(&error), "{packing:?} cut at {cut}: {error}");
            }
            let mut flipped = file.clone();
            *flipped.last_mut().unwrap() ^= 1;
            assert!(is_damage(&unpacked(packing, flipped).unwrap_err()), "{packing:?} with a wrong checksum");
            let behind = [file.as_slice(), b"text"].concat();
            assert!(is_damage(&unpacked(packing, behind).unwrap_err()), "{packing:?} with text behind it");
        }
    }

    #[test]
    fn no_byte_that_may_come_makes_a_decoder_panic() {
        let file = zst(&[&b"0123456789\n".repeat(300)]);
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                // Any answer will do.
                let _ = unpacked(Packing::Zstd, flipped);
            }
        }
    }
}
