"""Jumps of the wall clock, between runs and within them, change no row.

Each job reads a folder whose files grow, run by run, as from cron: some runs are killed, the others read to what is there and end. The
wall clock of its processes jumps forward and back, by seconds up to hours, at commits and between runs. What depends on that clock must
hold all the same: limits in the future never go back within a partition, a file that got nothing for a minute of that clock lets windows
close, open files of dead letters and late records leave by their age. In the end the lake is what the reference program makes of the same
lines with the limits and floors that the manifests name, and the audit finds nothing.

The clock is moved by a file that only a binary with fail points reads.

  cargo build --features failpoints
  scripts/crash wall-clock --jobs-of 4
"""
import collections
import datetime as dt
import json
import os
import time

from crash_suites import rig as rigs

# Where the clock may stand, in seconds from the right time: back, as it is, and forward.
STANDS_S = (-7200, -600, -61, -5, 0, 5, 61, 125, 600, 1800, 3600)
ROUNDS = 5
# What must have been seen, and after how many jobs that is given up.
SHOWN = ("left_by_age", "idle", "limits", "beyond_the_limit")
JOBS_MAX = 20


def options(parser):
    parser.add_argument("--jobs-of", type=int, default=4, metavar="N", help="how many jobs, each of some runs (default 4)")


class Clock:
    """How far the clock of a job is from the right time."""

    def __init__(self, path, draw):
        self.path, self.draw, self.jumps = path, draw, 0
        self.jump()

    def jump(self):
        self.jumps += 1
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            file.write(str(self.draw.choice(STANDS_S) * 1000))
        os.replace(self.path + ".new", self.path)


def capture(rig, draw, number):
    """Messages of the last four hours, some of them beyond any limit; and how they are read."""
    out = os.path.join(rig.folder, f"capture-{number}")
    start = dt.datetime.now(dt.timezone.utc) - dt.timedelta(hours=4)
    form = draw.choice((("--form", "lines"), ("--no-timestamp", "0.4")))
    command = [*rigs.REFERENCE, "capture", "--out", out, "--seed", str(draw.randrange(1 << 30)), "--messages", "8000", "--partitions", "3", "--rate", "0.4"]
    command += ["--start", start.strftime("%Y-%m-%d %H:%M:%S"), "--zone", "UTC", "--ahead", "0.01", "--late", "0.02", *form]
    rig.call(command, "the capture could not be made")
    return rigs.Capture(out, (*rigs.window_flags(draw), "--zone", "UTC"))


class Growing:
    """A folder that gets the lines of a capture round by round. In each one file may get nothing."""

    def __init__(self, rig, whole, draw):
        self.draw, folder = draw, os.path.join(os.path.dirname(rig.path("growing")), "grows")
        os.makedirs(folder)
        self.capture, self.rest = rigs.Capture(folder, whole.flags), {}
        for name in sorted(os.listdir(whole.folder)):
            with open(os.path.join(whole.folder, name), "rb") as file:
                self.rest[name] = file.readlines()
        self.add(1 / ROUNDS, None)

    def add(self, share, quiet):
        for name in self.rest:
            lines = self.rest[name]
            here = len(lines) if share == 1 else 0 if name == quiet else int(len(lines) * share)
            self.rest[name] = lines[here:]
            with open(os.path.join(self.capture.folder, name), "ab") as file:
                file.writelines(lines[:here])

    def quiet(self):
        return self.draw.choice((None, *self.rest))


def one_run(rig, lake, growing, clock, draw, until):
    """A run to what is there, or to a kill, while the clock jumps at some of its commits."""
    more = ["--epoch-bytes", "4KiB", "--idle-after", "60s", "--dead-max", "100%", "--late-max", "100%", "--if-running", "take-over"]
    command = [rig.binary, "run", rigs.JOB, "--source", f"files:{growing.capture}", "--lake", lake, "-w", str(draw.randrange(1, 4))]
    command += ["--epoch", "50ms", "--until", until, *growing.capture.flags, *more]
    log = lake + ".log"
    run = rigs.Run(rig.spawn(command, log, {"WALL_CLOCK": clock.path}), log, command)
    before, kill_at = rigs.highest(lake), draw.choice((None, None, 3, 20))
    next_jump = before + draw.randrange(1, 12)
    while not run.ended():
        at = rigs.highest(lake)
        if at >= next_jump:
            clock.jump()
            next_jump = at + draw.randrange(1, 12)
        if kill_at is not None and until != "end" and at >= before + kill_at:
            return rig.kill(run)
        time.sleep(0.002)
    # Where a jump has closed the windows, all that a round brings may be late; the reference program says whether it is.
    code = rig.finish(run)
    if code != 0 and (code != 1 or "(nothing-accepted)" not in run.said()):
        raise rigs.Failed(f"a run ended with {code}\n  {' '.join(run.command)}\n{run.said()}")
    return 0


