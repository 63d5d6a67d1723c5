"""What the Kafka suites stand on: a real broker, the Java client beside it, runs of the real binary, verdicts.

The broker is started through `scripts/kafka serve`, which stops it when its input ends: it does not outlive the suites,
whatever ends them.
"""
import collections
import concurrent.futures
import glob
import json
import os
import signal
import subprocess
import threading

from crash_suites import rig as rigs
from crash_suites.kill_anywhere import AT_START, still_there
from crash_suites.rig import Failed

KAFKA = os.path.join(rigs.ROOT, "scripts", "kafka")
JARS = os.path.join(rigs.ROOT, "target", "kafka", "jars")
# About one in so many records is in a transaction that is aborted.
ABORT_EVERY = 1000
# The Java client has failed if an answer takes longer.
SECONDS_MAX = rigs.SECONDS_MAX
# Windows of the jobs, in seconds. Many topics hold an hour or two of event time.
WINDOWS_S = (45, 60, 61, 90, 180, 300, 420)


def wait_for(what, condition, run=None, seconds=60):
    """Waits until `condition()` holds; a run that ends before has failed."""
    if not rigs.wait_for(what, condition, run, seconds):
        raise Failed(f"the run ended before {what}\n  {' '.join(run.command)}\n{run.said()}")


