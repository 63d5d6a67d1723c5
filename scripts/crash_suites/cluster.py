"""One job over several processes: kills, stops and hangs of random ones, and another number of processes in between.

A run is one lake. The job is started on a number of processes and workers, and some of its processes are killed (SIGKILL) or,
with --stops, stopped (SIGSTOP) at random moments. Whoever was killed is started again, as a supervisor does; all others must
start themselves again. Then a signal to any of them must drain all, and another number of processes goes on. At the end the lake must be
what the reference program expects, and no file that a reader had seen may have changed.

With --rivals a second, whole cluster takes the lake over while the first one works: all processes of the first one must
end with exit code 4, and stay away.

With --views the job has live tables; at the end each must be, to the byte, what one process makes of the same capture.

  scripts/crash cluster                   20 kills
  scripts/crash cluster --views           the same with live tables
  scripts/crash cluster --kills 300       the figure of the scoreboard
"""
import collections
import json
import signal
import socket
import time

from crash_suites import kill_anywhere
from crash_suites import rig as rigs

SIZES = ((2, 1), (3, 1), (2, 2), (1, 2), (3, 1))
# How often one start of a cluster is hit: each time its processes wait twice as long before they come back.
HITS = 3
SECRET = "a secret that only processes of this job know"


def options(parser):
    parser.add_argument("--kills", type=int, default=20, help="processes that are killed (default 20)")
    parser.add_argument("--kills-a-run", type=int, default=7, help="how many of them one lake takes (default 7)")
    parser.add_argument("--stops", type=int, default=1, help="processes that are stopped, in all (default 1; each takes 10 s)")
    parser.add_argument("--rivals", type=int, default=1, help="lakes that a second cluster takes over (default 1)")
    parser.add_argument("--views", action="store_true", help="with live tables, compared with those of one process")
    parser.add_argument("--messages", type=int, default=27_000, help="messages of a capture (default 27000)")


class Cluster:
    """The processes of a job, each with its log."""

    # The job follows its files, and does not end by itself.
    follows = False

    def __init__(self, rig, lake, capture, size, more=()):
        self.rig, self.lake, self.capture, self.size, self.more = rig, lake, capture, size, more
        # When its processes were killed, in seconds since 1970.
        self.killed = []
        self.name = f"{lake}.{time.monotonic_ns()}"
        free = [socket.create_server(("127.0.0.1", 0)) for _ in range(size[0])]
        with open(self.name + ".hosts", "w", encoding="utf-8") as hosts:
            hosts.writelines(f"127.0.0.1:{server.getsockname()[1]}\n" for server in free)
        for server in free:
            server.close()
        with open(self.name + ".secret", "w", encoding="utf-8") as secret:
            secret.write(SECRET + "\n")
        self.runs = self.begin()

    def begin(self):
        """Starts the processes."""
        return [self.start(process) for process in range(self.size[0])]

    def start(self, process):
        until, following = (None, ["--follow"]) if self.follows else ("end", [])
        flags = [*self.flags(process), *following]
        return self.rig.start(self.lake, self.capture, self.size[1], flags, env=self.environment(process), until=until, log=self.log(process))

    def flags(self, process):
        """What makes a process one of the job."""
        return [*self.more, "-H", self.name + ".hosts", "-p", str(process), "--mesh-secret-file", self.name + ".secret", "-v"]

    def log(self, process):
        return f"{self.name}.{process}.log"

    def environment(self, process):
        """What a process that is started now finds in its environment beside that of the suite."""
        return {}

    def said(self):
        return "".join(f"process {process}:\n{run.said(6)}" for process, run in enumerate(self.runs))

    def until(self, number):
        """Waits until manifest `number` is there; all processes must be alive then."""
        end = time.monotonic() + rigs.SECONDS_MAX
        while rigs.highest(self.lake) < number:
            self.alive()
            if time.monotonic() > end:
                raise rigs.Failed(f"manifest {number} is not there: {self.name}\n{self.said()}")
            time.sleep(0.005)

    def alive(self):
        """No process has ended."""
        if ended := [process for process, run in enumerate(self.runs) if run.ended()]:
            raise rigs.Failed(f"processes {ended} have ended: {self.name}\n{self.said()}")

    def kill(self, process):
        """Kills a process, and starts it again."""
        self.killed.append(time.time())
        if self.rig.kill(self.runs[process]) != -9:
            raise rigs.Failed(f"process {process} ended before it was killed: {self.name}\n{self.said()}")
        self.runs[process] = self.start(process)

    def stop(self, process):
        """Stops a process until the others have noticed; then it goes on, and must notice, too."""
        before = rigs.head(self.lake)["generation"]
        others = [(run, notices(run)) for at, run in enumerate(self.runs) if at != process]
        self.runs[process].child.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        rigs.wait_for("the others to notice", lambda: all(notices(run) > earlier for run, earlier in others), None)
        noticed = time.monotonic() - began
        self.runs[process].child.send_signal(signal.SIGCONT)
        rigs.wait_for("the cluster to come back", lambda: rigs.head(self.lake)["generation"] > before, None)
        return noticed

    def drain(self, process):
        """One process is told to end; all must drain."""
        self.runs[process].child.send_signal(signal.SIGTERM)
        self.ends([0] * len(self.runs))

    def ends(self, expected):
        codes = [self.rig.finish(run) for run in self.runs]
        if codes != expected:
            raise rigs.Failed(f"the processes ended with {codes}, not {expected}: {self.name}\n{self.said()}")


