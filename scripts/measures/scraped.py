"""How long a scrape of a running job takes: four topics of 16 partitions, all views, while the job reads and commits."""
import os
import re
import socket
import subprocess
import time

PARTITIONS, A_SECOND = 16, 10
VIEWS_MIN, PARTITIONS_MIN = 12, 64
# Tables of views are written once a minute; no start takes so long.
PATIENCE_S = 300


class Failed(Exception):
    """The job did not do what is measured; args[0] says what."""


def get(address, path):
    """Status and body of an answer, and how many ms it took."""
    began = time.perf_counter()
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while piece := sock.recv(1 << 16):
            answer += piece
    took = 1000 * (time.perf_counter() - began)
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body.decode(), took


def counted(text):
    """How many partitions and views the metrics have."""
    partitions = set(re.findall(r'\{input="([^"]+)",topic="[^"]+",partition="(\d+)"', text))
    return len(partitions), len(set(re.findall(r'^headway_view_freshness_seconds\{view="([^"]+)"', text, re.M)))


def is_there(address, path, holds):
    try:
        status, body, _ = get(address, path)
        return status == 200 and holds(body)
    except OSError:
        return False


def is_whole(text):
    partitions, views = counted(text)
    return partitions >= PARTITIONS_MIN and views >= VIEWS_MIN


def scrapes(binary, folder, seconds):
    """Median, 99 in 100, greatest and number of scrapes, in ms; how many partitions and views they have, and bytes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    # At an even pace: a job that is always busy measures how long a thread waits for a processor.
    subprocess.run([binary, "produce", "music", "--to", "topics", "--messages", "200000", "--partitions", str(PARTITIONS)], cwd=folder,
                   check=True, capture_output=True)
    words = ["run", "music", "--source", "files:topics", "--follow", "--lake", "lake", "--views", "--listen", str(address[1])]
    with open(os.path.join(folder, "log"), "wb") as log:
        job = subprocess.Popen([binary, *words], cwd=folder, stdout=log, stderr=log)
    try:
        end = time.monotonic() + PATIENCE_S
        while not is_there(address, "/metrics", is_whole):
            if time.monotonic() > end or job.poll() is not None:
                with open(os.path.join(folder, "log"), encoding="utf-8") as log:
                    raise Failed(f"the job has not {PARTITIONS_MIN} partitions and {VIEWS_MIN} views: {log.read()[-1500:]}")
            time.sleep(0.1)
        took, text, began = [], "", time.monotonic()
        for turn in range(seconds * A_SECOND):
            time.sleep(max(0, began + turn / A_SECOND - time.monotonic()))
            _, text, ms = get(address, "/metrics")
            took.append(ms)
    finally:
        job.kill()
        job.wait()
    took.sort()
    partitions, views = counted(text)
    ranks = [took[len(took) // 2], took[-(-len(took) * 99 // 100) - 1], took[-1], len(took)]
    return {"ms": ranks, "partitions": partitions, "views": views, "bytes": len(text)}
