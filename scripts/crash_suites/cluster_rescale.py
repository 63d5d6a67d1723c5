"""One job that goes from each size to each other one while it runs, with a kill inside, and while its files grow and new ones come.

Each lake tries one pair of sizes (processes x workers). Three processes of one host file follow a folder; those that the size does not need
stand by. The job is asked for the other size (`headway rescale --execute`), and while it is on its way a random process is killed and
started again. Meanwhile lines are added to the files of the folder, and the last file comes only now. When the job has the other size
and has read everything, a signal to all must end each with exit code 0. At the end the lake must be what the reference program expects,
and its live tables what was committed makes them.

  scripts/crash cluster-rescale               all twenty pairs
  scripts/crash cluster-rescale --pairs 4     so many of them, drawn at random
"""
import itertools
import json
import os
import shutil
import subprocess
import threading
import time

from crash_suites import cluster, fencing
from crash_suites import rig as rigs

SIZES = ((1, 1), (2, 1), (1, 2), (3, 1), (2, 2))
POOL = 3
# Within so many seconds after it was asked for, a rescale is hit: one that nobody hits takes about this long.
INSIDE_S = 0.7
# How often a pair is tried until a kill came before the job had its other size.
TRIES = 10
# Lines that are added to a file at once.
CHUNK = 100


def options(parser):
    parser.add_argument("--pairs", type=int, default=20, help="how many of the twenty pairs (default 20)")
    parser.add_argument("--messages", type=int, default=9_000, help="messages of a capture (default 9000)")


class Pool(cluster.Endless):
    """Three processes, of which the job has as many as its size says."""

    def __init__(self, rig, lake, capture, size):
        super().__init__(rig, lake, capture, (POOL, size[1]), ["-n", str(size[0]), "--members", "as-committed", "--views"])

    def rescale(self, to):
        """Asks for another size; gives the child, which ends when the job has it."""
        command = [self.rig.binary, "rescale", "--lake", self.lake, "--to", "x".join(map(str, to)), "-H", self.name + ".hosts", "--execute", "-o", "json"]
        return rigs.Run(self.rig.spawn(command, self.name + ".rescale.log"), self.name + ".rescale.log", command)

    def becomes(self, to, asked):
        """Waits until the job has a size that it was asked for."""
        self.rig.ends_well(asked)
        if size_of(self.lake) != to:
            raise rigs.Failed(f"the job has the size {size_of(self.lake)}, not {to}: {self.name}\n{self.said()}")

    def hit_while_it_goes(self, to, draw):
        """Asks for another size, and kills a process meanwhile; gives the seconds until the job had it.

        None if it had it before the kill: then it has gone back.
        """
        before, began, asked = size_of(self.lake), time.monotonic(), self.rescale(to)
        time.sleep(draw.random() * INSIDE_S)
        self.kill(draw.randrange(max(before[0], to[0])))
        inside = not asked.ended()
        self.becomes(to, asked)
        if inside:
            return time.monotonic() - began
        self.becomes(before, self.rescale(before))
        return None

    def goes_to(self, to, draw):
        """Asks for another size until a kill came before the job had it; gives the seconds that this took."""
        took = next(filter(None, (self.hit_while_it_goes(to, draw) for _ in range(TRIES))), None)
        if took is None:
            raise rigs.Failed(f"no kill came before the job had its other size: {self.name}")
        return took

    def drain(self):
        for run in self.runs:
            run.child.terminate()
        self.ends([0] * POOL)


class Growing:
    """A folder that gets the lines of a capture by and by: a half of each file is there, and the last file is not."""

    def __init__(self, rig, capture, draw):
        folder, chunks = rig.path("growing"), {}
        os.makedirs(folder)
        self.capture = rigs.Capture(folder, capture.flags)
        names = sorted(os.listdir(capture.folder))
        for name in names:
            with open(os.path.join(capture.folder, name), "rb") as file:
                lines = file.readlines()
            here = len(lines) // 2 if name != names[-1] else 0
            self.append(name, lines[:here])
            chunks[name] = [lines[at:at + CHUNK] for at in range(here, len(lines), CHUNK)]
        order = [name for name, of in chunks.items() for _ in of]
        draw.shuffle(order)
        self.rest = [(name, chunks[name].pop(0)) for name in order]

    def append(self, name, lines):
        if lines:
            with open(os.path.join(self.capture.folder, name), "ab") as file:
                file.writelines(lines)

    def begin(self, seconds):
        """Adds the rest within about so many seconds; gives the thread."""
        thread = threading.Thread(target=self.add, args=(seconds / len(self.rest),), daemon=True)
        thread.start()
        return thread

    def add(self, pause):
        for name, lines in self.rest:
            self.append(name, lines)
            time.sleep(pause)


def one_pair(rig, args, number, pair):
    """Gives the seconds from the question to the other size."""
    start, to = pair
    draw = rigs.rng(args.seed, "cluster-rescale", *start, *to)
    capture, lake = captured(rig, args, number), rig.path("rescale")
    growing = Growing(rig, capture, draw)
    os.makedirs(os.path.dirname(lake), exist_ok=True)
    pool = Pool(rig, lake, growing.capture, start)
    pool.until(rigs.highest(lake) + 3 + draw.randrange(20))
    adding = growing.begin(4)
    took = pool.goes_to(to, draw)
    adding.join()
    rigs.wait_for(f"the end of the files: {pool.name}", lambda: fencing.read_to_the_end(lake, growing.capture), None, rigs.SECONDS_MAX)
    pool.drain()
    if size_of(lake) != to:
        raise rigs.Failed(f"the job ended with the size {size_of(lake)}, not {to}: {pool.name}")
    rig.settle(lake, growing.capture, 1, ["-n", "1", "--views"])
    rig.judge(lake, growing.capture.folder, capture.flags, ["--floors", floors(lake)])
    rig.audited(lake)
    rig.call([rig.binary, "views", "verify", "--lake", lake], f"the views of {lake} are wrong")
    rig.forget(lake)
    shutil.rmtree(growing.capture.folder, ignore_errors=True)
    return took


def captured(rig, args, number):
    """One of a few captures that all pairs share."""
    return rig.capture_for_views(args.seed * 1000 + 51 + number % 3, args.messages)


def size_of(lake):
    """Processes and workers of the last run."""
    members = rigs.head(lake)["members"]
    return members["processes"], members["workers"]


def floors(lake):
    """A file of the floors that the manifests name: partitions that came while the job ran have one."""
    parts = (part for manifest in rigs.all_manifests(lake) for source in manifest["inputs"] for part in source["partitions"])
    found = {(part["partition"], part["floor_from"], part["floor"]) for part in parts if part.get("floor") is not None}
    with open(lake + ".floors", "w", encoding="utf-8") as out:
        out.writelines(json.dumps({"partition": p, "offset": offset, "floor": floor}) + "\n" for p, offset, floor in sorted(found))
    if not found:
        raise rigs.Failed(f"no file came while the job ran: {lake}")
    return lake + ".floors"


def suite(rig, args):
    pairs = list(itertools.permutations(SIZES, 2))
    rigs.rng(args.seed, "pairs").shuffle(pairs)
    pairs = pairs[: args.pairs]
    for number in range(min(len(pairs), 3)):
        captured(rig, args, number)
    took = rig.trials([lambda number=number, pair=pair: one_pair(rig, args, number, pair) for number, pair in enumerate(pairs)])
    return len(pairs), {**rig.figures(), "kills": len(pairs), "rescale_s": rigs.spread_s(took)}
