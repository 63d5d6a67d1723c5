//! The two records that cross most often, with the fields of the pipelines' own types.

use abomonation_derive::Abomonation;
use bytemuck::{Pod, Zeroable};
use columnar::Columnar;
use serde::{Deserialize, Serialize};

/// A turnstile's message with its stamp: `Stamped<Reading>` of the turnstile pipeline. Its hashes are 128 bits, in two halves.
#[derive(
    Abomonation, Clone, Copy, Columnar, Debug, Default, Deserialize, PartialEq, Pod, Serialize, Zeroable,
)]
#[repr(C)]
pub struct Turnstile {
    pub time: i64,
    pub stamp: i64,
    pub key: u64,
    pub key_rest: u64,
    pub identity: u64,
    pub identity_rest: u64,
    pub entries: i64,
    pub exits: i64,
    pub partition: u32,
    /// A plain record has no gaps.
    pub spare: u32,
}

/// An event of the music pipeline: its texts one after the other, and where each ends.
#[derive(Abomonation, Clone, Columnar, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Music {
    pub time: i64,
    pub stamp: i64,
    pub partition: u32,
    pub present: u32,
    pub topic: u8,
    pub success: bool,
    pub text: String,
    pub ends: [u32; 15],
    pub ints: [i64; 6],
    pub floats: [f64; 3],
}

/// A record that can be made from a number, and read.
pub trait Record: Sized {
    const NAME: &'static str;

    /// Records in one series, so many that it takes a second or so: a multiple of a batch.
    const SERIES: u64;

    fn of(number: u64) -> Self;

    /// A number that depends on what a reader of the record looks at.
    fn read(&self) -> u64;
}

/// Spreads a number over 64 bits (the finaliser of SplitMix64).
fn spread(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Record for Turnstile {
    const NAME: &'static str = "turnstile record";
    const SERIES: u64 = 20_000 * 1024;

    fn of(number: u64) -> Turnstile {
        let time = 1_706_600_000_000 + number as i64;
        Turnstile {
            time,
            stamp: time - 60_000,
            key: spread(number % 5_000),
            key_rest: spread(number % 5_000 + 1),
            identity: spread(number),
            identity_rest: spread(number + 1),
            entries: (number % 40) as i64,
            exits: (number % 30) as i64,
            partition: (number % 4) as u32,
            spare: 0,
        }
    }

    fn read(&self) -> u64 {
        self.key ^ self.identity.wrapping_add(self.entries as u64)
    }
}

impl Record for Music {
    const NAME: &'static str = "music event";
    const SERIES: u64 = 4_000 * 1024;

    fn of(number: u64) -> Music {
        let texts = [
            "Free",
            "Hall",
            "M",
            "paid",
            "NextSong",
            "PUT",
            "Colleen",
            "Yankton, SD",
            "\"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/36.0 Safari/537.36\"",
            "57078",
            "Pearl Jam",
            "Given To Fly (Live In Seattle)",
            "",
            "",
            "",
        ];
        let mut ends = [0; 15];
        let mut text = String::new();
        for (end, part) in ends.iter_mut().zip(texts) {
            text.push_str(part);
            *end = text.len() as u32;
        }
        let time = 1_538_352_117_000 + number as i64;
        Music {
            time,
            stamp: time - 60_000,
            partition: (number % 4) as u32,
            present: 0b1_1111_1111_1111,
            topic: (number % 4) as u8,
            success: true,
            text,
            ends,
            ints: [time, spread(number) as i64, 29, 50, 200, 1_538_173_362_000],
            floats: [277.891_16, -97.395_5, 42.882_6],
        }
    }

    fn read(&self) -> u64 {
        (self.ints[1] as u64) ^ self.text.len() as u64 ^ u64::from(self.ends[3])
    }
}
