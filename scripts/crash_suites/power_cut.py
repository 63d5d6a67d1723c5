"""R03: power cuts. The lake is on an ext4 of its own, which is shut down at a random moment as a pulled plug does it.

The shutdown ioctl drops what the file system has not written, its journal included; then it is mounted again. After each cut
every manifest that a later one had followed must be there, with all its files as a reader saw them, and the audit must
find the lake whole. Then the job goes on, to the next cut; at the end its lake must be what the reference program expects. Needs root.

  scripts/crash power-cut --cuts 50
"""
import fcntl
import os
import struct
import subprocess
import time

from crash_suites import rig as rigs

# _IOR('X', 125, __u32), and the flag that leaves the journal as it is on the medium.
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
IMAGE_BYTES = 96 << 20


def options(parser):
    parser.add_argument("--cuts", type=int, default=50, help="how many (default 50)")
    parser.add_argument("--cuts-a-lake", type=int, default=5, help="how many of them one lake takes (default 5)")
    parser.add_argument("--messages", type=int, default=20_000, help="messages of a capture (default 20000)")


def sh(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise rigs.Failed(f"{' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")


class Disk:
    """An ext4 in a file, mounted."""

    def __init__(self, folder):
        self.image, self.mount = os.path.join(folder, "image"), os.path.join(folder, "disk")
        os.makedirs(self.mount)
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        sh("mkfs.ext4", "-q", "-F", self.image)

    def __enter__(self):
        sh("mount", "-o", "loop", self.image, self.mount)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.mount], capture_output=True, check=False)

    def cut(self):
        at = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(at, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(at)

    def again(self):
        """Takes it off and puts it back, which replays what the journal has."""
        for _ in range(100):
            if subprocess.run(["umount", self.mount], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.02)
        else:
            raise rigs.Failed(f"{self.mount} cannot be taken off")
        sh("mount", "-o", "loop", self.image, self.mount)


def acknowledged(lake):
    """The files of every loose manifest but the newest, {name: bytes}, and the number of the last of these manifests."""
    numbers, files = rigs.manifest_numbers(lake), {}
    for number in numbers[:-1]:
        for file in rigs.manifest(lake, number)["lake"]:
            files[rigs.lake_path(file)] = file["bytes"]
    return files, numbers[-2] if len(numbers) > 1 else -1


def one_lake(rig, args, number):
    """Gives (phases of the cuts, files that were acknowledged before them)."""
    draw = rigs.rng(args.seed, "power", number)
    capture, folder = rig.capture(args.seed * 1000 + 71 + number % 3, args.messages), os.path.dirname(rig.path("power"))
    phases, checked = [], 0
    with Disk(folder) as disk:
        lake, log = os.path.join(disk.mount, "lake"), os.path.join(folder, "log")
        for _ in range(min(args.cuts_a_lake, args.cuts - number * args.cuts_a_lake)):
            generation, before = rigs.next_generation(lake), rigs.highest(lake)
            run = rig.start(lake, capture, draw.choice((1, 2, 3)), log=log)
            rigs.random_moment(draw, run, lake, before, 12)
            files, last = acknowledged(lake)
            if run.ended():
                raise rigs.Failed(f"a run ended before its disk was cut\n{run.said()}")
            disk.cut()
            rig.kill(run)
            disk.again()
            checked += whole(lake, files, last)
            phases.append(rigs.phase(lake, generation))
            # What a manifest says and is not published yet, the next run publishes; an audit may say so.
            if phases[-1] != "publishing" and rigs.highest(lake) >= 0 and (audit := rig.audit(lake))[0] != 0:
                raise rigs.Failed(f"after a cut the audit ended with {audit[0]}\n{audit[1][-1500:]}")
        rig.settle(lake, capture, draw.choice((1, 2, 3)), log=log)
        rig.verify(lake, capture)
    rig.forget(os.path.join(folder, "lake"))
    return phases, checked


def whole(lake, files, last):
    """What was committed before the one that was under way is there; gives how many files that are."""
    for name, size in files.items():
        path = os.path.join(lake, name)
        if not os.path.exists(path) or os.path.getsize(path) != size:
            raise rigs.Failed(f"{name} of {size} bytes was committed and published before the cut, and is lost or short")
    if rigs.highest(lake) < last:
        raise rigs.Failed(f"manifest {last} was followed by another before the cut, and is lost")
    return len(files)


def suite(rig, args):
    if os.geteuid() != 0:
        raise rigs.Failed("only root can mount a disk")
    for number in range(3):
        rig.capture(args.seed * 1000 + 71 + number, args.messages)
    lakes = -(-args.cuts // args.cuts_a_lake)
    results = rig.trials([lambda number=number: one_lake(rig, args, number) for number in range(lakes)])
    phases = [phase for phases, _ in results for phase in phases]
    counted = {phase: phases.count(phase) for phase in sorted(set(phases))}
    return len(phases), {**rig.figures(), "lakes": lakes, "files_checked": sum(files for _, files in results), "phases": counted}
