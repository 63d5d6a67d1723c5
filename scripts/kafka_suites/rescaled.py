"""A job on a topic of a real broker that goes from size to size while the topic is written, with a kill inside each rescale.

Three processes stand by for the job; it has as many of them as its size says. It goes through the sizes 1x1, 2x1, 1x2, 3x1, 2x2 and 1x1
(processes x workers): each is asked for with `headway rescale --execute` while records are written, and while the job is on its way
there, a random process is killed and started again. Before one of the rescales the topic gets a fifth partition, which must be found;
one record in a thousand is in an aborted transaction. Before the job is asked for the next size it must have committed all that
was written. Then a signal to all must end each process with exit code 0. At the end rows must be equal to what the reference program
makes of what the Java client reads, and the live tables to what was committed.

  scripts/kafka-suite rescaled                  5 rescales, 5 kills
"""
import itertools
import os

from crash_suites import cluster, cluster_rescale
from crash_suites import rig as rigs
from crash_suites.kill_anywhere import still_there
from kafka_suites import rig as kafka

SIZES = ((1, 1), (2, 1), (1, 2), (3, 1), (2, 2), (1, 1))
ADDED = 4
# The topic gets its last partition before this rescale, counted from 0.
GROWS_AT = 2
# Messages a second: a part is still being written when the job has another size.
RATE = 600


def options(parser):
    parser.add_argument("--messages", type=int, default=12_000, help="messages of the topic (default 12000)")


class Pool(cluster_rescale.Pool):
    """Three processes beside a topic, of which the job has as many as its size says."""

    def __init__(self, rig, broker, topic, lake, size):
        self.broker, self.topic = broker, topic
        super().__init__(rig, lake, None, size)

    def start(self, process):
        return self.rig.job(self.broker, self.topic, self.lake, *self.flags(process), workers=self.size[1], log=self.log(process))


class Topic:
    """A topic that is written by and by: the first half of a part before each rescale, the second half while the job goes on its way."""

    def __init__(self, rig, args, broker, draw):
        self.rig, self.broker, self.written = rig, broker, 0
        # Live tables want a slide that divides the window, and windows follow from the name.
        self.name = next(name for name in map("rescaled-{}".format, itertools.count()) if rigs.divides(rig.flags(name)))
        todo, count = kafka.envelopes_of(rig.capture(args.seed * 1000 + 90, args.messages, partitions=ADDED + 1)), 2 * len(SIZES) - 2
        size = -(-len(todo) // count)
        whole = [todo[begin:begin + size] for begin in range(0, len(todo), size)]
        there = [[e for e in half if e["partition"] < ADDED or number > 2 * GROWS_AT] for number, half in enumerate(whole)]
        self.halves = [kafka.with_aborted(half, draw) for half in there]
        broker.ask("create", topic=self.name, partitions=ADDED)

    def write(self, half, **more):
        """Writes the half of a part; gives a future."""
        self.written += sum("aborted" not in e for e in self.halves[half])
        return self.rig.write(self.broker, self.name, f"{self.name}-{half}", self.halves[half], transactions=True, **more)

    def is_committed(self, lake, pool):
        """Waits until the job has committed all that was written, on whatever processes it has by then."""
        def is_there():
            pool.alive()
            return kafka.consumed(lake) == self.written
        kafka.wait_for(f"the commit of {self.written} records of {self.name}", is_there)


def step(topic, pool, number, draw):
    """One rescale of the job, while a part of the topic is written; gives the seconds that it took."""
    to = SIZES[number + 1]
    topic.write(2 * number).result(kafka.SECONDS_MAX)
    topic.is_committed(pool.lake, pool)
    if number == GROWS_AT:
        topic.broker.ask("grow", topic=topic.name, partitions=ADDED + 1)
    writing = topic.write(2 * number + 1, rate=RATE)
    took = pool.goes_to(to, draw)
    writing.result(kafka.SECONDS_MAX)
    topic.is_committed(pool.lake, pool)
    if cluster_rescale.size_of(pool.lake) != to:
        raise kafka.Failed(f"the job has the size {cluster_rescale.size_of(pool.lake)}, not {to}: {pool.name}\n{pool.said()}")
    return took


def one_job(rig, args, broker):
    """Gives the seconds of each rescale, those from each kill to the next commit, and the rows."""
    draw, lake, seen = rigs.rng(args.seed, "rescaled"), rig.path("rescaled"), {}
    topic = Topic(rig, args, broker, draw)
    os.makedirs(os.path.dirname(lake), exist_ok=True)
    pool, took = Pool(rig, broker, topic.name, lake, SIZES[0]), []
    for number in range(len(SIZES) - 1):
        took.append(step(topic, pool, number, draw))
        still_there(seen, rigs.committed_files(lake))
    pool.drain()
    back = cluster.back_s(lake, pool.killed)
    rig.close_windows(broker, topic.name, lake, "-n", "1", "--views")
    still_there(seen, rigs.committed_files(lake))
    report, read, floors = rig.verify_topic(broker, topic.name, lake)
    if sum(one["messages"] for one in read.values()) != kafka.consumed(lake):
        raise kafka.Failed(f"{kafka.consumed(lake)} records were read, and the Java client reads {read}")
    if not any(floor[0] == ADDED for floor in floors):
        raise kafka.Failed(f"partition {ADDED} of {topic.name} has no floor: it did not join")
    rig.call([rig.binary, "views", "verify", "--lake", lake], f"the views of {lake} are wrong")
    return took, back, report["written"], len(pool.killed)


def suite(rig, args, broker):
    took, back, rows, kills = one_job(rig, args, broker)
    sizes = ["x".join(map(str, size)) for size in SIZES]
    figures = {"sizes": sizes, "rescale_s": rigs.spread_s(took), "next_commit_s": rigs.spread_s(back), "rows": rows}
    return kills, {**rig.figures(), **figures}
