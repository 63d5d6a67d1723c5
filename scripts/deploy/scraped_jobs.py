"""What scraped.py lets Prometheus scrape: a healthy job that has all that the alerts look at, and a job for each trouble.

A broker comes from scripts/kafka (Java, and Maven or Kafka's jars), a database from scripts/postgres-suite (Debian's package
`postgresql`), and slow commits from strace. What is not here is in `World.lacks`, and jobs that need it are left out.
"""
import concurrent.futures
import datetime
import glob
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True

from kafka_suites import rig as kafka  # noqa: E402 (after the path is known)
from measures import postgres  # noqa: E402

# How long to wait for what must come; far more than it takes.
PATIENCE = 120
LINE = "A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,1,2,{id},{time:%Y-%m-%d %H:%M:%S}\n"
FIRST = datetime.datetime(2024, 1, 30)
LOCK = "SELECT FROM headway_turnstile._headway FOR UPDATE"
# More than a commit may take to publish.
SLOW_US = 1_050_000
# One expectation of a view and one of records: all hold, or none does.
EXPECT = """
[[expect]]
name = "division-of-a-station"
view = "dim_station"
accepted_values = {{ column = "division", values = {values} }}

[[expect]]
name = "division-of-a-record"
input = "turnstile"
accepted_values = {{ column = "DIVISION", values = {values} }}
"""
RULES = ("division-of-a-station", "division-of-a-record")


def wait_for(what, is_there):
    end = time.monotonic() + PATIENCE
    while not is_there():
        if time.monotonic() > end:
            sys.exit(f"error: no {what} in {PATIENCE} s")
        time.sleep(0.1)


