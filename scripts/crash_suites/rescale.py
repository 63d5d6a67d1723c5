"""R16: any number of workers resumes any manifest. All pairs of 1 to 3 workers, and the chain 1, 2, 3, 1, 2.

Each pair is one lake: it is started on the first number and killed while it commits, started on the second, killed again,
and ends on the first. The chain is killed at each step. The lake must be what the reference program expects every time.

  scripts/crash rescale
"""
import itertools
import time

from crash_suites import rig as rigs

CHAIN = (1, 2, 3, 1, 2)


def options(parser):
    parser.add_argument("--messages", type=int, default=8_000, help="messages of a capture (default 8000)")


def chain(rig, args, steps, number):
    """Runs the job on each number of workers in turn, with a kill between; gives the kills."""
    draw = rigs.rng(args.seed, "rescale", number)
    capture, lake = rig.capture(args.seed * 1000 + 21 + number % 3, args.messages, partitions=3 + number % 3), rig.path("rescale")
    for workers in steps[:-1]:
        run, enough = rig.start(lake, capture, workers), rigs.highest(lake) + 4 + draw.randrange(9)
        rigs.wait_for("a commit", lambda enough=enough: rigs.highest(lake) >= enough, run)
        time.sleep(draw.random() * 0.03)
        if rig.kill(run) != -9:
            raise rigs.Failed(f"a run on {workers} workers ended before it was killed\n{run.said()}")
        if rigs.head(lake)["members"]["workers"] != workers:
            raise rigs.Failed(f"the manifest does not say that {workers} workers made it")
    rig.settle(lake, capture, steps[-1])
    rig.verify(lake, capture)
    rig.forget(lake)
    return len(steps) - 1


def suite(rig, args):
    lists = [(a, b, a) for a, b in itertools.product((1, 2, 3), repeat=2)] + [CHAIN]
    kills = rig.trials([lambda steps=steps, n=n: chain(rig, args, steps, n) for n, steps in enumerate(lists)])
    return sum(kills), {**rig.figures(), "pairs": 9, "chain": "-".join(map(str, CHAIN)), "lakes": len(lists)}
