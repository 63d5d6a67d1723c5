"""R19: one job, two runs. The second takes over, the first learns it in seconds, and nothing it does becomes visible.

Four ways to be the loser, in turn:
  busy      it is in the middle of its capture; it would follow it for ever, so that it cannot end before it is overtaken
  idle      it follows files that do not grow
  stopped   SIGSTOP in the middle of a commit; it wakes when its successor has committed
  folded    the same, and it wakes when its successor has folded the manifests it knew and ended
The loser must exit with 4 (`fenced`) within --grace seconds of the moment it can know; the lake must be what the reference
program expects; every manifest has one winner, and files of the loser that are visible were committed by it before.
Then `--if-running refuse`, and the default, must leave a live run alone, say so, and exit with 4; and start when nobody runs
any more. The default must go on beside a run that gives no sign of life for 15 s.

  scripts/crash fencing --trials 20
"""
import collections
import os
import signal
import time

from crash_suites import rig as rigs

TAKE_OVER = ["--if-running", "take-over"]
WAYS = ("busy", "idle", "stopped", "folded")


def options(parser):
    parser.add_argument("--trials", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--grace", type=float, default=5.0, help="seconds after which the loser must be gone (default 5)")


def loser(rig, lake, capture, way, draw):
    """Starts the run that will lose, and brings it to where it is overtaken."""
    following = way in ("busy", "idle")
    more = ["--epoch-bytes", "4KiB"] if way == "folded" else []
    run = rig.start(lake, capture, draw.choice((1, 2, 3)), [*more, *(["--follow"] if following else [])], until=None if following else "end")
    if way == "idle":
        rigs.wait_for("the end of the files", lambda: read_to_the_end(lake, capture), run)
    else:
        enough = 3 + draw.randrange(10)
        rigs.wait_for("a commit", lambda: rigs.highest(lake) >= enough, run)
        time.sleep(draw.random() * 0.03)
    if run.ended():
        raise rigs.Failed(f"the run ended before it could be overtaken ({way})\n{run.said()}")
    if way in ("stopped", "folded"):
        run.child.send_signal(signal.SIGSTOP)
    return run


def read_to_the_end(lake, capture):
    """True if everything in the capture is committed."""
    lines = 0
    for name in os.listdir(capture):
        with open(os.path.join(capture, name), "rb") as file:
            lines += file.read().count(b"\n")
    newest = rigs.head(lake)
    return newest is not None and sum(p["next"] for i in newest["inputs"] for p in i["partitions"]) == lines


def trial(rig, args, number):
    """Gives (way, seconds until the loser was gone)."""
    way, draw = WAYS[number % len(WAYS)], rigs.rng(args.seed, "fencing", number)
    # Enough epochs that the successor folds what the loser knew.
    capture = rig.capture(args.seed * 1000 + 41 + number % 3, 12_000 if way == "folded" else 5_000)
    lake = rig.path("fencing")
    first = loser(rig, lake, capture, way, draw)
    if way == "folded":
        rig.settle(lake, capture, 1, ["--epoch-bytes", "2KiB", *TAKE_OVER])
        if rigs.manifest_numbers(lake)[0] == 0:
            raise rigs.Failed("nothing was folded")
        began = time.monotonic()
        first.child.send_signal(signal.SIGCONT)
        code = rig.finish(first, args.grace * 4)
        took = time.monotonic() - began
    else:
        generation = rigs.head(lake)["generation"]
        second = rig.start(lake, capture, draw.choice((1, 2, 3)), TAKE_OVER)
        rigs.wait_for("the claim", lambda: rigs.head(lake)["generation"] > generation, second)
        if way == "stopped":
            rigs.wait_for("a commit of the second run", lambda: rigs.head(lake)["kind"] == "commit" or second.ended(), second)
            first.child.send_signal(signal.SIGCONT)
        began = time.monotonic()
        code = rig.finish(first, args.grace * 4)
        took = time.monotonic() - began
        if rig.finish(second) != 0:
            raise rigs.Failed(f"the winner failed ({way})\n{second.said(30)}")
    if code != 4 or "fenced" not in first.said(60):
        raise rigs.Failed(f"the loser ({way}) ended with {code}, not with 4 and \"fenced\"\n{first.said(30)}")
    if took > args.grace:
        raise rigs.Failed(f"the loser ({way}) was there for {took:.1f} s")
    rig.verify(lake, capture)
    only_committed(lake)
    rig.forget(lake)
    return way, took


def only_committed(lake):
    """Every visible file is named by a manifest that is loose or folded."""
    named = {rigs.lake_path(file) for manifest in rigs.all_manifests(lake) for file in manifest["lake"]}
    if foreign := [name for name in rigs.committed_files(lake) if name not in named]:
        raise rigs.Failed(f"{foreign[0]} is visible, and no manifest names it")


def refuse(rig, args):
    """A cautious run leaves a live one alone, and starts when it is gone."""
    capture, lake = rig.capture(args.seed * 1000 + 41, 5_000), rig.path("refuse")
    first = rig.start(lake, capture, 1, ["--follow"], until=None)
    rigs.wait_for("the end of the files", lambda: read_to_the_end(lake, capture), first)
    rigs.wait_for("a sign of life", lambda: os.path.exists(os.path.join(lake, "_headway", rigs.JOB, "alive.json")), first)
    for rule in ("refuse", "wait"):
        second = rig.start(lake, capture, 2, ["--if-running", rule])
        code = rig.finish(second, 60)
        if code != 4 or "is running already" not in second.said(30) or first.ended():
            raise rigs.Failed(f"--if-running {rule} ended with {code} beside a live run\n{second.said(30)}")
    first.child.send_signal(signal.SIGSTOP)
    began, generation = time.monotonic(), rigs.head(lake)["generation"]
    second = rig.start(lake, capture, 1, ["--follow"], until=None)
    rigs.wait_for("the claim", lambda: rigs.head(lake)["generation"] > generation, second)
    if (waited := time.monotonic() - began) < 14:
        raise rigs.Failed(f"a run that might still live was taken over after {waited:.1f} s")
    first.child.send_signal(signal.SIGCONT)
    if (code := rig.finish(first, args.grace * 4)) != 4:
        raise rigs.Failed(f"the run that had hung ended with {code}\n{first.said(30)}")
    if rig.kill(second) != -9:
        raise rigs.Failed(f"the run that took over was not there any more\n{second.said(30)}")
    rig.settle(lake, capture, 2, ["--if-running", "refuse"])
    rig.verify(lake, capture)


def suite(rig, args):
    for number in range(3):
        rig.capture(args.seed * 1000 + 41 + number, 5_000)
        rig.capture(args.seed * 1000 + 41 + number, 12_000)
    works = [lambda number=number: trial(rig, args, number) for number in range(args.trials)]
    results = rig.trials([lambda: refuse(rig, args), *works])[1:]
    slowest = collections.defaultdict(float)
    for way, took in results:
        slowest[way] = max(slowest[way], round(took, 2))
    return len(results), {**rig.figures(), "loser_gone_most": dict(slowest), "epochs_with_two_winners": 0, "refuse": True}
