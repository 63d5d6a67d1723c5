"""Rows equal to what an independent client reads: compression, transactions, a silent and a new partition, gaps.

Three live jobs, one each for gzip, zstd and no compression, read topics of 4 partitions while they are written:
partition 1 falls silent until it is idle and wakes later; a fifth partition is added while the job runs; one record in a
thousand is in a transaction that is aborted. A fourth job reads a compacted topic with holes in its offsets.
"""
import time

from crash_suites import rig as rigs
from kafka_suites import rig as kafka

SILENT, ADDED = 1, 4


def options(parser):
    parser.add_argument("--messages", type=int, default=24_000, help="messages of a topic (default 24000)")


def live(rig, broker, args, compression, workers):
    """A job on a topic while that is written; gives its figures."""
    topic, lake = f"live-{compression}", rig.path(f"live-{compression}")
    capture = rig.capture(args.seed * 1000 + workers, args.messages, partitions=ADDED + 1)
    draw = rigs.rng(args.seed, "kafka-equal", workers)
    todo, written = kafka.envelopes_of(capture), 0
    # Partition 1 is silent in the second quarter, and the new one before the third.
    silent = (len(todo) // 4, len(todo) // 2)
    keep = [e for n, e in enumerate(todo) if not (e["partition"] == SILENT and silent[0] <= n < silent[1]) and not (e["partition"] == ADDED and n < silent[1])]
    cuts = [0, len(keep) // 5, 2 * len(keep) // 5, 3 * len(keep) // 5, len(keep)]
    if any(e["partition"] == SILENT for e in keep[cuts[1]:cuts[2]]):
        cuts[1] = max(n for n, e in enumerate(keep[:cuts[2]]) if e["partition"] == SILENT) + 1
    cuts[2] = next(n for n, e in enumerate(keep) if e["partition"] == ADDED)
    broker.ask("create", topic=topic, partitions=4)
    run = rig.job(broker, topic, lake, "--idle-after", "1s", workers=workers)

    def phase(number):
        nonlocal written
        part = kafka.with_aborted(keep[cuts[number]:cuts[number + 1]], draw)
        aborted.append(sum("aborted" in e for e in part))
        written += len(part) - aborted[-1]
        rig.write(broker, topic, f"{topic}-{number}", part, compression=compression, transactions=True).result()
        kafka.wait_for(f"the commit of {topic}", lambda: kafka.consumed(lake) >= written, run)

    aborted = []
    phase(0)
    kafka.wait_for("the idleness of the silent partition", lambda: kafka.partitions(lake)[SILENT]["idle"], run)
    phase(1)
    broker.ask("grow", topic=topic, partitions=ADDED + 1)
    kafka.wait_for("the discovery of the new partition", lambda: ADDED in kafka.partitions(lake), run)
    phase(2)
    phase(3)
    rig.drain(run)
    rig.close_windows(broker, topic, lake, workers=4 - workers)
    report, read, floors = rig.verify_topic(broker, topic, lake)
    if not aborted or sum(aborted) == 0:
        raise kafka.Failed("no record was in an aborted transaction")
    if sum(one["messages"] for one in read.values()) != written:
        raise kafka.Failed(f"{written} records were committed, and the Java client reads {read}")
    for partition in (SILENT, ADDED):
        if not any(floor[0] == partition for floor in floors):
            raise kafka.Failed(f"partition {partition} of {topic} has no floor: it did not join")
    return {"rows": report["written"], "aborted": sum(aborted), "floors": len(floors)}


def compacted(rig, broker, args):
    """A job on a topic whose offsets have gaps, because newer records of a key replaced older ones."""
    topic, lake = "compacted", rig.path("compacted")
    capture = rig.capture(args.seed * 1000 + 9, args.messages)
    draw = rigs.rng(args.seed, "kafka-equal", "compacted")
    todo = [{**e, "key": str(draw.randrange(args.messages // 3))} for e in kafka.envelopes_of(capture)]
    todo = kafka.with_aborted(todo, draw)
    # A record without a value would delete its key; that is not the question here.
    settings = {"cleanup.policy": "compact", "segment.ms": 100, "min.cleanable.dirty.ratio": 0.01, "min.compaction.lag.ms": 0}
    broker.ask("create", topic=topic, partitions=4, settings=settings)
    size = len(todo) // 6 + 1
    for number in range(6):
        rig.write(broker, topic, f"{topic}-{number}", todo[number * size:(number + 1) * size], transactions=True).result()
        # The next record opens a new segment only if the last one is old enough.
        time.sleep(0.2)

    def gaps():
        read = broker.ask("read", topic=topic, out=rig.path("look"))["partitions"]
        return all(one["messages"] < 0.8 * one["end"] for one in read.values())

    kafka.wait_for("the compaction", gaps, seconds=90)
    # From here on its records stay as they are.
    broker.ask("configure", topic=topic, settings={"cleanup.policy": "delete", "retention.ms": -1})
    time.sleep(1)
    rig.ends_well(rig.job(broker, topic, lake, workers=2, until="caught-up"))
    rig.close_windows(broker, topic, lake)
    report, read, _ = rig.verify_topic(broker, topic, lake)
    holes = sum(one["end"] - one["messages"] for one in read.values())
    return {"rows": report["written"], "holes": holes}


def suite(rig, args, broker):
    works = [lambda c=c, w=w: live(rig, broker, args, c, w) for c, w in (("gzip", 1), ("zstd", 2), ("none", 3))]
    rig.jobs = max(rig.jobs, 4)  # they wait more than they work
    results = rig.trials(works + [lambda: compacted(rig, broker, args)])
    names = ("gzip", "zstd", "none", "compacted")
    return len(results), {"equal": dict(zip(names, results))}
