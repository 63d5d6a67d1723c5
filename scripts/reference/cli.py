"""What the turnstile job must make of a capture: an independent program that judges the real one.

Durations are written as the job takes them: 50ms, 7s, 1m30s, 2h.
"""
import argparse
import csv
import dataclasses
import glob
import json
import os
import pickle
import re
import sys

from reference import against, captures, generate, golden, job, verdict
from reference.instants import Clock

DURATION = re.compile(r"(?:([0-9]+)h)?(?:([0-9]+)m(?!s))?(?:([0-9]+)s)?(?:([0-9]+)ms)?")
UNITS_MS = (3_600_000, 60_000, 1000, 1)


def duration_ms(text):
    """Milliseconds of `2h30m`, `90s`, `50ms`."""
    found = DURATION.fullmatch(text)
    if not found or not text:
        raise argparse.ArgumentTypeError(f'"{text}" is no duration, such as 5m, 90s or 50ms')
    return sum(int(number or 0) * unit for number, unit in zip(found.groups(), UNITS_MS))


def stretch(text):
    number, begin, end = text.split(":")
    return int(number), float(begin), float(end)


def add_job_options(parser):
    parser.add_argument("--capture", nargs="+", required=True, metavar="PATH", help="files, or folders of files")
    parser.add_argument("--topic", default="mta-turnstile", help="envelopes of other topics are left out (default mta-turnstile)")
    parser.add_argument("--window", type=duration_ms, default="5m", help="default 5m")
    parser.add_argument("--slide", type=duration_ms, help="default: the window")
    parser.add_argument("--lateness", type=duration_ms, help="default: the window")
    parser.add_argument("--zone", default="UTC", help="of wall-clock times (default UTC)")
    parser.add_argument("--max-ahead", type=duration_ms, default="1h", help="how far a record may be ahead of its message's timestamp (default 1h)")
    parser.add_argument("--not-after", default="none", metavar="TIME", help="latest event time of messages without a timestamp, in UTC (default none)")
    parser.add_argument("--floors", metavar="FILE", help="lines of {partition, offset, floor}, in ms, as manifests record them")
    parser.add_argument("--limits", metavar="FILE", help="lines of {partition, offset, limit_ms}: from there on, instead of --not-after")
    parser.add_argument("--answer", metavar="FILE", help="keep the answer in this file; take it from there if it is there")


def steps(path, name):
    """Lists of (offset, milliseconds) by partition, from a file of JSON lines."""
    found = {}
    with open(path or os.devnull, encoding="utf-8") as file:
        for line in map(json.loads, file):
            found.setdefault(line["partition"], []).append((line["offset"], line[name]))
    return found


def job_options(args):
    not_after_ms = None if args.not_after == "none" else Clock("UTC").parse_ms(args.not_after)
    lateness_ms = args.window if args.lateness is None else args.lateness
    return job.Options(args.window, args.slide or args.window, lateness_ms, args.zone, args.max_ahead, not_after_ms,
                       steps(args.floors, "floor"), steps(args.limits, "limit_ms"))


def files_of(paths):
    """The files named, and those in the folders named, without hidden ones."""
    found = []
    for path in paths:
        found += glob.glob(os.path.join(glob.escape(path), "*")) if os.path.isdir(path) else [path]
    return found


def answer(args):
    """What the job must make of the capture."""
    if args.answer and os.path.exists(args.answer):
        with open(args.answer, "rb") as file:
            return pickle.load(file)
    made = job.run(captures.partitions(files_of(args.capture), args.topic), job_options(args))
    if args.answer:
        mine = f"{args.answer}.{os.getpid()}"
        with open(mine, "wb") as file:
            pickle.dump(made, file)
        os.replace(mine, args.answer)
    return made


def expect(args):
    made = answer(args)
    print(json.dumps({"rows": made.rows.total(), "fates": made.fates}), file=sys.stderr)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(job.ROW)
    out.writerows(sorted(made.rows.elements()))
    return 0


def compare(args):
    report, lines = verdict.compare(answer(args), args.lake, args.job)
    if not report["rows"]["expected"] and not args.allow_empty:
        report["equal"], lines = False, ["  no row is expected: the comparison says nothing"]
    print("\n".join([json.dumps(report), *lines]))
    return 0 if report["equal"] else 1


def capture(args):
    given = {field.name: getattr(args, field.name) for field in dataclasses.fields(generate.Options)}
    given["idle"] = tuple(given["idle"])
    lines = generate.write(args.out, generate.Options(**given))
    print(json.dumps({"lines": lines}))
    return 0


def add_capture_options(parser):
    parser.add_argument("--out", required=True, metavar="DIR")
    for field in dataclasses.fields(generate.Options):
        flag = "--" + field.name.replace("_", "-")
        if field.name == "idle":
            parser.add_argument(flag, type=stretch, action="append", default=[], metavar="P:FROM:TO", help="partition P is silent; shares of the run")
        elif field.name == "form":
            parser.add_argument(flag, choices=generate.FORMS, default=field.default)
        else:
            parser.add_argument(flag, type=field.type, default=field.default, help=f"default {field.default}")


def parser():
    made = argparse.ArgumentParser(prog="python3 scripts/reference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, run, about, more=""):
        added = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.\n\n{more}".strip(),
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
        added.set_defaults(run=run)
        return added

    of_expect = command("expect", expect, "print the expected rows as CSV", captures.__doc__)
    add_job_options(of_expect)
    of_compare = command("compare", compare, "compare with a lake; exit code 1 if they differ", captures.__doc__)
    add_job_options(of_compare)
    of_compare.add_argument("--lake", required=True, metavar="DIR")
    of_compare.add_argument("--job", default="turnstile", help="the job's name (default turnstile)")
    of_compare.add_argument("--allow-empty", action="store_true", help="do not fail when no row is expected")
    of_capture = command("capture", capture, "write a seeded capture with the troubles of a real one", generate.Options.__doc__)
    add_capture_options(of_capture)
    of_golden = command("golden", golden.main, "write or check the answers that `cargo test` compares with", golden.__doc__)
    golden.add_options(of_golden)
    of_against = command("against", against.main, "compare this program with another one on generated captures", against.__doc__)
    against.add_options(of_against)
    return made


def main(words):
    args = parser().parse_args(words)
    try:
        return args.run(args)
    except captures.BadCapture as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
