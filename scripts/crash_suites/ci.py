"""A selection of all suites for every change: some ten minutes on two cores. Two at a time, since each waits for most of its time: for
disks, for processes that start, for what is lost to be noticed.

The suite of fail points wants a binary of its own, given by --failpoints; without it that suite is left out, and so are
those that mount disks where that is not allowed. Each is named as skipped in the last line, so that nobody takes it as held.

  scripts/crash ci --binary BINARY --failpoints BINARY
"""
import concurrent.futures
import os
import subprocess
import sys
import tempfile
import time

from crash_suites import rig as rigs

SELECTION = (
    ("kill-anywhere", "--kills", "25"),
    ("kill-anywhere", "--views", "--kills", "50"),
    ("two-folders", "--kills", "20"),
    ("kill-every-step", "--pairs", "6"),
    ("syscalls", "--trials", "24"),
    ("power-cut", "--cuts", "15"),
    ("disk", "--full", "4", "--sync", "12"),
    ("rescale",),
    ("cluster", "--kills", "20"),
    ("cluster", "--views", "--kills", "7", "--stops", "0", "--rivals", "0"),
    ("cluster-every-step", "--sample", "18"),
    ("cluster-rescale", "--pairs", "4"),
    ("strangers", "--calls", "1000"),
    ("cluster-signals", "--idle", "6", "--standby", "1", "--killed", "4"),
    ("cuts", "--cuts", "2"),
    ("fencing", "--trials", "4"),
    ("sigterm", "--signals", "50"),
    ("corrupt", "--mutations", "200"),
    # The same lies each time: they are drawn from very many, and those of a change should not be told of another one.
    ("sealed-again", "--lies", "100", "--seed", "5"),
    ("wall-clock", "--jobs-of", "2"),
)
AT_ONCE = 2
MOUNTS = ("power-cut", "disk")
FAIL_POINTS = ("kill-every-step", "cluster-every-step", "cuts", "wall-clock")


def options(parser):
    parser.add_argument("--two-halls", metavar="BINARY", type=os.path.abspath, help="a binary built with: cargo build --example two_halls")
    parser.add_argument("--failpoints", metavar="BINARY", type=os.path.abspath, help="a binary built with: cargo build --features failpoints")


def can_mount():
    """True if this user may mount an image: containers often may not."""
    with tempfile.TemporaryDirectory() as folder:
        image, at = os.path.join(folder, "image"), os.path.join(folder, "at")
        os.mkdir(at)
        with open(image, "wb") as file:
            file.truncate(4 << 20)
        try:
            for words in (["mkfs.ext4", "-q", "-F", image], ["mount", "-o", "loop", image, at]):
                if subprocess.run(words, capture_output=True, check=False).returncode != 0:
                    return False
        except FileNotFoundError:
            return False
        return subprocess.run(["umount", at], capture_output=True, check=False).returncode == 0


def why_skipped(args, name, mounts):
    """Why a suite is left out, or None."""
    if name in MOUNTS and not mounts:
        return "disks cannot be mounted here"
    if name == "two-folders" and not args.two_halls:
        return "no program of examples/two_halls.rs was given"
    if name in FAIL_POINTS and not args.failpoints:
        return "no binary with fail points was given"
    return None


def holds(rig, args, log, name, words):
    """Runs a suite; prints what it said once it has ended."""
    binary = args.failpoints if name in FAIL_POINTS else args.binary
    command = [sys.executable, os.path.join(rigs.ROOT, "scripts", "crash"), name, "--binary", binary]
    command += ["--two-halls", args.two_halls] if name == "two-folders" else []
    child = rig.spawn([*command, "--seed", str(args.seed), "--jobs", str(args.jobs), *words], log)
    while not rigs.has_ended(child):
        time.sleep(0.05)
    code = rig.end(child)
    with open(log, encoding="utf-8", errors="replace") as file:
        print(file.read(), end="", flush=True)
    return code == 0


def suite(rig, args):
    mounts = can_mount()
    skipped = {name: why for name, *_ in SELECTION if (why := why_skipped(args, name, mounts))}
    tried = [(number, name, words) for number, (name, *words) in enumerate(SELECTION) if name not in skipped]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        held = list(pool.map(lambda one: holds(rig, args, os.path.join(rig.folder, f"{one[0]}-{one[1]}"), *one[1:]), tried))
    for name, why in skipped.items():
        print(f"SKIPPED {name}: {why}. Nothing is known of what it shows.", flush=True)
    failed = [name for (_, name, _), one in zip(tried, held) if not one]
    if failed:
        raise rigs.Failed(f"did not hold: {', '.join(failed)}")
    return len(tried), {"skipped": skipped}
