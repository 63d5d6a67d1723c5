"""Captures: the messages of a topic, saved in files.

A file holds lines or envelopes; it may be gzip, which its first bytes say.

  lines      a line is a message, a file is a partition: the n-th in the order of names, from 0. Offsets are line numbers from
             0. The first line that is not empty may be a header: it names the columns of all lines of the file. It is
             no message but filtered, as are later equal lines.
  envelopes  what `kcat -J` prints: JSON objects with topic, partition, offset, ts and payload. Those of other topics are
             left out. Several files may hold envelopes of one partition.
"""
import gzip
import json
import typing

from reference import csv_text, message

GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadCapture(Exception):
    """A capture that no job would read; the text begins with the code of the error."""


class Message(typing.NamedTuple):
    """A message and what is known of it; `kafka_ms` is None if it has no timestamp."""

    offset: int
    value: bytes | None
    kafka_ms: int | None = None
    columns: tuple = message.COLUMNS
    is_header: bool = False


def partitions(paths, topic):
    """The messages of each partition, by number, in the order of their offsets."""
    found, is_of_envelopes = {}, {}
    for index, path in enumerate(sorted(paths)):
        lines = file_lines(path)
        of_file, has_envelopes = {}, bool(lines) and is_envelope(lines[0])
        if has_envelopes:
            for number, line in enumerate(lines, 1):
                if not is_envelope(line):
                    raise BadCapture(f"mixed-capture: {path}, line {number} is no envelope, and those before it are")
                read_envelope(json.loads(line), topic, of_file)
        else:
            of_file[index] = line_messages(path, lines)
        for partition, messages in of_file.items():
            if is_of_envelopes.setdefault(partition, has_envelopes) != has_envelopes:
                raise BadCapture(f"mixed-capture: {path} has partition {partition} of lines, another file of envelopes, or the reverse")
            found.setdefault(partition, []).extend(messages)
    for messages in found.values():
        messages.sort(key=lambda one: one.offset)
    return dict(sorted(found.items()))


def file_lines(path):
    """The lines of a file, without their line feeds."""
    with open(path, "rb") as file:
        content = file.read()
    if content.startswith(GZIP):
        content = gzip.decompress(content)
    if content.startswith(BYTE_ORDER_MARK + b"{"):
        content = content[len(BYTE_ORDER_MARK):]
    lines = content.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def is_envelope(line):
    if not line.startswith(b"{"):
        return False
    try:
        envelope = json.loads(line)
    except ValueError:
        return False
    return isinstance(envelope, dict) and "payload" in envelope and "offset" in envelope


def read_envelope(envelope, topic, partitions_of_file):
    """Adds the message of an envelope, if it is one of the topic."""
    if envelope.get("topic", topic) != topic:
        return
    payload, kafka_ms = envelope["payload"], envelope.get("ts")
    # A text with half a surrogate pair is kept as bytes that are no UTF-8.
    value = None if payload is None else payload.encode("utf-8", "surrogatepass")
    kafka_ms = kafka_ms if kafka_ms is not None and kafka_ms >= 0 else None
    partitions_of_file.setdefault(envelope["partition"], []).append(Message(envelope["offset"], value, kafka_ms))


def line_messages(path, lines):
    """The messages of a file of lines."""
    columns, found = None, []
    for offset, line in enumerate(lines):
        header = header_of(line)
        if header is not None and columns is None:
            try:
                columns = message.header_columns(header)
            except message.Refused:
                raise BadCapture(f"bad-header: {path}, line {offset + 1}") from None
            found.append(Message(offset, line, columns=columns, is_header=True))
            continue
        if columns is None and line.strip(message.BLANKS.encode()):
            columns = message.COLUMNS
        is_again = header is not None and is_same_header(path, offset, header, columns)
        found.append(Message(offset, line, columns=columns or message.COLUMNS, is_header=is_again))
    return found


def header_of(line):
    """The fields of a line that begins like a header; None for any other."""
    if len(line) > message.BYTES_MAX:
        return None
    try:
        records = csv_text.records(message.plain_text(line))
    except message.Refused:
        return None
    return records[0] if len(records) == 1 and message.is_header(records[0]) else None


def is_same_header(path, offset, header, columns):
    """True for the header of the file; a header that cannot be used is a message like others."""
    try:
        names = message.header_columns(header)
    except message.Refused:
        return False
    if names != columns:
        raise BadCapture(f"header-changed: {path}, line {offset + 1}")
    return True
