"""What all suites stand on: captures, runs of the real binary, the reference program, and one line of JSON at the end.

The reference program (`scripts/reference`) writes the captures and says what the job must make of them. Windows, slides and
lateness are drawn freely, for each capture anew; they follow from the suite's seed, which its last line says.

Every process that is started belongs to a group of its own, is ended with the suite, and never dumps core.
"""
import argparse
import collections
import concurrent.futures
import dataclasses
import glob
import gzip
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from reference import draws

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REFERENCE = (sys.executable, os.path.join(ROOT, "scripts", "reference"))
JOB = "turnstile"
# A process that takes longer has failed.
SECONDS_MAX = 240
# Windows of jobs in the suites, in seconds: short enough that many close while a capture is read.
WINDOWS_S = (7, 45, 60, 61, 90, 180, 300, 420, 900)


class Failed(Exception):
    """What was promised does not hold, or a suite could not do what it planned."""


def parser(doc, prog, program="crash"):
    """The options that every suite has."""
    made = argparse.ArgumentParser(prog=f"scripts/{program} {prog}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--binary", type=os.path.abspath, default=os.path.join(ROOT, "target", "debug", "headway"), help="default: target/debug/headway")
    made.add_argument("--seed", type=int, help="what is drawn at random follows from it (default: another one each time)")
    made.add_argument("-j", "--jobs", type=int, default=2, help="trials at a time (default 2)")
    made.add_argument("--keep", metavar="DIR", help="work here and leave everything there")
    return made


def run_suite(name, args, suite, kind=None):
    """Runs `suite(rig)`, which gives (n, figures), on a rig of `kind`; prints the JSON line; gives the exit code."""
    if not os.access(args.binary, os.X_OK):
        sys.exit(f'error: there is no program "{args.binary}"\nhint: Build it with: cargo build')
    args.seed = random.randrange(1_000_000) if args.seed is None else args.seed
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, failed, n, figures = time.monotonic(), None, 0, {}
    with (kind or Rig)(args) as rig:
        try:
            n, figures = suite(rig)
        except Failed as error:
            failed = str(error)
            print(f"FAILED {name} --seed {args.seed}: {failed}", flush=True)
    line = {"name": name, "seed": args.seed, "n": n, **figures, "failed": failed is not None, "seconds": round(time.monotonic() - began, 1)}
    print(json.dumps(line), flush=True)
    return 1 if failed else 0


@dataclasses.dataclass(frozen=True)
class Capture(os.PathLike):
    """A folder of messages, and how a job reads them: the same flags are given to the job and to the reference program."""

    folder: str
    flags: tuple

    def __fspath__(self):
        return self.folder

    def __str__(self):
        return self.folder


