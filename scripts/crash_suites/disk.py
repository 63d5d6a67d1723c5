"""R04: a full disk, and a disk whose syncs fail.

full   the lake is on a tmpfs that is too small for it; the job must stop with exit code 3 and an error that names the file.
       With more room it goes on. Needs root.
sync   strace lets the n-th fsync of a thread fail with EIO, for each n of the start and the first epochs, and for a few
       drawn later ones; the job must stop with exit code 5 (`disk-sync-failed`) and name the file. The thread that met the
       failure names no manifest any more, and another one at most the one it was about to. With a sound disk it goes on.
At the end the lake must be what the reference program expects.

  scripts/crash disk
"""
import os
import re
import subprocess

from crash_suites import rig as rigs
from crash_suites.power_cut import sh


def options(parser):
    parser.add_argument("--full", type=int, default=8, help="how many full disks (default 8)")
    parser.add_argument("--sync", type=int, default=24, help="how many failing syncs (default 24)")


def full(rig, args, number):
    draw = rigs.rng(args.seed, "full", number)
    capture, folder = rig.capture(args.seed * 1000 + 81, 5_000), os.path.dirname(rig.path("full"))
    mount, log = os.path.join(folder, "disk"), os.path.join(folder, "log")
    os.makedirs(mount)
    pages = 40 + draw.randrange(160)
    sh("mount", "-t", "tmpfs", "-o", f"size={pages * 4}k", "tmpfs", mount)
    try:
        lake = os.path.join(mount, "lake")
        run = rig.start(lake, capture, draw.choice((1, 2, 3)), log=log)
        code, said = rig.finish(run), run.said()
        if code != 3 or "No space left" not in said or not re.search(r'^error: .*".*/lake/', said, re.MULTILINE):
            raise rigs.Failed(f"{pages} pages ended the run with {code}\n{said}")
        sh("mount", "-o", "remount,size=256m", mount)
        rig.settle(lake, capture, draw.choice((1, 2, 3)), log=log)
        rig.verify(lake, capture)
    finally:
        subprocess.run(["umount", "-l", mount], capture_output=True, check=False)
    return pages


def sync(rig, args, number):
    draw = rigs.rng(args.seed, "sync", number)
    when = number + 1 if number < args.sync * 2 // 3 else 20 + draw.randrange(40)
    capture, lake = rig.capture(args.seed * 1000 + 81, 5_000), rig.path("sync")
    trace = lake + ".trace"
    wrap = ["strace", "-f", "-qq", "-o", trace, "-e", "trace=fsync,?link,linkat,renameat2", "-e", f"inject=fsync:error=EIO:when={when}"]
    run = rig.start(lake, capture, draw.choice((1, 2, 3)), wrap=wrap)
    code, said = rig.finish(run), run.said()
    with open(trace, encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
    failed = next((n for n, line in enumerate(lines) if "EIO" in line), None)
    if failed is None:
        raise rigs.Failed(f"no thread made {when} syncs")
    named = [line for line in lines[failed + 1:] if re.search(r"link|rename", line) and "/manifest/" in line and " = 0" in line]
    thread = lines[failed].split()[0]
    if len(named) > 1 or any(line.split()[0] == thread for line in named):
        raise rigs.Failed(f"after a failed sync a manifest was given its name: {named[-1]}")
    if code != 5 or not re.search(r'^error: could not sync ".*"', said, re.MULTILINE):
        raise rigs.Failed(f"failed sync {when} ended the run with {code}\n{said}")
    rig.settle(lake, capture, draw.choice((1, 2, 3)))
    rig.verify(lake, capture)
    rig.forget(lake)
    return when


def suite(rig, args):
    rig.capture(args.seed * 1000 + 81, 5_000)
    if args.full and os.geteuid() != 0:
        raise rigs.Failed("only root can mount a disk; leave it out with --full 0")
    works = [lambda n=n: full(rig, args, n) for n in range(args.full)]
    works += [lambda n=n: sync(rig, args, n) for n in range(args.sync)]
    results = rig.trials(works)
    return len(results), {**rig.figures(), "full_disks": args.full, "failed_syncs": args.sync, "continued_after_eio": 0}
