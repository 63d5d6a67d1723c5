"""Manifests, segments and state files, taken apart and written again under the checksums that a run would have given them.

A manifest is a line of JSON whose last field is xxh3-128 of the object without it. A segment is gzip over lines, each a manifest as new
pieces of text and ranges of earlier ones. A state file is "HWSTATE\\0", format, length of the header, header, xxh3-128 of all before, and
the sections; the header has length and xxh3-64 of each section. Its numbers are varints of seven bits a byte, least first.
"""
import dataclasses
import gzip
import json
import os
import re

from crash_suites.xxh3 import xxh3_64, xxh3_128

MAGIC, STATE_FORMAT = b"HWSTATE\0", 2
# What ends a manifest: the field, its digits and the brace.
TAIL = 44


def read(path):
    with open(path, "rb") as file:
        return file.read()


def replace(path, content):
    """Never in place: committed files may share their bytes with other names."""
    os.remove(path)
    with open(path, "wb") as file:
        file.write(content)


# --- manifests

def manifest(content):
    """What a manifest's file says, without its checksum."""
    body = content[:-TAIL] + b"}"
    if sealed(body) != content:
        raise ValueError("the checksum is another one: is the rule in this file that of the engine?")
    return json.loads(body)


def sealed_manifest(said):
    return sealed(json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"))


def sealed(body):
    return body[:-1] + b",\"xxh3\":\"%032x\"}\n" % xxh3_128(body)


# --- segments

def lines(content):
    return gzip.decompress(content).decode().splitlines()


def packed(written):
    return gzip.compress("".join(line + "\n" for line in written).encode("utf-8", "surrogatepass"))


def unfolded(written):
    """The manifests' files in the lines of a segment."""
    known, texts = [], []
    for line in written:
        text = ""
        for piece in json.loads(line):
            known += [piece] if isinstance(piece, str) else []
            text += piece if isinstance(piece, str) else "".join(known[piece[0]:piece[0] + piece[1]])
        texts.append(text.encode())
    return texts


def folded(texts):
    """Lines that say the same, each piece that was there before as its number."""
    known, written = {}, []
    for text in texts:
        line = []
        for part in re.findall(r"(?s).*?\},|.+", text.decode()):
            number = known.get(part)
            line.append(part if number is None else [number, 1])
            known.setdefault(part, len(known))
        written.append(json.dumps(line))
    return written


# --- state files

@dataclasses.dataclass
class Section:
    """A section, and what the header says of it."""

    operator: int
    shard: int
    kind: int
    length: int
    checksum: int
    content: bytes = b""

    def write(self, content):
        self.content, self.length, self.checksum = content, len(content), xxh3_64(content)


@dataclasses.dataclass(frozen=True)
class Written:
    """The bytes of a state file, and what manifests say of them."""

    content: bytes
    header_bytes: int
    checksum: int


@dataclasses.dataclass
class State:
    """A state file: who wrote it, its operators as (name, version), and its sections."""

    job: str
    generation: int
    epoch: int
    worker: int
    operators: list
    sections: list
    # What it says in place of the header's length.
    header_length: int | None = None

    @staticmethod
    def read(content):
        length = int.from_bytes(content[12:16], "little")
        numbers = Numbers(content[16:16 + length])
        job, generation, epoch, worker = numbers.text(), numbers.next(), numbers.next(), numbers.next()
        operators = [(numbers.text(), numbers.next()) for _ in range(numbers.next())]
        sections = [Section(*(numbers.next() for _ in range(5))) for _ in range(numbers.next())]
        at = 16 + length + 16
        for section in sections:
            section.content = content[at:at + section.length]
            at += section.length
        file = State(job, generation, epoch, worker, operators, sections)
        if file.sealed().content != content:
            raise ValueError("it would be written otherwise: is the rule in this file that of the engine?")
        return file

    def sealed(self):
        header = text(self.job) + varints(self.generation, self.epoch, self.worker, len(self.operators))
        header += b"".join(text(name) + varints(version) for name, version in self.operators) + varints(len(self.sections))
        header += b"".join(varints(one.operator, one.shard, one.kind, one.length, one.checksum) for one in self.sections)
        length = len(header) if self.header_length is None else self.header_length
        start = MAGIC + STATE_FORMAT.to_bytes(4, "little") + length.to_bytes(4, "little") + header
        start += xxh3_128(start).to_bytes(16, "little")
        content = start + b"".join(one.content for one in self.sections)
        return Written(content, len(start), xxh3_128(content))


class Numbers:
    """Reads varints and texts."""

    def __init__(self, content):
        self.content, self.at = content, 0

    def next(self):
        number = shift = 0
        while True:
            byte = self.content[self.at]
            self.at, number, shift = self.at + 1, number | (byte & 127) << shift, shift + 7
            if byte < 128:
                return number

    def text(self):
        length = self.next()
        self.at += length
        return self.content[self.at - length:self.at].decode()


def varint(number):
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def varints(*numbers):
    return b"".join(map(varint, numbers))


def text(words):
    return varint(len(words.encode())) + words.encode()
