//! The bytes of a manifest's file: one line of JSON with its checksum, of this format or one before.

use crate::engine::format::manifest::{FORMAT, Manifest};
use crate::engine::format::manifest_checks::is_possible;
use crate::engine::format::manifest_v1;
use serde::Deserialize;
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// The longest manifest that is read, in bytes.
pub const BYTES_MAX: u64 = 64 << 20;

/// Why the bytes of a manifest are not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a later release.
    #[error("format {found}, and this build reads up to {FORMAT}")]
    Newer {
        /// The format found.
        found: u32,
    },
    /// Cut short, changed, or never a manifest.
    #[error("{0}")]
    Malformed(String),
}

impl DecodeError {
    pub(crate) fn malformed(what: impl fmt::Display) -> DecodeError {
        DecodeError::Malformed(what.to_string())
    }
}

/// The checksum field that ends the file: its name, 32 hexadecimal digits, and the brace that it replaced.
const TAIL: &str = ",\"xxh3\":\"";
const TAIL_LEN: usize = TAIL.len() + 32 + "\"}\n".len();

/// The file whose JSON object is `body`: its closing brace gives way to the checksum.
pub fn seal(mut body: Vec<u8>) -> Vec<u8> {
    let checksum = xxh3_128(&body);
    body.pop();
    body.extend_from_slice(format!("{TAIL}{checksum:032x}\"}}\n").as_bytes());
    body
}

/// The JSON object in a file that [`seal`] made.
///
/// # Errors
/// If its checksum does not match.
pub fn unseal(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let at = bytes.len().checked_sub(TAIL_LEN).ok_or_else(|| DecodeError::malformed("too short"))?;
    let (body, tail) = bytes.split_at(at);
    let body = [body, b"}"].concat();
    if tail != format!("{TAIL}{:032x}\"}}\n", xxh3_128(&body)).as_bytes() {
        return Err(DecodeError::malformed("its checksum does not match"));
    }
    Ok(body)
}

impl Manifest {
    /// The bytes of the file: one line.
    pub fn encode(&self) -> Vec<u8> {
        seal(serde_json::to_vec(self).expect("plain values with text keys encode"))
    }

    /// Checks that [`Manifest::decode`] takes what [`Manifest::encode`] gives.
    ///
    /// # Errors
    /// What could not be read again.
    pub(crate) fn check(&self) -> Result<(), String> {
        is_possible(self)
    }

    /// The manifest in `bytes`, of this format or one before. Every path in it stays below the lake's root, and every
    /// number is one that a run can have written.
    ///
    /// # Errors
    /// If it is of a later format, or not whole.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, DecodeError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let found = serde_json::from_slice(bytes).map(|Format { format }| format);
        if let Some(found) = found.as_ref().ok().filter(|found| **found > FORMAT) {
            return Err(DecodeError::Newer { found: *found });
        }
        let body = unseal(bytes)?;
        let manifest: Manifest = match found.map_err(DecodeError::malformed)? {
            0 => return Err(DecodeError::malformed("no release wrote format 0")),
            1 => manifest_v1::decode(&body).map_err(DecodeError::Malformed)?,
            _ => serde_json::from_slice(&body).map_err(DecodeError::malformed)?,
        };
        is_possible(&manifest).map_err(DecodeError::Malformed)?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::{batch, first};
    use crate::engine::format::manifest::{Fates, LakeFile, Operator, StateEntry, TimeRange};
    use crate::engine::format::names::Generation;
    use crate::engine::format::names::Seq;
    use headway_operators::ack::InputIx;
    use headway_operators::ack::{ByteRange, Place};
    use headway_operators::pace::InputsWatermark;
    use headway_operators::record::Offset;
    use headway_operators::record::Partition;
    use headway_operators::time::Epoch;
    use headway_operators::time::EventTime;

