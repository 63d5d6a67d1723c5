"""What others see of a job: the offsets of its group, and the lag of its partitions.

Kafka's own tool must show the group's offsets where the last manifest stands, after a run has ended and while one is at
work, and no member: nobody joins the group. `headway status` must show how far the topic is ahead of the job.
"""
from crash_suites import rig as rigs
from kafka_suites import rig as kafka

GROUP = "the-observers"


def options(parser):
    parser.add_argument("--messages", type=int, default=6_000, help="messages of the topic (default 6000)")


def group(broker):
    """The offsets of the group by partition, as the tool tells; fails if somebody is its member."""
    words = ("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", broker.address, "--describe", "--group", GROUP)
    offsets = {}
    for words in (line.split() for line in broker.tool(*words).splitlines()):
        if words[:1] == [GROUP]:
            if words[6] != "-":
                raise kafka.Failed(f"the group has a member: {' '.join(words)}")
            offsets[int(words[2])] = int(words[3])
    return offsets


def agree(broker, lake):
    expected = {number: part["next"] for number, part in kafka.partitions(lake).items()}
    found = group(broker)
    if found != expected:
        raise kafka.Failed(f"the manifest says {expected}, and the group {found}")


def suite(rig, args, broker):
    topic, lake = "observed", rig.path("observed")
    todo = kafka.envelopes_of(rig.capture(args.seed * 1000 + 40, args.messages))
    half = len(todo) // 2
    broker.ask("create", topic=topic, partitions=4)
    rig.write(broker, topic, "observed-a", todo[:half]).result()
    # 1. A run that ends: the group knows all of it, though it is gone.
    rig.ends_well(rig.job(broker, topic, lake, "--group", GROUP, until="caught-up"))
    agree(broker, lake)
    rig.write(broker, topic, "observed-b", todo[half:]).result()
    ends = {int(number): one["end"] for number, one in broker.ask("read", topic=topic, out=rig.path("look"))["partitions"].items()}
    # 2. The lag, asked of the brokers.
    for number, part in rig.status(lake, "--kafka-config", broker.config).items():
        if part["lag"] != ends[number] - part["next"] or part["end"] != ends[number]:
            raise kafka.Failed(f"partition {number} ends at {ends[number]}, and status says {part}")
    if sum(ends.values()) - sum(part["next"] for part in kafka.partitions(lake).values()) != len(todo) - half:
        raise kafka.Failed("the lag is not what was written since")
    # 3. A run at work, with another number of workers.
    run = rig.job(broker, topic, lake, "--group", GROUP, workers=3)
    kafka.wait_for("the commit of the rest", lambda: kafka.consumed(lake) == len(todo), run)
    kafka.wait_for("a sign that knows the ends", lambda: all(part["lag"] == 0 for part in rig.status(lake).values()), run)
    # Telling the group takes a moment after the commit.
    expected = {number: part["next"] for number, part in kafka.partitions(lake).items()}
    kafka.wait_for("the group's offsets", lambda: group(broker) == expected, run)
    rig.drain(run)
    return 3, {"group_offsets": group(broker), "head": rigs.head(lake)["seq"]}
