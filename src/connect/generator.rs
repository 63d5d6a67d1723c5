//! Seeded messages as an input: no broker and no file is needed to see a real job run.

use crate::connect::{
    Connector, Event, Heard, MESSAGE_BYTES_MIN, PartitionInfo, Polled, Source, Wake, error,
};
use headway_operators::generate::{Generate, Message};
use headway_operators::record::{Offset, Partition, Payload, Raw};
use std::sync::Arc;

/// A [`Generate`] as an input.
pub struct Generator(Arc<dyn Generate>);

impl Generator {
    /// The messages of `generate`, as fast as they are asked for.
    pub fn new(generate: Arc<dyn Generate>) -> Generator {
        Generator(generate)
    }
}

impl Connector for Generator {
    fn kind(&self) -> &'static str {
        "generate"
    }

    fn partitions(&self) -> Result<Vec<PartitionInfo>, error::Error> {
        let info = |partition| PartitionInfo {
            partition,
            identity: format!("generate:{}", self.0.identity()),
            first: Offset(0),
            end: self.0.end(partition),
        };
        Ok((0..self.0.partitions()).map(Partition).map(info).collect())
    }

    fn open(&self, assigned: &[(Partition, Offset)], _wake: Wake) -> Result<Box<dyn Source>, error::Error> {
        let cursors = assigned.iter().map(|(partition, next)| Cursor::new(*partition, *next)).collect();
        Ok(Box::new(GeneratorSource {
            generate: Arc::clone(&self.0),
            cursors,
            turn: 0,
            message: Message::default(),
        }))
    }
}

struct Cursor {
    partition: Partition,
    next: Offset,
    paused: bool,
    /// It was reported as read to its end.
    told: bool,
}

impl Cursor {
    fn new(partition: Partition, next: Offset) -> Cursor {
        Cursor { partition, next, paused: false, told: false }
    }
}

struct GeneratorSource {
    generate: Arc<dyn Generate>,
    cursors: Vec<Cursor>,
    /// Whose turn it was: partitions give a slice each, so that event time advances in all of them.
    turn: usize,
    message: Message,
}

impl Source for GeneratorSource {
    fn poll(&mut self, bytes_max: usize, each: &mut dyn FnMut(Event<'_>)) -> Result<Polled, error::Error> {
        for _ in 0..self.cursors.len() {
            self.turn = (self.turn + 1) % self.cursors.len();
            let Cursor { partition, next, paused, told } = &mut self.cursors[self.turn];
            if *paused || *told {
                continue;
            }
            let (partition, end) = (*partition, self.generate.end(*partition));
            let is_end = |next: Offset| end.is_some_and(|end| next >= end);
            let mut bytes = 0;
            while bytes < bytes_max && !is_end(*next) {
                self.generate.message(partition, *next, &mut self.message);
                let Message { key, value, timestamp_ms } = &self.message;
                let read = key.len() + value.as_ref().map_or(0, Vec::len);
                let timestamp_ms = Some(*timestamp_ms).filter(|ms| *ms >= 0);
                let payload = Payload::of(value.as_deref());
                let key = (!key.is_empty()).then_some(key.as_slice());
                let raw = Raw { timestamp_ms, key, ..Raw::of(partition, *next, payload) };
                each(Event::Message(raw, read));
                *next += 1;
                bytes += read.max(MESSAGE_BYTES_MIN);
            }
            if is_end(*next) {
                *told = true;
                each(Event::CaughtUp(partition, *next));
            }
            return Ok(Polled::More);
        }
        Ok(Polled::Nothing)
    }

    fn assign(&mut self, partition: Partition, next: Offset) -> Result<(), error::Error> {
        self.cursors.push(Cursor::new(partition, next));
        Ok(())
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.partition == partition) {
            cursor.paused = paused;
        }
    }

    fn heard(&self, _partition: Partition) -> Option<Heard> {
        // It is all there.
        Some(Heard::ALWAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::drain::drain;

    /// `{partition}:{offset}`, with a tombstone every seventh.
    struct Numbers {
        partitions: u32,
        end: Option<Offset>,
    }

    impl Generate for Numbers {
        fn identity(&self) -> String {
            format!("numbers:{}", self.partitions)
        }

        fn partitions(&self) -> u32 {
            self.partitions
        }

        fn end(&self, _partition: Partition) -> Option<Offset> {
            self.end
        }

        fn message(&self, partition: Partition, offset: Offset, out: &mut Message) {
            out.value = (offset.0 % 7 != 0).then(|| format!("{partition}:{offset}").into_bytes());
            out.timestamp_ms = offset.0 - 1;
        }
    }

    #[test]
    fn every_message_is_given_once_from_the_offset_asked_for() {
        let connector = Generator::new(Arc::new(Numbers { partitions: 3, end: Some(Offset(20)) }));
        let partitions = connector.partitions().unwrap();
        assert_eq!(partitions.len(), 3);
        assert_eq!(
            (partitions[2].identity.as_str(), partitions[2].end),
            ("generate:numbers:3", Some(Offset(20)))
        );
        for slice in [1, 10, 1000] {
            let mut source = connector
                .open(&[(Partition(0), Offset(0)), (Partition(2), Offset(17))], Box::new(|| {}))
                .unwrap();
            let drained = drain(source.as_mut(), slice).unwrap();
            assert_eq!(drained.messages[&0].len(), 20);
            assert_eq!(drained.messages[&0][0], (0, None, None));
            assert_eq!(drained.messages[&0][1], (1, Some(0), Some(b"0:1".to_vec())));
            let offsets: Vec<_> = drained.messages[&2].iter().map(|message| message.0).collect();
            assert_eq!(offsets, [17, 18, 19]);
            assert_eq!(drained.caught_up, [(0, 20), (2, 20)].into());
        }
    }

    #[test]
    fn endless_stream_is_fair_and_pauses_by_partition() {
        let connector = Generator::new(Arc::new(Numbers { partitions: 2, end: None }));
        assert_eq!(connector.partitions().unwrap()[0].end, None);
        let mut source = connector.open(&[(Partition(0), Offset(0))], Box::new(|| {})).unwrap();
        source.assign(Partition(1), Offset(5)).unwrap();
        let mut counts = [0_usize; 2];
        let mut poll = |source: &mut dyn Source, times: usize| {
            for _ in 0..times {
                let polled = source.poll(100, &mut |event| {
                    let Event::Message(raw, _) = event else { panic!("it never ends") };
                    counts[raw.partition.index()] += 1;
                });
                assert_eq!(polled.unwrap(), Polled::More);
            }
            counts
        };
        let [a, b] = poll(source.as_mut(), 100);
        assert!(a.abs_diff(b) < a / 4, "{a} and {b}");
        source.pause(Partition(0), true);
        assert_eq!(poll(source.as_mut(), 3)[0], a);
        source.pause(Partition(0), false);
        assert!(poll(source.as_mut(), 2)[0] > a);
    }
}
