"""R02b: SIGKILL at the n-th write, fsync, link, rename, unlink, mkdir and open of a run, by strace, for every n of an epoch.

No help from our code: strace kills the process as the call begins. Its counters are per thread, so each thread is met in
its own calls:
  start    a job that was killed between a manifest and its files is resumed under strace: every call of its main thread
           until its first commit is one trial (reading the chain, publishing again, claiming, sweeping)
  epoch    strace is attached to the thread that commits, or to one that stages, in the middle of the run: every call of
           one epoch of that thread is one trial
Then the job is left alone, and its lake must be what the reference program expects.

  scripts/crash syscalls                   40 trials, drawn
  scripts/crash syscalls --trials all      every n of every call
"""
import itertools
import os
import re
import shutil
import subprocess

from crash_suites import rig as rigs

CALLS = ("write", "fsync", "link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "openat")
TRACE = "trace=?" + ",?".join(CALLS)
THREADS = ("headway-commit", "headway-stage-0"[:15])
WORKERS = 2


def options(parser):
    parser.add_argument("--trials", default="40", metavar="N|all", help="how many (default 40)")


class Ground:
    """A job stopped between a manifest and its files, and how many calls of each kind its resumption makes."""

    def __init__(self, rig, seed):
        self.rig, self.capture = rig, rig.capture(seed * 1000 + 51, 4_000)
        self.halfway = rig.path("halfway")

    def copy(self):
        lake = self.rig.path("syscalls")
        shutil.copytree(self.halfway, lake)
        return lake

    def prepare(self):
        """Kills a run at a link that publishes: those of manifests come from a temporary name."""
        for skip in range(3, 400):
            shutil.rmtree(self.halfway, ignore_errors=True)
            run = self.rig.start(self.halfway, self.capture, WORKERS, wrap=killer(f"link,?linkat:signal=KILL:when={skip}"))
            self.rig.finish(run)
            if rigs.phase(self.halfway, 1) == "publishing":
                return
        raise rigs.Failed("no run could be stopped before it published")

    def points(self):
        """{(where, call): numbers of its calls} of a start, and of an epoch of each thread."""
        lake, trace = self.copy(), os.path.join(self.rig.folder, "trace")
        wrap = ["strace", "-f", "-qq", "-o", trace, "-e", TRACE]
        run = self.rig.start(lake, self.capture, WORKERS, wrap=wrap)
        if self.rig.finish(run) != 0:
            raise rigs.Failed(f"a run under strace failed\n{run.said()}")
        with open(trace, encoding="utf-8", errors="replace") as file:
            lines = [re.match(r"(\d+) +(\w+)\((.*)", line) for line in file]
        lines = [match.groups() for match in lines if match]
        main, made, found = lines[0][0], {}, {}
        for thread, call, rest in lines:
            if thread == main:
                made[call] = made.get(call, 0) + 1
                # Libraries and settings are opened as well; what counts is the lake.
                if call != "openat" or lake in rest:
                    found.setdefault(("start", call), []).append(made[call])
        # The thread that commits is the one that links after the start; a stager is one that opens stages.
        commit = next(thread for thread, call, _ in lines if thread != main and call in ("link", "linkat"))
        stage = next(thread for thread, call, rest in lines if call == "openat" and "/stage/" in rest and thread not in (main, commit))
        for name, thread in zip(THREADS, (commit, stage)):
            own = [(call, rest) for of, call, rest in lines if of == thread]
            # One epoch, generously: from one manifest's (or state's) link or open to the third after it.
            marks = [n for n, (call, rest) in enumerate(own) if ("manifest/0" in rest if name == THREADS[0] else "O_EXCL" in rest)]
            for call, _ in own[marks[len(marks) // 2]:marks[min(len(marks) // 2 + 4, len(marks) - 1)]]:
                numbers = found.setdefault((name, call), [])
                numbers.append(len(numbers) + 1)
        return found


def killer(inject):
    call = inject.split(":")[0]
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={inject}"]


def thread_of(run, name):
    """The number of the thread called `name`; None if it is not there."""
    folder = f"/proc/{run.child.pid}/task"
    for task in os.listdir(folder):
        try:
            with open(f"{folder}/{task}/comm", encoding="utf-8") as file:
                if file.read().strip() == name:
                    return task
        except FileNotFoundError:
            pass
    return None


def at_start(rig, ground, call, when):
    lake = ground.copy()
    run = rig.start(lake, ground.capture, WORKERS, wrap=killer(f"{call}:signal=KILL:when={when}"))
    code = rig.finish(run)
    return lake, code in (-9, 137)


def at_epoch(rig, ground, thread, call, when, draw):
    lake = rig.path("syscalls")
    run = rig.start(lake, ground.capture, WORKERS)
    rigs.wait_for("a commit", lambda: rigs.highest(lake) >= 4 + draw, run)
    task = thread_of(run, thread)
    if task is None:
        raise rigs.Failed(f"the run has no thread {thread}")
    # Without -f it follows this thread only.
    tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", task, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    code = rig.finish(run)
    tracer.kill()
    tracer.wait()
    return lake, code == -9


def trial(rig, ground, where, call, when, seed):
    draw = rigs.rng(seed, where, call, when)
    lake, killed = at_start(rig, ground, call, when) if where == "start" else at_epoch(rig, ground, where, call, when, draw.randrange(12))
    rig.settle(lake, ground.capture, draw.choice((1, 2, 3)))
    rig.verify(lake, ground.capture)
    rig.forget(lake)
    return killed


def suite(rig, args):
    if not shutil.which("strace"):
        raise rigs.Failed("strace is not installed")
    ground = Ground(rig, args.seed)
    ground.prepare()
    draw, columns = rigs.rng(args.seed, "syscalls"), []
    for (where, call), numbers in sorted(ground.points().items()):
        columns.append(draw.sample([(where, call, when) for when in numbers], len(numbers)))
    # In turns, so that a few trials meet every kind of call.
    known = [point for row in itertools.zip_longest(*columns) for point in row if point]
    chosen = known if args.trials == "all" else known[:int(args.trials)]
    killed = rig.trials([lambda p=point: trial(rig, ground, *p, args.seed) for point in chosen])
    missed = [point for point, hit in zip(chosen, killed) if not hit]
    # A late attachment, or an epoch without such a call, may leave a run alone; not many may be.
    if len(missed) > len(chosen) // 10:
        raise rigs.Failed(f"{len(missed)} of {len(chosen)} runs were not killed: {missed[:5]}")
    by_place = {}
    for where, call, _ in chosen:
        by_place[f"{where} {call}"] = by_place.get(f"{where} {call}", 0) + 1
    return len(chosen), {**rig.figures(), "points_known": len(known), "killed": sum(killed), "at": by_place}
