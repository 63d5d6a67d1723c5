"""Messages as the world sends them: records in every spelling that must be understood, and faults that must not be.

Nothing here says what becomes of a message: `message.py` and `job.py` do.
"""
import csv
import dataclasses
import io
import json

from reference.instants import EPOCH, Clock
from reference.message import BYTES_MAX, COLUMNS
import datetime as dt

STATIONS = ("59 ST", "34 ST-PENN STA", "GRD CNTRL-42 ST", "86 ST", "CANAL ST", "PATH NEW WTC", "O'HARE, NORTH", '12 "A" ST', "ESPAÑA", "\U0001f687 ST")
LINE_NAMES = ("NQR456W", "ACE123", "4567S", "1237ACENQRSW", "1", "X", "")
DIVISIONS = ("BMT", "IRT", "IND", "")
KINDS = ("REGULAR", "REGULAR", "REGULAR", "RECOVR AUD", "")

BAD_TIMES = ("2024-13-40 99:00:00", "", "2024-01-30", "2024-01-30 12:32", "2024-01-30t12:32:04", "2024-01-30 12:32:04z", "1969-12-31 23:59:59",
             "3000-01-01 00:00:00", "2023-02-29 00:00:00", "2024-01-30 24:00:00", "2024-01-30 12:00:60", "2024-01-30 12:32:04+19:00",
             "2024-01-30 12:32:04+05:60", "2024-01-30 12:32:04 Z", "2024-01-30 12:32:04.", "2024-01-30 12:32:04.1234567890", "1706617924",
             "2024-01-30 12:32:04+5", "٢٠٢٤-01-30 12:32:04", "01/30/2024 12:32:04")
BAD_NUMBERS = ("-1", "+1", "1.0", "1e3", "", "1_000", "٣", "1000000000000000000", "0x10", "1 2")
CONTROLS = ("\x00", "\x01", "\x0b", "\x1b[31m", "\x7f", "\x85", "\x9b", "a\tb", '"a\nb"')
HEADER_FIRSTS = ("CA", "C/A", "A/C", "AC", "ca", " C/a ", '"CA"')
# Letters that are not ASCII and become it in upper case.
UPPER_CASE = {"S": "ſ", "I": "ı", "ST": "ﬆ"}


@dataclasses.dataclass(frozen=True)
class Record:
    """What a turnstile counted up to an instant."""

    key: tuple
    entries: int
    exits: int
    id: str
    utc_ms: int