def named_steps(lake, key, entries):
    """A file of what manifests name by partition and offset; and that, sorted."""
    parts = [part for manifest in rigs.all_manifests(lake) for source in manifest["inputs"] for part in source["partitions"]]
    found = sorted({(part["partition"], offset, value) for part in parts for offset, value in entries(part)})
    with open(f"{lake}.{key}s", "w", encoding="utf-8") as out:
        out.writelines(json.dumps({"partition": p, "offset": offset, key: value}) + "\n" for p, offset, value in found)
    return f"{lake}.{key}s", found


def limits_never_go_back(limits, lake):
    newest = {}
    for partition, offset, limit_ms in limits:
        if limit_ms < newest.get(partition, limit_ms):
            raise rigs.Failed(f"the limit of partition {partition} goes back at offset {offset}: {newest[partition]} -> {limit_ms}\n  {lake}")
        newest[partition] = limit_ms


def one_job(rig, args, number):
    draw, lake = rigs.rng(args.seed, "wall-clock", number), rig.path("wall-clock")
    growing = Growing(rig, capture(rig, draw, number), draw)
    clock, killed = Clock(os.path.join(os.path.dirname(lake), "clock"), draw), 0
    for rounds in range(ROUNDS, 1, -1):
        killed += one_run(rig, lake, growing, clock, draw, "caught-up") != 0
        clock.jump()
        growing.add(1 / (rounds - 1), growing.quiet())
    growing.add(1, None)
    one_run(rig, lake, growing, clock, draw, "end")
    limits_file, limits = named_steps(lake, "limit_ms", lambda part: [(limit["from"], limit["limit_ms"]) for limit in part.get("limits", ())])
    floors_file, _ = named_steps(lake, "floor", lambda part: [(part["floor_from"], part["floor"])] if part.get("floor") is not None else [])
    limits_never_go_back(limits, lake)
    rig.judge(lake, growing.capture.folder, growing.capture.flags, ["--limits", limits_file, "--floors", floors_file])
    rig.audited(lake)
    figures = collections.Counter(jumps=clock.jumps, killed=killed, limits=len({limit for *_, limit in limits}), **seen(lake))
    rig.forget(lake)
    return figures


def seen(lake):
    """What the clock has caused: files of refused records that left before the end, and files that were quiet."""
    manifests = rigs.all_manifests(lake)
    # What a run found open leaves with its first epoch, and at the end all does: neither is a matter of age.
    under_way = [now for before, now in zip(manifests, manifests[1:-2]) if before["kind"] == now["kind"] == "commit"]
    sides = [file for manifest in under_way for file in manifest["lake"] if file["folder"].startswith("_")]
    idle = sum(part["idle"] for manifest in manifests for source in manifest["inputs"] for part in source["partitions"])
    dead = sum(count for part in manifests[-1]["inputs"][0]["partitions"] for reason, count in part["total"]["dead"].items() if reason == "future-event-time")
    return {"left_by_age": len(sides), "idle": idle, "beyond_the_limit": dead}


def suite(rig, args):
    with open(args.binary, "rb") as file:
        if b"WALL_CLOCK" not in file.read():
            raise rigs.Failed(f"{args.binary} has no clock that can be moved: build it with --features failpoints")
    results, missing = [], SHOWN
    # What a job shows is drawn: where a few have not shown all, more are tried.
    while missing and len(results) < JOBS_MAX:
        numbers = range(len(results), len(results) + (2 if results else args.jobs_of))
        results += rig.trials([lambda n=n: one_job(rig, args, n) for n in numbers])
        total = sum(results, collections.Counter())
        missing = [name for name in SHOWN if not total[name]]
    if missing:
        raise rigs.Failed(f"nothing was shown of {', '.join(missing)}: {dict(total)}")
    return len(results), {**rig.figures(), **dict(sorted(total.items()))}
