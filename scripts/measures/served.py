"""A running job that serves its views: how late clients are, how many reads it answers, and what that costs its commits.

The job follows one file, to which a thread adds messages at an even pace, so that a window closes every quarter of a second.
Clients and the feeder run on the same machine, beside the job. Clients of which it is asked what they cost the job take only what it leaves of the
processors: elsewhere they would have their own.
"""
import collections
import datetime
import json
import multiprocessing
import os
import pathlib
import random
import selectors
import socket
import subprocess
import threading
import time
import urllib.parse

from measures.outside import resident_bytes

WINDOW_S, LATENESS_S, RATE, KEYS = 300, 60, 8, 250
# A window closes so often by the clock.
EVERY_S = 0.25
SLICE_S = 0.02
CLIENTS, STALLED = 100, 20
CONNECTIONS = 8
CLOCK_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The job did not do what is measured; args[0] says what."""


def check(holds, what):
    if not holds:
        raise Failed(what)


class Job:
    """A job in `folder` that serves its views, and its feeder; a context."""

    def __init__(self, binary, folder, seconds, epoch=None):
        self.binary, self.folder, self.epoch = binary, pathlib.Path(folder), epoch
        self.slices = self.prepare(seconds)
        # When the record that closes a window was written, by the end of the window; ends in ms of event time, instants in s.
        self.arrived = {}
        self.process, self.address, self.is_over = None, None, threading.Event()
        self.feeder = threading.Thread(target=self.feed, daemon=True)

    def prepare(self, seconds):
        """Messages for so many seconds, cut where a window closes and where a slice of time is full: (at, bytes, closed)."""
        messages = int(seconds / EVERY_S * WINDOW_S * RATE)
        command = [self.binary, "produce", "turnstile", "--to", "all", "--partitions", "1", "--messages", str(messages)]
        command += ["--rate", str(RATE), "--keys", str(KEYS), "--late", "0", "--bad", "0", "--dup", "0"]
        subprocess.run([*command, "--start", "2024-01-06T00:00:00Z"], cwd=self.folder, check=True, capture_output=True)
        (name,) = (self.folder / "all").iterdir()
        lines = name.read_bytes().splitlines(keepends=True)
        (self.folder / "in").mkdir()
        self.input = self.folder / "in" / name.name
        per_s = len(lines) / seconds
        slices, held, newest, closes = [], [], 0, None
        for number, line in enumerate(lines):
            held.append(line)
            newest = max(newest, event_ms(line))
            closes = closes or (newest // (WINDOW_S * 1000) + 1) * WINDOW_S * 1000
            closed = closes if newest >= closes + LATENESS_S * 1000 else None
            if closed or len(held) >= per_s * SLICE_S:
                slices.append((number / per_s, b"".join(held), closed))
                held = []
                closes = closes + WINDOW_S * 1000 if closed else closes
        return slices

    def feed(self):
        began = time.monotonic()
        with open(self.input, "ab", buffering=0) as out:
            for at, text, closed in self.slices:
                time.sleep(max(0, began + at - time.monotonic()))
                if self.is_over.is_set():
                    return
                if closed:
                    self.arrived[closed] = time.time()
                out.write(text)

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = free.getsockname()
        self.input.write_bytes(b"")
        command = [self.binary, "run", "turnstile", "--source", "files:in", "--follow", "--lake", "lake", "--views"]
        command += ["--window", f"{WINDOW_S}s", "--lateness", f"{LATENESS_S}s", "--listen", str(self.address[1])]
        command += ["--epoch", self.epoch] if self.epoch else []
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        end = time.monotonic() + 20
        while not self.is_ready():
            check(time.monotonic() < end and self.process.poll() is None, "the job does not begin: " + self.log())
            time.sleep(0.05)
        self.feeder.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.feeder.join()
        self.process.kill()
        self.process.wait()

    def is_ready(self):
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-1500:]

    def get(self, path):
        """Status and body."""
        with socket.create_connection(self.address, timeout=20) as sock:
            sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = b""
            while piece := sock.recv(1 << 16):
                answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), body

    def json(self, path):
        status, body = self.get(path)
        check(status == 200, f"{path}: {status} {body[:200]}")
        return json.loads(body)

    def commits(self, first, last):
        """How long commits took between two instants, in ms."""
        found = self.json("/v1/status")["commits"]
        check(found and found[0]["at_ms"] <= first * 1000, "commits are not known any more")
        return [one["took_ms"] for one in found if first * 1000 <= one["at_ms"] < last * 1000]

    def server_cpu_s(self):
        """Processor time of the thread that answers."""
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text(encoding="utf-8").strip() == "headway-http":
                fields = (task / "stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
                return (int(fields[11]) + int(fields[12])) * CLOCK_TICK_S
        raise Failed("no thread answers")


def event_ms(line):
    """The instant of a message: its last field is its time in UTC."""
    text = line.strip().strip(b'"').rpartition(b",")[2].decode()
    return int(datetime.datetime.fromisoformat(text + "+00:00").timestamp() * 1000)


def instant_ms(text):
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def ranks(figures):
    """Median, 99 in 100, greatest, and how many there are."""
    ordered = sorted(figures)
    return [ordered[len(ordered) // 2], ordered[-(-len(ordered) * 99 // 100) - 1], ordered[-1], len(ordered)]


# --- how late a client is ----------------------------------------------------------------------------------------


def events(job, views):
    """Events with the instant at which they were there, for ever."""
    with socket.create_connection(job.address, timeout=20) as sock:
        sock.sendall(f"GET /v1/events?views={views} HTTP/1.0\r\n\r\n".encode())
        buffer = b""
        while piece := sock.recv(1 << 18):
            now, buffer = time.time(), buffer + piece
            while b"\n\n" in buffer:
                event, _, buffer = buffer.partition(b"\n\n")
                yield now, event
    raise Failed("the stream ended: " + job.log())


def lateness(binary, folder, seconds, epoch):
    """For one job: ms from the record that closes a window to the client, and from the commit to the client."""
    with Job(binary, folder, seconds, epoch) as job:
        by_window, by_commit, open_windows = [], [], collections.deque(sorted(s[2] for s in job.slices if s[2]))
        for now, event in events(job, "station_day,station_slot,top_stations"):
            if not event.startswith(b"event: commit"):
                continue
            data = json.loads(event.partition(b"data: ")[2])
            # The commit at which the client begins is none that it waited for; before the first record there is no watermark.
            if "at_ms" not in data or not data["watermark"]:
                continue
            by_commit.append(now * 1000 - data["at_ms"])
            watermark = instant_ms(data["watermark"])
            while open_windows and open_windows[0] <= watermark:
                check("station_day" in data["changed"], f"a window closed, and nothing changed: {data}")
                by_window.append(1000 * (now - job.arrived[open_windows.popleft()]))
            # The last window may be closed by the last record, or by none.
            if len(open_windows) <= 1:
                break
    return by_window, by_commit


# --- A and B in turn ---------------------------------------------------------------------------------------------


def in_turn(job, pairs, phase_s, loaded):
    """Runs `loaded` in every second phase; what it gave, and of each pair how long commits took with it against without."""
    given, ratios, plain = [], [], []
    for _ in range(pairs):
        first = time.time()
        time.sleep(phase_s)
        middle = time.time()
        given.append(loaded(phase_s))
        last = time.time()
        without, with_it = job.commits(first, middle), job.commits(middle, last)
        check(min(len(without), len(with_it)) >= 5, f"there are only {len(without)} and {len(with_it)} commits")
        plain += without
        ratios.append(mean(with_it) / mean(without))
    ratios.sort()
    return given, {"commits": [ratios[len(ratios) // 2], ratios[0], ratios[-1]], "commit_ms": mean(plain)}


def mean(figures):
    return sum(figures) / len(figures)


# --- point reads -------------------------------------------------------------------------------------------------


def point_reads(job):
    """Requests for single rows, drawn from those that are there."""
    rows = job.json("/v1/views/station_day?limit=500")["rows"]
    key = ["station", "lines", "division", "day"]
    query = lambda row: "&".join(f"where={name}%3D{urllib.parse.quote_plus(str(row[name]))}" for name in key)  # noqa: E731
    return [f"GET /v1/views/station_day?{query(row)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for row in rows]


def read_on(address, requests, seconds, pace, result):
    """Reads for so many seconds on several connections, one request at a time on each, at most `pace` a second; puts the number."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    draw, done, began = random.Random(1), 0, time.monotonic()
    open_new = lambda: socket.create_connection(address, timeout=20)  # noqa: E731
    sockets = [open_new() for _ in range(CONNECTIONS)]
    while (now := time.monotonic()) < began + seconds:
        if pace and done > pace * (now - began):
            time.sleep(0.0005)
            continue
        for sock in sockets:
            sock.sendall(draw.choice(requests))
        for sock in sockets:
            answer = sock.recv(1 << 16)
            while not answer.endswith(b"\r\n0\r\n\r\n"):
                piece = sock.recv(1 << 16)
                check(piece, f"a connection was closed after {answer[:200]}")
                answer += piece
            check(answer.startswith(b"HTTP/1.1 200") and answer.count(b'"station":') == 1, f"an answer is {answer[:400]}")
            done += 1
    result.put((done, time.monotonic() - began))


