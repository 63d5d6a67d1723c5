"""Files of a stopped job that lie under a right checksum are refused by name, or do no harm.

Each trial copies the lake of a job that was killed near its end (one in four has folded manifests), lets one file of it say something
else (a number, a path, a list in a manifest, folded or not; a header, a section's length or bytes in a state file), gives it the checksum
that it would have had, and runs the job. Where a manifest says what a state file is, it is made to agree. Allowed are exit code 5, or 4 for
another identity, naming a file or number that is there; or exit code 0 and a lake that is what the reference program expects. Anything
else fails: other rows, other counts, a panic. `headway audit --deep` looks at the copy first, and may not panic either.

What is drawn is what no run can have written: a value out of its range, or one that contradicts what stands beside it. A job cannot
notice a file that says something possible that is not so, such as a sum that is one more. A state file with such a change of a bit
must only not end in a panic.

  scripts/crash sealed-again --lies 600
"""
import collections
import os
import shutil

from crash_suites import corrupt, lies
from crash_suites import rig as rigs
from crash_suites import sealed_files as sealed

LIES = {f"{kind}-{name}": lie for kind, of in (("manifest", lies.OF_MANIFESTS), ("state", lies.OF_STATE), ("segment", lies.OF_SEGMENTS)) for name, lie in of.items()}
# How many files are looked at for one that a lie can change.
ATTEMPTS = 20


def options(parser):
    parser.add_argument("--lies", type=int, default=600, help="how many (default 600)")
    parser.add_argument("--lie", action="append", metavar="NAME", help="only lies whose name begins so")


def tell_a_lie(lake, kinds, name, draw):
    """Changes a file of `lake`; gives its path in the lake, and what it says now. None if no file was found that can say so."""
    kind, lie = name.partition("-")[0], LIES[name]
    for _ in range(ATTEMPTS):
        if kind == "state":
            path = draw.choice(kinds["state"][-3:] if draw.random() < 0.5 else kinds["state"])
            told = lie_of_state(lake, path, lie, draw)
        elif kind == "segment" or "segment" in kinds and draw.random() < 0.4:
            path = kinds["segment"][-1]
            told = lie_of_segment(os.path.join(lake, path), lie, kind == "segment", draw)
        else:
            path = kinds["manifest"][-1] if draw.random() < 0.7 else draw.choice(kinds["manifest"])
            told = lie_of_manifest(os.path.join(lake, path), lie, draw)
        if told is not None:
            return path, f"{name}: {told}"
    return None


def lie_of_manifest(full, lie, draw):
    said = sealed.manifest(sealed.read(full))
    told = lie(said, draw)
    if told is not None:
        sealed.replace(full, sealed.sealed_manifest(said))
    return told


def lie_of_segment(full, lie, is_of_lines, draw):
    """A lie of its lines, or of one of its manifests: mostly of the last, on which the others hang."""
    lines = sealed.lines(sealed.read(full))
    if is_of_lines:
        told = lie(lines, draw)
        sealed.replace(full, sealed.packed(lines))
        return told
    texts = sealed.unfolded(lines)
    at = -1 if draw.random() < 0.5 else draw.randrange(len(texts))
    said = sealed.manifest(texts[at])
    told = lie(said, draw)
    if told is not None:
        texts[at] = sealed.sealed_manifest(said)
        sealed.replace(full, sealed.packed(sealed.folded(texts)))
        told = f"manifest {at % len(texts)} of the segment, {told}"
    return told


def lie_of_state(lake, path, lie, draw):
    """What manifests say of the file is made to agree, but where this would be seen at once."""
    full = os.path.join(lake, path)
    file = sealed.State.read(sealed.read(full))
    told = lie(file, draw)
    if told is None:
        return None
    written = file.sealed()
    sealed.replace(full, written.content)
    for number in rigs.manifest_numbers(lake):
        name = os.path.join(lake, "_headway", rigs.JOB, "manifest", f"{number:010}.json")
        said = sealed.manifest(sealed.read(name))
        entries = [entry for entry in said["state"] if rigs.state_path(entry) == path]
        for entry in entries:
            entry.update(bytes=len(written.content), header_bytes=written.header_bytes, checksum=f"{written.checksum:032x}")
        if entries:
            sealed.replace(name, sealed.sealed_manifest(said))
    return told


def trial(rig, bases, number, names, seed):
    draw, name = rigs.rng(seed, "sealed-again", number), names[number % len(names)]
    base, capture = bases[name.startswith("segment") or draw.random() < 0.25]
    lake = rig.path("sealed-again")
    # Files are never changed in place, neither by the job nor here.
    shutil.copytree(base, lake, copy_function=os.link)
    lied = tell_a_lie(lake, corrupt.targets(lake), name, draw)
    if lied is None:
        rig.forget(lake)
        return name, None
    path, what = lied
    code, said = rig.audit(lake)
    if code not in (0, 1, 4, 5):
        raise rigs.Failed(f"the audit ended with {code} ({path}: {what})\n{said[-1500:]}")
    code = corrupt.outcome(rig, lake, capture, draw, path, what, is_possible=name in lies.POSSIBLE)
    rig.forget(lake)
    return name, code


def suite(rig, args):
    names = [name for name in LIES if not args.lie or any(name.startswith(lie) for lie in args.lie)]
    bases = [corrupt.stopped_job(rig, args.seed, folded) for folded in (False, True)]
    results = rig.trials([lambda n=n: trial(rig, bases, n, names, args.seed) for n in range(args.lies)])
    outcomes = collections.Counter(f"{name.partition('-')[0]} exit {code}" for name, code in results if code is not None)
    without = sorted({name for name, code in results if code is None} - {name for name, code in results if code is not None})
    return len(results), {**rig.figures(), "wrong": 0, "panics": 0, "lies": len(names), "never_told": without, "outcomes": dict(sorted(outcomes.items()))}
