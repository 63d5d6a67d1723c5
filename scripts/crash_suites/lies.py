"""What files of a lake may say that no run has written: values out of their range, and values that contradict what stands beside them.

Each lie changes what it is given in place and says how, or gives None where there is nothing to change. Lies of manifests get one as
JSON, those of state files a `sealed_files.State`, those of segments their lines.
"""
import dataclasses
import json

from crash_suites import sealed_files as sealed

# Where numbers of 16, 32, 53, 60, 63 and 64 bits end.
BORDERS = sorted({0, -1, *(1 << bits for bits in (10, 16, 31, 32, 53, 60, 63, 64)), *((1 << bits) - 1 for bits in (16, 31, 32, 63, 64)), (1 << 60) + 1})
# Values of every kind of JSON: most of them of another kind than what they stand for.
VALUES = (None, True, -1, 0.5, "", "0", "../../x", "\u0000", [], {}, [[]], {"": 0})
# Times that no record has, and some that nothing has. The end of time itself is where everything has closed.
TIMES = (1 - (1 << 63), (1 << 63) - 2, 1 << 62, 1 << 63, -(1 << 63) - 1)


# --- of manifests

def far(draw, number):
    """A number of files or offsets that is far from the right one."""
    return draw.choice([border for border in BORDERS if border != number])


def some_partition(manifest, draw):
    return draw.choice([part for source in manifest["inputs"] for part in source["partitions"]])


def set_to(place, key, value):
    told = f"{key}: {json.dumps(place.get(key))[:40]} -> {json.dumps(value)[:40]}"
    place[key] = value
    return told


def number_of(key):
    """The lie that sets a number of the manifest itself."""
    return lambda manifest, draw: set_to(manifest, key, far(draw, manifest[key]))


def jump_of(key):
    """The same, near to the right one."""
    return lambda manifest, draw: set_to(manifest, key, manifest[key] + draw.choice((-2, -1, 1, 2, 1000)))


def offset(key):
    return lambda manifest, draw: set_to(part := some_partition(manifest, draw), key, far(draw, part[key]))


def offset_past_the_end(manifest, draw):
    part = some_partition(manifest, draw)
    return set_to(part, "next", part["next"] + draw.choice((5_000, 1 << 20, 1 << 40)))


def offset_before_it_was_read(manifest, draw):
    part = some_partition(manifest, draw)
    return set_to(part, "next", draw.randrange(part["next"])) if part["next"] > 0 else None


def fates_of(part, draw):
    """Those of the epoch or of all; the manifest leaves out what is zero."""
    nothing = {"consumed": 0, "accepted": 0, "duplicate": 0, "filtered": 0, "late": 0, "dead": {}}
    return part.setdefault(draw.choice(("fates", "total")), nothing)


def fates_that_do_not_add_up(manifest, draw):
    counts = fates_of(some_partition(manifest, draw), draw)
    key = draw.choice(("consumed", "accepted", "duplicate", "filtered", "late"))
    return set_to(counts, key, counts[key] + draw.choice((1, 7, 1 << 40)))


def more_records_than_offsets(manifest, draw):
    """They do add up."""
    counts, more = fates_of(some_partition(manifest, draw), draw), draw.choice((5_000, 1 << 40))
    counts["consumed"] += more
    return set_to(counts, "accepted", counts["accepted"] + more)


def time_of_a_mark(manifest, draw):
    part = some_partition(manifest, draw)
    key = draw.choice(("own", "floor"))
    return set_to(part, key, draw.choice((*TIMES, (1 << 63) - 1) if key == "own" else TIMES))


def watermark(manifest, draw):
    return set_to(draw.choice(manifest["inputs"]), "wm", draw.choice(TIMES))


def wall_clock(manifest, draw):
    return set_to(manifest, draw.choice(("began_ms", "written_ms")), draw.choice((-1, *TIMES)))


def quiet_since(manifest, draw):
    return set_to(some_partition(manifest, draw), "quiet_since_ms", draw.choice((-1 << 63, (1 << 63) - 1, -1)))


def limits(manifest, draw):
    part, limit = some_partition(manifest, draw), draw.choice((-1 << 63, (1 << 63) - 1, -1))
    part["limit_ms"] = limit
    return set_to(part, "limits", [{"from": far(draw, 0), "limit_ms": limit}] * draw.choice((1, 2)))


def another_partition(manifest, draw):
    parts = draw.choice(manifest["inputs"])["partitions"]
    if draw.random() < 0.3:
        parts.append(dict(parts[0]))
        return "a partition twice"
    if draw.random() < 0.3:
        return f"without partition {parts.pop(draw.randrange(len(parts)))['partition']}"
    return set_to(part := draw.choice(parts), "partition", far(draw, part["partition"]))


