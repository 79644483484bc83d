"""Free memory of the machine, exact to a few MiB.

MemFree leaves out the pages that wait in per-CPU lists, which move by tens of MiB; MemAvailable is an estimate of what
could be reclaimed and has been seen wrong by 600 MiB. MemFree plus the lists is what fork and exit really change.
"""

import re
from pathlib import Path

from dcss.abi.page import PAGE_SIZE
from dcss.account.smaps import parse_fields

_PER_CPU_COUNT = re.compile(rb"^ +count: +(\d+)$", re.MULTILINE)


def parse_per_cpu_pages(zoneinfo: bytes) -> int:
    """Return the pages in the per-CPU free lists of all zones of /proc/zoneinfo."""
    # `high:` and `batch:` beside it are limits, not amounts.
    return sum(map(int, _PER_CPU_COUNT.findall(zoneinfo)))


def free_memory_bytes() -> int:
    """Return MemFree plus the per-CPU free lists."""
    mem_free_bytes = parse_fields(Path("/proc/meminfo").read_bytes())["MemFree"]
    return mem_free_bytes + parse_per_cpu_pages(Path("/proc/zoneinfo").read_bytes()) * PAGE_SIZE
