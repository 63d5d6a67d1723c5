"""Lets a real Prometheus scrape real jobs with the rules that come with Headway, their durations made shorter by one factor: it finds the
jobs, loads every rule, fires no alert for a healthy job in what is an hour by that factor, and fires those that a second job provokes:
dead letters, late records, restarts, and a job that is gone.

    python scripts/deploy/scraped.py target/release/headway
"""
import datetime
import json
import os
import re
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

# An hour of healthy running is half a minute, and what is due after ten minutes is due after five seconds.
FACTOR = 120
UNITS = {"s": 1, "m": 60, "h": 3600}
# How long to wait for what must come; far more than it takes.
PATIENCE = 120
LINE = "A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,1,2,{id},{time:%Y-%m-%d %H:%M:%S}\n"
FIRST = datetime.datetime(2024, 1, 30)


def shorter(text):
    """The rules with shorter durations: what they wait for, and over which ranges they look."""
    def scaled(found):
        ms = int(found[2]) * UNITS[found[3]] * 1000 // FACTOR
        return f"{found[1]}{ms}ms"
    return re.sub(r"(for: |\[)(\d+)([smh])\b", scaled, text)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Job:
    """A job on a file that grows."""

    def __init__(self, binary, folder, name):
        self.binary, self.name, self.folder = binary, name, os.path.join(folder, name)
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
        command = [self.binary, "run", "turnstile", "--source", "files:in", "--follow", "--lake", "lake", "--epoch", "100ms",
                   "--if-running", "take-over", "--listen", str(self.port)]
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


def provoke(prometheus, job):
    """Provokes the alerts of `job`, one after the other; gives their names."""
    instance = f"127.0.0.1:{job.port}"

    def fires(alert, meanwhile=lambda: None):
        def is_there():
            meanwhile()
            return (alert, instance) in prometheus.firing()
        wait_for(f"alert {alert}", is_there)
        return alert
    provoked = [fires("HeadwayDeadLetters", lambda: job.grow(dead=3)), fires("HeadwayLateRecords", lambda: job.grow(late=8))]

    def again():
        # A series that begins has no increase yet: each restart must have been scraped.
        job.kill()
        job.start()
        wait_for("answer of the job", job.answers)
        wait_for("scrape", lambda: instance in prometheus.up())
    provoked.append(fires("HeadwayRestarts", again))
    job.kill()
    provoked.append(fires("HeadwayDown"))
    return provoked


def main():
    binary = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        well, sick = Job(binary, folder, "well"), Job(binary, folder, "sick")
        prometheus = None
        try:
            for job in (well, sick):
                job.start()
            for job in (well, sick):
                wait_for("answer of a job", job.answers)
            prometheus = Prometheus(folder, [well, sick])
            wait_for("jobs that are scraped", lambda: len(prometheus.up()) == 2)
            began, stop, seen = time.monotonic(), threading.Event(), set()
            grower = threading.Thread(target=healthy_hour, args=(prometheus, well, stop, seen))
            grower.start()
            try:
                provoked = provoke(prometheus, sick)
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
        finally:
            for job in (well, sick):
                job.kill()
            if prometheus:
                prometheus.process.terminate()
                prometheus.process.wait()
    print(f"a real Prometheus: SUCCESS, {len(rules)} rules, none fires in an hour of 1/{FACTOR}; provoked: {', '.join(provoked)}")


main()
