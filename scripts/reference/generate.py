"""Writes a seeded capture of a turnstile topic with the troubles of a real one.

Event time starts at --start and runs at --rate messages a second of it. A record arrives up to --disorder seconds after it
happened, some of them hours after or before. The same options give the same capture.
"""
import collections
import dataclasses
import datetime as dt
import gzip
import json
import os
import random

from reference.instants import EPOCH, Clock
from reference.message import COLUMNS
from reference.nasty import DIVISIONS, KINDS, LINE_NAMES, STATIONS, Pen, Record, long_message

FORMS = ("envelopes", "lines", "lines-with-header")
# From how many of the last records one is taken that is written again.
FRESH_MAX, RECENT_MAX = 100, 2_000


@dataclasses.dataclass(frozen=True)
class Options:
    """What to write. Shares are parts of all messages, from 0 to 1."""

    seed: int = 1
    messages: int = 10_000
    partitions: int = 4
    turnstiles: int = 300
    start: str = "2024-01-30 12:00:00"
    zone: str = "UTC"
    rate: float = 5.0
    disorder: float = 120.0
    # Partition i runs i times so many seconds behind partition 0.
    skew: float = 0.0
    # Good records in unusual spellings; the same record again; another record with the same ID; no ID.
    odd: float = 0.1
    repeats: float = 0.02
    conflicts: float = 0.005
    no_id: float = 0.005
    # Hours too late or too early; messages that cannot be used; counts of 18 digits.
    late: float = 0.01
    ahead: float = 0.002
    bad: float = 0.01
    huge: float = 0.001
    form: str = "envelopes"
    # Of envelopes: those of other topics, offsets that are left out, messages without a timestamp.
    foreign: float = 0.0
    gaps: float = 0.0
    no_timestamp: float = 0.0
    # Files of one partition, one after the other; of lines there is one.
    files: int = 1
    # Messages of a gzip member; 0 for files that are not packed.
    member: int = 0
    # The share of files whose last line has no line end.
    open_ended: float = 0.0
    # How many messages are longer than a message may be.
    long: int = 0
    # (partition, from, to): it is silent between two points of the run, given as shares of it.
    idle: tuple = ()
    topic: str = "mta-turnstile"


