"""What the kernel says about processes and the machine: private and proportional memory, page tables, CPU."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil

KIB = 1 << 10
MIB = 1 << 20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class Memory(NamedTuple):
    """Memory of processes, in bytes."""

    private_bytes: int
    proportional_bytes: int
    anonymous_bytes: int
    page_table_bytes: int


def kib_fields(path: str) -> dict[str, int]:
    """Return the lines `Name: N kB` of a file under /proc, in bytes."""
    fields = {}
    for line in Path(path).read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            fields[name] = int(words[0]) * KIB
    return fields


def memory_of(pid: int) -> Memory:
    """Return one process's memory: smaps_rollup, and VmPTE of status."""
    rollup = kib_fields(f"/proc/{pid}/smaps_rollup")
    private_bytes = rollup["Private_Clean"] + rollup["Private_Dirty"]
    page_table_bytes = kib_fields(f"/proc/{pid}/status")["VmPTE"]
    return Memory(private_bytes, rollup["Pss"], rollup["Anonymous"], page_table_bytes)


def total_memory(pids: Iterable[int]) -> Memory:
    """Add up the memory of processes."""
    return Memory(*map(sum, zip(*map(memory_of, pids), strict=True)))


def tree_of(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def cpu_seconds_with_ended(pid: int) -> float:
    """Return the CPU time of a process, its ended threads and the children it has waited for, in whole ticks."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / TICKS


def used_bytes() -> int:
    """Return what the machine uses: everything that is neither free nor page cache of files on disk.

    MemFree alone leaves out the per-CPU lists of /proc/zoneinfo, tens of MiB. `Cached` has shared memory in it, which
    is in use.
    """
    fields = kib_fields("/proc/meminfo")
    zones = Path("/proc/zoneinfo").read_text().splitlines()
    per_cpu_pages = sum(int(line.split()[1]) for line in zones if line.lstrip().startswith("count:"))
    free_bytes = fields["MemFree"] + per_cpu_pages * PAGE_BYTES
    return fields["MemTotal"] - free_bytes - fields["Buffers"] - (fields["Cached"] - fields["Shmem"])