class Run:
    """One process of the job, with its log."""

    def __init__(self, child, log, command):
        self.child, self.log, self.command = child, log, command

    def ended(self):
        return has_ended(self.child)

    def said(self, lines=12):
        """The last lines of its log."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])


def has_ended(child):
    """True if the process has ended. It is not reaped: its number stays its own until its group was ended, too."""
    return child.returncode is not None or os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class Rig:
    """A scratch folder, and the processes of one suite."""

    # In which forms captures are written.
    forms = ("envelopes", "envelopes", "lines")

    def __init__(self, args):
        self.binary, self.jobs, self.keep = args.binary, args.jobs, args.keep
        self.lock, self.children, self.numbers = threading.Lock(), set(), 0
        self.audits, self.compared = 0, 0

    def __enter__(self):
        if self.keep:
            os.makedirs(self.keep, exist_ok=True)
            self.folder = os.path.abspath(self.keep)
        else:
            self.folder = tempfile.mkdtemp(prefix="headway-crash-")
        return self

    def __exit__(self, *_):
        for child in list(self.children):
            self.end(child)
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- processes

    def spawn(self, command, log, env=None):
        with open(log, "ab") as err:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd=self.folder,
                                     env={**os.environ, **(env or {})}, start_new_session=True)
        with self.lock:
            self.children.add(child)
        return child

    def end(self, child):
        """Kills what is left of a process's group, and waits for it. Once only: its number may be another's afterwards.

        It may be so already where a signal was sent to a child that had ended: subprocess reaps it then.
        """
        with self.lock:
            if child in self.children:
                self.children.discard(child)
                if child.returncode is None:
                    os.killpg(child.pid, signal.SIGKILL)
        return child.wait()

    def start(self, lake, capture, workers, more=(), wrap=(), env=None, until="end", log=None):
        """Starts the job: small epochs, so that a short capture makes many commits."""
        command = [*wrap, self.binary, "run", JOB, "--source", f"files:{capture}", "--lake", lake, "-w", str(workers)]
        command += ["--idle-after", "never", "--not-after", "none", "--epoch", "50ms"]
        command += ["--until", until] if until else []
        command += ["--epoch-bytes", "6KiB"] if "--epoch-bytes" not in more else []
        command += [*capture.flags, *more]
        os.makedirs(os.path.dirname(lake), exist_ok=True)
        log = log or lake.rstrip("/") + ".log"
        return Run(self.spawn(command, log, env), log, command)

    def finish(self, run, seconds=SECONDS_MAX):
        """Waits for a run to end by itself; gives its exit code, negative for a signal."""
        end = time.monotonic() + seconds
        while not run.ended():
            if time.monotonic() > end:
                self.end(run.child)
                raise Failed(f"a run did not end within {seconds} s\n  {' '.join(run.command)}\n{run.said()}")
            time.sleep(0.005)
        return self.end(run.child)

    def ends_well(self, run, seconds=SECONDS_MAX):
        code = self.finish(run, seconds)
        if code != 0:
            raise Failed(f"a run ended with {code}\n  {' '.join(run.command)}\n{run.said()}")

    def drain(self, run, seconds=SECONDS_MAX):
        run.child.send_signal(signal.SIGTERM)
        self.ends_well(run, seconds)

    def kill(self, run):
        """SIGKILL; gives the exit code: -9, or what it was if the run was faster."""
        return self.end(run.child)

    # --- data

    def path(self, name):
        """A fresh folder's path; the folder above it is there."""
        with self.lock:
            self.numbers += 1
            folder = os.path.join(self.folder, f"{name}-{self.numbers}")
        os.makedirs(folder)
        return os.path.join(folder, "lake")

    def forget(self, lake):
        """Removes a lake that is not needed any more, unless everything is kept."""
        if not self.keep:
            shutil.rmtree(os.path.dirname(lake), ignore_errors=True)

    def capture(self, seed, messages, partitions=4, place_of=None):
        """A capture with every trouble we know, skew and a silent stretch; four or five hours of event time for 30,000 messages.

        With `place_of` its times are of the same zone and day as those of the capture of that seed: what one job is to read
        together with that one in one zone must be written in it, or its records lie hours ahead of their timestamps.
        """
        draw = rng(seed, "capture")
        zone, start = self.place(draw)
        out = os.path.join(self.folder, f"capture-{seed}-{messages}-{partitions}")
        flags = window_flags(draw)
        if place_of is not None:
            zone, start = self.place(rng(place_of, "capture"))
        made = Capture(out, (*flags, "--zone", zone))
        if os.path.exists(out + ".done"):
            return made
        form = draw.choice(self.forms)
        command = [*REFERENCE, "capture", "--out", out, "--seed", str(seed), "--messages", str(messages), "--partitions", str(partitions)]
        command += ["--zone", zone, "--start", start, "--rate", "2", "--skew", "30", "--late", "0.02", "--form", form]
        # Lines have no timestamp: one record of the future would make all that follow it late.
        command += ["--ahead", "0.001" if form == "envelopes" else "0"]
        command += ["--idle", "1:0.30:0.45"] if partitions > 1 else []
        self.call(command, "the capture could not be made")
        with open(out + ".done", "w", encoding="utf-8"):
            pass
        return made

    def capture_for_views(self, seed, messages):
        """A capture whose windows tile time, as views need them: that of the first seed in steps of five that has such."""
        return self.capture(next(one for one in range(seed, seed + 200, 5) if self.tiles(one)), messages)

    def tiles(self, seed):
        """True if the slide of the capture of `seed` divides its window."""
        draw = rng(seed, "capture")
        self.place(draw)
        return divides(window_flags(draw))

    def place(self, draw):
        """(zone, start) of a capture."""
        return draw.choice(draws.PLACES)

    def call(self, command, failure):
        """What a program of ours prints; raises Failed if it does not end well."""
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{failure}\n  {' '.join(command)}\n{done.stdout[:2000]}{done.stderr[-1500:]}")
        return done.stdout

    # --- verdicts

    def settle(self, lake, capture, workers, more=(), log=None):
        """Runs the job to its end, which must be a good one."""
        self.ends_well(self.start(lake, capture, workers, more, log=log))

    def equal(self, lake, capture):
        """The report if the lake is what the reference program expects; raises Failed, with the differences, if not."""
        return self.judge(lake, capture.folder, capture.flags, ["--answer", capture.folder + ".answer"])

    def judge(self, lake, folder, flags, more=()):
        """Compares a lake with what the reference program makes of the capture in `folder`; the fates, too."""
        command = [*REFERENCE, "compare", "--lake", lake, "--capture", folder, *flags, *more]
        with self.lock:
            self.compared += 1
        report = json.loads(self.call(command, f"{lake} is not what the reference program expects").splitlines()[0])
        if (told := fates(lake)) != (expected := in_any_order(report["fates"])):
            raise Failed(f"the manifests of {lake} tell the fates {told}, and they are {expected}\n  {' '.join(command)}")
        return report

    def audit(self, lake):
        """The exit code and the output of the audit."""
        done = subprocess.run([self.binary, "audit", "--lake", lake, "--deep"], capture_output=True, text=True, check=False)
        with self.lock:
            self.audits += 1
        return done.returncode, done.stdout + done.stderr

    def verify(self, lake, capture):
        """The reference program and the audit agree that all is well."""
        report = self.equal(lake, capture)
        self.audited(lake)
        return report

    def audited(self, lake):
        """The audit finds nothing."""
        code, said = self.audit(lake)
        if code != 0:
            raise Failed(f"the audit of {lake} ended with {code}\n{said[-2000:]}")

    def figures(self):
        """How often lakes were compared and audited, in every JSON line."""
        return {"lost": 0, "duplicated": 0, "torn": 0, "compared": self.compared, "audited": self.audits}

    def trials(self, works):
        """Runs functions without arguments, some at a time; gives their results in order, or raises the first failure."""
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(work) for work in works]
            try:
                concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
                for future in futures:
                    if future.done() and future.exception():
                        raise future.exception()
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in list(self.children):
                    self.end(child)
                raise


