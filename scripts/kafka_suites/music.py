"""The music job on four topics of a real broker: SIGKILL at random moments, with the number of workers drawn anew at each start.

A run is one lake. Its topics are written by `headway produce`, again with later events whenever the job has read them all.
At the end a reader that shares nothing with the job takes what the Java client reads from each topic, and says what must be
in the lake: each event once as a row of its topic, all else as dead letters, nothing late. From the same events it works
out tables: plays by hour and state, what was played most, users by level; and each play must lie in exactly one row of its
user's history, one with the level it was played at, as far as the watermark has got.

  scripts/kafka-suite music                                                 12 kills
  scripts/kafka-suite music --kills 50 --kills-a-run 25 --format parquet    50 kills, and rows as jobs write them by default

Rows of Parquet are read by pyarrow (pip install pyarrow).
"""
import collections
import datetime
import glob
import gzip
import json
import os
import re
import subprocess

from crash_suites import rig as rigs
from crash_suites.kill_anywhere import figures_of
from kafka_suites import rig as kafka

TOPICS = ("listen_events", "page_view_events", "auth_events", "status_change_events")
HOUR_MS = 3_600_000
# Each time the topics are written, their events begin so much later: longer than one writing lasts in event time.
STEP_MS = 10 * 24 * HOUR_MS
START_MS = 1_704_499_200_000


def options(parser):
    parser.add_argument("--kills", type=int, default=12, help="kills that meet a run at work (default 12)")
    parser.add_argument("--kills-a-run", type=int, default=6, help="how many of them one lake takes (default 6)")
    parser.add_argument("--messages", type=int, default=3_000, help="messages of a topic each time it is written (default 3000)")
    parser.add_argument("--format", choices=("ndjson.gz", "parquet"), default="ndjson.gz", help="format of the files of rows (default ndjson.gz)")
    parser.add_argument("--starts-max", type=int, default=40, help="starts that a lake may take for its kills (default 40)")


