"""A job of two topics on a real broker: SIGKILL at random moments, with the number of workers drawn anew at each start.

The job is that of examples/two_halls.rs. Both topics are written while the job is killed and started again; the second one is
a tenth as long, so that it is quiet for most of the time. At the end rows, dead letters and late records of each input must
be what the reference program makes of what the Java client reads from its topic, with the floors of that input's partitions.

  cargo build --example two_halls
  scripts/kafka-suite two-topics               12 kills
"""
import json
import os

from crash_suites import rig as rigs
from crash_suites import two_folders
from crash_suites.kill_anywhere import figures_of
from crash_suites.two_folders import HALLS
from kafka_suites import rig as kafka


def options(parser):
    parser.add_argument("--two-halls", metavar="BINARY", type=os.path.abspath, default=os.path.join(rigs.ROOT, "target", "debug", "examples", "two_halls"),
                        help="the program of the job (default: target/debug/examples/two_halls)")
    parser.add_argument("--kills", type=int, default=12, help="kills that meet a run at work (default 12)")
    parser.add_argument("--kills-a-run", type=int, default=6, help="how many of them one lake takes (default 6)")
    parser.add_argument("--messages", type=int, default=16_000, help="messages of the first topic (default 16000)")
    parser.add_argument("--starts-max", type=int, default=40, help="starts that a lake may take for its kills (default 40)")


def start(rig, args, broker, topics, lake, *more, workers=1):
    """Starts the job on a topic for each input, with small epochs."""
    words = [args.two_halls, "run", "halls", "--job", rigs.JOB, "--lake", lake, "-w", str(workers), "--epoch", "50ms"]
    words += ["--source", "kafka:", "--kafka-config", broker.config, "--epoch-bytes", "16KiB", "--not-after", "none"]
    for hall, topic in zip(HALLS, topics):
        words += ["--topic", f"{hall}={topic}"]
    words += rig.flags(topics[0])
    words += [] if "--idle-after" in more else ["--idle-after", "never"]
    words += more
    os.makedirs(os.path.dirname(lake), exist_ok=True)
    log = lake.rstrip("/") + ".log"
    return rigs.Run(rig.spawn(words, log), log, words)


def consumed(lake, hall):
    """How many records of an input the job has committed."""
    newest = rigs.head(lake)
    sources = [source for source in newest["inputs"] if source["name"] == hall] if newest else []
    return sum(part["total"]["consumed"] for source in sources for part in source["partitions"])


def floors(lake, hall):
    """All floors that any manifest names for an input: (partition, first offset, milliseconds)."""
    sources = (source for manifest in rigs.all_manifests(lake) for source in manifest["inputs"] if source["name"] == hall)
    parts = (part for source in sources for part in source["partitions"])
    return sorted({(part["partition"], part["floor_from"], part["floor"]) for part in parts if part["floor"] is not None})


def verify(rig, broker, topics, lake):
    """All is well with each input: says the reference program, given what the Java client reads and the manifests' floors."""
    for hall, topic in zip(HALLS, topics):
        capture = os.path.join(rig.folder, f"read-{topic}")
        broker.ask("read", topic=topic, out=capture)
        known = os.path.join(rig.folder, f"floors-{topic}.ndjson")
        with open(known, "w", encoding="utf-8") as out:
            out.writelines(json.dumps({"partition": p, "offset": o, "floor": f}) + "\n" for p, o, f in floors(lake, hall))
        two_folders.judge(rig, lake, hall, capture, rig.flags(topics[0]), ["--topic", topic, "--floors", known])
    rig.audited(lake)


def one_lake(rig, args, broker, number):
    """Kills one job as often as planned, lets it end and compares; gives (kills by phase, epochs)."""
    draw = rigs.rng(args.seed, "two-topics", number)
    topics, lake = [f"two-{number}-{hall}" for hall in HALLS], rig.path("two")
    lengths = (args.messages, args.messages // 10)
    todo = [kafka.envelopes_of(rig.capture(args.seed * 1000 + 80 + 2 * number + at, length)) for at, length in enumerate(lengths)]
    for topic in topics:
        broker.ask("create", topic=topic, partitions=4)
    kills, written = kafka.Kills(rig, args, lake, number), 0

    def feed():
        nonlocal written
        if all(consumed(lake, hall) == written * len(envelopes) for hall, envelopes in zip(HALLS, todo)):
            for topic, envelopes in zip(topics, todo):
                rig.write(broker, topic, f"{topic}-{written}", envelopes).result(kafka.SECONDS_MAX)
            written += 1

    kills.happen(draw, 12, feed, lambda: start(rig, args, broker, topics, lake, workers=draw.choice((1, 2, 3))))
    first = rigs.next_generation(lake)
    run = start(rig, args, broker, topics, lake, "--idle-after", "200ms", "--idle-flush", "300ms", workers=draw.choice((1, 2, 3)))
    kafka.wait_for("the flush of all windows", lambda: kafka.is_flushed(lake, first), run)
    rig.drain(run)
    kills.look()
    verify(rig, broker, topics, lake)
    return kills.phases, rigs.head(lake)["epoch"]


def suite(rig, args, broker):
    if not os.access(args.two_halls, os.X_OK):
        raise kafka.Failed(f'there is no program "{args.two_halls}": build it with cargo build --example two_halls')
    lakes = -(-args.kills // args.kills_a_run)
    results = rig.trials([lambda number=number: one_lake(rig, args, broker, number) for number in range(lakes)])
    n, figures = figures_of(results, args.kills)
    return n, {**rig.figures(), **figures}
