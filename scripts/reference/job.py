"""The turnstile job on a whole capture: which records count, and the rows they become.

Each partition has a watermark, the newest event time decoded from it less the lateness; a floor lifts it. A record is judged by
the watermark of its partition just before it: it goes into those of its windows that end after that, and is late if there are none.
In a window a record with an ID counts once, however often it comes. Since windows close only when every partition has passed
them, the answer depends neither on the order in which partitions are read nor on when windows close.
"""
import collections
import dataclasses

from reference import message
from reference.instants import Clock

ROW = ("CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DATE", "TIME", "DESC", "ENTRIES", "EXITS")


@dataclasses.dataclass(frozen=True)
class Options:
    """Durations in milliseconds. `floors` and `limits` are lists of (offset, milliseconds) by partition, as manifests record them."""

    window_ms: int
    slide_ms: int
    lateness_ms: int
    zone: str = "UTC"
    max_ahead_ms: int = 3_600_000
    # The latest event time of messages without a timestamp, where no limit holds.
    not_after_ms: int | None = None
    floors: dict = dataclasses.field(default_factory=dict)
    limits: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Dead:
    """A message that cannot be used."""

    partition: int
    message: object
    reason: str


@dataclasses.dataclass(frozen=True)
class Late:
    """A record whose windows had all closed; `stamp_ms` is the watermark that says so."""

    partition: int
    message: object
    event_time_ms: int
    stamp_ms: int


@dataclasses.dataclass
class Answer:
    """What the job must make of a capture."""

    rows: collections.Counter
    fates: dict
    dead: list
    late: list


class Steps:
    """A value that changes at given offsets."""

    def __init__(self, steps):
        self.steps = collections.deque(sorted(steps))

    def reached(self, offset):
        """Yields the values that hold from `offset` or before it on, and have not been given yet."""
        while self.steps and self.steps[0][0] <= offset:
            yield self.steps.popleft()[1]


class Partition:
    """What is known of one partition while its messages are read in order."""

    def __init__(self, options, number):
        self.options = options
        self.floors, self.limits = Steps(options.floors.get(number, ())), Steps(options.limits.get(number, ()))
        self.newest_ms, self.floor_ms, self.not_after_ms = None, None, options.not_after_ms

    def move_to(self, offset):
        for floor_ms in self.floors.reached(offset):
            self.floor_ms = floor_ms if self.floor_ms is None else max(self.floor_ms, floor_ms)
        for limit_ms in self.limits.reached(offset):
            self.not_after_ms = limit_ms

    def limit_ms(self, kafka_ms):
        """The latest event time that is believed of a message."""
        return self.not_after_ms if kafka_ms is None else kafka_ms + self.options.max_ahead_ms

    def watermark_ms(self):
        """None before anything is known."""
        own = [] if self.newest_ms is None else [self.newest_ms - self.options.lateness_ms]
        floor = [] if self.floor_ms is None else [self.floor_ms]
        return max(own + floor, default=None)

    def saw(self, time_ms):
        self.newest_ms = time_ms if self.newest_ms is None else max(self.newest_ms, time_ms)


class Job:
    """Sums and repeats over all partitions."""

    def __init__(self, options):
        self.options, self.clock = options, Clock(options.zone)
        self.sums = collections.defaultdict(lambda: [0, 0])
        self.counted = collections.defaultdict(set)
        self.fates = dict.fromkeys(("consumed", "accepted", "duplicate", "late", "dead", "filtered"), 0)
        self.dead, self.late = [], []

    def window_ends(self, time_ms):
        """The ends of the windows that hold an instant: each begins at a multiple of the slide, and its end is outside."""
        first = (time_ms - self.options.window_ms) // self.options.slide_ms + 1
        last = time_ms // self.options.slide_ms
        return [number * self.options.slide_ms + self.options.window_ms for number in range(first, last + 1)]

    def take(self, number, partition, one):
        """Takes the next message of a partition."""
        partition.move_to(one.offset)
        self.fates["consumed"] += 1
        self.fates[self.fate(number, partition, one)] += 1

    def fate(self, number, partition, one):
        if one.is_header:
            return "filtered"
        try:
            limit_ms = partition.limit_ms(one.kafka_ms)
            reading = message.read(one.value, self.clock, one.columns, partition.newest_ms, limit_ms)
        except message.Refused as refused:
            self.dead.append(Dead(number, one, refused.reason))
            return "dead"
        stamp_ms = partition.watermark_ms()
        partition.saw(reading.time_ms)
        open_ends = [end for end in self.window_ends(reading.time_ms) if stamp_ms is None or end > stamp_ms]
        if not open_ends:
            self.late.append(Late(number, one, reading.time_ms, stamp_ms))
            return "late"
        return "accepted" if self.add(reading, open_ends) else "duplicate"

    def add(self, reading, ends):
        """Adds a reading to windows; False if it had been counted in all of them."""
        if reading.id:
            ends = [end for end in ends if reading not in self.counted[end]]
        for end in ends:
            self.counted[end].add(reading)
            total = self.sums[end, reading.key]
            total[0] += reading.entries
            total[1] += reading.exits
        return bool(ends)

    def rows(self):
        """The rows, how often each is there. In the hour that comes twice two windows can have equal rows."""
        found = collections.Counter()
        for (end, key), (entries, exits) in self.sums.items():
            date, time = self.clock.date_and_time(end)
            found[*key[:6], date, time, key[6], str(entries), str(exits)] += 1
        return found


def run(partitions, options):
    """The answer for the messages of each partition, in the order of their offsets."""
    job = Job(options)
    for number, messages in partitions.items():
        partition = Partition(options, number)
        for one in messages:
            job.take(number, partition, one)
    return Answer(job.rows(), job.fates, job.dead, job.late)
