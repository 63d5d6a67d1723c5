"""Splits text into CSV records, as strictly as the world allows.

A field that begins with a quote ends at the next quote that is not doubled; what follows up to the comma belongs to the field
as it stands. A quote inside any other field is a character like others. A record ends at LF, CR LF or CR.
"""
import re

LINE_END = re.compile(r"\r\n|\r|\n")
FIELD_END = re.compile(r"[,\r\n]")


def records(text):
    """The records of `text`, each a list of fields. Empty lines are no records."""
    if '"' not in text:
        return [line.split(",") for line in LINE_END.split(text) if line]
    found, at = [], 0
    while at < len(text):
        end = LINE_END.match(text, at)
        if end:
            at = end.end()
            continue
        record, at = one_record(text, at)
        found.append(record)
    return found


def one_record(text, at):
    """The record that begins at `at`, and the place behind its line end."""
    fields = []
    while True:
        field, at = one_field(text, at)
        fields.append(field)
        if at == len(text):
            return fields, at
        if text[at] != ",":
            return fields, LINE_END.match(text, at).end()
        at += 1


def one_field(text, at):
    """The field that begins at `at`, and the place of the comma or line end behind it."""
    quoted = ""
    if text.startswith('"', at):
        quoted, at = quoted_part(text, at + 1)
    end = FIELD_END.search(text, at)
    stop = end.start() if end else len(text)
    return quoted + text[at:stop], stop


def quoted_part(text, at):
    """What stands between quotes, from behind the opening quote, and the place behind the closing one.

    A quote that is never closed takes all of the text.
    """
    pieces = []
    while True:
        quote = text.find('"', at)
        if quote < 0:
            pieces.append(text[at:])
            return "".join(pieces), len(text)
        pieces.append(text[at:quote])
        if not text.startswith('""', quote):
            return "".join(pieces), quote + 1
        pieces.append('"')
        at = quote + 2
