"""Peak memory of the job on a long topic against a short one, with the client's queue of 16 MiB and the defaults of a run.

What a job holds must follow from its windows and bounds, not from how much there is to read: five times the messages
may take at most 1.2 times its peak. Half of a peak is the client's queue, which one run meets fuller than the next: each
topic is read several times, in turn, and medians are compared. Not for every change: it wants a release binary.

  cargo build --release && scripts/kafka-suite memory --binary target/release/headway
"""
import os
import statistics
import subprocess
import time

from crash_suites import rig as rigs
from kafka_suites import rig as kafka

RATIO_MAX = 1.2


def options(parser):
    parser.add_argument("--short", type=int, default=1_000_000, help="messages of the short topic (default 1000000)")
    parser.add_argument("--long", type=int, default=5_000_000, help="messages of the long topic (default 5000000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is read (default 5)")
    parser.add_argument("-w", "--workers", type=int, default=1, help="workers of the job (default 1)")


def peak(run):
    """The greatest resident memory of a process so far, in bytes; 0 once it has ended."""
    try:
        with open(f"/proc/{run.child.pid}/status", encoding="utf-8") as file:
            return next((int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM")), 0)
    except FileNotFoundError:
        return 0


def fill(rig, broker, messages):
    """A topic with generated messages."""
    topic = f"long-{messages}"
    broker.ask("create", topic=topic, partitions=4)
    command = [rig.binary, "produce", "turnstile", "--to", "kafka:", "--kafka-config", broker.config, "--topic", topic]
    subprocess.run([*command, "--partitions", "4", "--messages", str(messages)], check=True, capture_output=True)


def read(rig, args, broker, messages):
    """Reads a topic to its end; gives the peak in bytes and messages a second."""
    topic, lake = f"long-{messages}", rig.path("memory")
    command = [rig.binary, "run", "turnstile", "--source", "kafka:", "--kafka-config", broker.config, "--topic", topic]
    command += ["--lake", lake, "--until", "caught-up", "--not-after", "none", "-w", str(args.workers)]
    log, began, greatest = os.path.join(rig.folder, f"{topic}.log"), time.monotonic(), 0
    run = rigs.Run(rig.spawn(command, log), log, command)
    while not run.ended():
        greatest = max(greatest, peak(run))
        time.sleep(0.02)
    seconds = time.monotonic() - began
    rig.ends_well(run)
    if kafka.consumed(lake) != messages:
        raise kafka.Failed(f"{kafka.consumed(lake)} of {messages} messages were read")
    rig.forget(lake)
    return greatest, round(messages / seconds)


def suite(rig, args, broker):
    sizes = (args.short, args.long)
    for messages in sizes:
        fill(rig, broker, messages)
    rounds = [[read(rig, args, broker, messages) for messages in sizes] for _ in range(args.rounds)]
    short, long = ([one[which][0] for one in rounds] for which in (0, 1))
    ratio = statistics.median(long) / statistics.median(short)
    pairs = [round(one[1][0] / one[0][0], 3) for one in rounds]
    figures = {"short_bytes": sorted(short), "long_bytes": sorted(long), "ratio": round(ratio, 3), "of_pairs": sorted(pairs),
               "messages_a_second": round(statistics.median(one[1][1] for one in rounds))}
    if ratio > RATIO_MAX:
        raise kafka.Failed(f"the long topic took more than {RATIO_MAX} times as much memory: {figures}")
    return 2 * args.rounds, figures