def identity(manifest, draw):
    return set_to(some_partition(manifest, draw), "identity", draw.choice(("", "x", "../x", "\u0000", "x" * 100_000)))


def content(manifest, draw):
    part = some_partition(manifest, draw)
    if "content" not in part:
        return None
    key = draw.choice(("bytes", "xxh3"))
    return set_to(part["content"], key, far(draw, part["content"]["bytes"]) if key == "bytes" else draw.choice(("", "0" * 32, "x")))


def finished(manifest, draw):
    """Partitions that nobody will read again, which the list in the state does not have."""
    of, count = draw.choice(manifest["inputs"]), draw.choice((0, 1, 7, 1 << 59))
    fates = {"consumed": 7, "accepted": 7, "duplicate": 0, "filtered": 0, "late": 0, "dead": {}}
    return set_to(of, "finished", {"partitions": count, "total": fates})


def held(manifest, draw):
    name = draw.choice(sorted(name for name, operator in manifest["operators"].items() if "held" in operator) or [None])
    if name is None:
        return None
    operator = manifest["operators"][name]
    value = operator["held"] + draw.choice((1, 2, 1000)) if draw.random() < 0.6 else far(draw, operator["held"])
    return f"{name} " + set_to(operator, "held", value)


def nothing_held(manifest, draw):
    operators = [operator for operator in manifest["operators"].values() if operator.get("held")]
    return set_to(draw.choice(operators), "held", 0) if operators else None


def version_of_an_operator(manifest, draw):
    name = draw.choice(sorted(manifest["operators"]))
    operator = manifest["operators"][name]
    return f"{name} " + set_to(operator, "version", far(draw, operator["version"]))


def operators(manifest, draw):
    if draw.random() < 0.5:
        return set_to(manifest["operators"], draw.choice(("Nothing", "", "Sum\u0000")), {"version": 1, "held": draw.choice((0, 5))})
    name = draw.choice(sorted(manifest["operators"]))
    del manifest["operators"][name]
    return f"without operator {name}"


def dropped_state(manifest, draw):
    """Only a person who starts a job lets it drop state."""
    name = draw.choice(sorted(manifest["operators"]))
    return set_to(manifest, "dropped", {name: draw.choice((0, manifest["generation"] + 1, 1 << 40, 1 << 64))})


def state_gone(manifest, draw):
    if not manifest["state"]:
        return None
    one = manifest["state"].pop(draw.randrange(len(manifest["state"])))
    return f"without the state of {one['generation']}/{one['epoch']}/{one['worker']}"


def state_entry(manifest, draw):
    if not manifest["state"]:
        return None
    entry = draw.choice(manifest["state"])
    key = draw.choice(("generation", "epoch", "worker", "bytes", "header_bytes"))
    return set_to(entry, key, far(draw, entry[key]) if draw.random() < 0.5 else entry[key] + draw.choice((-1, 1, 16)))


def state_twice(manifest, draw):
    if not manifest["state"]:
        return None
    manifest["state"].append(dict(draw.choice(manifest["state"])))
    return "a state file twice"


def place_of_state(manifest, draw):
    if not manifest["state"]:
        return None
    name = draw.choice(("../x", "/etc/passwd", "a//b", "_headway/turnstile/manifest/0000000000.json", ""))
    return set_to(draw.choice(manifest["state"]), "place", {"name": name, "range": draw.choice((None, {"from": 5, "to": 3}, {"from": 0, "to": 1 << 63}))})


def lake_file(manifest, draw):
    if not manifest["lake"]:
        return None
    file = draw.choice(manifest["lake"])
    key = draw.choice(("name", "folder", "bytes", "rows", "checksum", "since", "kind", "output"))
    lies = {"name": ("x", "a/b", "..", ""), "folder": ("../", "/etc/", "x", "_headway/"), "checksum": ("", "0" * 32), "kind": ("dead", "changes", "x"), "output": ("", "x")}
    return set_to(file, key, draw.choice(lies[key]) if key in lies else far(draw, file[key]))


def lake_file_that_was_not_written(manifest, draw):
    if not manifest["lake"]:
        return None
    file = dict(draw.choice(manifest["lake"]))
    file["name"] = "x" + file["name"]
    manifest["lake"].append(file)
    return f"another file {file['name']}"


def fed(manifest, draw):
    files = [file for file in manifest["lake"] if file.get("fed")]
    if not files:
        return None
    one = draw.choice(draw.choice(files)["fed"])
    key = draw.choice(sorted(one))
    return set_to(one, key, far(draw, one[key]))


def members(manifest, draw):
    return set_to(manifest["members"], draw.choice(("processes", "workers")), far(draw, 1))