def instant(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def write(rig, args, broker, topics, number, written):
    """Writes every topic once more, with events later than any before; gives the number of messages."""
    sent = 0
    for name, topic in topics.items():
        command = [rig.binary, "produce", "music", "--input", name, "--to", "kafka:", "--kafka-config", broker.config, "--topic", topic]
        # One seed: the topics tell of the same users and songs.
        command += ["--seed", str(args.seed + 100 * number + written), "--messages", str(args.messages), "--keys", "400"]
        command += ["--partitions", "4", "--disorder", "5m", "--bad", "0.01", "--start", instant(START_MS + written * STEP_MS)]
        done = subprocess.run([*command, "--log-format", "json"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise kafka.Failed(f"{topic} could not be written\n{done.stderr[-2000:]}")
        sent += int(re.search(r'"wrote ([\d,]+) message', done.stderr)[1].replace(",", ""))
    return sent


def start(rig, args, broker, topics, lake, workers):
    """Starts the job on its topics, with small epochs."""
    words = [rig.binary, "run", "music", "--job", rigs.JOB, "--lake", lake, "-w", str(workers), "--epoch", "50ms", "--views"]
    words += ["--source", "kafka:", "--kafka-config", broker.config, "--epoch-bytes", "64KiB", "--format", args.format, "--lateness", "1h"]
    for name, topic in topics.items():
        words += ["--topic", f"{name}={topic}"]
    words += ["--idle-after", "never"]
    os.makedirs(os.path.dirname(lake), exist_ok=True)
    log = lake.rstrip("/") + ".log"
    return rigs.Run(rig.spawn(words, log), log, words)


def consumed(lake):
    """How many records of all inputs the job has committed."""
    newest = rigs.head(lake)
    parts = [part for source in newest["inputs"] for part in source["partitions"]] if newest else []
    return sum(part["total"]["consumed"] for part in parts)


def watermark(lake, name):
    """How far an input has got, in milliseconds."""
    return next(source["wm"] for source in rigs.head(lake)["inputs"] if source["name"] == name)


# --- what must be in the lake

def read(rig, broker, topic):
    """The events of a topic and the number of messages that are none, as the Java client reads them."""
    out = os.path.join(rig.folder, f"read-{topic}")
    broker.ask("read", topic=topic, out=out)
    events, none = [], 0
    for path in glob.glob(os.path.join(out, "*.ndjson")):
        with open(path, encoding="utf-8") as file:
            for envelope in map(json.loads, file):
                event = event_of(envelope["payload"])
                events += [] if event is None else [event]
                none += event is None
    return events, none


def event_of(payload):
    """The object that a message is; None if it is none, or has no time."""
    try:
        event = json.loads(payload)
    except (TypeError, ValueError):
        return None
    return event if isinstance(event, dict) and type(event.get("ts")) is int else None


def lines(lake, folder):
    """All rows below a folder of the lake, as objects without the columns that have no value."""
    found = [row for path in glob.glob(os.path.join(lake, folder, "**", "*.parquet"), recursive=True) for row in typed(path)]
    for path in glob.glob(os.path.join(lake, folder, "**", "*.ndjson.gz"), recursive=True):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            found += [{name: value for name, value in json.loads(line).items() if value is not None} for line in file]
    return found


def typed(path):
    """The rows of a file of Parquet as the messages had them: instants are milliseconds."""
    import pyarrow.parquet

    def plain(value):
        return round(value.timestamp() * 1000) if isinstance(value, datetime.datetime) else value

    # Opened as a file: the names of its folders are no columns.
    with pyarrow.parquet.ParquetFile(path) as file:
        return [{name: plain(value) for name, value in row.items() if value is not None} for row in file.read().to_pylist()]


def bag(rows):
    return collections.Counter(json.dumps(row, sort_keys=True) for row in rows)


def equal(what, found, expected):
    if found != expected:
        missing, more = list((expected - found).elements()), list((found - expected).elements())
        raise kafka.Failed(f"{what}: {len(missing)} are missing, {len(more)} too many; first ones {missing[:2]} and {more[:2]}")


def table(rig, lake, view):
    command = [rig.binary, "views", "export", view, "--as", "ndjson", "--lake", lake]
    return [json.loads(line) for line in rig.call(command, f"{view} cannot be read").splitlines()]


def ms(text):
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def verify(rig, broker, topics, lake):
    """Rows, dead letters and tables are what the topics say; gives how many events there are."""
    events, dead = {}, 0
    for name, topic in topics.items():
        events[name], none = read(rig, broker, topic)
        equal(f"rows of {name} in {lake}", bag(lines(lake, name)), bag(events[name]))
        dead += none
    found = sum(1 for path in glob.glob(os.path.join(lake, "_dead", "**", "*.ndjson.gz"), recursive=True) for _ in gzip.open(path))
    if found != dead or os.path.exists(os.path.join(lake, "_late")):
        raise kafka.Failed(f"{lake} has {found} dead letters and not {dead}, or late records, of which there are none")
    tables_agree(rig, lake, [event for event in events["listen_events"] if "userId" in event])
    rig.audited(lake)
    return sum(map(len, events.values()))


def tables_agree(rig, lake, plays):
    """The tables are what a reader adds up from the plays, and the histories hold each of them once."""
    hours = collections.Counter(play["ts"] // HOUR_MS * HOUR_MS for play in plays)
    equal("streams_per_hour", collections.Counter({ms(row["hour"]): row["streams"] for row in table(rig, lake, "streams_per_hour")}), hours)
    states = collections.Counter((instant(play["ts"])[:10], play.get("state", "").strip() or None) for play in plays)
    equal("streams_by_state", collections.Counter({(row["day"], row["stateCode"]): row["streams"] for row in table(rig, lake, "streams_by_state")}), states)
    songs = collections.Counter((play.get("artist"), play.get("song")) for play in plays)
    most = sorted(songs.values(), reverse=True)
    top = [(row["rank"], row["streams"]) for row in table(rig, lake, "top_songs") if row["period"] == "all"]
    if sorted(top) != [(at + 1, most[at]) for at in range(len(top))] or not top:
        raise kafka.Failed(f"top_songs is {sorted(top)}, and the songs were played {most[:len(top) + 1]} times")
    # A history has what the watermark has passed.
    settled = [play for play in plays if play["ts"] < watermark(lake, "listen_events")]
    histories = collections.defaultdict(list)
    for row in table(rig, lake, "dim_users"):
        histories[row["userId"]].append((ms(row["rowActivation"]), row["rowExpiration"] and ms(row["rowExpiration"]), row["level"]))
    if histories.keys() != {play["userId"] for play in settled} or not histories:
        raise kafka.Failed("dim_users has other users than those who played")
    levels = collections.Counter()
    for user, rows in histories.items():
        rows.sort()
        if [end for _, end, _ in rows] != [begin for begin, _, _ in rows[1:]] + [None]:
            raise kafka.Failed(f"the history of user {user} has a gap or overlaps: {rows}")
        levels[rows[-1][2]] += 1
    for play in settled:
        rows = [level for begin, end, level in histories[play["userId"]] if begin <= play["ts"] and (end is None or play["ts"] < end)]
        if rows != [play["level"]]:
            raise kafka.Failed(f"user {play['userId']} played with level {play['level']} at {play['ts']}, and the history has {rows}")
    shown = collections.Counter()
    for row in table(rig, lake, "users_by_gender_level"):
        shown[row["level"]] += row["users"]
    equal("users_by_gender_level", shown, levels)


def one_lake(rig, args, broker, number):
    """Kills one job as often as planned, lets it end and compares; gives (kills by phase, epochs)."""
    draw = rigs.rng(args.seed, "music", number)
    topics, lake = {name: f"music-{number}-{name}" for name in TOPICS}, rig.path("music")
    for topic in topics.values():
        broker.ask("create", topic=topic, partitions=4)
    kills, written, sent = kafka.Kills(rig, args, lake, number), 0, 0

    def feed():
        nonlocal written, sent
        if consumed(lake) == sent:
            sent += write(rig, args, broker, topics, number, written)
            written += 1

    kills.happen(draw, 8, feed, lambda: start(rig, args, broker, topics, lake, workers=draw.choice((1, 2, 3))))
    first = rigs.next_generation(lake)
    run = start(rig, args, broker, topics, lake, workers=draw.choice((1, 2, 3)))
    kafka.wait_for("the commit of all that was sent", lambda: consumed(lake) == sent and rigs.head(lake)["generation"] >= first, run)
    rig.drain(run)
    kills.look()
    verify(rig, broker, topics, lake)
    with rig.lock:
        rig.compared += 1
    return kills.phases, rigs.head(lake)["epoch"]


def suite(rig, args, broker):
    lakes = -(-args.kills // args.kills_a_run)
    results = rig.trials([lambda number=number: one_lake(rig, args, broker, number) for number in range(lakes)])
    n, figures = figures_of(results, args.kills)
    return n, {**rig.figures(), **figures}
