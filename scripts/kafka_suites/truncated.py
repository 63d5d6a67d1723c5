"""A broker that loses the newest records of a partition, after the job has read and committed them.

That is what an unclean leader election does; here the broker is killed and the end of a partition's log cut off. In one
trial nothing follows. In the others records are sent to those offsets, so that the job's own offset is there again: while
the job is held (SIGSTOP), and between two runs. The job must stop with exit code 4 and name the partition, and nothing that
took the place of what it had read may be in the lake; a new run must refuse, too.
"""
import glob
import os
import signal
import struct

from kafka_suites import rig as kafka

# The partition that loses records.
SHORT = 1


def options(parser):
    parser.add_argument("--messages", type=int, default=6_000, help="messages of a topic (default 6000)")


def batches(log):
    """Where the record batches of a log begin and end: offset (8 bytes), length of what follows (4 bytes), the rest."""
    with open(log, "rb") as file:
        data = file.read()
    found, at = [], 0
    while at + 12 <= len(data):
        length, = struct.unpack_from(">i", data, at + 8)
        if length <= 0 or at + 12 + length > len(data):
            break
        found.append((at, at + 12 + length))
        at = found[-1][1]
    return found


def cut(broker, topic):
    """Cuts the second half of the batches off the log of a partition. The broker must not be running."""
    folder = os.path.join(broker.folder, "data", f"{topic}-{SHORT}")
    log, = glob.glob(os.path.join(folder, "*.log"))
    found = batches(log)
    if len(found) < 4:
        raise kafka.Failed(f"the log of {topic} has {len(found)} batches only")
    os.truncate(log, found[len(found) // 2][0])
    # What is derived from it is made anew.
    for name in glob.glob(os.path.join(folder, "*.*index")):
        os.unlink(name)


def one_trial(rig, args, broker, what):
    topic, lake, words = f"truncated-{what}", rig.path("truncated"), f"partition {SHORT} of"
    todo = kafka.envelopes_of(rig.capture(args.seed * 1000 + 60, args.messages))
    run, _ = rig.first_half(broker, topic, lake, todo, workers=2)
    read = kafka.partitions(lake)[SHORT]["next"]
    if what == "held":
        run.child.send_signal(signal.SIGSTOP)
    if what == "between":
        rig.drain(run)
    broker.kill()
    cut(broker, topic)
    broker.start_again()
    if what != "alone":
        # More of them than were lost.
        rig.write(broker, topic, f"{topic}-b", todo).result()
    if what == "held":
        run.child.send_signal(signal.SIGCONT)
    if what != "between":
        rig.finds_another(run, words)
    rig.finds_another(rig.job(broker, topic, lake), words)
    if kafka.partitions(lake)[SHORT]["next"] != read:
        raise kafka.Failed("records that took the place of lost ones were committed")
    if rig.audit(lake)[0] != 0:
        raise kafka.Failed("the audit does not hold")


def suite(rig, args, broker):
    trials = ("alone", "held", "between")
    for what in trials:
        one_trial(rig, args, broker, what)
    return len(trials), {"truncated": len(trials)}
