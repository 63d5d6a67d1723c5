"""Runs with `--until caught-up`, as from cron, over a topic that grows between them.

Each run must end by itself at what was there when it began, though the topic is written on meanwhile. In the end each
window must be there once and whole, and nothing may be late that a continuous run would not have called late: the
reference program is given no floors. One topic gets a partition between two runs; that one has a floor, which it is given.
"""
import json

from crash_suites import rig as rigs
from kafka_suites import rig as kafka


def options(parser):
    parser.add_argument("--messages", type=int, default=24_000, help="messages of a topic (default 24000)")
    parser.add_argument("--runs", type=int, default=6, help="runs over a topic (default 6)")


def one_topic(rig, args, broker, grows):
    topic, lake = ("growing-wider" if grows else "growing"), rig.path("growing")
    draw = rigs.rng(args.seed, topic)
    capture = rig.capture(args.seed * 1000 + 30 + grows, args.messages, partitions=4 + grows)
    todo = [e for n, e in enumerate(kafka.envelopes_of(capture)) if e["partition"] < 4 or n > args.messages // 2]
    cuts = sorted(draw.sample(range(1, len(todo)), args.runs - 1))
    if grows:
        wider = next(n for n, e in enumerate(todo) if e["partition"] == 4)
        cuts = sorted({*cuts, wider})
    broker.ask("create", topic=topic, partitions=4)
    begin, writing, consumed = 0, None, []
    for end in [*cuts, len(todo)]:
        part = kafka.with_aborted(todo[begin:end], draw)
        if writing:
            writing.result()
        if part and any(e["partition"] == 4 for e in part):
            grows = grows and not broker.ask("grow", topic=topic, partitions=5)
        # The first half is there before the run begins; the second comes while it runs.
        half = len(part) // 2
        rig.write(broker, topic, f"{topic}-{begin}-a", part[:half], transactions=True).result()
        there = broker.ask("read", topic=topic, out=rig.path("look"))["partitions"]
        writing = rig.write(broker, topic, f"{topic}-{begin}-b", part[half:], transactions=True, rate=3000)
        run = rig.job(broker, topic, lake, "--idle-after", "60s", workers=draw.choice((1, 2, 3)), until="caught-up")
        rig.ends_well(run)
        consumed.append(kafka.consumed(lake))
        if consumed[-1] < sum(one["messages"] for one in there.values()):
            raise kafka.Failed(f"a run ended before what was there when it began: {consumed[-1]} of {there}")
        if rigs.head(lake)["inputs"][0]["ended"] or any(p["idle"] or p["ended"] for p in kafka.partitions(lake).values()):
            raise kafka.Failed("a run that was caught up said that something has ended or is idle")
        begin = end
    writing.result()
    before = kafka.floors_of(lake)
    if any(p < 4 for p, _, _ in before):
        raise kafka.Failed(f"partitions that were there from the start have floors: {json.dumps(before)}")
    rig.close_windows(broker, topic, lake)
    report, read, _ = rig.verify_topic(broker, topic, lake, before)
    if sum(one["messages"] for one in read.values()) != kafka.consumed(lake):
        raise kafka.Failed(f"{kafka.consumed(lake)} records were read, and the Java client reads {read}")
    return {"rows": report["written"], "runs": len(consumed), "late": report["late"]["expected"], "floors": len(before)}


def suite(rig, args, broker):
    results = rig.trials([lambda grows=grows: one_topic(rig, args, broker, grows) for grows in (False, True)])
    return sum(one["runs"] for one in results), {"growing": results[0], "growing_wider": results[1]}
