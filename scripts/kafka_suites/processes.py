"""A topic of a real broker that several processes of one worker read together, one of which is killed again and again.

Two jobs, of two and of three processes, read topics of 4 partitions while they are written; one record in a thousand is in an
aborted transaction. In the middle of each part of the writing a random process is killed, and started again, as a supervisor does; all
others must start themselves again. In the middle of all a fifth partition is added, which must be found. Then a signal to one process
must drain all. At the end rows must be equal to what the reference program makes of what the Java client reads, and no file that a
reader had seen may have changed.

  scripts/kafka-suite processes                 10 kills
"""
import collections

from crash_suites import cluster
from crash_suites import rig as rigs
from crash_suites.kill_anywhere import still_there
from kafka_suites import rig as kafka

ADDED = 4
# Messages a second, so that a part is still being written when a process is killed.
RATE = 1500


def options(parser):
    parser.add_argument("--messages", type=int, default=15_000, help="messages of a topic (default 15000)")
    parser.add_argument("--kills", type=int, default=5, help="kills of each job (default 5)")


class OverTopic(cluster.Cluster):
    """The processes of a job on a topic."""

    def __init__(self, rig, broker, topic, lake, size):
        self.broker, self.topic = broker, topic
        super().__init__(rig, lake, None, size)

    def start(self, process):
        return self.rig.job(self.broker, self.topic, self.lake, *self.flags(process), workers=self.size[1], log=self.log(process))


def one_job(rig, args, broker, processes):
    """Gives the kills by who was killed, and the seconds from each to the next commit."""
    topic, lake, draw = f"processes-{processes}", rig.path("processes"), rigs.rng(args.seed, "processes", processes)
    capture = rig.capture(args.seed * 1000 + 80 + processes, args.messages, partitions=ADDED + 1)
    todo = kafka.envelopes_of(capture)
    todo = kafka.with_aborted([e for n, e in enumerate(todo) if e["partition"] < ADDED or n > len(todo) // 2], draw)
    broker.ask("create", topic=topic, partitions=ADDED)
    job = OverTopic(rig, broker, topic, lake, (processes, 1))
    size, kills, seen = -(-len(todo) // args.kills), collections.Counter(), {}
    for begin in range(0, len(todo), size):
        part = todo[begin:begin + size]
        if ADDED not in kafka.partitions(lake) and any(e["partition"] == ADDED for e in part):
            broker.ask("grow", topic=topic, partitions=ADDED + 1)
            kafka.wait_for("the discovery of the new partition", lambda: ADDED in kafka.partitions(lake))
        writing, before = rig.write(broker, topic, f"{topic}-{begin}", part, transactions=True, rate=RATE), rigs.highest(lake)
        job.until(before + 1 + draw.randrange(6))
        victim = draw.randrange(processes)
        job.kill(victim)
        kills["leader" if victim == 0 else "member"] += 1
        still_there(seen, rigs.committed_files(lake))
        writing.result(kafka.SECONDS_MAX)
    readable = sum("aborted" not in e for e in todo)
    kafka.wait_for(f"the commit of all of {topic}", lambda: kafka.consumed(lake) >= readable)
    job.drain(draw.randrange(processes))
    rig.close_windows(broker, topic, lake, "-n", "1")
    still_there(seen, rigs.committed_files(lake))
    report, read, floors = rig.verify_topic(broker, topic, lake)
    if sum(one["messages"] for one in read.values()) != kafka.consumed(lake):
        raise kafka.Failed(f"{kafka.consumed(lake)} records were read, and the Java client reads {read}")
    if not any(floor[0] == ADDED for floor in floors):
        raise kafka.Failed(f"partition {ADDED} of {topic} has no floor: it did not join")
    return kills, cluster.back_s(lake, job.killed), report["written"]


def suite(rig, args, broker):
    results = rig.trials([lambda processes=processes: one_job(rig, args, broker, processes) for processes in (2, 3)])
    kills, took = sum((kills for kills, _, _ in results), collections.Counter()), [seconds for _, took, _ in results for seconds in took]
    figures = {"kills": dict(sorted(kills.items())), "next_commit_s": rigs.spread_s(took)}
    return kills.total(), {**rig.figures(), **figures, "rows": [rows for _, _, rows in results]}
