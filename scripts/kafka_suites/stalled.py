"""Open transactions: what they hold has a place in event time, which nobody knows before they end.

One transaction writes to all partitions but one and stays open. A run with `--until caught-up` must end at what is
committed all the same. A live job, for which quiet partitions are idle after 300 ms and all windows close after 600 ms, must
call that one idle and no other, and close nothing; what the transaction held must be on time when it is committed. On
another topic all partitions are idle already when it opens: those must count again.
"""
import os
import time

from crash_suites import rig as rigs
from kafka_suites import rig as kafka

# Records in whose place the transaction is, and the partition that it does not write to.
HELD, FREE = 400, 3


def options(parser):
    parser.add_argument("--messages", type=int, default=12_000, help="messages of a topic (default 12000)")


class Transaction:
    """Records that are written and not committed yet."""

    def __init__(self, rig, broker, topic, envelopes):
        self.file = os.path.join(rig.folder, f"{topic}.release")
        self.writing = rig.write(broker, topic, f"{topic}-held", envelopes, transactions=True, hold=self.file)
        kafka.wait_for("the open transaction", lambda: self.writing.done() or os.path.exists(self.file + ".open"))

    def commit(self):
        with open(self.file, "w", encoding="utf-8"):
            pass
        self.writing.result()


def idle(lake):
    return [number for number, part in kafka.partitions(lake).items() if part["idle"]]


def topic_of(rig, args, broker, name):
    """A topic with the first half of its messages; gives what the transaction has, and the rest."""
    todo = kafka.envelopes_of(rig.capture(args.seed * 1000 + 90, args.messages))
    half = len(todo) // 2
    broker.ask("create", topic=name, partitions=4)
    rig.write(broker, name, f"{name}-first", todo[:half], transactions=True).result()
    within = [envelope for envelope in todo[half:half + HELD] if envelope["partition"] != FREE]
    if {envelope["partition"] for envelope in within} != {0, 1, 2}:
        raise kafka.Failed("the transaction does not write to all other partitions")
    free = [envelope for envelope in todo[half:half + HELD] if envelope["partition"] == FREE]
    return half, within, free + todo[half + HELD:]


def go_on(rig, broker, topic, lake, run, transaction, rest):
    """Ends the run, commits the transaction, and reads it and the rest with another run; gives the floors there are then."""
    rig.drain(run)
    transaction.commit()
    rig.write(broker, topic, f"{topic}-rest", rest).result()
    rig.ends_well(rig.job(broker, topic, lake, workers=3, until="caught-up"))
    return kafka.floors_of(lake)


def verdict(rig, broker, topic, lake, floors):
    rig.close_windows(broker, topic, lake)
    report, _, _ = rig.verify_topic(broker, topic, lake, floors)
    return {"rows": report["written"], "floors": len(floors)}


def tells(parts):
    """True if a status says what is held. One that is far ahead of the slowest is not read on, and may not be known as held."""
    held = [part for number, part in parts.items() if number != FREE]
    slowest = min(held, key=lambda part: part["own_ms"] or 0)
    states = {part["state"] for part in held}
    return parts[FREE]["state"] == "idle" and slowest["state"] == "stalled" and states <= {"stalled", "reading"}


def held(rig, args, broker):
    topic, lake = "stalled", rig.path("stalled")
    half, within, rest = topic_of(rig, args, broker, topic)
    transaction = Transaction(rig, broker, topic, within)
    rig.ends_well(rig.job(broker, topic, lake, until="caught-up"), seconds=60)
    if kafka.consumed(lake) != half:
        raise kafka.Failed(f"a run that was caught up had read {kafka.consumed(lake)} of {half} records")
    run = rig.job(broker, topic, lake, "--idle-after", "300ms", "--idle-flush", "600ms", workers=2)
    kafka.wait_for("idleness of the partition without a transaction", lambda: FREE in idle(lake), run)
    kafka.wait_for("a status that tells what is held", lambda: tells(rig.status(lake)), run)
    kafka.wait_for("the cause", lambda: rig.cause(lake) == "open-transaction", run)
    # Long enough for the others to be idle too, and for a flush, if they could be.
    time.sleep(2)
    if rigs.head(lake)["operators"].get("Aggregate", {}).get("held") == 0 or idle(lake) != [FREE]:
        raise kafka.Failed(f"partitions {idle(lake)} are idle while a transaction is open\n{run.said()}")
    before = go_on(rig, broker, topic, lake, run, transaction, rest)
    if any(partition != FREE for partition, _, _ in before):
        raise kafka.Failed(f"what the transaction held had to join: {before}")
    return verdict(rig, broker, topic, lake, before)


def woken(rig, args, broker):
    topic, lake = "stalled-later", rig.path("stalled")
    half, within, rest = topic_of(rig, args, broker, topic)
    run = rig.job(broker, topic, lake, "--idle-after", "300ms", workers=2)
    kafka.wait_for("idleness of all partitions", lambda: kafka.consumed(lake) == half and len(idle(lake)) == 4, run)
    transaction = Transaction(rig, broker, topic, within)
    kafka.wait_for("partitions that count again", lambda: idle(lake) == [FREE], run)
    before = go_on(rig, broker, topic, lake, run, transaction, rest)
    return verdict(rig, broker, topic, lake, before)


def suite(rig, args, broker):
    return 2, {"stalled": held(rig, args, broker), "stalled_later": woken(rig, args, broker)}
