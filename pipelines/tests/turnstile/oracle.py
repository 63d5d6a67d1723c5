#!/usr/bin/env python3
"""Decodes messages with the oracle: `ZONE HEX` lines in, one JSON line each out. The argument is the oracle's folder."""
import json, sys, zoneinfo

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import turnstile_oracle as oracle  # noqa: E402

zones = {}
for line in sys.stdin:
    name, _, value = line.rstrip("\n").partition(" ")
    zone = zones.setdefault(name, None) or zones.update({name: zoneinfo.ZoneInfo(name)}) or zones[name]
    try:
        rec = oracle.decode(bytes.fromhex(value), None, zone)
        answer = {"key": [rec[n] for n in oracle.KEY], "id": rec.get("ID", "")}
        answer.update(entries=rec["ENTRIES"], exits=rec["EXITS"], ts=rec["ts"])
    except oracle.Dead as e:
        answer = {"reason": e.args[0]}
    print(json.dumps(answer))
