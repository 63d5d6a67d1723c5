//! A small pipeline (sum per key and window), played on the test kit.

use headway_operators::ack::InputIx;
use headway_operators::build::Build;
use headway_operators::error::Reason;
use headway_operators::kit::script::{self, Dataflow, Fates, Flags, Play, PlayInput, Played, Source};
use headway_operators::record::{Partition, Payload, Raw};
use headway_operators::row::{Cell, Column, Kind, Row as OutputRow};
use headway_operators::spec::{Format, InputSpec, OutputSpec};
use headway_operators::state::KeyHash;
use headway_operators::stream::aggregate::{Aggregate, Summand, Total};
use headway_operators::stream::decode::{Context, Decoded, Decoder, Definition};
use headway_operators::stream::window::{Closing, Grid};
use headway_operators::time::{Epoch, EventTime};

/// A case: its windows and what goes in, epoch by epoch.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) grid: Grid,
    pub(crate) lateness_ms: i64,
    pub(crate) flush_ms: Option<u64>,
    pub(crate) partitions: u32,
    /// The partitions of each input, if there are several: an operator takes the records of all together.
    pub(crate) inputs: Vec<Vec<Partition>>,
    pub(crate) epochs: Vec<Vec<Item>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Message(Partition, String),
    Flags(Partition, Flags),
}

/// What came out, in an order that depends on the content only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    pub(crate) late: Vec<(Partition, String)>,
    pub(crate) dead: Vec<(Partition, String, String)>,
    pub(crate) fates: Fates,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) epoch: Epoch,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) key: String,
    pub(crate) sum: i128,
}

/// The names of a case's inputs.
const NAMES: [&str; 3] = ["first", "second", "third"];

impl Case {
    /// The partitions of each input, as the case numbers them: over all inputs.
    fn partitions_by_input(&self) -> Vec<Vec<Partition>> {
        if self.inputs.is_empty() {
            return vec![(0..self.partitions).map(Partition).collect()];
        }
        self.inputs.clone()
    }

    /// Where a partition is.
    fn source(&self, partition: Partition) -> Source {
        for (input, partitions) in (0..).zip(self.partitions_by_input()) {
            if let Some(at) = partitions.iter().position(|known| *known == partition) {
                return Source { input: InputIx(input), partition: Partition(u32::try_from(at).unwrap()) };
            }
        }
        panic!("no input has partition {partition}");
    }

    /// The case for the test kit: line 0 is epoch 1, and after the last line everything ends.
    fn play(&self) -> Play {
        let input = |(name, partitions): (&&'static str, Vec<Partition>)| PlayInput {
            spec: InputSpec {
                name,
                topic: name,
                lateness_ms: self.lateness_ms,
                closing: Closing::Grid(self.grid),
                header: None,
            },
            partitions: u32::try_from(partitions.len()).unwrap(),
        };
        let item = |item: &Item| match item {
            Item::Message(partition, text) => {
                let (source, value) = (self.source(*partition), Some(text.clone().into_bytes()));
                script::Item::Message { source, value, timestamp_ms: None }
            }
            Item::Flags(partition, flags) => {
                script::Item::Flags { source: self.source(*partition), flags: *flags }
            }
        };
        let all = self.partitions_by_input();
        let end =
            |partition: &Partition| item(&Item::Flags(*partition, Flags { ended: true, ..Flags::default() }));
        let last = all.iter().flatten().map(end).collect();
        let lines = self.epochs.iter().map(|line| line.iter().map(item).collect()).chain([last]).collect();
        Play { inputs: NAMES.iter().zip(all).map(input).collect(), lines, flush_ms: self.flush_ms }
    }

    fn dataflow(&self) -> Dataflow {
        let (grid, inputs) = (self.grid, self.partitions_by_input().len());
        Dataflow::of(move |build| sums(build, grid, inputs))
    }

