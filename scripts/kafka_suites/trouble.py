"""What a person is told where brokers answer, and nothing can be read: names that nobody can resolve, topics that are gone.

A broker that advertises a name which cannot be resolved is named with that name, by `run` and `produce`, in time. A topic
that is deleted for good under the job stops it with exit code 4 after a minute, and every start after that at once; what
was committed stays.
"""
import subprocess
import time

from kafka_suites import rig as kafka

NAME = "no-such-host.invalid"
TOLD_MAX, DELETED_MAX = 40, 120


def options(parser):
    parser.add_argument("--messages", type=int, default=4_000, help="messages of the topic (default 4000)")


def must(said, code, expected, *words):
    missing = [word for word in words if word not in said]
    if code != expected or missing:
        raise kafka.Failed(f"it ended with {code}, not {expected}, or does not say {missing}\n{said}")


def advertised(rig):
    """A broker whose name nobody can resolve; gives how long it took to be told."""
    before = rig.broker("renamed")
    before.ask("create", topic="renamed", partitions=2)
    before.stop()
    rig.brokers.remove(before)
    broker, began = rig.broker("renamed", ("--advertise", NAME)), time.monotonic()
    words = ("(broker-unresolved)", f'broker "{broker.address}" answers, and advertises "{NAME}:', "advertised.listeners")
    run = rig.job(broker, "renamed", rig.path("renamed"))
    code = rig.finish(run)
    must(run.said(), code, 3, *words)
    seconds = time.monotonic() - began
    made = subprocess.run([rig.binary, "produce", "turnstile", "--to", "kafka:", "--kafka-config", broker.config, "--topic", "renamed", "--messages", "100",
                           "--partitions", "2"], capture_output=True, text=True, check=False)
    must(made.stderr, made.returncode, 3, *words)
    if max(seconds, time.monotonic() - began - seconds) > TOLD_MAX:
        raise kafka.Failed(f"it took {seconds:.0f} s to be told, and {time.monotonic() - began:.0f} s in all")
    return round(seconds, 1)


def deleted(rig, args, broker):
    """A topic that is deleted for good; gives how long the job waited for it."""
    lake, todo = rig.path("deleted"), kafka.envelopes_of(rig.capture(args.seed * 1000 + 60, args.messages))
    run, half = rig.first_half(broker, "deleted", lake, todo, workers=2)
    broker.ask("delete", topic="deleted")
    began, words = time.monotonic(), ("(topic-deleted)", 'topic "deleted" was deleted', broker.address)
    code = rig.finish(run, DELETED_MAX)
    must(run.said(), code, 4, "does not know topic", *words)
    seconds = time.monotonic() - began
    again = rig.job(broker, "deleted", lake)
    code = rig.finish(again)
    must(again.said(), code, 4, *words)
    if kafka.consumed(lake) != half or rig.audit(lake)[0] != 0:
        raise kafka.Failed("what was committed is not all there")
    return round(seconds, 1)


def suite(rig, args, broker):
    figures = {"advertised_s": advertised(rig), "deleted_s": deleted(rig, args, broker)}
    return len(figures), figures