def reads(binary, folder, pairs, phase_s, pace):
    """Reads of single rows in every second phase; then as fast as one client can."""
    with Job(binary, folder, 2 * pairs * phase_s + 15, "200ms") as job:
        time.sleep(4)
        requests = point_reads(job)

        def load(seconds, at_most=pace):
            result, cpu = multiprocessing.Queue(), job.server_cpu_s()
            reader = multiprocessing.Process(target=read_on, args=(job.address, requests, seconds, at_most, result), daemon=True)
            reader.start()
            done, took = result.get(timeout=seconds + 20)
            reader.join()
            return {"a_second": done / took, "a_second_of_the_core": done / (job.server_cpu_s() - cpu)}

        given, figures = in_turn(job, pairs, phase_s, load)
        most = load(phase_s, None)
    middle = lambda name: sorted(one[name] for one in given)[len(given) // 2]  # noqa: E731
    return {**figures, "a_second": middle("a_second"), "a_second_of_the_core": middle("a_second_of_the_core"),
            "most_a_second": most["a_second"]}


# --- many clients ------------------------------------------------------------------------------------------------


def follow_all(address, seconds, begun, result):
    """Clients that take what comes, and some that take nothing, for so many seconds; puts the bytes that came."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    waiting, clients, taken = selectors.DefaultSelector(), [], 0
    for number in range(CLIENTS):
        sock = socket.socket()
        if number < STALLED:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(address)
        sock.sendall(b"GET /v1/events?snapshot=true HTTP/1.0\r\n\r\n")
        if number >= STALLED:
            waiting.register(sock, selectors.EVENT_READ)
        clients.append(sock)
    begun.set()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _ in waiting.select(0.1):
            piece = key.fileobj.recv(1 << 18)
            check(piece, "a client was disconnected")
            taken += len(piece)
    result.put(taken)


def clients(binary, folder, pairs, phase_s):
    """All views to many clients in every second phase."""
    with Job(binary, folder, 2 * pairs * phase_s + 30, "200ms") as job:
        time.sleep(4)
        resident = {"without": [], "with": []}

        def load(seconds):
            resident["without"].append(resident_bytes(job.process.pid))
            begun, result = multiprocessing.Event(), multiprocessing.Queue()
            follower = multiprocessing.Process(target=follow_all, args=(job.address, seconds, begun, result), daemon=True)
            follower.start()
            check(begun.wait(20), "clients cannot connect")
            most, end = 0, time.monotonic() + seconds
            while time.monotonic() < end:
                most = max(most, resident_bytes(job.process.pid))
                time.sleep(0.1)
            resident["with"].append(most)
            taken = result.get(timeout=20)
            follower.join()
            return taken

        given, figures = in_turn(job, pairs, phase_s, load)
    return {**figures, "bytes_a_second": sum(given) / (pairs * phase_s), "resident_bytes": max(resident["without"]),
            "resident_with_clients_bytes": max(resident["with"])}