# --- what a lake says of itself, read without the engine

def fates(lake):
    """How many records had which fate, as the newest manifest tells it."""
    found = collections.Counter()
    for part in (part for source in head(lake)["inputs"] for part in source["partitions"]):
        found.update({fate: sum(count.values()) if fate == "dead" else count for fate, count in part["total"].items()})
    return in_any_order(found)


def in_any_order(counts):
    """Fates without those that depend on which of two equal records, in windows that overlap, was read first."""
    once = {fate: counts[fate] for fate in ("consumed", "late", "dead", "filtered")}
    return {**once, "accepted or duplicate": counts["accepted"] + counts["duplicate"]}


def manifest_numbers(lake, job=JOB):
    """The numbers of the loose manifests, in order."""
    try:
        names = os.listdir(os.path.join(lake, "_headway", job, "manifest"))
    except FileNotFoundError:
        return []
    return sorted(int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit())


def highest(lake, job=JOB):
    """The highest manifest's number; -1 if there is none."""
    numbers = manifest_numbers(lake, job)
    return numbers[-1] if numbers else -1


def manifest(lake, number):
    with open(os.path.join(lake, "_headway", JOB, "manifest", f"{number:010}.json"), encoding="utf-8") as file:
        return with_defaults(json.load(file))


def with_defaults(found):
    """A manifest leaves out what has nothing in it; the suites ask for these."""
    for name, empty in (("operators", {}), ("state", []), ("lake", [])):
        found.setdefault(name, empty)
    nothing = {"consumed": 0, "accepted": 0, "duplicate": 0, "filtered": 0, "late": 0, "dead": {}}
    for part in (part for source in found["inputs"] for part in source["partitions"]):
        part.setdefault("total", nothing)
    return found


def head(lake):
    """The newest manifest; None if there is none."""
    number = highest(lake)
    return None if number < 0 else manifest(lake, number)


def has_committed(lake, after):
    """True if an epoch was committed after manifest `after`."""
    return any(manifest(lake, number)["kind"] == "commit" for number in manifest_numbers(lake) if number > after)


