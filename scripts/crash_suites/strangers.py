"""Connections of 25 kinds that do not belong to a job, while its processes join, run, and join again: they must have no effect.

The mesh ports of a job of three processes are called by those who know nothing of it (HTTP, TLS, noise, nothing at all), by those who
know half a hello, or one that they have heard on the wire, and by those who are almost right: another secret, build, plan, size or
number, or an earlier start of a process. The kinds call by turns, over all ports, and every second socket stays open. Four in ten
calls come while process 2 is not there yet; then it must be able to join. Two in ten come while the job commits: nobody listens for
them then. The others come when process 2 was killed and the job waits for it; then it must go on. It must not start again in between,
and end with what the reference program expects.

  scripts/crash strangers                    1000 connections
"""
import collections
import hashlib
import hmac
import socket
import struct
import time

from crash_suites import cluster
from crash_suites import rig as rigs

# A hello, and where in it things are and how long they are (src/mesh/hello.rs).
HELLO_BYTES, MAC_BYTES = 137, 32
BUILD, PLAN, WORKERS, ADDRESSES, FROM, TO, CHANNEL, NONCE, CHALLENGE = (24, 16), (40, 32), (76, 4), (80, 16), (96, 4), (100, 4), (104, 1), (105, 16), (121, 16)
SECRET = cluster.SECRET.encode()
# What is answered to those who say a whole hello: why they are refused.
VERDICTS = {"another secret": 1, "a mac that was heard": 1, "another build": 2, "another plan": 3, "other workers": 4, "other addresses": 4,
            "its own number": 5, "a number too high": 5}
# The last process of the job is there only after the first calls.
LATE = 2
MET = "all processes are there"
# A call may take so long. The other side may close at any time, which is the caller's loss.
PATIENCE_S = 6


def options(parser):
    parser.add_argument("--calls", type=int, default=1000, help="connections in all (default 1000)")
    parser.add_argument("--messages", type=int, default=60_000, help="messages of the capture (default 60000)")
    parser.add_argument("--join-within", type=float, default=10, help="seconds within which the last process must join (default 10)")


class Job(cluster.Cluster):
    """Three processes, the last of which is started later; and what an earlier start of it has said."""

    def begin(self):
        with open(self.name + ".hosts", encoding="utf-8") as hosts:
            self.ports = [int(line.rpartition(":")[2]) for line in hosts]
        self.hello, self.proof = self.overheard()
        return [self.start(process) for process in range(LATE)]

    def overheard(self):
        """The hello and the mac that an earlier start of the last process says to somebody who has the place of process 0."""
        with socket.create_server(("127.0.0.1", self.ports[0])) as server:
            early = self.start(LATE)
            server.settimeout(rigs.SECONDS_MAX)
            caller, _ = server.accept()
            with caller:
                caller.settimeout(rigs.SECONDS_MAX)
                hello = caller.recv(HELLO_BYTES, socket.MSG_WAITALL)
                caller.sendall(changed(changed(hello, FROM, 0), TO, LATE))
                proof = caller.recv(MAC_BYTES, socket.MSG_WAITALL)
            self.rig.kill(early)
        if len(hello) != HELLO_BYTES or len(proof) != MAC_BYTES:
            raise rigs.Failed("what a process says to process 0 is no hello: has src/mesh/hello.rs changed?")
        return hello, proof


def changed(hello, where, value):
    """A hello with another number at `where`."""
    at, length = where
    return hello[:at] + value.to_bytes(length, "little") + hello[at + length:]


