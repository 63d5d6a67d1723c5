"""A job of two inputs, a folder each: SIGKILL at random moments, with the number of workers drawn anew at each start.

The job is that of examples/two_halls.rs. A run is one lake, which is treated as in the suite kill-anywhere; in every second
one the second folder is empty of new messages for most of the time, because it is far shorter. At the end rows, dead letters
and late records of each input must be what the reference program makes of its folder alone, and the fates of each input too.

  cargo build --example two_halls
  scripts/crash two-folders                    20 kills
"""
import collections
import json
import os

from crash_suites import rig as rigs
from crash_suites.kill_anywhere import figures_of, killed_often, still_there

HALLS = ("north", "south")
# The topic that captures are written for.
TOPIC = "mta-turnstile"


def options(parser):
    parser.add_argument("--two-halls", metavar="BINARY", type=os.path.abspath, default=os.path.join(rigs.ROOT, "target", "debug", "examples", "two_halls"),
                        help="the program of the job (default: target/debug/examples/two_halls)")
    parser.add_argument("--kills", type=int, default=20, help="kills that meet a run at work (default 20)")
    parser.add_argument("--kills-a-run", type=int, default=10, help="how many of them one lake takes (default 10)")
    parser.add_argument("--messages", type=int, default=12_000, help="messages of a capture (default 12000)")
    parser.add_argument("--epochs-min", type=int, default=80, help="epochs each lake must have (default 80)")


def command(program, flags, lake, workers):
    """The command of the job, without its sources."""
    found = [program, "run", "halls", "--job", rigs.JOB, "--lake", lake, "-w", str(workers), "--epoch", "50ms"]
    for hall in HALLS:
        found += ["--topic", f"{hall}={TOPIC}"]
    return [*found, *flags]


def start(rig, args, lake, captures, workers):
    """Starts the job on a folder for each input; all windows have the settings of the first capture."""
    words = command(args.two_halls, captures[0].flags, lake, workers)
    words += ["--idle-after", "never", "--not-after", "none", "--epoch-bytes", "6KiB", "--until", "end"]
    for hall, capture in zip(HALLS, captures):
        words += ["--source", f"{hall}=files:{capture}"]
    os.makedirs(os.path.dirname(lake), exist_ok=True)
    log = lake.rstrip("/") + ".log"
    return rigs.Run(rig.spawn(words, log), log, words)


def lake_of(rig, lake, hall):
    """A lake that has only what one input gave, as the reference program knows lakes: with links to the files of the real one."""
    view = rig.path(f"view-{hall}")
    os.makedirs(view)
    os.symlink(os.path.join(lake, "halls", hall), os.path.join(view, rigs.JOB))
    for side in ("dead", "late"):
        folder, into = os.path.join(lake, f"_{side}", "halls"), os.path.join(view, f"_{side}", rigs.JOB)
        os.makedirs(into)
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if name.startswith(f"{side}-{hall}_"):
                os.symlink(os.path.join(folder, name), os.path.join(into, name))
    return view


def fates(lake, hall):
    """The fates of one input's records, as the newest manifest tells them."""
    source = next(source for source in rigs.head(lake)["inputs"] if source["name"] == hall)
    found = collections.Counter()
    for part in source["partitions"]:
        found.update({fate: sum(count.values()) if fate == "dead" else count for fate, count in part["total"].items()})
    return rigs.in_any_order(found)


def judge(rig, lake, hall, folder, flags, more=()):
    """Compares what one input gave with what the reference program makes of the capture in `folder`."""
    view = lake_of(rig, lake, hall)
    words = [*rigs.REFERENCE, "compare", "--lake", view, "--capture", folder, *flags, *more]
    with rig.lock:
        rig.compared += 1
    report = json.loads(rig.call(words, f"input {hall} of {lake} is not what the reference program expects").splitlines()[0])
    if (told := fates(lake, hall)) != (expected := rigs.in_any_order(report["fates"])):
        raise rigs.Failed(f"the manifests of {lake} tell the fates {told} of {hall}, and they are {expected}\n  {' '.join(words)}")
    rig.forget(view)


def one_lake(rig, args, number):
    """Kills one job as often as planned, lets it end and compares; gives (kills by phase, epochs)."""
    draw = rigs.rng(args.seed, "two-folders", number)
    short = args.messages // (10 if number % 2 else 1)
    seed = args.seed * 1000 + number
    captures = (rig.capture(seed, args.messages), rig.capture(seed + 500, short, place_of=seed))
    lake = rig.path("two")
    kills, seen = killed_often(rig, args, number, draw, lake, lambda workers: start(rig, args, lake, captures, workers), 8)
    run = start(rig, args, lake, captures, draw.choice((1, 2, 3)))
    if (code := rig.finish(run)) != 0:
        raise rigs.Failed(f"a run ended with {code}\n  {' '.join(run.command)}\n{run.said()}")
    still_there(seen, rigs.committed_files(lake))
    for hall, capture in zip(HALLS, captures):
        judge(rig, lake, hall, capture.folder, captures[0].flags)
    rig.audited(lake)
    epochs = rigs.head(lake)["epoch"]
    if epochs < args.epochs_min:
        raise rigs.Failed(f"lake {number} has only {epochs} epochs, fewer than {args.epochs_min}")
    rig.forget(lake)
    return kills, epochs


def suite(rig, args):
    if not os.access(args.two_halls, os.X_OK):
        raise rigs.Failed(f'there is no program "{args.two_halls}": build it with cargo build --example two_halls')
    rig.forms = ("envelopes",)
    lakes = -(-args.kills // args.kills_a_run)
    results = rig.trials([lambda number=number: one_lake(rig, args, number) for number in range(lakes)])
    n, figures = figures_of(results, args.kills)
    return n, {**rig.figures(), **figures}
