"""One job over two processes, and a network that stops carrying what they say: a proxy between them cuts a socket without closing it.

Needs a binary with fail points: cargo build --features failpoints. Process 1 calls process 0 through the proxy. In the middle of
the job the proxy stops forwarding, on the socket of the dataflow, on the control socket or on both, to process 0, from it, or both
ways. Both processes must notice within --grace seconds, start themselves again and join through new sockets, which the proxy carries.
At the end the lake must be what the reference program expects. Where the proxy carries new sockets no more than old ones, both must
end, by name.

  scripts/crash cuts --binary BINARY              every cut once, and one for good
  scripts/crash cuts --binary BINARY --cuts 3     only so many of them, drawn at random
"""
import socket
import threading
import time

from crash_suites import cluster
from crash_suites import rig as rigs

CHANNELS = {"data": {0}, "control": {1}, "both": {0, 1}}
DIRECTIONS = {"to the leader": {"up"}, "from the leader": {"down"}, "both ways": {"up", "down"}}
# A hello, and where in it the channel is (src/mesh/hello.rs).
HELLO_BYTES, CHANNEL_AT = 137, 104


def options(parser):
    parser.add_argument("--cuts", type=int, default=10, help="how many of the ten cuts (default 10)")
    parser.add_argument("--grace", type=float, default=15, help="seconds after which both must have noticed (default 15)")
    parser.add_argument("--messages", type=int, default=27_000, help="messages of a capture (default 27000)")
    parser.set_defaults(views=False)


class Proxy:
    """Carries what callers say to `target` until `cut` names channels and directions to stop. It closes nothing that it has cut."""

    def __init__(self, target):
        self.target, self.server = target, socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.server.getsockname()[1]
        self.lock, self.open, self.over = threading.Lock(), [], threading.Event()
        # After a cut for good: the (channel, direction) pairs that it cuts of new sockets, too.
        self.always = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.over.is_set():
            try:
                caller, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(caller,), daemon=True).start()

    def carry(self, caller):
        """Carries one call: its hello, then both directions."""
        try:
            hello = caller.recv(HELLO_BYTES, socket.MSG_WAITALL)
            if len(hello) < HELLO_BYTES:
                raise OSError
            called = socket.create_connection(self.target)
        except OSError:
            caller.close()
            return
        channel = hello[CHANNEL_AT]
        call = {"channel": channel, "cut": {way for at, way in self.always if at == channel}, "ends": (caller, called)}
        with self.lock:
            self.open.append(call)
        pumps = [threading.Thread(target=self.pump, args=(call, way), daemon=True) for way in ("up", "down")]
        if "up" not in call["cut"]:
            called.sendall(hello)
        for pump in pumps:
            pump.start()

    def pump(self, call, way):
        source, target = call["ends"] if way == "up" else call["ends"][::-1]
        source.settimeout(0.02)
        while not self.over.is_set():
            if way in call["cut"]:
                self.over.wait()
                break
            try:
                read = source.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:
                read = b""
            try:
                if not read:
                    target.shutdown(socket.SHUT_WR)
                    return
                # What was read when the cut came is lost with the rest.
                if way not in call["cut"]:
                    target.settimeout(None)
                    target.sendall(read)
            except OSError:
                return

    def cut(self, channels, ways, for_good):
        with self.lock:
            for call in self.open:
                call["cut"] |= ways if call["channel"] in channels else set()
        if for_good:
            self.always = {(channel, way) for channel in channels for way in ways}

    def close(self):
        self.over.set()
        self.server.close()
        for call in self.open:
            for end in call["ends"]:
                end.close()


class Cluster(cluster.Endless):
    """Two processes, the second of which calls through a proxy."""

    def __init__(self, rig, lake, capture, more):
        self.proxy = None
        super().__init__(rig, lake, capture, (2, 1), more)

    def start(self, process):
        if self.proxy is None:
            with open(self.name + ".hosts", encoding="utf-8") as hosts:
                self.called = hosts.readline().strip()
            host, port = self.called.split(":")
            self.proxy = Proxy((host, int(port)))
        return super().start(process)

    def environment(self, process):
        return {"MESH_BY": f"{self.called}={self.proxy.address}"}


def one_cut(rig, args, number, where):
    """Cuts one job; gives the seconds until both processes have noticed."""
    channels, ways, for_good = where
    draw = rigs.rng(args.seed, "cuts", number)
    capture, lake = rig.capture(args.seed * 1000 + number % 3, args.messages), rig.path("cuts")
    more = ["--join-within", "6s", "--restarts", "1"] if for_good else []
    job = Cluster(rig, lake, capture, more)
    what = f"{channels}, {ways}{', for good' if for_good else ''}"
    try:
        job.until(3 + draw.randrange(12))
        job.proxy.cut(CHANNELS[channels], DIRECTIONS[ways], for_good)
        began, before = time.monotonic(), rigs.head(lake)["generation"]
        rigs.wait_for(f"a notice of the cut ({what}): {job.name}", lambda: all(map(cluster.notices, job.runs)), None)
        noticed = time.monotonic() - began
        if noticed > args.grace:
            raise rigs.Failed(f"the cut ({what}) was noticed after {noticed:.1f} s, not within {args.grace} s: {job.name}")
        if for_good:
            codes = [rig.finish(run) for run in job.runs]
            if any(code not in (3, 75) for code in codes):
                raise rigs.Failed(f"after a cut for good the processes ended with {codes}, not 3 or 75: {job.name}\n{job.said()}")
        else:
            rigs.wait_for(f"the job to go on ({what}): {job.name}", lambda: rigs.head(lake)["generation"] > before, None)
            job.until(rigs.highest(lake) + 2)
            job.drain(draw.randrange(2))
    finally:
        job.proxy.close()
    rig.settle(lake, capture, 1, ["-n", "1"])
    rig.verify(lake, capture)
    rig.forget(lake)
    return noticed


def suite(rig, args):
    cuts = [(channels, ways, False) for channels in CHANNELS for ways in DIRECTIONS] + [("both", "both ways", True)]
    rigs.rng(args.seed, "which").shuffle(cuts)
    cuts = cuts[: args.cuts]
    for number in range(min(len(cuts), 3)):
        rig.capture(args.seed * 1000 + number, args.messages)
    noticed = rig.trials([lambda number=number, where=where: one_cut(rig, args, number, where) for number, where in enumerate(cuts)])
    return len(cuts), {**rig.figures(), "noticed_s": round(max(noticed), 1)}
