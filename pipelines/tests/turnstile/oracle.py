#!/usr/bin/env python3
"""Answers with the oracle: a JSON object a line in, one out. The argument is the oracle's folder.

`{"zone", "newest", "value"}` is a message: its value in hexadecimal, and the newest event time of its partition or null.
`{"header"}` is a line of a file, in hexadecimal: the answer is the columns that it names, or null if it is no header.
"""
import json, sys, zoneinfo

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import turnstile_oracle as oracle  # noqa: E402

zones = {}


def record(asked):
    zone = zones.setdefault(asked["zone"], None) or zones.update({asked["zone"]: zoneinfo.ZoneInfo(asked["zone"])}) or zones[asked["zone"]]
    rec = oracle.decode(bytes.fromhex(asked["value"]), None, zone, asked["newest"], asked["columns"] or oracle.FIELDS)
    answer = {"key": [rec[n] for n in oracle.KEY], "id": rec.get("ID", "")}
    return {**answer, "entries": rec["ENTRIES"], "exits": rec["EXITS"], "ts": rec["ts"]}


for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = {"columns": oracle.file_header(bytes.fromhex(asked["header"]))} if "header" in asked else record(asked)
    except oracle.Dead as e:
        answer = {"reason": e.args[0]}
    print(json.dumps(answer))
