"""What a job shows to whoever looks at its process and its lake from outside."""
import os
import re


def newest_number(folder):
    """The number of the newest manifest in a folder; 0 while there is none."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    numbers = [re.fullmatch(r"(\d+)\.json", name) for name in names]
    return max((int(found[1]) for found in numbers if found), default=0)


def resident_bytes(process):
    """The resident memory of the process with that number."""
    with open(f"/proc/{process}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
