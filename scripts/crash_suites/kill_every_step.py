"""R02a: the process ends at every fail point of stage, commit, publish, recovery, collection and folding.

Needs a binary with fail points: cargo build --features failpoints. The sites are those of src/engine/failpoint.rs. A single
trial ends the run at one site, at its first or a later hit; a double one ends the run after it at a second site, too. Then
the job is left alone, and its lake must be what the reference program expects. A site at which no run ended is a failure of the suite.

  scripts/crash kill-every-step                   every site once, 12 pairs
  scripts/crash kill-every-step --pairs all       every pair as well; about an hour
"""
import itertools
import os
import re
import shutil

from crash_suites import rig as rigs

ABORTED = -6
# With views, so that epochs have change files; the audit looks at their chain.
ALWAYS = ["--views"]


def options(parser):
    parser.add_argument("--pairs", default="12", metavar="N|all", help="how many pairs of sites (default 12)")
    parser.add_argument("--rounds", type=int, default=1, help="how often every site is tried (default 1)")


def sites(of="SITES"):
    with open(os.path.join(rigs.ROOT, "src", "engine", "failpoint.rs"), encoding="utf-8") as file:
        listed = re.search(rf"pub const {of}: \[&str; \d+\] = \[(.*?)\];", file.read(), re.DOTALL)
    return re.findall(r'"([a-z.-]+)"', listed[1])


class Ground:
    """Lakes to start from: empty, stopped between a manifest and its files, or about to fold."""

    def __init__(self, rig, seed):
        self.rig = rig
        self.short, self.long = rig.capture_for_views(seed * 1000 + 11, 4_000), rig.capture_for_views(seed * 1000 + 12, 22_000)
        self.halfway, self.old = rig.path("halfway"), rig.path("old")

    def prepare(self):
        if not abort_at(self.rig, self.halfway, self.short, 2, "publish.begin", 12, ALWAYS):
            raise rigs.Failed("this binary has no fail points: cargo build --features failpoints")
        run = self.rig.start(self.old, self.long, 1, [*ALWAYS, "--epoch-bytes", "4KiB"])
        if not rigs.wait_for("500 epochs", lambda: rigs.highest(self.old) >= 500, run, 120):
            raise rigs.Failed("the capture is too short for 500 epochs")
        self.rig.kill(run)
        if rigs.highest(self.old) >= 510:
            raise rigs.Failed("the old lake has folded already")

    def lake(self, site, draw):
        """(a copy of a lake on which `site` is reached, its capture, options)."""
        lake = self.rig.path("step")
        if site.startswith("fold."):
            shutil.copytree(self.old, lake)
            return lake, self.long, [*ALWAYS, "--epoch-bytes", "4KiB"]
        if site.startswith(("begin.", "sweep.")) or draw.random() < 0.5:
            shutil.copytree(self.halfway, lake)
        return lake, self.short, ALWAYS


def abort_at(rig, lake, capture, workers, site, skip, more=()):
    """Runs until `site` was passed `skip` times and is come to again; True if the process ended there."""
    action = f"{skip}*off->return" if skip else "return"
    run = rig.start(lake, capture, workers, more, env={"FAILPOINTS": f"{site}={action}"})
    code = rig.finish(run)
    if code not in (0, ABORTED):
        raise rigs.Failed(f"at {site} a run ended with {code}\n{run.said()}")
    return code == ABORTED


def single(rig, ground, site, draw):
    early = site.startswith(("begin.", "sweep.", "finish.", "fold.written"))
    skip = 0 if early else draw.randrange(12)
    while True:
        lake, capture, more = ground.lake(site, draw)
        if abort_at(rig, lake, capture, draw.choice((1, 2, 3)), site, skip, more):
            break
        # It was not passed that often before the input ended.
        rig.forget(lake)
        if skip == 0:
            raise rigs.Failed(f"no run ended at {site}")
        skip //= 2
    rig.settle(lake, capture, draw.choice((1, 2, 3)), more)
    rig.verify(lake, capture)
    rig.forget(lake)
    return [site]


def double(rig, ground, first, second, draw):
    lake, capture, more = ground.lake(first, draw)
    hits = []
    for site in (first, second):
        # A pair may not be reachable: what is left of the capture may hold no second fold.
        if abort_at(rig, lake, capture, draw.choice((1, 2, 3)), site, 0 if draw.random() < 0.5 else draw.randrange(6), more):
            hits.append(site)
    rig.settle(lake, capture, draw.choice((1, 2, 3)), more)
    rig.verify(lake, capture)
    rig.forget(lake)
    return hits


def suite(rig, args):
    known, ground = sites(), Ground(rig, args.seed)
    ground.prepare()
    pairs = list(itertools.product(known, known))
    if args.pairs != "all":
        pairs = rigs.rng(args.seed, "pairs").sample(pairs, int(args.pairs))
    works = [lambda site=site, n=n: single(rig, ground, site, rigs.rng(args.seed, site, n)) for n in range(args.rounds) for site in known]
    works += [lambda a=a, b=b: double(rig, ground, a, b, rigs.rng(args.seed, a, b)) for a, b in pairs]
    results = rig.trials(works)
    hit = set(itertools.chain.from_iterable(results))
    doubles = sum(len(hits) == 2 for hits in results)
    if missed := [site for site in known if site not in hit]:
        raise rigs.Failed(f"no run ended at {', '.join(missed)}")
    return sum(map(len, results)), {**rig.figures(), "sites": len(known), "sites_hit": len(hit), "doubles": doubles}