class Generator:
    """Draws records, and writes each into one partition or more."""

    def __init__(self, options):
        self.options, self.draw = options, random.Random(options.seed)
        self.pen = Pen(self.draw, options.zone)
        self.parts = [Part(self, number) for number in range(options.partitions)]
        self.recent = collections.deque(maxlen=RECENT_MAX)
        wall = dt.datetime.fromisoformat(options.start)
        self.start_s = Clock(options.zone).instants_s((wall - EPOCH) // dt.timedelta(seconds=1))[0]

    def chance(self, share):
        return self.draw.random() < share

    def run(self):
        options, draw = self.options, self.draw
        # Each file begins with a good message, so that its first line decides nothing by accident.
        for part in self.parts:
            part.put(self.pen.usual(self.record(self.start_s - part.number * options.skew), part.columns), self.start_s)
        long_ones = set(draw.sample(range(options.messages), min(options.long, options.messages)))
        for index in range(options.messages):
            awake = [part for part in self.parts if not part.is_idle(index / options.messages)] if options.idle else self.parts
            part = draw.choice(awake)
            now_s = self.start_s + index / options.rate - part.number * options.skew
            if index in long_ones:
                part.put(long_message(self.pen, self.record(now_s)), now_s)
            self.step(part, awake, now_s)

    def step(self, part, awake, now_s):
        """One new record, good or bad, and perhaps an earlier one again."""
        options, draw = self.options, self.draw
        record = self.record(now_s)
        if self.chance(options.bad):
            part.put(self.pen.fault(record, lines_only=options.form != "envelopes"), now_s)
            return
        self.write(part, record, now_s)
        self.recent.append(record)
        if self.chance(options.repeats):
            self.write(draw.choice(awake), self.earlier(), now_s)
        if self.chance(options.conflicts):
            self.write(draw.choice(awake), self.conflicting(self.earlier()), now_s)

    def write(self, part, record, now_s):
        is_odd = self.chance(self.options.odd)
        text = self.pen.odd(record, part.columns) if is_odd else self.pen.usual(record, part.columns)
        # A line cannot hold a line end, nor be a second header of its file: such a text is quoted.
        must_quote = self.options.form != "envelopes" and ("\n" in text or "\r" in text)
        part.put(self.pen.quoted(text) if must_quote or self.chance(0.6) else text, now_s)

    def record(self, now_s):
        """A record that arrives at `now_s`."""
        options, draw = self.options, self.draw
        age_s = draw.random() * options.disorder
        if self.chance(options.late):
            age_s += 3600 + draw.random() * 7200
        if self.chance(options.ahead):
            age_s = -3600 - draw.random() * 7200
        # Most clocks tell whole seconds; the others are the same instant only in some spellings.
        part_ms = draw.randrange(1000) if self.chance(0.05) else 0
        return Record(key=self.turnstile(draw.randrange(options.turnstiles)),
                      entries=10**18 - 1 if self.chance(options.huge) else draw.randrange(40), exits=draw.randrange(40),
                      id="" if self.chance(options.no_id) else f"{draw.getrandbits(64):016x}", utc_ms=int(now_s - age_s) * 1000 + part_ms)

    def turnstile(self, number):
        """The key of a turnstile; all of it follows from the number."""
        station = number // 3 % len(STATIONS)
        return (f"A{number // 30:03}", f"R{number // 3 % 300:03}", f"{number % 3:02}-{number % 7:02}-{number % 5:02}", STATIONS[station],
                LINE_NAMES[station % len(LINE_NAMES)], DIVISIONS[station % len(DIVISIONS)], KINDS[number % len(KINDS)])

    def earlier(self):
        """A record that was written before, half the time a short while ago."""
        is_fresh = self.chance(0.5)
        return self.recent[-self.draw.randint(1, min(len(self.recent), FRESH_MAX if is_fresh else RECENT_MAX))]

    def conflicting(self, record):
        """Another record with the same ID, which is no repeat."""
        change = self.draw.choice((
            {"entries": record.entries + 1}, {"exits": record.exits + 1}, {"utc_ms": record.utc_ms + 1000},
            {"key": (*record.key[:3], record.key[3] + " N", *record.key[4:])}, {"key": (*record.key[:6], record.key[6] + " X")}))
        return dataclasses.replace(record, **change)


class Part:
    """The messages of one partition, as lines of its files."""

    def __init__(self, generator, number):
        self.options, self.draw, self.pen, self.number = generator.options, generator.draw, generator.pen, number
        self.lines, self.next_offset, self.columns, self.header = [], 0, COLUMNS, None
        self.line_end = b"\r\n" if self.options.form != "envelopes" and self.draw.random() < 0.3 else b"\n"
        if self.options.form == "lines-with-header":
            self.begin_with_header()

    def begin_with_header(self):
        self.columns = self.pen.columns()
        self.header = self.pen.header(self.columns)
        self.lines += [b""] * self.draw.choice((0, 0, 1, 2))
        self.lines.append((self.draw.choice(("", "", "\ufeff")) + self.header).encode("utf-8"))

    def is_idle(self, share):
        return any(number == self.number and begin <= share < end for number, begin, end in self.options.idle)

    def put(self, value, now_s):
        """Adds a message: text, bytes or None."""
        if self.options.form != "envelopes":
            if self.header and self.draw.random() < 0.001:
                self.lines.append(self.header.encode("utf-8"))
            self.lines.append(value.encode("utf-8") if isinstance(value, str) else value)
            return
        if self.draw.random() < self.options.foreign:
            self.envelope("another-topic", self.draw.randrange(10**6), "A001," + str(now_s), now_s)
        if self.draw.random() < self.options.gaps:
            self.next_offset += self.draw.randrange(1, 5)
        # Bytes that are no UTF-8 stand in JSON as half a surrogate pair.
        text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
        self.envelope(self.options.topic, self.next_offset, text, now_s)
        self.next_offset += 1

    def envelope(self, topic, offset, payload, now_s):
        has_time = self.draw.random() >= self.options.no_timestamp
        kafka_ms = int(now_s * 1000) if has_time else -1
        fields = {"topic": topic, "partition": self.number, "offset": offset, "tstype": "create", "ts": kafka_ms, "key": None, "payload": payload}
        text = json.dumps(fields, ensure_ascii=False)
        try:
            self.lines.append(text.encode("utf-8"))
        except UnicodeEncodeError:
            self.lines.append(json.dumps(fields).encode("utf-8"))

    def save(self, folder):
        """Writes the files of the partition."""
        kind = "ndjson" if self.options.form == "envelopes" else "csv"
        files = self.options.files if kind == "ndjson" else 1
        size = -(-len(self.lines) // files)
        for index in range(files):
            name = f"part-{self.number:05}" + (f"-{index:02}" if files > 1 else "") + f".{kind}"
            lines = self.lines[index * size:(index + 1) * size]
            with open(os.path.join(folder, name + (".gz" if self.options.member else "")), "wb") as file:
                for piece in self.pieces(lines):
                    file.write(piece)

    def pieces(self, lines):
        """The bytes of a file; of a packed one a member after the other."""
        member = self.options.member
        text = [line + self.line_end for line in lines]
        if text and self.draw.random() < self.options.open_ended:
            text[-1] = text[-1].rstrip(b"\r\n") or text[-1]
        if not member:
            yield b"".join(text)
        for at in range(0, len(text) if member else 0, max(member, 1)):
            yield gzip.compress(b"".join(text[at:at + member]), 3, mtime=0)


def write(folder, options):
    """Writes a capture into `folder`, which is made, and gives the number of messages."""
    os.makedirs(folder, exist_ok=True)
    generator = Generator(options)
    generator.run()
    for part in generator.parts:
        part.save(folder)
    return sum(len(part.lines) for part in generator.parts)
