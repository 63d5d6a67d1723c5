"""A broker that is killed, falls silent, or was never there.

A live job reads a topic while that is written; quiet partitions are idle after 5 s, and all windows close after 10. The
broker is killed (SIGKILL) and started again; then it is stopped (SIGSTOP: connections stay, and nothing answers) for
--dark seconds. The job must not end, must not grow, and must go on by itself; no partition may be called idle, since
nobody was there to say that it is quiet; its rows must be what the reference program expects. At start, a broker that refuses or does
not answer is named within a bounded time, with exit code 3, and the lake is left as it was.
"""
import os
import signal
import time

from crash_suites import rig as rigs
from kafka_suites import rig as kafka

# What a start may take that finds no broker: the connector waits 10 s.
REFUSED_MAX = 20
# What a job may grow by while it waits, in bytes.
GROWTH_MAX = 16 << 20


def options(parser):
    parser.add_argument("--messages", type=int, default=24_000, help="messages of the topic (default 24000)")
    parser.add_argument("--dark", type=float, default=60, help="for how long nothing answers, in seconds (default 60)")


def rss(run):
    """Resident memory of a run's process in bytes."""
    with open(f"/proc/{run.child.pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmRSS"))


def one_topic(rig, args, broker):
    topic, lake = "outage", rig.path("outage")
    todo = kafka.envelopes_of(rig.capture(args.seed * 1000 + 20, args.messages))
    broker.ask("create", topic=topic, partitions=4)
    run = rig.job(broker, topic, lake, "--idle-after", "5s", "--idle-flush", "10s", workers=2)
    size, written = len(todo) // 3 + 1, 0

    def go_on(number, rate):
        part = todo[number * size:(number + 1) * size]
        return len(part), rig.write(broker, topic, f"{topic}-{number}", part, compression="zstd", rate=rate)

    def caught_up():
        kafka.wait_for(f"the commit of {written} records", lambda: kafka.consumed(lake) >= written, run, seconds=120)

    # 1. Killed while records come, and started again.
    count, writing = go_on(0, 2000)
    kafka.wait_for("some commits", lambda: kafka.consumed(lake) > count // 8, run)
    broker.signal(signal.SIGKILL)
    at_kill = kafka.consumed(lake)
    broker.start_again()
    writing.result()
    written += count
    if at_kill >= written:
        raise kafka.Failed("the broker was killed after everything had been read")
    caught_up()
    # 2. Stopped, in the middle of the next third: what is sent meanwhile waits in the Java client.
    count, writing = go_on(1, 4000)
    kafka.wait_for("some commits", lambda: kafka.consumed(lake) > written + count // 8, run)
    broker.signal(signal.SIGSTOP)
    time.sleep(1)
    before, largest, causes = rss(run), 0, set()
    end = time.monotonic() + args.dark
    while time.monotonic() < end and not run.ended():
        largest = max(largest, rss(run))
        causes.add(rig.cause(lake))
        time.sleep(0.2)
    broker.signal(signal.SIGCONT)
    lit = time.monotonic()
    if run.ended():
        raise kafka.Failed(f"the job ended while nothing answered\n{run.said()}")
    if largest > before + GROWTH_MAX:
        raise kafka.Failed(f"the job grew from {before} to {largest} bytes while nothing answered")
    if "source-silent" not in causes:
        raise kafka.Failed(f"nothing answered for {args.dark} s, and the job lags because of {causes}")
    stood = kafka.consumed(lake)
    kafka.wait_for("the first commit afterwards", lambda: kafka.consumed(lake) > stood, run, seconds=120)
    resumed = time.monotonic() - lit
    writing.result()
    written += count
    caught_up()
    if kafka.floors_of(lake) or any(part["idle"] for part in kafka.partitions(lake).values()):
        raise kafka.Failed(f"a partition was called idle while nothing answered: {kafka.floors_of(lake)}")
    # 3. The last third, and the verdict.
    count, writing = go_on(2, 0)
    writing.result()
    written += count
    caught_up()
    if rigs.head(lake)["generation"] != 1:
        raise kafka.Failed("the job was started again")
    rig.drain(run)
    rig.close_windows(broker, topic, lake, workers=3)
    report, _, _ = rig.verify_topic(broker, topic, lake)
    return {"rows": report["written"], "dark_seconds": args.dark, "grew_bytes": largest - before, "resumed_seconds": round(resumed, 1)}


def refused(rig, address, name):
    """A start that finds no broker; gives how long it took to say so."""
    lake, config = rig.path(name), os.path.join(rig.folder, f"{name}.properties")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"bootstrap.servers={address}\n")
    began = time.monotonic()
    run = rig.job(None, "any", lake, config=config)
    code, took, said = rig.finish(run), time.monotonic() - began, run.said()
    if code != 3 or f'could not reach broker "{address}"' not in said or "hint:" not in said:
        raise kafka.Failed(f"a start without a broker ended with {code}\n{said}")
    if took > REFUSED_MAX:
        raise kafka.Failed(f"a start without a broker took {took:.1f} s")
    if os.path.exists(lake):
        raise kafka.Failed("a start without a broker left a lake behind")
    return round(took, 1)


def suite(rig, args, broker):
    try:
        figures = one_topic(rig, args, broker)
    except kafka.Failed as failed:
        raise kafka.Failed(f"{failed}\n{broker.says()}") from failed
    figures["refused_seconds"] = refused(rig, "127.0.0.1:1", "refused")
    broker.signal(signal.SIGSTOP)
    try:
        figures["silent_seconds"] = refused(rig, broker.address, "silent")
    finally:
        broker.signal(signal.SIGCONT)
    return 4, figures
