"""CPU that processes of this machine used, their children's included (PostgreSQL's are its connections)."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def used_us(pid: int | None) -> int:
    """Microseconds of CPU a process and all that it started have used so far, ended children too; 0 for no process."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
        ticks[int(folder.name)] = sum(int(field) for field in fields[11:15])
    wanted, total = [pid], 0
    while wanted:
        one = wanted.pop()
        total += ticks.get(one or 0, 0)
        wanted.extend(child for child, parent in parents.items() if parent == one)
    return total * 1_000_000 // _TICKS
