"""Lets a real Prometheus scrape real jobs with the rules that come with Headway, their durations made shorter by one factor: it finds the
jobs, loads every rule, fires no alert for a healthy job in what is an hour by that factor, and fires each of them for a job that is in
that trouble (scraped_jobs.py has the jobs). The healthy job reads a real broker, keeps a real database up to date, has expectations
and was started after a kill: it has every metric that the alerts look at, and each could fire for it.

    python scripts/deploy/scraped.py target/release/headway
    python scripts/deploy/scraped.py --require broker --require database --require strace target/release/headway

What needs a broker, a database or strace where there is none is not checked, and this program says so; with --require it fails.
"""
import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import scraped_jobs as jobs
from scraped_jobs import free_port, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))

# An hour of healthy running is a minute, and what is due after ten minutes is due after ten seconds. A healthy job may pause for three
# seconds then, as it does where others use the machine.
FACTOR = 60
# Seconds between two scrapes, two looks at what fires, and two times that jobs are fed.
PAUSE_S = 0.25
PAUSE = f"{int(PAUSE_S * 1000)}ms"
UNITS = {"s": 1, "m": 60, "h": 3600}
# What of the metrics that alerts look at a job has only with a broker, or with a database.
ONLY_WITH = {"broker": "headway_source_", "database": "headway_target_"}


