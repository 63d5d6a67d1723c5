"""SIGTERM to the processes of a cluster that have the least to do with it, and SIGKILL in the middle of a drain.

  idle       to a member that owns no partition: all drain and end with exit code 0, and the next start goes on from there
  standby    to a process that stands by: it alone ends, with exit code 0, and the others commit on as if nothing had happened
  killed     a process is killed while all drain, and started again: all end with exit code 0. A process that comes back after
             the others have ended waits for them until it gets a signal

At the end of each lake it must be what the reference program expects.

  scripts/crash cluster-signals                             50, 10 and 20 of them
  scripts/crash cluster-signals --idle 9 --standby 2 --killed 4
"""
import collections
import itertools
import signal
import time

from crash_suites import cluster
from crash_suites import rig as rigs

# A drain takes about this long.
INSIDE_S = 0.12
# A member that had ended before it was killed does not count; each kill is tried so often, at most.
TRIES = 4
# So long one that came back may be there after the others have ended.
ALONE_S = 3


def options(parser):
    parser.add_argument("--idle", type=int, default=50, help="signals to a member without a partition (default 50)")
    parser.add_argument("--standby", type=int, default=10, help="signals to a process that stands by (default 10)")
    parser.add_argument("--killed", type=int, default=20, help="kills in a drain (default 20)")
    parser.add_argument("--a-lake", type=int, default=5, help="how many of them one lake takes (default 5)")
    parser.add_argument("--messages", type=int, default=24_000, help="messages of a capture (default 24000)")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds that a drain may take (default 10)")


class Small(cluster.Cluster):
    """A cluster of `size` in a host file of more processes: those above it stand by."""

    def __init__(self, rig, lake, capture, size, standing_by=0):
        self.members = size[0]
        super().__init__(rig, lake, capture, (size[0] + standing_by, size[1]), ["-n", str(size[0])])


def idle(rig, args, job, draw):
    """Gives the seconds of the drain."""
    if len(rigs.head(job.lake)["inputs"][0]["partitions"]) >= job.members:
        raise rigs.Failed(f"the last process has a partition: {job.name}")
    began = time.monotonic()
    job.drain(job.members - 1)
    took = time.monotonic() - began
    if took > args.grace:
        raise rigs.Failed(f"a drain took {took:.1f} s, longer than {args.grace} s: {job.name}")
    if "drained" not in job.runs[0].said(3):
        raise rigs.Failed(f"the job ended by itself before its signal: it needs more messages\n{job.said()}")
    return took


def standby(rig, args, job, draw):
    """Gives the seconds until it had ended."""
    generation, began = rigs.head(job.lake)["generation"], time.monotonic()
    rigs.wait_for(f"the standby: {job.name}", lambda: "stands by" in cluster.said(job.runs[-1]), job.runs[-1])
    job.runs[-1].child.send_signal(signal.SIGTERM)
    rig.ends_well(job.runs.pop())
    took = time.monotonic() - began
    job.until(rigs.highest(job.lake) + 3)
    if rigs.head(job.lake)["generation"] != generation or any(map(cluster.notices, job.runs)):
        raise rigs.Failed(f"the end of a standby was noticed: {job.name}\n{job.said()}")
    job.drain(0)
    return took


def killed(rig, args, job, draw):
    """Gives the seconds until all had ended; None if the member had ended before it was killed."""
    began = time.monotonic()
    # Another one is told: who is killed before it has passed the signal on takes it along.
    victim = draw.randrange(job.members)
    job.runs[draw.choice([at for at in range(job.members) if at != victim])].child.send_signal(signal.SIGTERM)
    time.sleep(draw.random() * INSIDE_S)
    code = rig.kill(job.runs[victim])
    if code not in (0, -9):
        raise rigs.Failed(f"process {victim} ended with {code} in a drain: {job.name}\n{job.said()}")
    if code == -9:
        job.runs[victim] = job.start(victim)
    took = None
    for run in [run for at, run in enumerate(job.runs) if at != victim]:
        rig.ends_well(run)
        took = time.monotonic() - began
    end = time.monotonic() + ALONE_S
    while time.monotonic() < end and not job.runs[victim].ended():
        time.sleep(0.02)
    if not job.runs[victim].ended():
        # The others had ended before it was back: it waits for them until it gets a signal.
        job.runs[victim].child.terminate()
    rig.ends_well(job.runs[victim])
    return took if code == -9 else None


# What happens to the job, its size, and how many of its processes stand by.
KINDS = {"idle": (idle, ((2, 1), (3, 1)), 0), "standby": (standby, ((2, 1), (1, 2)), 1), "killed": (killed, ((2, 1), (3, 1)), 0)}


def one_lake(rig, args, kind, number, count):
    """Gives the kind, and the seconds of each time."""
    happens, sizes, standing_by = KINDS[kind]
    draw = rigs.rng(args.seed, "cluster-signals", kind, number)
    size = draw.choice(sizes)
    # One partition less than there are processes: the last one has none.
    partitions = size[0] - 1 if kind == "idle" else 4
    capture, lake, took = rig.capture(args.seed * 1000 + 71 + number % 2, args.messages, partitions), rig.path(kind), []
    for _ in range(TRIES * count):
        if len(took) == count:
            break
        job = Small(rig, lake, capture, size, standing_by)
        job.until(rigs.highest(lake) + 3 + draw.randrange(15))
        seconds = happens(rig, args, job, draw)
        took += [] if seconds is None else [seconds]
    if len(took) < count:
        raise rigs.Failed(f"only {len(took)} of {count} members were killed before they had ended")
    rig.settle(lake, capture, 2, ["-n", "1"])
    rig.verify(lake, capture)
    rig.forget(lake)
    return kind, took


def suite(rig, args):
    lakes = []
    for kind in KINDS:
        planned = getattr(args, kind)
        lakes += [(kind, number, min(args.a_lake, planned - at)) for number, at in zip(itertools.count(), range(0, planned, args.a_lake))]
    took = collections.defaultdict(list)
    for kind, seconds in rig.trials([lambda lake=lake: one_lake(rig, args, *lake) for lake in lakes]):
        took[kind] += seconds
    figures = {kind: {"n": len(seconds), "seconds": rigs.spread_s(seconds)} for kind, seconds in took.items()}
    return sum(map(len, took.values())), {**rig.figures(), **figures}
