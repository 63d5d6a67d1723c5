"""The music job under clients of all its views: HTTP, events and gold tables agree, also after it was killed."""
import json
import pathlib
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent

MESSAGES = 6_000


def start(job):
    """Starts the job on the files of its topics, with small epochs."""
    words = ["run", "music", "--source", "files:music", "--follow", "--lake", "music-lake", "--views", "--if-running", "take-over"]
    job.begin([*words, "--epoch", "100ms", "--epoch-bytes", "96KiB", "--seal-after", "1d"])


def begun(suite, job):
    """The list of views, once the job has begun: it listens before."""
    views = lambda: (answer := job.get("/v1/views"))[0] == 200 and json.loads(answer[2])
    return suite.wait_for(views, lambda: f"the music job does not begin: {job.get('/v1/views')}")


def follow(suite, job, views):
    """Clients of all views: the first one stays, the others come and go."""
    clients = [suite.Client(job, number, cuts=4 * number, views=views) for number in range(4)]
    for client in clients:
        client.start()
    return clients


def open_days(rows, since):
    """Those of rows that HTTP has: a day that is sealed leaves its memory, and stays with clients who have seen it."""
    return [row for row in rows if row.get("day", row.get("period", "~")) >= since[:10]]


def gold(job, view):
    """The rows of a gold table."""
    exported = job.run("views", "export", view, "--as", "ndjson", "--lake", "music-lake").stdout
    return [json.loads(line) for line in exported.splitlines()]


def hold_back(folder):
    """Cuts the second half off each file; gives what to append."""
    rest = {}
    for file in folder.glob("*/*"):
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(lines[:len(lines) // 2]))
        rest[file] = b"".join(lines[len(lines) // 2:])
    return rest


def add(rest):
    """Appends what was held back, once."""
    while rest:
        file, text = rest.popitem()
        with open(file, "ab") as out:
            out.write(text)


def tabs(suite, job, grow):
    """Six tabs of a browser with all views; `grow` is called once they are open."""
    driver = subprocess.Popen(["node", str(HERE / "tabs.cjs"), f"http://127.0.0.1:{job.port}"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    try:
        for line in driver.stdout:
            if line.strip() == "ADD":
                grow()
                driver.stdin.write("done\n")
                driver.stdin.flush()
            else:
                suite.say("  " + line.strip())
        suite.check(driver.wait(30) == 0, "the tabs do not show what they must")
    finally:
        driver.kill()


def run(suite, job):
    """Every view over HTTP and as events, while the job is killed, against its gold tables; gives what was seen."""
    job.run("produce", "music", "--to", "music", "--messages", str(MESSAGES), "--keys", "150", "--partitions", "2")
    wanted = sum(file.read_bytes().count(b"\n") for file in (job.folder / "music").glob("*/*"))
    rest = hold_back(job.folder / "music")
    start(job)
    try:
        views = [view["name"] for view in begun(suite, job)["views"]]
        suite.check(len(views) >= 9, f"the music job has the views {views}")
        clients = follow(suite, job, views)
        deadline = time.time() + 20
        while not all(client.seqs and client.seqs[-1] > 3 for client in clients) and time.time() < deadline:
            time.sleep(0.05)
        job.kill()
        # Clients cannot come back to a job that is not there.
        for client in clients:
            client.join(20)
        seen = max((client.seqs[-1] for client in clients if client.seqs), default=None)
        suite.check(seen is not None, f"no client saw a commit before the kill: {[client.problem for client in clients]}")
        start(job)
        clients = follow(suite, job, views)
        if suite.has_browser():
            tabs(suite, job, lambda: (add(rest), job.committed(wanted, 90)))
        else:
            suite.say("  tabs: NOT RUN, there is no browser here")
            add(rest)
        seq = job.committed(wanted, 90)
        for client in clients:
            client.until = seq
        for client in clients:
            client.join(30)
            suite.check(not client.is_alive() and not client.problem, f"a client of music: {client.problem or 'has not all commits'}")
        rows, compared = 0, 0
        for view in views:
            status, head, body = job.get(f"/v1/views/{view}?limit=all&format=json")
            answer = json.loads(body)
            suite.check(status == 200, f"{view}: {status} {body[:200]}")
            rows += len(answer["rows"])
            for client in clients:
                if client.seqs[-1] == answer["seq"]:
                    compared += 1
                    table = open_days(client.tables[view].values(), head.get("headway-from", ""))
                    suite.check(sorted(map(str, table)) == sorted(map(str, answer["rows"])), f"rows of {view} differ")
        suite.check(compared > 0, "no client is of the commit that HTTP answers")
        job.drain()
        # HTTP and events have the days that are not sealed, gold tables have all; a drain changes none of these rows.
        for view in views:
            table = gold(job, view)
            for row in clients[0].tables[view].values():
                suite.check(row in table, f"{view}: {row} is not in the gold table")
        job.run("views", "verify", "--lake", "music-lake")
        job.run("audit", "--lake", "music-lake", "--deep")
        return f"  {len(views)} views, {rows:,} rows, killed after commit {seen}: HTTP, events and gold tables agree"
    finally:
        if job.process and job.process.poll() is None:
            job.kill()
