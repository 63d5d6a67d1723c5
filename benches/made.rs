//! What benches read: the messages that the embedded source makes, in memory.

use headway::connect::memory::Message;
use headway_operators::generate;
use headway_operators::pipeline::Pipeline;
use headway_operators::record::{Offset, Partition};

/// The first `messages` messages for the first input of `pipeline`, by partition.
pub(crate) fn lists(pipeline: &dyn Pipeline, messages: u64) -> Vec<Vec<Message>> {
    let entry = headway_pipelines::find(pipeline.name()).expect("the catalogue has it");
    let input = pipeline.inputs()[0].name;
    let usual = (entry.generate)(input).expect("it makes messages for its input");
    let options = generate::Options { messages: Some(messages), ..usual };
    let generator = pipeline.generator(input, &options).expect("it makes messages for its input");
    let mut made = generate::Message::default();
    let mut one = |partition| {
        let read = |offset| {
            generator.message(partition, offset, &mut made);
            Message { value: made.value.clone(), timestamp_ms: Some(made.timestamp_ms) }
        };
        (0..generator.end(partition).map_or(0, |end| end.0)).map(Offset).map(read).collect()
    };
    (0..generator.partitions()).map(Partition).map(&mut one).collect()
}