class Strangers:
    """Those who call the ports of a job. They keep every second socket open, up to a bound."""

    def __init__(self, job, draw):
        self.job, self.draw, self.open, self.unheard = job, draw, collections.deque(maxlen=300), 0
        self.calls, self.verdicts = collections.Counter(), collections.Counter()
        fresh = lambda to, **more: self.fresh(to, more)
        said = {
            "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
            "PostgreSQL": struct.pack(">II", 8, 80877103), "nothing": b"", "one byte": b"H", "half a magic": b"HWME", "a magic": b"HWMESH01",
            "another version": b"HWMESH02" + bytes(129), "zeros": bytes(5000), "a magic and noise": b"HWMESH01" + b"\xff" * 500,
        }
        self.kinds = {name: (lambda to, bytes=bytes: self.says(to, bytes)) for name, bytes in said.items()}
        self.kinds |= {
            "noise": lambda to: self.says(to, draw.randbytes(draw.randrange(1, 4000))),
            "gone at once": self.goes,
            "half a hello": lambda to: self.says(to, fresh(to)[: draw.randrange(9, HELLO_BYTES)]),
            "a hello and no mac": lambda to: self.says(to, fresh(to)),
            "another secret": lambda to: self.greets(to, fresh(to), b"guessed"),
            "a mac that was heard": lambda to: self.greets(to, job.hello, None),
            "another build": lambda to: self.greets(to, fresh(to, build=BUILD), SECRET),
            "another plan": lambda to: self.greets(to, fresh(to, plan=PLAN), SECRET),
            "other workers": lambda to: self.greets(to, fresh(to, workers=WORKERS), SECRET),
            "other addresses": lambda to: self.greets(to, fresh(to, addresses=ADDRESSES), SECRET),
            "its own number": lambda to: self.greets(to, changed(fresh(to), FROM, to), SECRET),
            "a number too high": lambda to: self.greets(to, changed(fresh(to), FROM, 3), SECRET),
            "an earlier start": self.came_before,
        }

    def fresh(self, to, others):
        """A hello to process `to` with a challenge of its own, and with something else in each of the fields `others`."""
        hello = changed(changed(self.job.hello, TO, to), CHALLENGE, self.draw.getrandbits(128))
        hello = changed(hello, CHANNEL, self.draw.randrange(2))
        for where in others.values():
            hello = changed(hello, where, self.draw.getrandbits(8 * where[1]))
        return hello

    def connect(self, to):
        return socket.create_connection(("127.0.0.1", self.job.ports[to]), PATIENCE_S)

    def says(self, to, bytes):
        stream = self.connect(to)
        stream.sendall(bytes)
        return stream

    def goes(self, to):
        stream = self.connect(to)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()
        return stream

    def came_before(self, to):
        """An earlier start of the last process, which is gone: its socket closes at once."""
        stream = self.greets(to, changed(self.fresh(to, {}), CHANNEL, 0), SECRET)
        stream.close()
        return stream

    def greets(self, to, hello, secret):
        """Says a hello and a mac; notes the answer. Without a secret the mac is the one that was heard."""
        stream = self.says(to, hello)
        theirs = stream.recv(HELLO_BYTES, socket.MSG_WAITALL)
        stream.sendall(self.job.proof if secret is None else hmac.new(secret, b"caller" + hello + theirs, hashlib.sha256).digest())
        answer = stream.recv(1 + MAC_BYTES, socket.MSG_WAITALL)
        self.verdict = answer[0] if len(answer) == 1 + MAC_BYTES else None
        return stream

    def call(self, count, ports):
        """So many calls, of each kind by turns."""
        kinds = list(self.kinds.items())
        for number in range(count):
            name, kind = kinds[number % len(kinds)]
            self.verdict = None
            self.calls[name] += 1
            try:
                stream = kind(ports[number // len(kinds) % len(ports)])
            except ConnectionRefusedError:
                self.unheard += 1
                continue
            except (ConnectionError, TimeoutError):
                # It was turned out, to make room for others.
                continue
            if name in VERDICTS and self.verdict is not None:
                if self.verdict != VERDICTS[name]:
                    raise rigs.Failed(f"{name}: the verdict is {self.verdict}, not {VERDICTS[name]}")
                self.verdicts[name] += 1
            if number % 2 == 0:
                self.open.append(stream)
            else:
                stream.close()


def comes(job, strangers, count, within):
    """Calls processes that wait for the last one, and starts that; gives the seconds until all are there."""
    for process in range(LATE):
        rigs.wait_for(f"the port of process {process}: {job.name}", lambda process=process: listens(job.ports[process]), job.runs[process])
    head, met = rigs.highest(job.lake), [cluster.said(run).count(MET) for run in job.runs[:LATE]]
    strangers.call(count, range(LATE))
    if rigs.highest(job.lake) != head:
        raise rigs.Failed(f"the job went on without process {LATE}: {job.name}")
    began = time.monotonic()
    job.runs[LATE:] = [job.start(LATE)]
    rigs.wait_for(f"the join of process {LATE}: {job.name}", lambda: all(cluster.said(run).count(MET) > before for run, before in zip(job.runs, met)), None)
    joined = time.monotonic() - began
    if joined > within:
        raise rigs.Failed(f"strangers held process {LATE} up for {joined:.1f} s: {job.name}")
    job.until(rigs.highest(job.lake) + 5)
    return joined


def suite(rig, args):
    draw = rigs.rng(args.seed, "strangers")
    capture, lake = rig.capture(args.seed * 1000 + 61, args.messages), rig.path("strangers")
    job = Job(rig, lake, capture, (3, 1))
    strangers, calls = Strangers(job, draw), args.calls * 4 // 10
    joined = [comes(job, strangers, calls, args.join_within)]
    heard = strangers.calls.total() - strangers.unheard
    strangers.call(args.calls - 2 * calls, range(3))
    if strangers.calls.total() - strangers.unheard != heard:
        raise rigs.Failed(f"somebody takes calls while all are there: {job.name}")
    job.until(rigs.highest(lake) + 5)
    if rigs.head(lake)["generation"] != 1 or any(cluster.notices(run) for run in job.runs):
        raise rigs.Failed(f"the job started again: {job.name}\n{job.said()}")
    if rig.kill(job.runs[LATE]) != -9:
        raise rigs.Failed(f"process {LATE} ended before it was killed: {job.name}")
    rigs.wait_for(f"the others' notice: {job.name}", lambda: all(map(cluster.notices, job.runs[:LATE])), None)
    joined.append(comes(job, strangers, calls, args.join_within))
    job.ends([0] * 3)
    if missing := [name for name in VERDICTS if not strangers.verdicts[name]]:
        raise rigs.Failed(f"nobody was answered who has {', '.join(missing)}: nothing was shown")
    if (generation := rigs.head(lake)["generation"]) != 2:
        raise rigs.Failed(f"the job has generation {generation}, and one process was killed once: {job.name}\n{job.said()}")
    rig.verify(lake, capture)
    rig.forget(lake)
    figures = {"kinds": len(strangers.calls), "refused_by_name": strangers.verdicts.total(), "unheard": strangers.unheard}
    return strangers.calls.total(), {**rig.figures(), **figures, "join_s": round(max(joined), 1)}


def listens(port):
    """True if somebody takes calls there."""
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
    except ConnectionError:
        return False
    return True