    #[test]
    fn manifest_comes_back_as_it_was_written() {
        let manifest = first(2);
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest));
        assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1, "one line");
    }

    #[test]
    fn every_single_changed_byte_is_found() {
        let bytes = first(1).encode();
        for at in 0..bytes.len() {
            for bit in [0x01, 0x20] {
                let mut changed = bytes.clone();
                changed[at] ^= bit;
                assert!(Manifest::decode(&changed).is_err(), "byte {at}");
            }
            assert!(Manifest::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn later_format_is_refused_by_its_number() {
        let later = br#"{"format":7,"something":"else"}"#;
        assert_eq!(Manifest::decode(later), Err(DecodeError::Newer { found: 7 }));
    }

    #[test]
    fn format_from_before_the_first_release_is_refused() {
        let old = Manifest { format: 0, ..first(1) };
        let error = Manifest::decode(&old.encode()).unwrap_err();
        assert_eq!(error.to_string(), "no release wrote format 0");
    }

    #[test]
    fn field_that_this_build_does_not_know_is_passed_over() {
        let body = unseal(&first(1).encode()).unwrap();
        let more = [&body[..body.len() - 1], br#","later":{"a":1}}"#].concat();
        assert_eq!(Manifest::decode(&seal(more)), Ok(first(1)));
    }

    /// A manifest with something of everything that can lie.
    fn full() -> Manifest {
        let mut manifest = first(2);
        (manifest.epoch, manifest.generation) = (Epoch(9), Generation(2));
        manifest.watermarks = vec![InputsWatermark { inputs: vec![InputIx(0)], watermark: EventTime(1) }];
        manifest.operators.insert("Sum".into(), Operator { version: 1, held: Some(3) });
        let entry = |worker| StateEntry {
            generation: Generation(2),
            epoch: Epoch(9),
            worker,
            part: 0,
            bytes: 40,
            header_bytes: 30,
            checksum: String::new(),
            place: None,
            v1: None,
        };
        manifest.state = vec![entry(0), entry(1)];
        manifest.lake = vec![LakeFile { name: "x".into(), ..batch() }];
        manifest
    }

    #[test]
    fn what_no_run_can_have_written_is_refused_under_a_right_checksum() {
        type Lie = fn(&mut Manifest);
        let cases: [(&str, Lie); 30] = [
            ("its number is", |m| m.seq = Seq(u64::MAX)),
            ("its generation is", |m| m.generation = Generation(1 << 61)),
            ("its epoch is", |m| m.epoch = Epoch(u64::MAX)),
            ("0 workers each", |m| m.members.workers = 0),
            ("workers each", |m| (m.members.processes, m.members.workers) = (u32::MAX, 2)),
            ("watermark of inputs []", |m| m.watermarks[0].inputs.clear()),
            ("watermark of inputs [1]", |m| m.watermarks[0].inputs = vec![InputIx(1)]),
            ("watermark of inputs [0, 0]", |m| m.watermarks[0].inputs = vec![InputIx(0), InputIx(0)]),
            ("holds is", |m| m.operators.get_mut("Sum").unwrap().held = Some(u64::MAX)),
            ("partitions are not in their order", |m| m.inputs[0].partitions.swap(0, 1)),
            ("there is no such number", |m| m.inputs[0].partitions[1].partition = Partition(u32::MAX)),
            ("offsets", |m| m.inputs[0].partitions[0].next = Offset(i64::MAX)),
            ("offsets", |m| m.inputs[0].partitions[0].first = Offset(-1)),
            ("offsets", |m| m.inputs[0].partitions[0].from = Offset(3)),
            ("its own watermark is", |m| m.inputs[0].partitions[0].own = EventTime::MAX),
            ("its own watermark is", |m| m.inputs[0].partitions[0].own = EventTime(1 << 61)),
            ("its floor is", |m| m.inputs[0].partitions[0].floor = EventTime(i64::MAX - 1)),
            ("its watermark is", |m| m.inputs[0].watermark = EventTime(i64::MAX - 1)),
            ("count of records", |m| m.inputs[0].partitions[0].total.late = u64::MAX),
            ("count of records", |m| {
                m.inputs[0].finished.total = Fates { consumed: u64::MAX, ..Fates::default() };
            }),
            ("unjudged records", |m| m.inputs[0].unjudged.dead = u64::MAX),
            ("not in their order", |m| m.state.swap(0, 1)),
            ("not in their order", |m| m.state[1].worker = 0),
            ("a header of 41 bytes in 40", |m| m.state[0].header_bytes = 41),
            ("of a later epoch", |m| m.state[1].epoch = Epoch(10)),
            ("is not a path in the lake", |m| m.state[0].place = Some(Place::whole("../../etc/passwd"))),
            ("is not a path in the lake", |m| m.lake[0].folder = "/etc/".into()),
            ("do not make a path", |m| m.lake[0].name = "a/b".into()),
            ("bytes 5 to 3", |m| m.lake[0].staged.range = Some(ByteRange { from: 5, to: 3 })),
            ("wrong way round", |m| {
                m.lake[0].event_time = Some(TimeRange { least: EventTime(2), greatest: EventTime(1) });
            }),
        ];
        assert_eq!(Manifest::decode(&full().encode()), Ok(full()));
        for (word, lie) in cases {
            let mut manifest = full();
            lie(&mut manifest);
            let error = Manifest::decode(&manifest.encode()).expect_err(word).to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
