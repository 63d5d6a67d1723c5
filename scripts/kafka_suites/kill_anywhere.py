"""R01 on a real broker: SIGKILL at random moments, with the number of workers drawn anew at each start.

A run is one topic, one in a thousand of whose records is in an aborted transaction, and one lake: the job is started,
killed, started again, …, and at the end left alone. Then its rows must be equal to what the reference program makes of what the
Java client reads, and no file that a reader had seen may have changed. A kill counts only if it met the run at work:
after it had claimed the lake and committed an epoch. One in five aims at the start; those are counted apart. A run that has
read its whole topic commits nothing more, so the topic is then written once more: those records are repeats, or late.

  scripts/kafka-suite kill-anywhere                    50 kills
"""
from crash_suites import rig as rigs
from crash_suites.kill_anywhere import figures_of
from kafka_suites import rig as kafka


def options(parser):
    parser.add_argument("--kills", type=int, default=50, help="kills that meet a run at work (default 50)")
    parser.add_argument("--kills-a-run", type=int, default=13, help="how many of them one lake takes (default 13)")
    parser.add_argument("--messages", type=int, default=24_000, help="messages of a topic (default 24000)")
    parser.add_argument("--starts-max", type=int, default=60, help="starts that a lake may take for its kills (default 60)")


def one_lake(rig, args, broker, number):
    """Kills one job as often as planned, lets it end and compares; gives (kills by phase, epochs)."""
    draw = rigs.rng(args.seed, "kafka-kill", number)
    topic, lake = f"killed-{number}", rig.path("kill")
    todo = kafka.with_aborted(kafka.envelopes_of(rig.capture(args.seed * 1000 + 60 + number % 3, args.messages)), draw)
    broker.ask("create", topic=topic, partitions=4)
    readable = sum("aborted" not in envelope for envelope in todo)
    kills, written = kafka.Kills(rig, args, lake, number), 0

    def feed():
        nonlocal written
        if kafka.consumed(lake) == written * readable:
            compression = draw.choice(("none", "gzip", "zstd"))
            rig.write(broker, topic, f"{topic}-{written}", todo, compression=compression, transactions=True).result(kafka.SECONDS_MAX)
            written += 1

    kills.happen(draw, 20, feed, lambda: rig.job(broker, topic, lake, workers=draw.choice((1, 2, 3))))
    rig.close_windows(broker, topic, lake, workers=draw.choice((1, 2, 3)))
    kills.look()
    rig.verify_topic(broker, topic, lake)
    return kills.phases, rigs.head(lake)["epoch"]


def suite(rig, args, broker):
    lakes = -(-args.kills // args.kills_a_run)
    for number in range(min(lakes, 3)):
        rig.capture(args.seed * 1000 + 60 + number, args.messages)
    results = rig.trials([lambda number=number: one_lake(rig, args, broker, number) for number in range(lakes)])
    n, figures = figures_of(results, args.kills)
    return n, {**rig.figures(), **figures}
