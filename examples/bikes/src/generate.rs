//! Seeded messages of both topics, for `bikes demo` and `bikes produce`.
//!
//! Message `n` of all moves is sent at `start_ms + n / rate` and lies in partition `n % partitions`. Bike `n % keys` is taken
//! and brought in turn; now and then it is not brought back, but taken again.

use headway_operators::generate::{Generate, Message, Options};
use headway_operators::record::{Offset, Partition};

/// How many stations there are.
const STATIONS: u64 = 12;

/// The options where nothing else is said.
pub fn options(input: &str) -> Option<Options> {
    let moves = Options {
        seed: 7,
        messages: Some(20_000),
        partitions: 2,
        rate: 2.0,
        disorder_s: 0.0,
        dup: 0.0,
        late: 0.0,
        bad: 0.001,
        keys: 500,
        start_ms: 1_704_067_200_000,
    };
    match input {
        "moves" => Some(moves),
        "stations" => Some(Options { messages: Some(STATIONS), partitions: 1, bad: 0.0, ..moves }),
        _ => None,
    }
}

/// The generator of an input.
pub fn generator(input: &str, options: &Options) -> Option<Box<dyn Generate>> {
    let is_stations = match input {
        "stations" => true,
        "moves" => false,
        _ => return None,
    };
    let mut options = options.clone();
    options.partitions = options.partitions.max(1);
    options.keys = options.keys.max(1);
    Some(Box::new(Generator { options, is_stations }))
}

struct Generator {
    options: Options,
    is_stations: bool,
}

/// A number that looks random, the same for the same seed and place.
fn drawn(seed: u64, place: u64) -> u64 {
    let mut x = seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Generate for Generator {
    fn identity(&self) -> String {
        format!("bikes 1 stations={} {:?}", self.is_stations, self.options)
    }

    fn partitions(&self) -> u32 {
        self.options.partitions
    }

    fn end(&self, partition: Partition) -> Option<Offset> {
        let (all, partitions) = (self.options.messages?, u64::from(self.options.partitions));
        let mine = all.saturating_sub(u64::from(partition.0)).div_ceil(partitions);
        Some(Offset(i64::try_from(mine).unwrap_or(i64::MAX)))
    }

    fn message(&self, partition: Partition, offset: Offset, out: &mut Message) {
        let Options { seed, partitions, rate, bad, keys, start_ms, .. } = self.options;
        let n = offset.0.unsigned_abs() * u64::from(partitions) + u64::from(partition.0);
        let value = if self.is_stations {
            out.timestamp_ms = start_ms;
            let id = n % STATIONS;
            format!("{{\"id\":\"S{id}\",\"name\":\"Station {id}\",\"ts\":{start_ms}}}")
        } else {
            out.timestamp_ms = start_ms + (n as f64 * 1000.0 / rate) as i64;
            let (bike, round) = (n % u64::from(keys), n / u64::from(keys));
            let draw = drawn(seed, n);
            // One in thirty is not brought back.
            let docks = round % 2 == 1 && !draw.is_multiple_of(30);
            let (station, event) = (draw >> 32, if docks { "dock" } else { "undock" });
            let (station, ts) = (station % STATIONS, out.timestamp_ms);
            let is_bad = (drawn(!seed, n) >> 11) as f64 / ((1u64 << 53) as f64) < bad;
            let ts = if is_bad { "\"soon\"".to_string() } else { ts.to_string() };
            format!("{{\"bike\":\"b{bike}\",\"station\":\"S{station}\",\"ts\":{ts},\"event\":\"{event}\"}}")
        };
        out.key.clear();
        out.value = Some(value.into_bytes());
    }
}
