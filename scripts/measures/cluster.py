"""One job over several processes of one machine: what they cost, how long a loss and a rescale interrupt it, what a hang takes in memory.

The job reads messages that it generates, as fast as it can, so that it is busy whenever something happens to it.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from measures.outside import newest_number, resident_bytes

KEYS, RATE = 4600, 1000
# A loss or a rescale that takes longer has failed.
WITHIN_S = 60
# Shorter than the silence after which the others take a process for lost.
STOPPED_S = 6
ENDLESS = 4_000_000_000
# The sizes that a job goes through, processes x workers, and how many processes there are for it.
SIZES, POOL = ((1, 2), (1, 1), (2, 1), (1, 2), (3, 1), (1, 1), (2, 2), (2, 1), (3, 1), (2, 2)), 3


class Failed(Exception):
    """The job did not do what is measured; args[0] says what."""


class Cluster:
    """The processes of a job on one lake; a context that ends them."""

    def __init__(self, binary, folder, size, messages, flags=()):
        self.binary, self.folder, self.size = binary, pathlib.Path(folder), size
        self.folder.mkdir(exist_ok=True)
        self.lake = self.folder / "lake"
        self.flags = ["--source", f"generate:messages={messages},keys={KEYS},rate={RATE}", "--lake", str(self.lake), "--until", "end", *flags]
        free = [socket.create_server(("127.0.0.1", 0)) for _ in range(size[0])]
        (self.folder / "hosts").write_text("".join(f"127.0.0.1:{server.getsockname()[1]}\n" for server in free))
        (self.folder / "secret").write_text("a secret that only processes of this job know\n")
        for server in free:
            server.close()
        self.processes = []

    def __enter__(self):
        self.processes = [self.start(number) for number in range(self.size[0])]
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()

    def start(self, number):
        command = [self.binary, "run", "turnstile", *self.flags, "-w", str(self.size[1])]
        if self.size[0] > 1:
            command += ["-H", str(self.folder / "hosts"), "-p", str(number), "--mesh-secret-file", str(self.folder / "secret"), "-v"]
        with open(self.log(number), "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self, number):
        return self.folder / f"{number}.log"

    def said(self, number):
        return self.log(number).read_text(encoding="utf-8", errors="replace")

    def newest(self):
        """The number of the newest manifest; 0 while there is none."""
        return newest_number(self.lake / "_headway" / "turnstile" / "manifest")

    def manifest(self, number):
        return json.loads((self.lake / "_headway" / "turnstile" / "manifest" / f"{number:010}.json").read_text())

    def until(self, number):
        """Waits until manifest `number` is there; gives how long that took, in seconds."""
        began = time.monotonic()
        while self.newest() < number:
            if time.monotonic() - began > WITHIN_S:
                raise Failed(f"manifest {number} is not there after {WITHIN_S} s:\n{self.said(0)[-2000:]}")
            time.sleep(0.002)
        return time.monotonic() - began

    def cpu_s(self):
        """Waits for the good end of all processes; gives the processor time that they took, in seconds."""
        total = 0
        for number, process in enumerate(self.processes):
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                raise Failed(f"process {number} ended with {process.returncode}:\n{self.said(number)[-2000:]}")
            total += used.ru_utime + used.ru_stime
        return total


def cost(binary, folder, messages, pairs):
    """Processor time a message of 2 processes of 1 worker, and of 1 process of 2, in turn; in nanoseconds, and their ratios."""
    ns = {(2, 1): [], (1, 2): []}
    for pair in range(pairs):
        for size in ((2, 1), (1, 2)):
            with Cluster(binary, os.path.join(folder, f"{pair}-{size[0]}"), size, messages) as cluster:
                ns[size].append(cluster.cpu_s() / messages * 1e9)
    ratios = [two / one for two, one in zip(ns[2, 1], ns[1, 2])]
    return ratios, ns[2, 1], ns[1, 2]


def killed(binary, folder, trials):
    """SIGKILL of each of three processes in turn: seconds until the others have noticed, and until the next commit."""
    noticed, back = [], []
    with Cluster(binary, folder, (3, 1), ENDLESS, ["--epoch", "200ms", "--restarts", str(trials + 1)]) as cluster:
        cluster.until(10)
        for trial in range(trials):
            victim = trial % 3
            others = [number for number in range(3) if number != victim]
            before = {number: lost(cluster.said(number)) for number in others}
            cluster.processes[victim].kill()
            began = time.monotonic()
            cluster.processes[victim].wait()
            head = cluster.newest()
            cluster.processes[victim] = cluster.start(victim)
            while any(lost(cluster.said(number)) == before[number] for number in others):
                if time.monotonic() - began > WITHIN_S:
                    raise Failed(f"process {victim} was killed, and the others did not notice:\n{cluster.said(others[0])[-2000:]}")
                time.sleep(0.002)
            noticed.append(time.monotonic() - began)
            cluster.until(head + 1)
            back.append(time.monotonic() - began)
            cluster.until(head + 8)
        state = state_bytes(cluster)
    return noticed, back, state


def lost(said):
    """How often a process has said that it starts again because another one is lost."""
    return said.count('event="restarting"')


def state_bytes(cluster):
    """Bytes of state that the newest commit names."""
    shown = subprocess.run([cluster.binary, "rescale", "--lake", cluster.lake, "--to", f"{cluster.size[0]}x{cluster.size[1]}", "-o", "json"],
                           check=True, capture_output=True, text=True)
    return sum(worker["state_bytes"] for worker in json.loads(shown.stdout)["workers"])


class Pool(Cluster):
    """As many processes as a job may have; those that its size does not need stand by."""

    def __init__(self, binary, folder, starts, messages, flags=()):
        self.starts = starts
        super().__init__(binary, folder, (POOL, starts[1]), messages, [*flags, "-n", str(starts[0]), "--members", "as-committed"])

    def rescale(self, to, *more):
        """What `headway rescale` answers."""
        command = [self.binary, "rescale", "--lake", self.lake, "--to", "x".join(map(str, to)), "-H", self.folder / "hosts", "-o", "json", *more]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rescaled(binary, folder, tries):
    """Rescales from each of some sizes to the next, again and again: seconds between the commits around each, and what was predicted.
    The first one comes after one restart, which is all that there is to go by."""
    pauses, predicted = [], []
    with Pool(binary, folder, SIZES[0], ENDLESS, ["--epoch", "200ms", "--restarts", str(tries + 2)]) as cluster:
        cluster.until(10)
        cluster.processes[0].kill()
        cluster.processes[0].wait()
        head = cluster.newest()
        cluster.processes[0] = cluster.start(0)
        cluster.until(head + 10)
        for number in range(tries):
            to = SIZES[(number + 1) % len(SIZES)]
            plan, before = cluster.rescale(to), cluster.newest()
            cluster.rescale(to, "--execute")
            cluster.until(cluster.newest() + 2)
            pauses.append(pause_s(cluster, before))
            predicted.append(plan["pause_ms"] and plan["pause_ms"] / 1000)
            cluster.until(cluster.newest() + 8)
        state = sum(worker["state_bytes"] for worker in cluster.rescale(SIZES[0])["workers"])
    return pauses, predicted, state


def pause_s(cluster, before):
    """Seconds between the last commit of one size and the first of the other, after manifest `before`."""
    written = [cluster.manifest(number) for number in range(before, cluster.newest() + 1)]
    claim = next(at for at, one in enumerate(written) if one["generation"] > written[0]["generation"])
    return (written[claim + 1]["written_ms"] - written[claim - 1]["written_ms"]) / 1000


def stopped(binary, folder, trials):
    """SIGSTOP of one of three processes: the resident memory of the others, at most, as a multiple of what it was before."""
    grown = []
    with Cluster(binary, folder, (3, 1), ENDLESS, ["--epoch", "200ms"]) as cluster:
        cluster.until(100)
        for trial in range(trials):
            victim = cluster.processes[trial % 3]
            others = [process.pid for process in cluster.processes if process is not victim]
            before = sum(map(resident_bytes, others))
            victim.send_signal(signal.SIGSTOP)
            end, most = time.monotonic() + STOPPED_S, 0
            while time.monotonic() < end:
                most = max(most, sum(map(resident_bytes, others)))
                time.sleep(0.05)
            victim.send_signal(signal.SIGCONT)
            grown.append(most / before)
            cluster.until(cluster.newest() + 10)
    return grown
