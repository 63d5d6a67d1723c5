"""Keeps the answers that `cargo test` compares with: it has no Python, so it has them in files.

A folder below DIR that holds `job.json` is a case: the capture in its folder `capture`, the settings in `job.json`, and in
`answer.json` what the job must make of it. `messages.ndjson` holds single messages, a line each, with their answers.

  python3 scripts/reference golden tests/golden/turnstile                  write the answers anew
  python3 scripts/reference golden tests/golden/turnstile --check          fail if one of them is not ours
  python3 scripts/reference golden tests/golden/turnstile --draw 400       make other messages, too
"""
import glob
import json
import os

from reference import captures, draws, generate, job, message
from reference.instants import Clock
from reference.nasty import Pen


def add_options(parser):
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if an answer is another one")
    parser.add_argument("--draw", type=int, metavar="N", help="draw N messages anew")
    parser.add_argument("--seed", type=int, default=1, help="of --draw (default 1)")


def main(args):
    single = os.path.join(args.folder, "messages.ndjson")
    texts = {}
    for path in sorted(glob.glob(os.path.join(args.folder, "*", "job.json"))):
        texts[os.path.join(os.path.dirname(path), "answer.json")] = case_answer(os.path.dirname(path))
    questions = drawn(args.seed, args.draw) if args.draw else read_lines(single)
    texts[single] = "".join(json.dumps({**question, "answer": message_answer(question)}) + "\n" for question in questions)
    other = [path for path, text in texts.items() if text != read_text(path)]
    if args.check:
        print(f"{len(texts)} files of answers, {len(other)} of them not ours: {', '.join(other)}" if other else f"{len(texts)} files of answers are ours")
        return 1 if other or len(texts) < 2 else 0
    for path in other:
        with open(path, "w", encoding="utf-8") as file:
            file.write(texts[path])
        print(f"written: {path}")
    return 0


def read_text(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return file.read()


def read_lines(path):
    return [json.loads(line) for line in read_text(path).splitlines()]


def case_answer(folder):
    """The text of `answer.json`: a line for each row, dead letter and late record, so that a diff can be read."""
    settings = json.loads(read_text(os.path.join(folder, "job.json")))
    steps = {name: {int(p): changes for p, changes in settings.get(name, {}).items()} for name in ("floors", "limits")}
    options = job.Options(settings["window_ms"], settings["slide_ms"], settings["lateness_ms"], settings["zone"], settings["max_ahead_ms"], **steps)
    found = job.run(captures.partitions(glob.glob(os.path.join(folder, "capture", "*")), "mta-turnstile"), options)
    parts = {
        "rows": sorted(found.rows.elements()),
        "dead": sorted((one.partition, one.message.offset, one.reason) for one in found.dead),
        "late": sorted((one.partition, one.message.offset, one.event_time_ms, one.stamp_ms) for one in found.late),
    }
    lists = [f'"{name}": [\n' + ",\n".join(json.dumps(item) for item in items) + "\n]" for name, items in parts.items()]
    return '{"fates": ' + json.dumps(found.fates) + ",\n" + ",\n".join(lists) + "}\n"


def drawn(seed, count):
    """Questions about `count` messages, good and bad."""
    generator = generate.Generator(generate.Options(seed=seed, late=0.1))
    draw = generator.draw
    for _ in range(count):
        zone, start = draw.choice(draws.PLACES)
        clock = Clock(zone)
        pen = Pen(draw, zone)
        record = generator.record(clock.parse_ms(start) // 1000 + draw.randrange(12_000))
        value = pen.fault(record) if draw.random() < 0.4 else pen.odd(record)
        question = {"zone": zone, "newest_ms": draw.choice((None, record.utc_ms - 3_600_000, record.utc_ms + 3_600_000))}
        if isinstance(value, str) and draw.random() < 0.3:
            value = pen.quoted(value)
        if isinstance(value, bytes):
            yield {**question, "hex": value.hex()}
        else:
            yield {**question, "text": value}


def message_answer(question):
    """The reason why a message is refused, or what it says."""
    value = bytes.fromhex(question["hex"]) if "hex" in question else question["text"]
    value = value.encode("utf-8") if isinstance(value, str) else value
    try:
        return message.read(value, Clock(question["zone"]), newest_ms=question["newest_ms"])._asdict()
    except message.Refused as refused:
        return refused.reason
