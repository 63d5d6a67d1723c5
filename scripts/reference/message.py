"""One message of the topic to a reading of a turnstile, or the reason why it cannot be used."""
import json
import re
import typing

from reference import csv_text
from reference.instants import NoTime, joined

# The columns of a message that has no header, of a key, and how many of a key's must not be empty.
COLUMNS = ("CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DATE", "TIME", "DESC", "ENTRIES", "EXITS", "ID", "TIMESTAMP")
KEY = ("CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DESC")
KEY_NEEDED = 4
FIRST_OF_A_HEADER = ("CA", "C/A", "A/C", "AC")
BYTES_MAX = 1 << 20
BLANKS = " \t\r\n"
BYTE_ORDER_MARK = "\ufeff"
COUNT = re.compile(r"[0-9]{1,18}")
HALF_A_PAIR = re.compile("[\ud800-\udfff]")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Refused(Exception):
    """A message that cannot be used."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class Reading(typing.NamedTuple):
    """What a message says. Two messages with an ID are the same if all of this is equal."""

    id: str
    key: tuple
    entries: int
    exits: int
    time_ms: int


def read(value, clock, columns=COLUMNS, newest_ms=None, limit_ms=None):
    """The reading in `value`, bytes or None; raises Refused. The order of the checks decides between two reasons.

    `columns` are those of a message without a header of its own, `newest_ms` is the newest event time of its partition so far,
    `limit_ms` the latest event time that is believed.
    """
    columns, fields = one_record(text_of(value), columns)
    cells = {name: field.strip(BLANKS + '"') for name, field in zip(columns, fields)}
    key = tuple([cells[name] for name in KEY])
    if "" in key[:KEY_NEEDED]:
        raise Refused("missing-field")
    if CONTROL.search("".join(key)):
        raise Refused("control-character")
    entries, exits = count(cells["ENTRIES"]), count(cells["EXITS"])
    try:
        when = cells["TIMESTAMP"] if "TIMESTAMP" in cells else joined(cells["DATE"], cells["TIME"])
        time_ms = clock.parse_ms(when, newest_ms)
    except NoTime:
        raise Refused("bad-timestamp") from None
    if limit_ms is not None and time_ms > limit_ms:
        raise Refused("future-event-time")
    return Reading(cells.get("ID", ""), key, entries, exits, time_ms)


def text_of(value):
    """The text of a message, without the JSON quotes that upstream's producer puts around it."""
    if value is None:
        raise Refused("null-value")
    if len(value) > BYTES_MAX:
        raise Refused("too-long")
    text = plain_text(value)
    if len(text) >= 2 and text.startswith('"') and text.endswith('"'):
        text = unquoted(text)
    if text.strip(BLANKS) == "":
        raise Refused("empty")
    return text


def plain_text(value):
    """Bytes as text, without byte order marks in front and line ends behind."""
    try:
        return value.decode("utf-8").lstrip(BYTE_ORDER_MARK).rstrip("\r\n")
    except UnicodeDecodeError:
        raise Refused("not-utf8") from None


def unquoted(text):
    """What a JSON string says; text that is none stays as it is."""
    try:
        said = json.loads(text)
    except ValueError:
        return text
    if HALF_A_PAIR.search(said):
        raise Refused("not-utf8")
    return said.rstrip("\r\n")


def one_record(text, columns):
    """The names and the fields of the only record of a message."""
    if text.count('"') % 2 == 1:
        raise Refused("bad-csv")
    records = csv_text.records(text)
    if records and is_header(records[0]):
        columns = header_columns(records.pop(0))
    if not records:
        raise Refused("empty")
    if len(records) > 1:
        raise Refused("too-many-records")
    if len(records[0]) != len(columns):
        raise Refused("wrong-field-count")
    return columns, records[0]


def is_header(record):
    return record[0].strip(BLANKS).upper() in FIRST_OF_A_HEADER


def header_columns(record):
    """The names of the columns; raises Refused if one of them is there twice, or one that is needed is not there."""
    names = ("CA", *(name.strip(BLANKS).upper() for name in record[1:]))
    has_time = "TIMESTAMP" in names or ("DATE" in names and "TIME" in names)
    is_complete = all(name in names for name in (*KEY, "ENTRIES", "EXITS"))
    if len(set(names)) < len(names) or not is_complete or not has_time:
        raise Refused("bad-header")
    return names


def count(text):
    if not COUNT.fullmatch(text):
        raise Refused("bad-number")
    return int(text)