class Endless(Cluster):
    """The processes of a job that follows its files."""

    follows = True


def said(run):
    with open(run.log, encoding="utf-8", errors="replace") as file:
        return file.read()


def notices(run):
    """How often a process has said that another one is lost, or that it starts again for that."""
    return said(run).count("no sign of life") + said(run).count('event="restarting"')


def one_lake(rig, args, number):
    """Kills processes of one job as often as planned; gives (kills by process, generations, seconds to the next commits, seconds to
    notice a stopped one)."""
    draw = rigs.rng(args.seed, "cluster", number)
    capture, more = kill_anywhere.captured(rig, args, number % 3), ["--views"] if args.views else []
    lake, kills, seen, killed, noticed = rig.path("cluster"), collections.Counter(), {}, [], []
    todo = min(args.kills_a_run, args.kills - number * args.kills_a_run)
    stops = 1 if number < args.stops else 0
    while todo > 0 or stops:
        size = draw.choice(SIZES)
        if size[0] == 1:
            single(rig, lake, capture, size[1], draw, more)
            continue
        cluster = Cluster(rig, lake, capture, size, more)
        for _ in range(min(todo, draw.randint(1, HITS))):
            cluster.until(rigs.highest(lake) + 1 + draw.randrange(25))
            time.sleep(draw.random() * 0.03)
            victim = draw.randrange(size[0])
            cluster.kill(victim)
            kills["leader" if victim == 0 else "member"] += 1
            todo -= 1
            still = rigs.committed_files(lake)
            kill_anywhere.still_there(seen, still)
        cluster.until(rigs.highest(lake) + 2)
        if stops:
            stops = 0
            noticed.append(cluster.stop(draw.randrange(size[0])))
            cluster.until(rigs.highest(lake) + 2)
        cluster.drain(draw.randrange(size[0]))
        killed += cluster.killed
        if rigs.head(lake)["members"]["processes"] != size[0]:
            raise rigs.Failed(f"the manifest does not say that {size[0]} processes made it: {lake}")
    size = draw.choice([size for size in SIZES if size[0] > 1])
    Cluster(rig, lake, capture, size, more).ends([0] * size[0])
    if args.views:
        same_tables(rig, lake, capture, more)
    kill_anywhere.still_there(seen, rigs.committed_files(lake))
    rig.verify(lake, capture)
    generations, took = rigs.head(lake)["generation"], back_s(lake, killed)
    rig.forget(lake)
    return kills, generations, took, noticed


