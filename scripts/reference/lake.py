"""What a job has written: rows, dead letters and late records, read as anyone would read them."""
import base64
import collections
import csv
import glob
import gzip
import json
import os
import re

from reference.job import ROW

BATCH = re.compile(r"batch_([0-9]+)_")


def rows(lake, job="turnstile"):
    """(rows, rows of each epoch): how often each row is there, and how many rows each epoch wrote, by the names of files."""
    found, epochs = collections.Counter(), collections.Counter()
    for path in files(lake, job, "parquet"):
        epoch = int(BATCH.match(os.path.basename(path))[1])
        for row in typed(path):
            found[row] += 1
            epochs[epoch] += 1
    for path in files(lake, job, "csv.gz"):
        epoch = int(BATCH.match(os.path.basename(path))[1])
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                found[tuple(row[name] for name in ROW)] += 1
                epochs[epoch] += 1
    return found, epochs


def typed(path):
    """The rows of a Parquet file as CSV would have them. Needs pyarrow."""
    import pyarrow.parquet
    table = pyarrow.parquet.ParquetFile(path).read(columns=list(ROW))
    columns = [["" if value is None else str(value) for value in table.column(name).to_pylist()] for name in ROW]
    return zip(*columns)


def dead(lake, job="turnstile"):
    """Dead letters: (partition, offset, reason, timestamp, payload), how often each is there."""
    found = collections.Counter()
    for row in refused(lake, os.path.join("_dead", job)):
        found[row["partition"], row["offset"], row["reason"], row["timestamp"], payload(row)] += 1
    return found


def late(lake, job="turnstile"):
    """Late records: (partition, offset, event time, stamp, timestamp, payload), how often each is there."""
    found = collections.Counter()
    for row in refused(lake, os.path.join("_late", job)):
        found[row["partition"], row["offset"], row["event_time"], row["stamp"], row["timestamp"], payload(row)] += 1
    return found


def files(lake, folder, ending):
    return sorted(glob.glob(os.path.join(glob.escape(lake), folder, "**", "*." + ending), recursive=True))


def refused(lake, folder):
    for path in files(lake, folder, "ndjson.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def payload(row):
    """The bytes of the message, None for a tombstone; of a long message its length and its beginning."""
    if row["payload"] is None:
        return None
    content = base64.b64decode(row["payload"]) if row["encoding"] == "base64" else row["payload"].encode("utf-8")
    return content if row["length"] is None else (row["length"], content)
