"""Runs this program and another one of the same rules on generated captures, and on single messages, broken in every way.

The other program is a Python file with the functions `expect(args)` and `decode(value, limit_ms, zone, newest, columns)` and the
exception `Dead`. Both must give the same rows, fates, dead letters and late records. What is drawn follows from --seed.
"""
import argparse
import collections
import glob
import importlib.util
import json
import os
import random
import tempfile
import zoneinfo

from reference import captures, draws, generate, job, message
from reference.instants import Clock
from reference.nasty import Pen

# Pieces that are put into messages, or in the place of a part of them.
PIECES = (b'"', b",", b"\n", b"\r", b"\r\n", b"\0", b" ", b"\\", b'\\"', b"\\n", b"\\u", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf",
          b"0", b"-", b":", b"{}", b"CA", b"\t", b"T", b"Z", b"+05", b".5", b"\xc2\x85", b"\x7f", b'""')


class Differ(Exception):
    """The two programs give different answers; the text says how to see it again."""


def add_options(parser):
    parser.add_argument("--other", required=True, metavar="FILE", help="the other program")
    parser.add_argument("--seed", type=int, default=1, help="default 1")
    parser.add_argument("--captures", type=int, default=20, help="how many captures (default 20)")
    parser.add_argument("--messages", type=int, default=3_000, help="messages of a capture (default 3000)")
    parser.add_argument("--single", type=int, default=20_000, help="how many single messages (default 20000)")


def main(args):
    spec = importlib.util.spec_from_file_location("other", args.other)
    other = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(other)
    fates, reasons = collections.Counter(), collections.Counter()
    try:
        for number in range(args.captures):
            one_capture(args, other, number, fates)
        single_messages(args, other, reasons)
    except Differ as error:
        print(f"DIFFER: {error}")
        return 1
    print(json.dumps({"name": "against", "seed": args.seed, "captures": args.captures, "fates": fates, "single": dict(sorted(reasons.items()))}))
    # Captures in which some fate never occurs would show little.
    return 0 if args.captures < 10 or all(fates.values()) else 1


def one_capture(args, other, number, fates):
    draw = random.Random(f"{args.seed}:{number}")
    made = draws.capture(draw, args.messages, files=(1, 1, 3))
    with tempfile.TemporaryDirectory() as folder:
        generate.write(os.path.join(folder, "capture"), made)
        paths = glob.glob(os.path.join(folder, "capture", "*"))
        partitions = captures.partitions(paths, made.topic)
        floors, limits = (drawn_steps(draw, partitions) for _ in range(2))
        size, slide, lateness = draws.windows_s(draw)
        options = job.Options(size * 1000, slide * 1000, lateness * 1000, made.zone, draw.choice((60, 3600)) * 1000, None, floors, limits)
        ours = job.run(partitions, options)
        theirs = other.expect(argparse.Namespace(
            capture=paths, topic=made.topic, size=size, slide=slide, lateness=lateness, zone=made.zone, not_after="none",
            max_ahead=options.max_ahead_ms // 1000, floors=save(folder, "floors", "floor", floors), limits=save(folder, "limits", "limit_ms", limits)))
    rows, other_fates, dead, late = theirs
    pairs = (("rows", ours.rows, rows), ("fates", +collections.Counter(ours.fates), other_fates),
             ("dead", {(one.partition, one.message.offset): one.reason for one in ours.dead}, dead),
             ("late", {(one.partition, one.message.offset): "late" for one in ours.late}, late))
    for name, mine, others in pairs:
        if mine != others:
            raise Differ(f"{name} of capture {number}, --seed {args.seed} --messages {args.messages}\n  {made}\n  {options}\n{first_difference(mine, others)}")
    fates.update(ours.fates)


def drawn_steps(draw, partitions):
    """Now and then a value that changes at some offsets, around the times in the capture."""
    found = {}
    for number, messages in partitions.items():
        if messages and draw.random() < 0.3:
            middle = draw.choice([1_706_616_000_000] + [one.kafka_ms for one in messages if one.kafka_ms])
            found[number] = [(draw.choice(messages).offset, middle + draw.randint(-3_600_000, 36_000_000)) for _ in range(draw.randint(1, 3))]
    return found


def save(folder, name, field, steps):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        for partition, changes in steps.items():
            file.writelines(json.dumps({"partition": partition, "offset": offset, field: ms}) + "\n" for offset, ms in changes)
    return path


def first_difference(mine, others):
    keys = [key for key in sorted(set(mine) | set(others), key=repr) if mine.get(key) != others.get(key)]
    return "\n".join(f"  {key!r}: here {mine.get(key)!r}, there {others.get(key)!r}" for key in keys[:5])


def mutated(draw, value):
    """Bytes with a few of them changed."""
    content = bytearray(value)
    for _ in range(draw.choice((0, 1, 1, 2, 3))):
        at = draw.randint(0, len(content))
        until = min(at + draw.randrange(4), len(content))
        content[at:until] = draw.choice((draw.choice(PIECES), b"", content[at:until] * 2))
    return bytes(content)


def single_messages(args, other, reasons):
    generator = generate.Generator(generate.Options(seed=args.seed, late=0.1))
    draw = generator.draw
    for number in range(args.single):
        zone, start = draw.choice(draws.PLACES)
        pen = Pen(draw, zone)
        record = generator.record(pen.clock.parse_ms(start) // 1000 + draw.randrange(12_000))
        value = pen.fault(record) if draw.random() < 0.2 else pen.odd(record)
        if isinstance(value, str):
            value = (pen.quoted(value) if draw.random() < 0.5 else value).encode("utf-8", "surrogatepass")
        value = None if value is None else mutated(draw, value)
        newest_ms = draw.choice((None, record.utc_ms + draw.randint(-7_200_000, 7_200_000)))
        columns = pen.columns() if draw.random() < 0.2 else message.COLUMNS
        ours, theirs = our_answer(value, zone, newest_ms, columns), their_answer(other, value, zone, newest_ms, columns)
        if ours != theirs:
            raise Differ(f"message {number} of --seed {args.seed}, zone {zone}: {value!r}\n  here {ours!r}\n  there {theirs!r}")
        reasons[ours if isinstance(ours, str) else "reading"] += 1


def our_answer(value, zone, newest_ms, columns):
    try:
        return tuple(message.read(value, Clock(zone), columns, newest_ms))
    except message.Refused as refused:
        return refused.reason


def their_answer(other, value, zone, newest_ms, columns):
    try:
        found = other.decode(value, None, zoneinfo.ZoneInfo(zone), newest_ms, list(columns))
    except other.Dead as dead:
        return dead.args[0]
    return found.get("ID", ""), tuple(found[name] for name in message.KEY), found["ENTRIES"], found["EXITS"], found["ts"]
