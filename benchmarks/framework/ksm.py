"""Kernel samepage merging for benchmarks: what it notes of our own processes, and how long it takes."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.framework.rounds import Unavailable
from dcss.account.cpu import cpu_seconds
from dcss.host import ksm
from dcss.host.ksm import DEFAULTS, FAST, Pace, merged_pages

__all__ = ["DEFAULTS", "FAST", "Pace", "bookkeeping_bytes", "ksmd_cpu_seconds", "merging", "wait_until_merged"]

RMAP_ITEM_BYTES = 64  # struct ksm_rmap_item on 64-bit machines
LOOK_SECONDS = 0.05


@contextlib.contextmanager
def merging(pace: Pace) -> Iterator[None]:
    """Let ksmd run for the length of a block. Raises Unavailable where it cannot be started."""
    reason = ksm.unusable_because()
    if reason is not None:
        raise Unavailable(f"needs KSM: {reason}")
    with ksm.merging(pace):
        yield


def bookkeeping_bytes(pids: Sequence[int]) -> int:
    """Return what the kernel notes of the scanned pages of processes: one item of its slab for each."""
    fields = (line.split() for pid in pids for line in Path(f"/proc/{pid}/ksm_stat").read_text().splitlines())
    return sum(int(words[1]) for words in fields if words[0] == "ksm_rmap_items") * RMAP_ITEM_BYTES


def ksmd_cpu_seconds() -> float:
    """Return the CPU time of the kernel's daemon so far."""
    return sum(map(cpu_seconds, ksm.daemon_pids()))


def wait_until_merged(pids: Sequence[int], pages: int, share: float, most_seconds: float) -> float:
    """Wait until a share of pages has been merged and return the seconds. Raises Unavailable if that takes too long."""
    began = time.monotonic()
    while (merged := merged_pages(pids)) < share * pages:
        if time.monotonic() - began > most_seconds:
            raise Unavailable(f"had merged {merged / pages:.0%} of the pages after {most_seconds:.0f} s")
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - began
