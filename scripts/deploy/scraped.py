"""Lets a real Prometheus scrape real jobs with the rules that come with Headway, their durations made shorter by one factor: it finds the
jobs, loads every rule, fires no alert for a healthy job in what is an hour by that factor, and fires those that other jobs provoke:
dead letters, late records, restarts, and a job that is gone; windows that a quiet file holds open; records of a real broker that wait,
and are not committed.

    python scripts/deploy/scraped.py target/release/headway

The broker is started by scripts/kafka, which needs Java, and Maven or Kafka's jars. Without a broker this program says what it has not
checked.
"""
import datetime
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
KAFKA = os.path.join(os.path.dirname(HERE), "kafka")

# An hour of healthy running is half a minute, and what is due after ten minutes is due after five seconds.
FACTOR = 120
UNITS = {"s": 1, "m": 60, "h": 3600}
# How long to wait for what must come; far more than it takes.
PATIENCE = 120
LINE = "A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,1,2,{id},{time:%Y-%m-%d %H:%M:%S}\n"
FIRST = datetime.datetime(2024, 1, 30)


def shorter(text):
    """The rules with shorter durations: what they wait for, over which ranges they look, and how many seconds are too many."""
    def scaled(found):
        ms = int(found[2]) * UNITS[found[3]] * 1000 // FACTOR
        return f"{found[1]}{ms}ms"
    text = re.sub(r"(for: |\[)(\d+)([smh])\b", scaled, text)
    return re.sub(r"(_seconds\)? > )(\d+)\b", lambda found: f"{found[1]}{int(found[2]) / FACTOR}", text)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """A real broker with a topic of a few messages; a context."""

    def __init__(self, binary, folder):
        self.folder, self.config = os.path.join(folder, "broker"), os.path.join(folder, "client.properties")
        self.guard = subprocess.Popen([KAFKA, "--dir", self.folder, "--heap-mb", "256", "serve"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        address = self.guard.stdout.readline().strip()
        if not address:
            sys.exit("error: the broker does not start")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"bootstrap.servers={address}\n")
        subprocess.run([KAFKA, "--dir", self.folder, "topic", "mta-turnstile", "2"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([binary, "produce", "turnstile", "--to", "kafka:", "--kafka-config", self.config, "--messages", "40",
                        "--partitions", "2"], check=True, capture_output=True)

    @staticmethod
    def can_be_had():
        return bool(shutil.which("java")) and subprocess.run([KAFKA, "jars"], capture_output=True, check=False).returncode == 0

    def stop(self):
        self.guard.stdin.close()
        self.guard.wait()


class Job:
    """A job on a file that grows."""

    def __init__(self, binary, folder, name, more=("--source", "files:in", "--follow", "--epoch", "100ms")):
        self.binary, self.name, self.folder, self.more = binary, name, os.path.join(folder, name), more
        self.port, self.process, self.at = free_port(), None, 0
        os.makedirs(os.path.join(self.folder, "in"))
        self.grow()

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

    def start(self):
        command = [self.binary, "run", "turnstile", "--lake", "lake", "--if-running", "take-over", "--listen", str(self.port), *self.more]
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=log)

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
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


class Prometheus:
    def __init__(self, folder, jobs):
        self.port = free_port()
        with open(os.path.join(HERE, "alerts.yaml"), encoding="utf-8") as file:
            rules = shorter(file.read())
        with open(os.path.join(HERE, "prometheus.yaml"), encoding="utf-8") as file:
            config = file.read()
        targets = ", ".join(f'"127.0.0.1:{job.port}"' for job in jobs)
        changed = config.replace("scrape_interval: 15s", "scrape_interval: 250ms\n  evaluation_interval: 250ms")
        changed = changed.replace('"127.0.0.1:7070"', targets)
        if changed.count("250ms") != 2 or targets not in changed:
            sys.exit("error: prometheus.yaml is not what this script knows")
        for name, text in (("alerts.yaml", rules), ("prometheus.yaml", changed)):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        self.log = os.path.join(folder, "prometheus.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log, cwd=folder)

    def ask(self, what):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{what}", timeout=10) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, OSError):
            if self.process.poll() is not None:
                with open(self.log, encoding="utf-8") as log:
                    sys.exit(f"error: Prometheus ended\n{log.read()[-2000:]}")
            return None

    def up(self):
        found = self.ask("targets") or {"activeTargets": []}
        return {target["labels"]["instance"] for target in found["activeTargets"] if target["health"] == "up"}

    def firing(self):
        """Alerts that fire, each with its job."""
        found = self.ask("alerts") or {"alerts": []}
        fires = [alert["labels"] for alert in found["alerts"] if alert["state"] == "firing"]
        return {(labels["alertname"], labels.get("instance")) for labels in fires}


def wait_for(what, is_there):
    end = time.monotonic() + PATIENCE
    while not is_there():
        if time.monotonic() > end:
            sys.exit(f"error: no {what} in {PATIENCE} s")
        time.sleep(0.1)


def healthy_hour(prometheus, job, stop, seen):
    """Lets `job` grow until `stop`, and notes what fires for it."""
    instance = f"127.0.0.1:{job.port}"
    while not stop.is_set():
        job.grow()
        seen.update(alert for alert, where in prometheus.firing() if where == instance)
        stop.wait(0.1)


def held_open(binary, folder):
    """A job on two files, of which one has a single old line."""
    job = Job(binary, folder, "held", ("--source", "files:in", "--follow", "--epoch", "100ms", "--idle-after", "never"))
    with open(os.path.join(job.folder, "in", "b.csv"), "w", encoding="utf-8") as file:
        file.write(LINE.format(id="quiet", time=FIRST))
    return job


def stuck(binary, folder, broker):
    """A job that reads what a broker has, and commits nothing."""
    return Job(binary, folder, "stuck", ("--source", "kafka:", "--kafka-config", broker.config, "--epoch", "1h"))


def fires(prometheus, job, alert, meanwhile=lambda: None):
    """Waits until `alert` fires for `job`; gives its name."""
    def is_there():
        meanwhile()
        return (alert, f"127.0.0.1:{job.port}") in prometheus.firing()
    wait_for(f"alert {alert}", is_there)
    return alert


def provoke(prometheus, job):
    """Provokes the alerts of `job`, one after the other; gives their names."""
    instance = f"127.0.0.1:{job.port}"

    provoked = [fires(prometheus, job, "HeadwayDeadLetters", lambda: job.grow(dead=3)),
                fires(prometheus, job, "HeadwayLateRecords", lambda: job.grow(late=8))]

    def again():
        # A series that begins has no increase yet: each restart must have been scraped.
        job.kill()
        job.start()
        wait_for("answer of the job", job.answers)
        wait_for("scrape", lambda: instance in prometheus.up())
    provoked.append(fires(prometheus, job, "HeadwayRestarts", again))
    job.kill()
    provoked.append(fires(prometheus, job, "HeadwayDown"))
    return provoked


def compare(prometheus, well, provoked):
    """What `provoked` provokes, while the job `well` runs for what is an hour and must fire nothing; every rule must be loaded."""
    began, stop, seen = time.monotonic(), threading.Event(), set()
    grower = threading.Thread(target=healthy_hour, args=(prometheus, well, stop, seen))
    grower.start()
    try:
        names = provoked()
        stop.wait(max(0, 3600 / FACTOR - (time.monotonic() - began)))
    finally:
        stop.set()
        grower.join()
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    with open(os.path.join(HERE, "alerts.yaml"), encoding="utf-8") as file:
        written = file.read().count("- alert: ")
    broken = [rule["name"] for rule in rules if rule["health"] != "ok"]
    if len(rules) != written or broken:
        sys.exit(f"error: {len(rules)} of {written} rules are loaded, and these fail: {broken}")
    if seen:
        sys.exit(f"error: the healthy job fires {sorted(seen)}")
    return len(rules), names


def main():
    binary = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(binary, folder) if Broker.can_be_had() else None
        well, sick, held = Job(binary, folder, "well"), Job(binary, folder, "sick"), held_open(binary, folder)
        waiting = [stuck(binary, folder, broker)] if broker else []
        jobs, prometheus = [well, sick, held, *waiting], None

        def provoked():
            names = provoke(prometheus, sick) + [fires(prometheus, held, "HeadwayWindowsHeldOpen", held.grow)]
            for job in waiting:
                names += [fires(prometheus, job, alert) for alert in ("HeadwayLagging", "HeadwayNotCommitting")]
            return names
        try:
            for job in jobs:
                job.start()
            for job in jobs:
                wait_for("answer of a job", job.answers)
            prometheus = Prometheus(folder, jobs)
            wait_for("jobs that are scraped", lambda: len(prometheus.up()) == len(jobs))
            rules, names = compare(prometheus, well, provoked)
        finally:
            for job in jobs:
                job.kill()
            if broker:
                broker.stop()
            if prometheus:
                prometheus.process.terminate()
                prometheus.process.wait()
    if not broker:
        print("NOT CHECKED: alerts of records that wait, there is no broker")
    print(f"a real Prometheus: SUCCESS, {rules} rules, none fires in an hour of 1/{FACTOR}; provoked: {', '.join(names)}")


main()
