"""A selection of all suites for every change: some twelve minutes on two cores.

The suite of fail points wants a binary of its own, given by --failpoints; without it that suite is left out, and so are
those that mount disks where that is not allowed. Each is named as skipped in the last line, so that nobody takes it as held.

  scripts/crash ci --binary BINARY --failpoints BINARY
"""
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
)
MOUNTS = ("power-cut", "disk")
FAIL_POINTS = ("kill-every-step", "cluster-every-step", "cuts")


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


def suite(rig, args):
    skipped, failed, n = {}, [], 0
    mounts = can_mount()
    for number, (name, *words) in enumerate(SELECTION):
        log = os.path.join(rig.folder, f"{number}-{name}")
        if name in MOUNTS and not mounts:
            skipped[name] = "disks cannot be mounted here"
        elif name == "two-folders" and not args.two_halls:
            skipped[name] = "no program of examples/two_halls.rs was given"
        elif name in FAIL_POINTS and not args.failpoints:
            skipped[name] = "no binary with fail points was given"
        else:
            binary = args.failpoints if name in FAIL_POINTS else args.binary
            command = [sys.executable, os.path.join(rigs.ROOT, "scripts", "crash"), name, "--binary", binary]
            command += ["--two-halls", args.two_halls] if name == "two-folders" else []
            child = rig.spawn([*command, "--seed", str(args.seed), "--jobs", str(args.jobs), *words], log)
            while not rigs.has_ended(child):
                time.sleep(0.05)
            failed += [name] if rig.end(child) != 0 else []
            with open(log, encoding="utf-8", errors="replace") as file:
                print(file.read(), end="", flush=True)
            n += 1
    for name, why in skipped.items():
        print(f"SKIPPED {name}: {why}. Nothing is known of what it shows.", flush=True)
    if failed:
        raise rigs.Failed(f"did not hold: {', '.join(failed)}")
    return n, {"skipped": skipped}