def setting(manifest, draw):
    name = draw.choice([*sorted(manifest["fingerprint"]), "", "x"])
    return set_to(manifest["fingerprint"], name, draw.choice(("", "0", "x", "99999999999999999999", "-1")))


def added(manifest, draw):
    """What the job does not use, with values that no run writes."""
    number, time = far(draw, 0), draw.choice((-1 << 63, (1 << 63) - 1, 0))
    key, value = draw.choice((
        ("sealed_up_to", time), ("unsealed", [time]), ("not_after_ms", time), ("changes_from", number), ("changes", {"seq": number, "nonce": "0" * 32}),
        ("gaps", [{"input": "turnstile", "partition": number, "from": 0, "to": number}]), ("watermarks", [{"inputs": [number], "watermark": time}]),
        ("targets", {"x": {"acknowledged": number}}), ("views", {"x": {"keeps": number, "shows": 1}}), ("released", [draw.choice(("x", "../x", ""))]),
        ("restarts", {"x": number}), ("expectations", {"x": number}), ("retired_before", time), ("allowed", ["x" * 100_000]), ("not-known", {"x": [number]})))
    return set_to(manifest, key, value)


def another_kind_of_value(manifest, draw):
    """Anywhere in the manifest."""
    place, key = manifest, draw.choice(sorted(manifest))
    while isinstance(place[key], (dict, list)) and place[key] and draw.random() < 0.8:
        place = place[key]
        key = draw.choice(sorted(place)) if isinstance(place, dict) else draw.randrange(len(place))
    told, place[key] = f"at {key}", draw.choice(VALUES)
    return f"{told}: {json.dumps(place[key])}"


def field_gone(manifest, draw):
    place = draw.choice((manifest, manifest["inputs"][0], some_partition(manifest, draw), *manifest["state"][:1], *manifest["lake"][:1]))
    key = draw.choice(sorted(place))
    del place[key]
    return f"without {key}"


def kind(manifest, draw):
    return set_to(manifest, "kind", draw.choice([kind for kind in ("claim", "commit", "closed") if kind != manifest["kind"]]))


def chain(manifest, draw):
    return set_to(manifest, draw.choice(("nonce", "parent")), draw.choice(("0" * 32, "f" * 32, "x", "")))


def ended(manifest, draw):
    return set_to(draw.choice(manifest["inputs"]), "ended", True)


def format_before(manifest, draw):
    return set_to(manifest, "format", draw.choice((0, 1)))


def deep(manifest, draw):
    value = 0
    for _ in range(draw.choice((100, 900))):
        value = [value]
    manifest["not-known"] = value
    return "lists in lists"


OF_MANIFESTS = {
    "seq": number_of("seq"), "seq-jump": jump_of("seq"), "generation": number_of("generation"), "generation-jump": jump_of("generation"),
    "epoch": number_of("epoch"), "epoch-jump": jump_of("epoch"), "next": offset("next"), "from": offset("from"), "first": offset("first"),
    "floor-from": offset("floor_from"), "past-the-end": offset_past_the_end, "before-it-was-read": offset_before_it_was_read,
    "fates": fates_that_do_not_add_up, "more-than-offsets": more_records_than_offsets, "mark": time_of_a_mark, "watermark": watermark,
    "wall-clock": wall_clock, "quiet-since": quiet_since, "limits": limits, "partitions": another_partition, "identity": identity, "content": content,
    "finished": finished, "held": held, "nothing-held": nothing_held, "version": version_of_an_operator, "operators": operators,
    "dropped": dropped_state, "state-gone": state_gone, "state-entry": state_entry, "state-twice": state_twice, "state-place": place_of_state,
    "lake": lake_file, "lake-more": lake_file_that_was_not_written, "fed": fed, "members": members, "setting": setting, "added": added,
    "value": another_kind_of_value, "gone": field_gone, "kind": kind, "chain": chain, "ended": ended, "format": format_before, "deep": deep,
}


# --- of state files

def section_lie(key, values):
    def lie(file, draw):
        if not file.sections:
            return None
        section = draw.choice(file.sections)
        before, value = getattr(section, key), values(draw, getattr(section, key))
        setattr(section, key, value)
        return f"{key} of a section: {before} -> {value}"
    return lie


def shard_twice(file, draw):
    if not file.sections:
        return None
    file.sections.insert(draw.randrange(len(file.sections)), dataclasses.replace(draw.choice(file.sections)))
    return "a section twice"


def section_gone(file, draw):
    if not file.sections:
        return None
    gone = file.sections.pop(draw.randrange(len(file.sections)))
    return f"without the section of shard {gone.shard}"


def of_an_operator(lie):
    """A lie about the name and version of an operator: `lie` gives both anew, and what it says."""
    def one(file, draw):
        if not file.operators:
            return None
        at = draw.randrange(len(file.operators))
        file.operators[at], what = lie(file, *file.operators[at], draw)
        return what
    return one