def read(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


def shorter(text):
    """The rules with shorter durations: what they wait for, over which ranges they look, and how many seconds are too many (but not how
    long a commit may take)."""
    def scaled(found):
        ms = int(found[2]) * UNITS[found[3]] * 1000 // FACTOR
        return f"{found[1]}{ms}ms"
    text = re.sub(r"(for: |\[)(\d+)([smh])\b", scaled, text)
    return re.sub(r"(_seconds\)? > )(\d+)\b", lambda found: f"{found[1]}{int(found[2]) / FACTOR}", text)


class Prometheus:
    def __init__(self, folder, instances):
        self.port = free_port()
        rules, config = shorter(read("alerts.yaml")), read("prometheus.yaml")
        targets = ", ".join(f'"{instance}"' for instance in instances)
        changed = config.replace("scrape_interval: 15s", f"scrape_interval: {PAUSE}\n  evaluation_interval: {PAUSE}")
        changed = changed.replace('"127.0.0.1:7070"', targets)
        if changed.count(PAUSE) != 2 or targets not in changed:
            sys.exit("error: prometheus.yaml is not what this script knows")
        for name, text in (("alerts.yaml", rules), ("prometheus.yaml", changed)):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        self.log = os.path.join(folder, "prometheus.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log, cwd=folder)

    def end(self):
        self.process.terminate()
        self.process.wait()

    def ask(self, what, **words):
        """The data of an answer; None if there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(words)}", timeout=10) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, OSError):
            if self.process.poll() is not None:
                with open(self.log, encoding="utf-8") as log:
                    sys.exit(f"error: Prometheus ended\n{log.read()[-2000:]}")
            return None

    def up(self):
        found = self.ask("targets") or {"activeTargets": []}
        return {target["labels"]["instance"] for target in found["activeTargets"] if target["health"] == "up"}

    def firing(self, instance):
        """The labels of the alerts that fire for a job; None if there is no answer."""
        found = self.ask("alerts")
        fires = [alert["labels"] for alert in found["alerts"] if alert["state"] == "firing"] if found else []
        return [labels for labels in fires if labels.get("instance") == instance] if found else None

    def has(self, instance, names):
        """Which of the metrics `names` it has of a job now."""
        query = f'count by (__name__) ({{instance="{instance}", __name__=~"{"|".join(sorted(names))}"}})'
        found = self.ask("query", query=query) or {"result": []}
        return {one["metric"]["__name__"] for one in found["result"]}


class Hour:
    """An hour of the healthy job, by the factor: what fires for it, and what of it Prometheus has."""

    def __init__(self, prometheus, well, needed):
        self.prometheus, self.well, self.needed = prometheus, well, needed
        self.stop, self.fired, self.looks, self.whole, self.lacked = threading.Event(), set(), 0, 0, set()
        self.thread = threading.Thread(target=self.pass_by)

    def pass_by(self):
        while not self.stop.wait(PAUSE_S):
            firing = self.prometheus.firing(self.well.instance)
            if firing is not None:
                lacks = self.needed - self.prometheus.has(self.well.instance, self.needed)
                self.looks, self.whole = self.looks + 1, self.whole + (not lacks)
                self.lacked |= lacks
                self.fired.update(labels["alertname"] for labels in firing)

    def judge(self):
        if self.fired:
            sys.exit(f"error: the healthy job fires {sorted(self.fired)}")
        # A scrape that came too late takes all metrics away until the next one.
        if self.whole == 0 or self.whole < self.looks / 2:
            sys.exit(f"error: the healthy job had all that alerts look at in {self.whole} of {self.looks} looks; else it lacked {sorted(self.lacked)}")


class Feeder:
    """Feeds jobs until it is stopped."""

    def __init__(self, fed):
        self.fed, self.stop, self.failure = fed, threading.Event(), None
        self.thread = threading.Thread(target=self.feed)

    def feed(self):
        try:
            while not self.stop.wait(PAUSE_S):
                for job in self.fed:
                    job.feed()
        except BaseException as failure:
            self.failure = failure
            raise


def fires(prometheus, job, alert, meanwhile=lambda: None, **labels):
    """Waits until `alert` fires for `job` with these labels; gives its name."""
    expected = {"alertname": alert, **labels}.items()

    def is_there():
        meanwhile()
        return any(expected <= found.items() for found in prometheus.firing(job.instance) or ())
    wait_for(f"alert {dict(expected)} of job {job.name}", is_there)
    return alert


def provoke(prometheus, job):
    """Provokes the alerts of `job`, one after the other; gives their names."""
    provoked = [fires(prometheus, job, "HeadwayDeadLetters", lambda: job.grow(dead=3)),
                fires(prometheus, job, "HeadwayLateRecords", lambda: job.grow(late=8))]

    def again():
        # A series that begins has no increase yet: each restart must have been scraped.
        job.kill()
        job.start()
        wait_for("scrape", lambda: job.instance in prometheus.up())
    provoked.append(fires(prometheus, job, "HeadwayRestarts", again))
    job.kill()
    provoked.append(fires(prometheus, job, "HeadwayDown"))
    return provoked


def hang(prometheus, job):
    """A job that hangs, and then is gone."""
    fires(prometheus, job, "HeadwayNotAlive", state="unresponsive")
    job.kill()
    return [fires(prometheus, job, "HeadwayNotAlive", state="failed")]


def break_rules(prometheus, job):
    """An expectation of a view, and one of records."""
    return [fires(prometheus, job, "HeadwayExpectationBroken", rule=rule) for rule in jobs.RULES][:1]


def alone(*alerts):
    """What only has to be waited for."""
    return lambda prometheus, job: [fires(prometheus, job, alert) for alert in alerts]


# What each job needs, and what provokes its alerts. The last one takes the longest to begin.
TROUBLES = (
    (None, jobs.Sick, provoke),
    (None, jobs.HeldOpen, alone("HeadwayWindowsHeldOpen")),
    (None, jobs.Broken, break_rules),
    ("broker", jobs.Stuck, alone("HeadwayLagging", "HeadwayNotCommitting")),
    ("broker", jobs.TransactionOpen, alone("HeadwayTransactionOpen")),
    ("database", jobs.Behind, alone("HeadwayTargetBehind")),
    ("strace", jobs.Slow, alone("HeadwayCommitsSlow")),
    (None, jobs.Hung, hang),
)


def rules_are_loaded(prometheus):
    """Prometheus has every rule, and evaluates it; gives their names."""
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    written = set(re.findall(r"- alert: (\w+)", read("alerts.yaml")))
    broken = [rule["name"] for rule in rules if rule["health"] != "ok"]
    if {rule["name"] for rule in rules} != written or broken:
        sys.exit(f"error: {len(rules)} of {len(written)} rules are loaded, and these fail: {broken}")
    return written


def compare(world, folder):
    """Provokes what can be provoked here, while the healthy job must fire nothing; gives the names of all alerts, and the hour."""
    well = jobs.Well(world)
    troubled = [(make(world), provoked) for needs, make, provoked in TROUBLES if needs not in world.lacks]
    everybody = [well, *(job for job, _ in troubled)]
    jobs.at_once([job.start for job in everybody])
    prometheus = Prometheus(folder, [job.instance for job in everybody])
    world.stack.callback(prometheus.end)
    wait_for("jobs that are scraped", lambda: len(prometheus.up()) == len(everybody))
    used = set(re.findall(r"headway_\w+", "".join(re.findall(r"expr: (.*)", read("alerts.yaml")))))
    absent = tuple(prefix for what, prefix in ONLY_WITH.items() if what in world.lacks)
    hour = Hour(prometheus, well, {name for name in used if not name.startswith(absent or "-")})
    feeder, began, names = Feeder(everybody), time.monotonic(), []
    feeder.thread.start()
    hour.thread.start()
    try:
        for job, provoked in troubled:
            names += provoked(prometheus, job)
        hour.stop.wait(max(0, 3600 / FACTOR - (time.monotonic() - began)))
    finally:
        hour.stop.set()
        feeder.stop.set()
        hour.thread.join()
        feeder.thread.join()
    if feeder.failure:
        sys.exit(f"error: a job could not be fed: {feeder.failure}")
    hour.judge()
    return rules_are_loaded(prometheus), names, hour


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--require", action="append", default=[], choices=["broker", "database", "strace"], help="fail where there is none; may be repeated")
    parser.add_argument("binary")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        world = jobs.World(os.path.abspath(args.binary), folder, stack)
        if missing := [why for what, why in world.lacks.items() if what in args.require]:
            sys.exit(f"error: {'; '.join(missing)}")
        world.begin()
        rules, names, hour = compare(world, folder)
    silent = rules - set(names)
    for why in world.lacks.values():
        print(f"NOT CHECKED: {why}")
    if silent and not world.lacks:
        sys.exit(f"error: nothing provokes {sorted(silent)}")
    print(f"a real Prometheus: SUCCESS, {len(rules)} rules, none fires in an hour of 1/{FACTOR}, with all that alerts look at in {hour.whole} of "
          f"{hour.looks} looks; provoked: {', '.join(names)}" + (f"; not provoked: {', '.join(sorted(silent))}" if silent else ""))


main()