    fn outcome(&self, played: Played) -> Outcome {
        let all = self.partitions_by_input();
        let mut out = Outcome { fates: played.fates, ..Outcome::default() };
        for row in played.rows {
            let number = |at: usize| row.cells[at].parse::<i64>().unwrap();
            let (start, end, sum) = (number(1), number(2), row.cells[3].parse().unwrap());
            out.rows.push(Row { epoch: row.epoch - 1, start, end, key: row.cells[0].clone(), sum });
        }
        for refused in played.refused {
            let Source { input, partition } = refused.source;
            let partition = all[input.index()][partition.index()];
            match refused.reason {
                None => out.late.push((partition, refused.payload)),
                Some(reason) => out.dead.push((partition, refused.payload, reason)),
            }
        }
        out.rows.sort();
        out.late.sort();
        out.dead.sort();
        out
    }
}

/// Runs the case on `workers`; `seed` shuffles how workers take turns.
pub(crate) fn run(case: &Case, workers: usize, seed: u64) -> Outcome {
    case.outcome(case.play().run(&case.dataflow(), workers, seed))
}

/// Runs the case up to `crash_after`, loses all that came later, and goes on with another number of workers.
pub(crate) fn run_with_crash(case: &Case, workers: usize, crash_after: usize) -> Outcome {
    let workers = [workers, workers % 3 + 1];
    case.outcome(case.play().run_with_kills(&case.dataflow(), &workers, &[crash_after + 1]))
}

/// The sums of all inputs together.
fn sums(build: &mut Build<'_>, grid: Grid, inputs: usize) {
    let sum = Aggregate::<Amount, String, 1>::new("Aggregate", grid);
    let all: Vec<_> = NAMES[..inputs].iter().map(|name| build.input(name, Words)).collect();
    let all = all.into_iter().reduce(|one, other| one.and(other)).unwrap();
    let sums = if inputs == 1 { build.counting(sum, all) } else { build.keyed(sum, all) };
    let columns = [("key", Kind::Text), ("start", Kind::Time), ("end", Kind::Time), ("sum", Kind::Wide)];
    let columns = columns.map(|(name, kind)| Column::new(name, kind)).to_vec();
    let (name, prefix, stem) = ("sums".to_string(), "sums".to_string(), "batch".into());
    let spec = OutputSpec { name, prefix, stem, format: Format::CsvGz, columns, folders: None };
    build.output(spec, sums.map(Sum));
}

/// `HH:MM:SS key amount [id]`
struct Words;

#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Amount {
    key: KeyHash,
    identity: Option<KeyHash>,
    amount: i64,
}

impl Summand<1> for Amount {
    fn key(&self) -> KeyHash {
        self.key
    }

    fn identity(&self) -> Option<KeyHash> {
        self.identity
    }

    fn amounts(&self) -> [i64; 1] {
        [self.amount]
    }
}

impl Decoder for Words {
    type Out = Amount;
    type Key = String;

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        definitions: &mut Vec<Definition<String>>,
    ) -> Result<Decoded<Amount>, Reason> {
        let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
        let text = std::str::from_utf8(value).map_err(|_| Reason::NOT_UTF8)?;
        let words: Vec<_> = text.split_whitespace().collect();
        let (clock, key, amount) = match words[..] {
            [clock, key, amount] | [clock, key, amount, _] => (clock, key, amount),
            _ => return Err(Reason::of("wrong-field-count")),
        };
        let parts: Vec<i64> = clock.split(':').filter_map(|part| part.parse().ok()).collect();
        let [hours, minutes, seconds] = parts[..] else { return Err(Reason::BAD_TIMESTAMP) };
        let time = EventTime((hours * 3600 + minutes * 60 + seconds) * 1000);
        let hash = KeyHash::of(key.as_bytes());
        definitions.push(Definition { hash, key: key.to_string() });
        let identity = words.get(3).map(|_| KeyHash::of(value).beside(hash));
        let amount = amount.parse().map_err(|_| Reason::BAD_NUMBER)?;
        Ok(Decoded::Record(time, Amount { key: hash, identity, amount }))
    }
}

#[derive(Clone)]
struct Sum(Total<String, 1>);

impl OutputRow for Sum {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        put(Cell::Text(&self.0.key));
        put(Cell::Time(self.0.span.start));
        put(Cell::Time(self.0.span.end));
        put(Cell::Wide(self.0.sums[0]));
    }

    fn time(&self) -> EventTime {
        self.0.span.end
    }
}