def spread_s(seconds):
    """The middle, the 95th of a hundred and the most of some durations, for a JSON line; None of none."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return {"p50": round(ordered[len(ordered) // 2], 2), "p95": round(ordered[len(ordered) * 95 // 100], 2), "most": round(ordered[-1], 2)}


def unfolded(lines):
    """The manifests of a segment: each line is a list of new pieces of text and of [first, count] of earlier ones."""
    known, manifests = [], []
    for line in lines:
        text = ""
        for piece in json.loads(line):
            if isinstance(piece, str):
                known.append(piece)
                text += piece
            else:
                text += "".join(known[piece[0]:piece[0] + piece[1]])
        manifests.append(with_defaults(json.loads(text)))
    return manifests


def lake_path(file):
    """Where a lake file of a manifest is, relative to the lake."""
    return file["folder"] + file["name"]


def state_path(entry):
    """Where a state file of a manifest is, relative to the lake."""
    return f"_headway/{JOB}/state/{entry['generation']}/{entry['epoch']}/{entry['worker']:04}.state"


def all_manifests(lake):
    """Every manifest, folded ones first."""
    found = []
    for path in sorted(glob.glob(os.path.join(lake, "_headway", JOB, "segment", "*.json.gz"))):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            found += unfolded(file)
    folded = {manifest["seq"] for manifest in found}
    return found + [manifest(lake, number) for number in manifest_numbers(lake) if number not in folded]


def committed_files(lake):
    """Every file a reader may see that stays as it is: its name with inode, size and time of the last change to its bytes.

    Gold tables are none: each is replaced by its next version."""
    found = {}
    for top in os.listdir(lake) if os.path.isdir(lake) else ():
        if top in ("_headway", "gold"):
            continue
        for folder, _, names in os.walk(os.path.join(lake, top)):
            for name in names:
                path = os.path.join(folder, name)
                at = os.stat(path)
                found[os.path.relpath(path, lake)] = (at.st_ino, at.st_size, at.st_mtime_ns)
    return found


def phase(lake, generation):
    """Where a run that took or wanted `generation` was, as its lake shows after it was killed."""
    newest = head(lake)
    if newest is None or newest["generation"] < generation:
        return "before-claim"
    if newest["kind"] == "claim":
        return "claimed"
    if any(not os.path.exists(os.path.join(lake, lake_path(file))) for file in newest["lake"]):
        return "publishing"
    stage = os.path.join(lake, "_headway", JOB, "stage", str(generation))
    epochs = [int(name) for name in os.listdir(stage) if name.isdigit()] if os.path.isdir(stage) else []
    if any(epoch > newest["epoch"] for epoch in epochs):
        return "staging"
    return "collecting" if epochs else "between"


def next_generation(lake):
    newest = head(lake)
    return 1 if newest is None else newest["generation"] + 1


def wait_for(what, condition, run=None, seconds=60):
    """Waits until `condition()` holds; False if `run` ended before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        if run is not None and run.ended():
            return bool(condition())
        time.sleep(0.002)
    raise Failed(f"{what} did not happen within {seconds} s" + (f"\n{run.said()}" if run else ""))


def random_moment(draw, run, lake, before, epochs, start=(0.0, 0.25), share=0.2, patience=None):
    """Waits for a random moment of `run`, which found manifest `before`: just after one of its first `epochs` commits.

    A `share` of the moments is in its start instead, within the seconds `start`. What never ends may have fewer commits
    left than were drawn: it is waited for `patience` seconds, then any moment will do.
    """
    if draw.random() < share:
        time.sleep(start[0] + draw.random() * (start[1] - start[0]))
        return
    enough, end = before + 2 + draw.randrange(epochs), time.monotonic() + (patience or 0)
    wait_for("a commit", lambda: highest(lake) >= enough or (patience and time.monotonic() > end), run)
    time.sleep(draw.random() * 0.03)


def window_flags(draw, sizes=WINDOWS_S):
    """The flags of windows that are drawn freely, for the job and for the reference program."""
    window, slide, lateness = draws.windows_s(draw, sizes)
    return "--window", f"{window}s", "--slide", f"{slide}s", "--lateness", f"{lateness}s"


def divides(flags):
    """True if the slide of these flags divides their window, as views need it."""
    seconds = {flag: int(value.removesuffix("s")) for flag, value in zip(flags[::2], flags[1::2]) if flag in ("--window", "--slide")}
    return seconds["--window"] % seconds["--slide"] == 0


def rng(seed, *parts):
    """Randomness that follows from the seed and the place where it is used."""
    return random.Random(":".join(map(str, (seed, *parts))))
