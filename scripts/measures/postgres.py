"""Rows that a job changes in PostgreSQL in a second, on a private server with its default settings, fsync among them.

Once the tables are there, the one row by which the target knows where it stands is locked, as by another run, while the job commits.
When all is committed the lock goes, and the target brings the tables up from change files, a transaction a commit.
"""
import importlib.machinery
import importlib.util
import os
import subprocess
import time

SUITE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "postgres-suite")
# What the server counted in tables of views: rows that came, changed and went.
COUNT = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables WHERE schemaname = 'headway_turnstile' AND relname <> '_headway'"


class Failed(Exception):
    """What is measured did not happen; args[0] says what."""


def suite():
    """The suite as a module: it has the server."""
    loader = importlib.machinery.SourceFileLoader("postgres_suite", SUITE)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("postgres_suite", loader))
    loader.exec_module(module)
    return module


def wait_for(what, true, seconds=120):
    end = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > end:
            raise Failed(f"this did not come: {what}")
        time.sleep(0.2)
    return found


def job(binary, server, lake, messages):
    source = f"generate:messages={messages},rate=60,keys=4600,seed=5"
    return [binary, "run", "turnstile", "--source", source, "--views", "--lake", lake, "--until", "end", "--postgres", server.url,
            "--window", "1m"]


def delivered(binary, folder, messages):
    """Changed rows, and in how many seconds and commits they came."""
    module = suite()
    home = os.path.join(folder, "server")
    os.makedirs(home)
    os.chmod(folder, 0o755)
    server = module.Server(home, fsync="on")
    lake = os.path.join(folder, "lake")
    with open(lake + ".log", "wb") as log:
        run = subprocess.Popen(job(binary, server, lake, messages), stdout=log, stderr=log)
    try:
        wait_for("the tables", lambda: server.seq() >= 0)
        follower = module.Job(binary, server, lake, messages)
        with module.Held(server, "SELECT FROM headway_turnstile._headway FOR UPDATE"):
            before = counted(server)
            wait_for("the end of the input", lambda: list(follower.manifests())[-1]["inputs"][0]["ended"])
            commits, newest = newest_changes(follower, server.seq())
            began = time.monotonic()
        wait_for("the last commit in the tables", lambda: server.seq() >= newest)
        took = time.monotonic() - began
        if run.wait(60) != 0:
            raise Failed(f"the run ended with {run.returncode}")
        rows = counted(server) - before
        return {"rows": rows, "seconds": took, "commits": commits, "a_second": rows / took}
    finally:
        server.stop("immediate")
        # A run whose server is gone ends by itself only after a minute.
        run.kill()


def newest_changes(follower, stands):
    """How many commits with changes follow the one at which the tables stand, and the last of them."""
    seqs = [manifest["seq"] for manifest in follower.manifests() if (manifest.get("changes") or {}).get("seq") == manifest["seq"]]
    return sum(seq > stands for seq in seqs), seqs[-1]


def counted(server):
    """What the server has counted, once that stands still: it counts some time after a transaction."""
    now, last = int(server.sql(COUNT)[1][0]), -1
    while now != last:
        time.sleep(1.2)
        now, last = int(server.sql(COUNT)[1][0]), now
    return now