class Broker:
    """A real broker of one node, and the Java client that talks to it."""

    def __init__(self, folder, more=()):
        self.folder, self.log = folder, folder + ".log"
        with open(self.log, "ab") as log:
            self.guard = subprocess.Popen([KAFKA, "--dir", folder, "--heap-mb", "256", *more, "serve"], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=log, text=True)
        self.address, self.peer = self.guard.stdout.readline().strip(), None
        if not self.address:
            self.stop()
            raise Failed(f"the broker did not start; see scripts/kafka\n{open(self.log, encoding='utf-8').read()[-2000:]}")
        self.config = folder + ".properties"
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"bootstrap.servers={self.address}\n")
        self.peer = Peer(self.address, folder + ".peer.log")

    def pid(self):
        with open(os.path.join(self.folder, "pid"), encoding="utf-8") as file:
            return int(file.read())

    def signal(self, number):
        os.kill(self.pid(), number)

    def status(self):
        """Whether it runs, and what it says of itself."""
        done = subprocess.run([KAFKA, "--dir", self.folder, "status"], capture_output=True, text=True, check=False)
        return done.returncode == 0, done.stdout.strip()

    def kill(self):
        """Kills it, and waits until it is gone."""
        self.signal(signal.SIGKILL)
        wait_for("the end of the broker", lambda: not self.status()[0])

    def start_again(self):
        """Starts it after it was killed, on the same port, and waits until it answers."""
        done = subprocess.run([KAFKA, "--dir", self.folder, "--heap-mb", "256", "start"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"the broker did not start again\n{done.stderr[-2000:]}")

    def says(self):
        """Whether it answers, and the end of its log: for whoever wants to know whose fault something is."""
        with open(os.path.join(self.folder, "broker.log"), encoding="utf-8", errors="replace") as file:
            return f"the broker is {self.status()[1]}; the end of its log:\n{''.join(file.readlines()[-8:])}"

    def ask(self, what, **more):
        return self.peer.ask(what, **more).result()

    def tool(self, *words):
        """What one of Kafka's own tools says."""
        done = subprocess.run([KAFKA, "--dir", self.folder, "tool", *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{words[0]} failed\n{done.stdout}{done.stderr}")
        return done.stdout

    def stop(self):
        if self.peer:
            self.peer.stop()
        self.guard.stdin.close()
        self.guard.wait()


class Peer:
    """The Java client: requests may run side by side."""

    def __init__(self, address, log):
        jars = subprocess.run([KAFKA, "jars"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Peer.java")
        # No back end for its log: what fails is told in the answer.
        command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
                   "-cp", os.path.join(jars, "*"), source, address]
        with open(log, "ab") as err:
            self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True, encoding="utf-8")
        self.lock, self.waiting, self.last = threading.Lock(), {}, 0
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def ask(self, what, **more):
        """Sends a request; gives a future of its answer, which fails if the request did."""
        future = concurrent.futures.Future()
        with self.lock:
            self.last += 1
            self.waiting[self.last] = future
            print(json.dumps({"id": self.last, "do": what, **more}), file=self.child.stdin, flush=True)
        return future

    def listen(self):
        for line in self.child.stdout:
            answer = json.loads(line)
            with self.lock:
                future = self.waiting.pop(answer["id"])
            if "error" in answer:
                future.set_exception(Failed(f"the Java client failed: {answer['error']}"))
            else:
                future.set_result(answer)
        with self.lock:
            for future in self.waiting.values():
                future.set_exception(Failed("the Java client has ended"))

    def stop(self):
        self.child.stdin.close()
        self.child.wait()


class Rig(rigs.Rig):
    """A scratch folder, one broker, and the processes of a suite."""

    forms = ("envelopes",)

    def __init__(self, args):
        super().__init__(args)
        self.brokers, self.seed = [], args.seed
        # One for all topics: a job is given the zone that its messages were written in.
        self.zone, self.start_time = rigs.rng(args.seed, "place").choice(rigs.draws.PLACES)

    def place(self, draw):
        return self.zone, self.start_time

    def flags(self, topic):
        """Windows and zone of the jobs that read a topic."""
        return *rigs.window_flags(rigs.rng(self.seed, "windows", topic), WINDOWS_S), "--zone", self.zone

    def __exit__(self, *words):
        for broker in self.brokers:
            broker.stop()
        super().__exit__(*words)

    def broker(self, name="broker", more=()):
        broker = Broker(os.path.join(self.folder, name), more)
        self.brokers.append(broker)
        return broker

    def job(self, broker, topic, lake, *more, workers=1, until=None, config=None, env=None, log=None):
        """Starts the job on a topic, with small epochs."""
        command = [self.binary, "run", rigs.JOB, "--source", "kafka:", "--kafka-config", config or broker.config, "--topic", topic]
        command += ["--lake", lake, "-w", str(workers), "--epoch", "50ms", "--epoch-bytes", "16KiB", "--not-after", "none"]
        command += self.flags(topic)
        command += ["--until", until] if until else []
        command += ["--idle-after", "never"] if "--idle-after" not in more else []
        command += more
        os.makedirs(os.path.dirname(lake), exist_ok=True)
        log = log or lake.rstrip("/") + ".log"
        return rigs.Run(self.spawn(command, log, env), log, command)

    def close_windows(self, broker, topic, lake, *more, workers=1):
        """Reads what is left and closes every window, as the reference program does: a topic has no end, but it can be idle."""
        run = self.job(broker, topic, lake, "--idle-after", "200ms", "--idle-flush", "300ms", *more, workers=workers)
        first = rigs.next_generation(lake)
        wait_for("the flush of all windows", lambda: is_flushed(lake, first), run)
        self.drain(run)

    def write(self, broker, topic, name, envelopes, **more):
        """Hands envelopes to the Java client to write in this order; gives a future."""
        file = os.path.join(self.folder, f"{name}.todo")
        with open(file, "w", encoding="utf-8") as out:
            out.writelines(json.dumps(envelope) + "\n" for envelope in envelopes)
        return broker.peer.ask("write", topic=topic, file=file, **more)

    def first_half(self, broker, topic, lake, todo, workers):
        """Makes a topic of the first half of `todo`; gives a run, when it has committed all of that, and how much that is."""
        half = len(todo) // 2
        broker.ask("create", topic=topic, partitions=4)
        self.write(broker, topic, f"{topic}-a", todo[:half]).result()
        run = self.job(broker, topic, lake, workers=workers)
        wait_for("the commit of the first half", lambda: consumed(lake) == half, run)
        return run, half

    def refused(self, run, name, *words):
        """Waits for the end of a run, which must be refused by this name, and in these words too; gives what it said."""
        code = self.finish(run, 90)
        if code != 4 or any(word not in run.said() for word in (f"({name})", *words)):
            wanted = " and ".join((name, *words))
            raise Failed(f"a run ended with {code}, not with exit code 4 and {wanted}\n  {' '.join(run.command)}\n{run.said()}")
        return run.said()

    def finds_another(self, run, *words):
        """Waits for the end of a run, which must say, in these words too, that what it read is not what is there."""
        self.refused(run, "other-identity", *words)

    def status(self, lake, *more):
        """What `headway status` says of each partition, by number."""
        command = [self.binary, "status", "--lake", lake, "-o", "json", *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"status ended with {done.returncode}\n{done.stderr}")
        return {part["partition"]: part for part in json.loads(done.stdout)["inputs"][0]["partitions"]}

    def cause(self, lake):
        """Why the job lags, says `headway explain lag`; None while it does not run."""
        command = [self.binary, "explain", "lag", "--lake", lake, "-o", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = json.loads(done.stdout.splitlines()[0]) if done.stdout else {}
        if "healthy" in found and done.returncode != (0 if found["healthy"] else 1):
            raise Failed(f"explain lag ended with {done.returncode} for {found}")
        return found.get("cause")

    def verify_topic(self, broker, topic, lake, known=None):
        """All is well: says the reference program, given what the Java client reads and the manifests' floors, and the audit."""
        capture = os.path.join(self.folder, f"read-{topic}")
        read = broker.ask("read", topic=topic, out=capture)["partitions"]
        floors = os.path.join(self.folder, f"floors-{topic}.ndjson")
        known = floors_of(lake) if known is None else known
        with open(floors, "w", encoding="utf-8") as out:
            out.writelines(json.dumps({"partition": p, "offset": o, "floor": f}) + "\n" for p, o, f in known)
        report = self.judge(lake, capture, self.flags(topic), ["--topic", topic, "--floors", floors])
        self.audited(lake)
        return report, read, known


class Kills:
    """The kills of one lake's job, whose topics do not end: as many as planned, at random moments, and what readers saw meanwhile."""

    def __init__(self, rig, args, lake, number):
        self.rig, self.lake, self.number, self.starts_max = rig, lake, number, args.starts_max
        self.left = min(args.kills_a_run, args.kills - number * args.kills_a_run)
        self.phases, self.seen = collections.Counter(), {}

    def happen(self, draw, epochs, feed, start):
        """Kills what `start()` starts until all kills have met a run at work; `feed()` writes more where all was read."""
        while self.left > 0:
            if self.phases.total() == self.starts_max:
                raise Failed(f"lake {self.number} was started {self.starts_max} times, and was killed as {dict(self.phases)}\n{run.said()}")
            feed()
            generation, before = rigs.next_generation(self.lake), rigs.highest(self.lake)
            run = start()
            # What it has left to commit may be less than what is drawn.
            rigs.random_moment(draw, run, self.lake, before, epochs, start=(0.0, 0.4), patience=5)
            if self.rig.kill(run) != -9:
                raise Failed(f"lake {self.number} ended though its topics do not\n{run.said()}")
            where = rigs.phase(self.lake, generation)
            self.phases[where] += 1
            self.left -= where not in AT_START
            self.look()

    def look(self):
        """What a reader saw is still there."""
        still_there(self.seen, rigs.committed_files(self.lake))


def envelopes_of(capture):
    """The envelopes of a capture in the order they were sent in, each partition in its own order."""
    found = []
    for path in sorted(glob.glob(os.path.join(capture, "*.ndjson"))):
        with open(path, encoding="utf-8") as file:
            found += [json.loads(line) for line in file]
    # The sort is stable. Partition p runs 30 s behind its number; see Rig.capture.
    found.sort(key=lambda envelope: envelope["ts"] + 30_000 * envelope["partition"])
    return found


def with_aborted(envelopes, draw):
    """Adds records that no reader may see: each would change a sum, had it been committed."""
    mixed = []
    for envelope in envelopes:
        mixed.append(envelope)
        if draw.random() < 1 / ABORT_EVERY and envelope["payload"]:
            fields = envelope["payload"].strip('"').split(",")
            if len(fields) == 13:
                fields[9], fields[11] = "999983", f"aborted-{len(mixed)}"
                mixed.append({**envelope, "payload": ",".join(fields), "aborted": True})
    return mixed


def floors_of(lake):
    """All floors that any manifest names: (partition, first offset, milliseconds)."""
    parts = (part for manifest in rigs.all_manifests(lake) for source in manifest["inputs"] for part in source["partitions"])
    return sorted({(part["partition"], part["floor_from"], part["floor"]) for part in parts if part["floor"] is not None})


def partitions(lake):
    """The partitions in the newest manifest, by number."""
    newest = rigs.head(lake)
    return {part["partition"]: part for part in newest["inputs"][0]["partitions"]} if newest else {}


def is_flushed(lake, generation):
    """True if a run of this generation or a later one has closed all windows: each watermark lies beyond every event then.

    What is held is no measure: identities go by the minute, and a minute may reach into a window that never opened.
    """
    newest = rigs.head(lake)
    return newest["generation"] >= generation and newest["kind"] == "commit" and all(map(is_closed, newest["inputs"]))


def is_closed(source):
    """True if every window of an input is closed."""
    own = [part["own"] for part in source["partitions"] if part["own"] is not None]
    return bool(own) and (source.get("wm") or 0) > max(own)


def consumed(lake):
    """How many records the job has committed."""
    return sum(part["total"]["consumed"] for part in partitions(lake).values())
