"""Merely read what an account and a proof read of processes: smaps, and pagemap where something is present."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.framework.kernel_books import PAGE_BYTES

Ranges = list[tuple[int, int]]  # offset and length in pagemap
ENTRY_BYTES = 8
HEX_DIGITS = frozenset("0123456789abcdef")


def present_ranges(pid: int) -> Ranges:
    """Return where the pagemap of a process has entries for its mappings of which anything is present."""
    ranges: Ranges = []
    start = end = 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if name[0] in HEX_DIGITS and "-" in name:
            start, end = (int(address, 16) for address in name.split("-"))
        elif name == "Rss:" and rest.split()[0] != "0":
            first, length = start // PAGE_BYTES, (end - start) // PAGE_BYTES
            if ranges and sum(ranges[-1]) == first * ENTRY_BYTES:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + length * ENTRY_BYTES)
            else:
                ranges.append((first * ENTRY_BYTES, length * ENTRY_BYTES))
    return ranges


def read_seconds(pids: Sequence[int]) -> float:
    """Return the CPU seconds that reading smaps and the present parts of pagemap of processes takes."""
    ranges = {pid: present_ranges(pid) for pid in pids}
    buffer = memoryview(bytearray(max(length for each in ranges.values() for _, length in each)))
    began = time.process_time()
    for pid in pids:
        smaps = os.open(f"/proc/{pid}/smaps", os.O_RDONLY)
        while os.readv(smaps, [buffer]):
            pass
        os.close(smaps)
        pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
        for offset, length in ranges[pid]:
            os.preadv(pagemap, [buffer[:length]], offset)
        os.close(pagemap)
    return time.process_time() - began