def other_name(file, name, version, draw):
    new = draw.choice(("Nothing", "", "Sum\u0000", *(other for other, _ in file.operators if other != name)))
    return (new, version), f"operator {name} -> {new}"


def other_version(_, name, version, draw):
    new = draw.choice((0, version + 1, (1 << 32) - 1, 1 << 32))
    return (name, new), f"{name} of version {new}"


def author(file, draw):
    key = draw.choice(("generation", "epoch", "worker", "job"))
    setattr(file, key, "other" if key == "job" else far(draw, getattr(file, key)) % (1 << 64))
    return f"{key}: {getattr(file, key)}"


def length_of_the_header(file, draw):
    file.header_length = draw.choice((0, 1, 1 << 20, 48 << 20, (48 << 20) + 1, (1 << 32) - 1))
    return f"a header of {file.header_length} bytes"


def bytes_of_a_section(change):
    """A section with other bytes, and the length and checksum of these."""
    def lie(file, draw):
        full = [section for section in file.sections if section.content]
        if not full:
            return None
        section = draw.choice(full)
        before = len(section.content)
        section.content = change(section.content, draw)
        return f"the section of {file.operators[section.operator][0]}, shard {section.shard}: {before} bytes are {len(section.content)}"
    return lie


def flipped(content, draw):
    changed, at = bytearray(content), draw.randrange(len(content))
    changed[at] ^= 1 << draw.randrange(8)
    return bytes(changed)


def huge_count(content, draw):
    """What may have been a count is one that nothing has room for."""
    at = draw.choice((0, 0, 1, draw.randrange(len(content))))
    return content[:at] + sealed.varint(draw.choice((1 << 32, 1 << 48, (1 << 64) - 1))) + content[at + 1:]


OF_STATE = {
    "shard": section_lie("shard", lambda draw, _: draw.choice((1024, 1025, 65_535))),
    "other-shard": section_lie("shard", lambda draw, shard: (shard + draw.randrange(1, 1024)) % 1024),
    "length": section_lie("length", lambda draw, length: max(0, draw.choice((length + 1, length - 1, length + (1 << 20), 8 << 30, (1 << 63) - 1, (1 << 64) - 1)))),
    "checksum": section_lie("checksum", lambda draw, checksum: (checksum or 0) ^ 1 << draw.randrange(64)),
    "of-no-operator": section_lie("operator", lambda draw, _: draw.choice((200, 65_535))),
    "other-operator": section_lie("operator", lambda draw, operator: operator ^ 1),
    "kind": section_lie("kind", lambda draw, kind: draw.choice([other for other in (0, 1, 2, 3, 255) if other != kind])),
    "twice": shard_twice, "section-gone": section_gone, "operator": of_an_operator(other_name), "version": of_an_operator(other_version), "author": author,
    "header": length_of_the_header,
    "cut": bytes_of_a_section(lambda content, draw: content[:draw.randrange(1, len(content))] if len(content) > 1 else b"\xff"),
    "emptied": bytes_of_a_section(lambda *_: b""),
    "longer": bytes_of_a_section(lambda content, draw: content + draw.randbytes(draw.choice((1, 8, 300)))),
    "repeated": bytes_of_a_section(lambda content, _: content + content),
    "random": bytes_of_a_section(lambda content, draw: draw.randbytes(len(content))),
    "count": bytes_of_a_section(huge_count),
    "flip": bytes_of_a_section(flipped),
}
# These may say something possible, which nobody can notice: it must only not end in a panic. A next offset that is further on is a gap,
# as compacted topics have them.
POSSIBLE = ("state-flip", "manifest-next")


# --- of segments, beside those of the manifests in them

def range_of_pieces(lines, draw):
    at = draw.randrange(len(lines))
    lines[at] = json.dumps([*json.loads(lines[at]), [draw.choice((0, 1 << 40, -1)), draw.choice((1 << 30, (1 << 64) - 1, -1))]])
    return "pieces that are not there"


def line_gone(lines, draw):
    at = draw.randrange(len(lines))
    del lines[at]
    return f"without line {at}"


def line_twice(lines, draw):
    lines.insert(draw.randrange(len(lines)), lines[draw.randrange(len(lines))])
    return "a line twice"


def line_of_another_kind(lines, draw):
    lines[draw.randrange(len(lines))] = draw.choice(("", "{}", "[]", "[[]]", "[1]", "[[0]]", "[null]", "x", "[\"\"]"))
    return "a line of another kind"


OF_SEGMENTS = {"pieces": range_of_pieces, "line-gone": line_gone, "line-twice": line_twice, "line": line_of_another_kind}
