"""Records that the broker deletes before the job has read them, as retention does.

The job must stop with exit code 4 and name the gap, and so must every start. A start that accepts another gap must be refused. One
that accepts exactly this gap goes on: all records beyond it are in the lake, none twice, and the audit holds and shows the gap.
"""
import re

from kafka_suites import rig as kafka


def options(parser):
    parser.add_argument("--messages", type=int, default=6_000, help="messages of the topic (default 6000)")


def suite(rig, args, broker):
    topic, lake = "gone", rig.path("gone")
    todo = kafka.envelopes_of(rig.capture(args.seed * 1000 + 60, args.messages))
    run, half = rig.first_half(broker, topic, lake, todo, workers=2)
    rig.drain(run)
    rig.write(broker, topic, f"{topic}-b", todo[half:]).result()
    first = kafka.partitions(lake)[1]["next"]
    beyond = first + 20
    broker.ask("expire", topic=topic, partition=1, before=beyond)
    said = rig.refused(rig.job(broker, topic, lake), "records-gone")
    found = re.search(r"--accept-gap (\S*1:(\d+)\.\.(\d+))", said)
    if not found or (int(found[2]), int(found[3])) != (first, beyond):
        raise kafka.Failed(f"offsets {first} to {beyond} of partition 1 are gone, and it said:\n{said}")
    other = found[1].replace(f"..{beyond}", f"..{beyond - 1}")
    # It accepts a smaller gap.
    rig.refused(rig.job(broker, topic, lake, "--accept-gap", other), "records-gone")
    run = rig.job(broker, topic, lake, "--accept-gap", found[1], workers=3)
    left = len(todo) - (beyond - first)
    kafka.wait_for("the commit of all that is left", lambda: kafka.consumed(lake) == left, run)
    rig.drain(run)
    code, shown = rig.audit(lake)
    if code != 0 or f"{first}..{beyond}" not in str(shown):
        raise kafka.Failed(f"the audit ended with {code} and does not show the gap: {shown}")
    # A restart needs the flag no more.
    run = rig.job(broker, topic, lake, until="caught-up")
    rig.ends_well(run)
    if kafka.consumed(lake) != left:
        raise kafka.Failed("a restart after the gap has read something again")
    return 1, {"gone": beyond - first, "read": left}