def at_once(works):
    """Does all of `works`, some at a time; fails if one does."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for work in works]:
            future.result()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class World:
    """The program, a folder, and a broker and a database where they can be had; `stack` ends all."""

    def __init__(self, binary, folder, stack):
        self.binary, self.folder, self.stack = binary, folder, stack
        self.broker = self.server = None
        self.lacks = {what: why for what, why in (("broker", no_broker()), ("database", no_database()), ("strace", no_strace())) if why}

    def begin(self):
        """Starts broker and database."""
        at_once([work for what, work in (("broker", self.begin_broker), ("database", self.begin_server)) if what not in self.lacks])

    def begin_broker(self):
        self.broker = kafka.Broker(os.path.join(self.folder, "broker"))
        self.stack.callback(self.broker.stop)

    def begin_server(self):
        # The server runs as another user.
        os.chmod(self.folder, 0o755)
        home = os.path.join(self.folder, "server")
        os.makedirs(home)
        self.server = postgres.suite().Server(home)
        self.stack.callback(self.server.stop, "immediate")
        self.server.sql("CREATE DATABASE well", database="postgres")

    def topic(self, name):
        """A topic of two partitions, and the words that let a job read it."""
        self.broker.ask("create", topic=name, partitions=2)
        return "--source", "kafka:", "--kafka-config", self.broker.config, "--topic", name

    def produce(self, topic, *more):
        words = ["produce", "turnstile", "--to", "kafka:", "--kafka-config", self.broker.config, "--topic", topic, "--partitions", "2"]
        return subprocess.Popen([self.binary, *words, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def hold_open(self, topic):
        """Writes a transaction that stays open as long as the broker runs."""
        file, hold = os.path.join(self.folder, "held.ndjson"), os.path.join(self.folder, "hold")
        with open(file, "w", encoding="utf-8") as out:
            line = LINE.format(id="held", time=FIRST).rstrip()
            out.write(json.dumps({"partition": 0, "ts": int(time.time() * 1000), "payload": line}) + "\n")
        self.broker.peer.ask("write", topic=topic, file=file, transactions=True, hold=hold)
        wait_for("open transaction", lambda: os.path.exists(hold + ".open"))

    def url(self, database):
        return f"postgresql://headway@127.0.0.1:{self.server.port}/{database}"


def no_broker():
    has = shutil.which("java") and subprocess.run([kafka.KAFKA, "jars"], capture_output=True, check=False).returncode == 0
    return None if has else "there is no broker: Java, and Maven or Kafka's jars"


def no_database():
    has = glob.glob("/usr/lib/postgresql/*/bin/initdb") or shutil.which("initdb")
    return None if has else "there is no PostgreSQL"


def no_strace():
    return None if shutil.which("strace") else "there is no strace"


class Job:
    """A job on a file that grows, or on something else that `source` names."""

    def __init__(self, world, name, *more, source=("--source", "files:in", "--follow")):
        self.world, self.name, self.folder = world, name, os.path.join(world.folder, name)
        self.words = [*source, "--epoch", "100ms", *more]
        self.port, self.process, self.at = free_port(), None, 0
        self.address = f"127.0.0.1:{self.port}"
        # What Prometheus scrapes.
        self.instance = self.address
        os.makedirs(os.path.join(self.folder, "in"))
        self.grow()
        world.stack.callback(self.kill)

    def grow(self, dead=0, late=0):
        """Ten good lines, whose event time goes on by 100 s; then lines that are dead or late."""
        lines = ""
        for _ in range(10):
            lines += LINE.format(id=f"{self.name}{self.at}", time=FIRST + datetime.timedelta(seconds=self.at * 10))
            self.at += 1
        lines += "what?\n" * dead
        old = FIRST - datetime.timedelta(days=1)
        lines += "".join(LINE.format(id=f"late{self.at}-{number}", time=old) for number in range(late))
        with open(os.path.join(self.folder, "in", "a.csv"), "a", encoding="utf-8") as file:
            file.write(lines)

    def feed(self):
        """What happens to it all the time."""
        self.grow()

    def expects(self, values):
        with open(os.path.join(self.folder, "expect.toml"), "w", encoding="utf-8") as file:
            file.write(EXPECT.format(values=json.dumps(values)))
        self.words = ["-c", "expect.toml", *self.words]

    def start(self):
        """Starts it, and waits until it answers."""
        command = [self.world.binary, "run", "turnstile", "--lake", "lake", "--if-running", "take-over", "--listen", str(self.port), *self.words]
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=log)
        wait_for(f"answer of job {self.name}", self.answers)

    def kill(self):
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def answers(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.folder, "log"), encoding="utf-8") as log:
                sys.exit(f"error: job {self.name} ended with {self.process.returncode}\n{log.read()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://{self.address}/readyz", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def has_committed(self):
        self.feed()
        return kafka.rigs.highest(os.path.join(self.folder, "lake")) > 1


class Well(Job):
    """A healthy job that has all that alerts look at: a broker, live tables, a database, expectations that hold, a start after a kill."""

    def __init__(self, world):
        source = world.topic("well") if world.broker else ("--source", "files:in", "--follow")
        target = ("--postgres", world.url("well")) if world.server else ()
        super().__init__(world, "well", "--views", "--window", "10s", "--lateness", "5s", *target, source=source)
        self.expects(["BMT", "IND", "IRT", "PTH", "RIT", "SRT"])
        if world.broker:
            more = ("--messages", "none", "--continuous", "--speed", "1", "--rate", "40", "--disorder", "1s", "--bad", "0", "--late", "0")
            self.producer = world.produce("well", *more)
            world.stack.callback(self.end_producer)

    def feed(self):
        if not self.world.broker:
            self.grow()

    def end_producer(self):
        self.producer.kill()
        self.producer.wait()

    def start(self):
        super().start()
        wait_for("commits of the healthy job", self.has_committed)
        self.kill()
        super().start()


class Sick(Job):
    """A job that gets what is dead or late, is killed, and is gone in the end."""

    def __init__(self, world):
        super().__init__(world, "sick")

    def feed(self):
        pass


class HeldOpen(Job):
    """A job on two files, of which one has a single old line: no window closes."""

    def __init__(self, world):
        super().__init__(world, "held", "--idle-after", "never")
        with open(os.path.join(self.folder, "in", "b.csv"), "w", encoding="utf-8") as file:
            file.write(LINE.format(id="quiet", time=FIRST))


class Stuck(Job):
    """A job that reads what a broker has, and commits nothing."""

    def __init__(self, world):
        super().__init__(world, "stuck", source=world.topic("stuck"))
        self.words[self.words.index("--epoch") + 1] = "1h"
        if world.produce("stuck", "--messages", "40").wait() != 0:
            sys.exit("error: nothing was written to the broker")

    def feed(self):
        pass


class TransactionOpen(Job):
    """A job on a topic with a transaction that nobody ends."""

    def __init__(self, world):
        super().__init__(world, "open", source=world.topic("open"))
        world.hold_open("open")

    def feed(self):
        pass


class Slow(Job):
    """A job for whose commits each link of a file takes a second: those publish what was committed."""

    def __init__(self, world):
        super().__init__(world, "slow")
        self.tracer = None

    def start(self):
        super().start()
        words = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=link,linkat", "-e", f"inject=link,linkat:delay_enter={SLOW_US}"]
        self.tracer = subprocess.Popen([*words, "-p", self.committing()], stderr=subprocess.DEVNULL)

    def committing(self):
        """The number of the thread that commits."""
        tasks = f"/proc/{self.process.pid}/task"
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/comm", encoding="utf-8") as file:
                if file.read().strip() == "headway-commit":
                    return task
        sys.exit("error: no thread of the job is named headway-commit")

    def kill(self):
        super().kill()
        if self.tracer:
            # What it traced is gone.
            self.tracer.wait()
            self.tracer = None


class Behind(Job):
    """A job whose database is locked by somebody else."""

    def __init__(self, world):
        super().__init__(world, "behind", "--views", "--postgres", world.url("views"))

    def start(self):
        super().start()
        wait_for("tables in the database", self.has_delivered)
        self.world.stack.enter_context(postgres.suite().Held(self.world.server, LOCK))

    def has_delivered(self):
        self.grow()
        return self.world.server.seq() >= 0


class Broken(Job):
    """A job of whose expectations none holds."""

    def __init__(self, world):
        super().__init__(world, "broken", "--views")
        self.expects(["IND"])


class Hung(Job):
    """A job that is stopped, whose metrics come from the file that `status -o prometheus` writes, as a collector of files serves it."""

    def __init__(self, world):
        super().__init__(world, "hung")
        self.answer, self.asked = b"", 0
        self.collector = collector(self)
        self.instance = f"127.0.0.1:{self.collector.server_port}"

    def start(self):
        super().start()
        wait_for("commits of the job that hangs", self.has_committed)
        self.process.send_signal(signal.SIGSTOP)
        self.collect()

    def feed(self):
        self.grow()
        self.collect()

    def collect(self):
        """Writes the file once a second."""
        if time.monotonic() > self.asked + 1:
            command = [self.world.binary, "status", "--lake", "lake", "-o", "prometheus"]
            # It ends with 3 for a job that is not alive.
            self.answer = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
            self.asked = time.monotonic()


def collector(hung):
    """Serves what `hung` has in its file."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(hung.answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hung.world.stack.callback(server.server_close)
    hung.world.stack.callback(server.shutdown)
    return server