def back_s(lake, killed):
    """Seconds from each kill to the next commit of a later generation, where no other kill came in between."""
    written = sorted((one["written_ms"] / 1000, one["generation"], one["kind"] == "commit") for one in rigs.all_manifests(lake))
    until = []
    for at in killed:
        last = max((generation for when, generation, _ in written if when <= at), default=0)
        until.append((at, next((when for when, generation, commits in written if commits and generation > last), None)))
    return [commit - at for at, commit in until if commit is not None and not any(at < other < commit for other in killed)]


def same_tables(rig, lake, capture, more):
    """The tables of the lake are what was committed makes them, and what one process makes of the capture."""
    whole = rig.path("whole")
    rig.settle(whole, capture, 1, more)
    expected, found = tables(rig, whole), tables(rig, lake)
    if not expected or not any(expected.values()):
        raise rigs.Failed(f"one process makes no tables: {whole}")
    for name, rows in expected.items():
        if found.get(name) != rows:
            raise rigs.Failed(f"table {name} of {lake} is not that of {whole}")
    rig.call([rig.binary, "views", "verify", "--lake", lake], f"the views of {lake} are wrong")
    rig.forget(whole)


def tables(rig, lake):
    """The lines of each table, by name."""
    listed = rig.call([rig.binary, "views", "ls", "--lake", lake, "-o", "json"], f"the views of {lake} cannot be listed")
    names = [view["view"] for view in map(json.loads, listed.splitlines()) if "view" in view]
    of = lambda name: rig.call([rig.binary, "views", "export", name, "--lake", lake], f"view {name} of {lake} cannot be read")
    return {name: sorted(of(name).splitlines()) for name in names}


def single(rig, lake, capture, workers, draw, more):
    """One process goes on for a few epochs, and is killed."""
    before = rigs.highest(lake)
    run = rig.start(lake, capture, workers, ["-n", "1", *more])
    rigs.wait_for("a commit", lambda: rigs.highest(lake) >= before + 2 + draw.randrange(6), run)
    if rig.kill(run) != -9:
        raise rigs.Failed(f"a run on {workers} workers ended before it was killed\n{run.said()}")


def rivals(rig, args, number):
    """Two whole clusters on one lake: one wins, the other goes away for good."""
    draw = rigs.rng(args.seed, "rivals", number)
    capture, lake = rig.capture(args.seed * 1000 + number % 3, args.messages), rig.path("rivals")
    # It cannot end before it is overtaken.
    first = Endless(rig, lake, capture, (2, 1))
    first.until(rigs.highest(lake) + 3 + draw.randrange(15))
    second = Cluster(rig, lake, capture, (3, 1), ["--if-running", "take-over"])
    first.ends([4, 4])
    second.ends([0, 0, 0])
    rig.verify(lake, capture)
    rig.forget(lake)


def suite(rig, args):
    lakes = -(-args.kills // args.kills_a_run)
    for number in range(min(lakes, 3)):
        kill_anywhere.captured(rig, args, number)
    results = rig.trials([lambda number=number: one_lake(rig, args, number) for number in range(lakes)])
    rig.trials([lambda number=number: rivals(rig, args, number) for number in range(args.rivals)])
    kills = sum((kills for kills, *_ in results), collections.Counter())
    took, noticed = ([seconds for one in results for seconds in one[which]] for which in (2, 3))
    if noticed and max(noticed) > 12:
        raise rigs.Failed(f"a stopped process was noticed after {max(noticed):.1f} s, not within 12 s")
    figures = {"kills": dict(sorted(kills.items())), "generations": [one[1] for one in results], "lakes": lakes, "rivals": args.rivals}
    figures["next_commit_s"] = rigs.spread_s(took)
    return kills.total(), {**rig.figures(), **figures, "stop_noticed_s": round(max(noticed), 1) if noticed else None}