class Pen:
    """Writes records as messages."""

    def __init__(self, draw, zone):
        self.draw, self.clock = draw, Clock(zone)

    def usual(self, record, columns=COLUMNS):
        """As nearly every message looks: a line, or the same as a JSON string."""
        return self.line(self.cells(record), columns)

    def odd(self, record, columns=COLUMNS):
        """The same record in a spelling that few senders use; a line, or several."""
        cells = self.cells(record, odd=True)
        for name in self.draw.sample(COLUMNS, self.draw.randrange(3)):
            cells[name] = self.padded(cells[name])
        if self.draw.random() < 0.35:
            return self.with_header(cells)
        text = self.line(cells, columns)
        if self.draw.random() < 0.15:
            text = self.draw.choice(("\n", "\r\n")) + text
        if self.draw.random() < 0.3:
            text += self.draw.choice(("\n", "\r\n", "\r", "\n\n"))
        return "\ufeff" + text if self.draw.random() < 0.1 else text

    def cells(self, record, odd=False):
        """The fields of a record by the names of their columns."""
        wall = self.clock.wall(record.utc_ms // 1000)
        cells = dict(zip(("CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DESC"), record.key))
        cells |= {"ENTRIES": str(record.entries), "EXITS": str(record.exits), "ID": record.id}
        is_long = odd and self.draw.random() < 0.5
        cells["DATE"] = f"{wall.month:02}/{wall.day:02}/{wall.year}" if is_long else f"{wall.month:02}-{wall.day:02}-{wall.year % 100:02}"
        cells["TIME"] = f"{wall.hour:02}:{wall.minute:02}:{wall.second:02}"
        cells["TIMESTAMP"] = self.time(record.utc_ms) if odd else str(wall)
        if odd and self.draw.random() < 0.2:
            cells["ENTRIES"] = cells["ENTRIES"].zfill(self.draw.randrange(1, 19))
        return cells

    def time(self, utc_ms):
        """An instant in one of the spellings of ISO 8601."""
        between = self.draw.choice(" T")
        digits = self.draw.randrange(10)
        fraction = self.draw.choice(".,") + f"{utc_ms % 1000:03}{self.draw.randrange(10**6):06}"[:digits] if digits else ""
        if self.draw.random() < 0.4:
            return self.clock.wall(utc_ms // 1000).strftime(f"%Y-%m-%d{between}%H:%M:%S") + fraction
        if self.draw.random() < 0.5:
            shift_s, place = 0, "Z"
        else:
            hours, minutes, sign = self.draw.randrange(19), self.draw.choice((0, 0, 30, 45, 59)), self.draw.choice("+-")
            shape = self.draw.choice(("{}{:02}:{:02}", "{}{:02}{:02}", "{}{:02}"))
            minutes = minutes if shape.count("{") == 3 else 0
            shift_s = (hours * 3600 + minutes * 60) * (-1 if sign == "-" else 1)
            place = shape.format(sign, hours, minutes)
        shown = EPOCH + dt.timedelta(seconds=utc_ms // 1000 + shift_s)
        return shown.strftime(f"%Y-%m-%d{between}%H:%M:%S") + fraction + place

    def padded(self, cell):
        before, behind = self.draw.choice(("", " ", "\t", "  ")), self.draw.choice(("", " ", "\t"))
        return before + cell + behind

    def line(self, cells, columns):
        """The cells in the order of the columns, quoted where they must be and now and then where they need not be."""
        quoting = csv.QUOTE_ALL if self.draw.random() < 0.02 else csv.QUOTE_MINIMAL
        out = io.StringIO()
        csv.writer(out, quoting=quoting, lineterminator="").writerow([cells.get(name, "") for name in columns])
        return out.getvalue()

    def with_header(self, cells):
        """A header line of its own order, and the record below it."""
        columns = self.columns()
        end = self.draw.choice(("\n", "\r\n", "\r"))
        return self.header(columns) + end + self.line(cells, columns) + self.draw.choice(("", end, end + end))

    def columns(self):
        """The columns of a header that can be used, in any order behind CA."""
        columns = list(COLUMNS[1:])
        if self.draw.random() < 0.3:
            columns.remove("TIMESTAMP")
        elif self.draw.random() < 0.3:
            columns.remove(self.draw.choice(("DATE", "TIME", "ID")))
        if self.draw.random() < 0.3:
            columns.append("NOTE")
        if self.draw.random() < 0.7:
            self.draw.shuffle(columns)
        return ("CA", *columns)

    def header(self, columns):
        names = [self.draw.choice(HEADER_FIRSTS), *columns[1:]]
        if self.draw.random() < 0.3:
            names[1:] = [self.padded(name.lower()) for name in names[1:]]
        if self.draw.random() < 0.1:
            plain, other = self.draw.choice(tuple(UPPER_CASE.items()))
            names[1:] = [name.replace(plain, other) for name in names[1:]]
        return ",".join(names)

    def quoted(self, text):
        """A text as upstream's producer sends it, a JSON string; now and then with needless escapes."""
        plain = json.dumps(text, ensure_ascii=self.draw.random() < 0.2)
        if self.draw.random() < 0.98:
            return plain
        inside = "".join(f"\\u{ord(c):04x}" if c.isalnum() and ord(c) < 128 and self.draw.random() < 0.2 else json.dumps(c)[1:-1] for c in text)
        return f'"{inside}"'

    def fault(self, record, lines_only=False):
        """A message that cannot be used: text, bytes that are no text, or None. Some are lines only a topic can carry."""
        ways = ONE_LINE_FAULTS if lines_only else ONE_LINE_FAULTS + OTHER_FAULTS
        return self.draw.choice(ways)(self, record)

    def changed(self, record, name, value):
        """A line in which one field is as given, with nothing quoted on the way."""
        cells = {name: cell.replace(",", " ").replace('"', " ") for name, cell in self.cells(record).items()}
        return ",".join({**cells, name: value}[column] for column in COLUMNS)


def long_message(pen, record):
    """One byte more than a message may have."""
    return pen.changed(record, "ID", "x").ljust(BYTES_MAX + 1, "x")


# Each takes a pen and a record. None of these begins like a header, and each is one line.
ONE_LINE_FAULTS = (
    lambda pen, record: pen.usual(record, COLUMNS[:-1]),
    lambda pen, record: pen.usual(record) + ",x",
    lambda pen, record: pen.usual(record).replace(",", ";"),
    lambda pen, record: pen.changed(record, "TIMESTAMP", pen.draw.choice(BAD_TIMES)),
    lambda pen, record: pen.quoted(pen.changed(record, "TIMESTAMP", pen.draw.choice(BAD_TIMES))),
    lambda pen, record: pen.changed(record, pen.draw.choice(("ENTRIES", "EXITS")), pen.draw.choice(BAD_NUMBERS)),
    lambda pen, record: pen.changed(record, pen.draw.choice(("CA", "UNIT", "SCP", "STATION")), pen.draw.choice(("", " ", '""', "\t"))),
    lambda pen, record: pen.quoted(pen.changed(record, pen.draw.choice(("STATION", "LINENAME", "DESC", "SCP")), pen.draw.choice(CONTROLS))),
    lambda pen, record: "\x00" * 300 + pen.changed(record, "ID", "x"),
    lambda pen, record: pen.changed(record, "ID", 'x"'),
    lambda pen, record: pen.changed(record, "STATION", "\xff").encode("latin-1", "replace"),
    lambda pen, record: pen.usual(record).encode("utf-8")[:-3] + b"\xc3",
    lambda pen, record: '"\\ud800' + pen.changed(record, "ID", "x") + '"',
    lambda pen, record: pen.quoted(pen.usual(record) + "\n" + pen.usual(record)),
    lambda pen, record: pen.quoted(pen.header(COLUMNS)),
    lambda pen, record: pen.quoted("CA,UNIT,SCP,STATION\n" + pen.usual(record)),
    lambda pen, record: pen.quoted("CA," + ",".join(COLUMNS) + "\n" + pen.usual(record)),
    lambda pen, record: pen.quoted(""),
    lambda pen, record: "",
    lambda pen, record: " \t ",
    lambda pen, record: "{}",
    lambda pen, record: '"',
    lambda pen, record: "A001",
    lambda pen, record: pen.usual(record)[: pen.draw.randrange(1, 60)],
)
OTHER_FAULTS = (
    lambda pen, record: None,
    lambda pen, record: pen.header(COLUMNS),
    lambda pen, record: "C/A,UNIT,SCP,STATION\n" + pen.usual(record),
    lambda pen, record: pen.usual(record) + "\r" + pen.usual(record),
    lambda pen, record: pen.changed(record, "STATION", pen.draw.choice(CONTROLS)),
    lambda pen, record: "\ufeff\r\n",
)
