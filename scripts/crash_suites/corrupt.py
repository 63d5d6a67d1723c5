"""R20: damage to the state and manifest files of a stopped job is refused by name, or does no harm.

Each trial copies the lake of a job that was killed near its end (one in five has folded manifests), harms one file of it (a flipped bit, a cut, a file that is
gone, two that are swapped, a stretch of zeros, a file of another job or format), and runs the job. Allowed are exit code 5,
or 4 for a later format or another identity, naming a file or number that is there; or exit code 0 and a lake that is
what the reference program expects. Anything else fails: a wrong result, a panic, a start from nothing. `headway audit --deep` looks at the
copy first, and must find every change of a byte. One thing it need not find: without its newest manifest a lake that had
published nothing of it is a whole one, of the commit before.

  scripts/crash corrupt --mutations 1000
"""
import collections
import filecmp
import os
import re
import shutil

from crash_suites import rig as rigs

# What a refusal may name in place of the file.
NAMED = re.compile(r"(manifest|segment|state|epoch|partition) ?\"?[\w./-]*\d|operator \"[^\"]|input \"|has state of|was made with ")
WAYS = ("flip", "cut", "delete", "swap", "zero", "format")


def options(parser):
    parser.add_argument("--mutations", type=int, default=1000, help="how many (default 1000)")


def stopped_job(rig, seed, folded):
    """A lake with loose manifests and state, and segments if `folded`, killed with few records left; and its capture."""
    # Of 10,000 lines an epoch of 1 KiB takes a dozen at most, and manifests are folded once there are 512.
    capture, lake = rig.capture(seed * 1000 + 61, 10_000 if folded else 4_000), rig.path("stopped")
    lines = 0
    for name in os.listdir(capture):
        with open(os.path.join(capture, name), "rb") as file:
            lines += file.read().count(b"\n")

    def read():
        newest = rigs.head(lake)
        if folded and rigs.manifest_numbers(lake)[:1] == [0]:
            return False
        return newest is not None and sum(p["next"] for i in newest["inputs"] for p in i["partitions"]) > 0.85 * lines

    run = rig.start(lake, capture, 1, ["--epoch-bytes", "1KiB" if folded else "16KiB"])
    rigs.wait_for("most of the capture", read, run)
    if rig.kill(run) != -9:
        raise rigs.Failed("the job ended before it could be stopped")
    return lake, capture


def targets(lake):
    """Files by what they are: the job's own, without what is advisory or not written to its end."""
    found = collections.defaultdict(list)
    root = os.path.join(lake, "_headway", rigs.JOB)
    named = {rigs.state_path(entry) for entry in rigs.head(lake)["state"]}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), lake)
            kind = path.split("/")[2]
            if kind == "state" and path not in named or name.startswith(".tmp-"):
                continue
            if kind in ("manifest", "state", "segment"):
                found[kind].append(path)
    return {kind: sorted(paths) for kind, paths in found.items()}


def harm(lake, path, other, way, draw):
    """Does it; says what it did."""
    full = os.path.join(lake, path)
    with open(full, "rb") as file:
        content = bytearray(file.read())
    at = draw.randrange(len(content))
    if way == "delete":
        os.remove(full)
        return "deleted"
    if way == "swap":
        with open(os.path.join(lake, other), "rb") as file:
            content = file.read()
    elif way == "flip":
        content[at] ^= 1 << draw.randrange(8)
    elif way == "cut":
        del content[at:]
    elif way == "zero":
        content[at:at + 64] = bytes(len(content[at:at + 64]))
    elif path.endswith(".json"):
        content = re.sub(rb'"format":\d+', b'"format":%d' % draw.randrange(2, 1 << 32), content, count=1)
    else:
        content[8:12] = draw.randrange(2, 1 << 32).to_bytes(4, "little")
    # Never in place: committed files may share their bytes with other names.
    os.remove(full)
    with open(full, "wb") as file:
        file.write(content)
    return f"{way} at {at} of {len(content)}"


def outcome(rig, lake, capture, draw, path, did, is_possible=False):
    """The exit code of a run over what was done to the file at `path`: a named refusal, or an equal lake, unless that `is_possible`."""
    run = rig.start(lake, capture, draw.choice((1, 2, 3)), ["--epoch-bytes", "1MiB"])
    code, what = rig.finish(run, 60), f"{path}: {did}"
    # All that was left to read may be late, or refused: the run has come to its end.
    if code == 1 and "(nothing-accepted)" in run.said():
        code = 0
    if code == 0:
        try:
            _ = is_possible or rig.equal(lake, capture)
        except rigs.Failed as error:
            raise rigs.Failed(f"a wrong result after damage ({what})\n{error}") from None
    elif code not in (4, 5):
        raise rigs.Failed(f"damage ended with {code} ({what})\n{run.said()}")
    elif os.path.basename(path) not in run.said() and not NAMED.search(run.said()):
        raise rigs.Failed(f"a refusal that names nothing ({what})\n{run.said()}")
    return code


def trial(rig, bases, number, seed):
    draw = rigs.rng(seed, "corrupt", number)
    lake, (base, capture) = rig.path("corrupt"), bases[number % 5 == 0]
    # Files are never changed in place, neither by the job nor here.
    shutil.copytree(base, lake, copy_function=os.link)
    kinds = targets(lake)
    kind = draw.choice(sorted(kinds))
    # What is read first at a restart is hit more often than one in hundreds.
    path = draw.choice(kinds[kind] if draw.random() < 0.5 else kinds[kind][-3:])
    way, other = draw.choice(WAYS), draw.choice(kinds[kind])
    did = harm(lake, path, other, way, draw)
    changed = not os.path.exists(os.path.join(lake, path)) or not filecmp.cmp(os.path.join(base, path), os.path.join(lake, path), shallow=False)
    audit = rig.audit(lake)
    was_newest = path.endswith(f"/manifest/{rigs.highest(base):010}.json")
    if audit[0] not in (0, 1, 4, 5) or changed and audit[0] == 0 and not (was_newest and did == "deleted"):
        raise rigs.Failed(f"the audit ended with {audit[0]} ({path}: {did})\n{audit[1][-1500:]}")
    code = outcome(rig, lake, capture, draw, path, did)
    rig.forget(lake)
    return kind, way, code, changed


def suite(rig, args):
    bases = [stopped_job(rig, args.seed, folded) for folded in (False, True)]
    results = rig.trials([lambda n=n: trial(rig, bases, n, args.seed) for n in range(args.mutations)])
    codes = collections.Counter(f"{kind} exit {code}" for kind, _, code, _ in results)
    ways = collections.Counter(way for _, way, _, _ in results)
    changed = sum(changed for *_, changed in results)
    return len(results), {**rig.figures(), "changed": changed, "wrong": 0, "panics": 0, "outcomes": dict(sorted(codes.items())), "ways": dict(sorted(ways.items()))}
