"""One job over several processes, hit at every fail point of stage, commit, publish, recovery, collection, folding and join.

Needs a binary with fail points: cargo build --features failpoints. A trial holds one process of a cluster at one of the sites of
src/engine/failpoint.rs, by SIGSTOP. What happens then happens to that process or to another one, while the job is just there:

  kill      SIGKILL; it is started again, as a supervisor does
  abort     SIGABRT, the same
  stop      it stays stopped until the others have noticed, which takes 10 s; then it goes on

Then the process that was held goes on, too, and the job must reach its end: every process with exit code 0, the lake what the
reference program expects, and each file that a reader had seen as it was. A site that no process of its kind reached is a failure.

  scripts/crash cluster-every-step                  every site, process and way once, 255 trials; half an hour
  scripts/crash cluster-every-step --only publish.  the same at some of the sites
  scripts/crash cluster-every-step --sample 24      so many trials, drawn at random; one in six is a stop
"""
import collections
import signal
import threading
import time

from crash_suites import cluster, kill_anywhere
from crash_suites import kill_every_step as steps
from crash_suites import rig as rigs

KILLED = {"kill": signal.SIGKILL, "abort": signal.SIGABRT}
WAYS = (*KILLED, "stop")
# What a process that does not lead comes to, of the sites that a job on one process has, too.
OF_MEMBERS = ("stage.opened", "stage.written", "stage.synced", "stage.rows", "stage.state")
# A stop that nobody can notice, since the processes do not know each other yet, lasts so many seconds.
UNKNOWN_S = 2
STOP_EVERY = 6
# How often a trial begins anew where a job has ended without coming to the site.
TRIES = 4


def options(parser):
    parser.add_argument("--only", metavar="PREFIX", action="append", help="only sites whose name begins so; may be repeated")
    parser.add_argument("--sample", type=int, metavar="N", help="only so many trials (default: all)")


def plan():
    """All trials: (site, process that is held there, process that is hit, way)."""
    known, joint = steps.sites(), steps.sites("CLUSTER_SITES")
    member = [site for site in joint if site.startswith("member.")]
    both = [site for site in joint if site not in member]
    held = [(site, 0, (0, 1)) for site in (*known, *both)] + [(site, 1, (0, 1, 2)) for site in (*OF_MEMBERS, *both, *member)]
    return [(site, holder, victim, way) for site, holder, victims in held for victim in victims for way in WAYS]


class Held(cluster.Cluster):
    """A cluster of which one process stops itself at a site."""

    def __init__(self, rig, lake, capture, size, more, holder, point):
        self.holder, self.point, self.over = holder, point, threading.Event()
        super().__init__(rig, lake, capture, size, more)

    def environment(self, process):
        """Only the first start is held."""
        if process != self.holder or self.point is None:
            return {}
        point, self.point = self.point, None
        return {"FAILPOINTS": point}

    def reaches(self):
        """Waits until the process is held; False if the job has ended before it came there."""
        run = self.runs[self.holder]
        rigs.wait_for(f"the stop of process {self.holder}: {self.name}", lambda: is_stopped(run) or run.ended(), None, rigs.SECONDS_MAX)
        if not run.ended():
            return True
        self.ends([0] * len(self.runs))
        return False

    def goes_on(self):
        """Lets the process that was held go on, now and whenever it comes to the site again: it may start itself again."""
        threading.Thread(target=self.wake, args=(self.runs[self.holder].child,), daemon=True).start()

    def wake(self, child):
        while not self.over.is_set():
            with self.rig.lock:
                if child in self.rig.children and child.returncode is None:
                    child.send_signal(signal.SIGCONT)
            self.over.wait(0.05)

    def hit(self, victim, way):
        """Ends a process that may be stopped, and starts it again."""
        run = self.runs[victim]
        run.child.send_signal(KILLED[way])
        run.child.send_signal(signal.SIGCONT)
        if (code := self.rig.finish(run)) != -KILLED[way]:
            raise rigs.Failed(f"process {victim} ended with {code} before it was hit: {self.name}\n{self.said()}")
        self.runs[victim] = self.start(victim)

    def stays_away(self, victim, site):
        """Stops a process until the others have noticed."""
        others = [(run, cluster.notices(run)) for at, run in enumerate(self.runs) if at != victim]
        self.runs[victim].child.send_signal(signal.SIGSTOP)
        if victim != self.holder:
            self.goes_on()
        if site == "join.begin":
            time.sleep(UNKNOWN_S)
        else:
            rigs.wait_for(f"the others' notice: {self.name}", lambda: all(cluster.notices(run) > before or run.ended() for run, before in others), None)
        self.runs[victim].child.send_signal(signal.SIGCONT)


def is_stopped(run):
    """True if the process is stopped by a signal."""
    with open(f"/proc/{run.child.pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def trial(rig, ground, what, draw):
    """Gives the seconds from the hit to the next commit, or to the end of the job if there was none."""
    site, holder, victim, way = what
    early = site.startswith(("begin.", "sweep.", "finish.", "fold.written", "join.", "member."))
    skip, tries = 0 if early else draw.randrange(12), 0
    while True:
        lake, capture, more = ground.lake(site, draw)
        size = (3, 1) if victim == 2 else draw.choice(((2, 1), (2, 2), (3, 1)))
        job = Held(rig, lake, capture, size, more, holder, f"{site}={skip}*off->1*return(stop)" if skip else f"{site}=1*return(stop)")
        if job.reaches():
            break
        # It was not passed that often before the input ended. Other sizes and lakes may come there more often.
        rig.forget(lake)
        tries += skip == 0
        if tries == TRIES:
            raise rigs.Failed(f"process {holder} did not come to {site}")
        skip //= 2
    seen, began, before = rigs.committed_files(lake), time.monotonic(), rigs.highest(lake)
    try:
        if way == "stop":
            job.stays_away(victim, site)
        else:
            job.hit(victim, way)
        if victim != holder or way == "stop":
            job.goes_on()
        rigs.wait_for(f"the next commit: {job.name}", lambda: rigs.has_committed(lake, before) or all(run.ended() for run in job.runs), None)
        took = time.monotonic() - began
        job.ends([0] * size[0])
    finally:
        job.over.set()
    kill_anywhere.still_there(seen, rigs.committed_files(lake))
    rig.verify(lake, capture)
    rig.forget(lake)
    return took


def named(rig, ground, what, draw):
    try:
        return trial(rig, ground, what, draw)
    except rigs.Failed as error:
        site, holder, victim, way = what
        raise rigs.Failed(f"at {site} of process {holder}, {way} of process {victim}: {error}") from None


def drawn(args):
    """The trials of this run."""
    draw, all_trials = rigs.rng(args.seed, "trials"), [what for what in plan() if what[0].startswith(tuple(args.only or [""]))]
    draw.shuffle(all_trials)
    if args.sample is None:
        return all_trials
    stops = [what for what in all_trials if what[3] == "stop"][: args.sample // STOP_EVERY]
    return [what for what in all_trials if what[3] != "stop"][: args.sample - len(stops)] + stops


def suite(rig, args):
    ground, trials = steps.Ground(rig, args.seed), drawn(args)
    ground.prepare()
    took = rig.trials([lambda what=what: named(rig, ground, what, rigs.rng(args.seed, *what)) for what in trials])
    hit = [seconds for seconds, what in zip(took, trials) if what[3] != "stop"]
    figures = {"ways": dict(collections.Counter(what[3] for what in trials)), "sites": len({what[:2] for what in trials})}
    return len(trials), {**rig.figures(), **figures, "next_commit_s": rigs.spread_s(hit)}
