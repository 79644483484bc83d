"""Kernel samepage merging: its settings, which are always restored, and what it merged of our own processes."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.framework.kernel_books import cpu_seconds
from benchmarks.framework.rounds import Unavailable

SETTINGS = Path("/sys/kernel/mm/ksm")
RMAP_ITEM_BYTES = 64  # struct ksm_rmap_item on 64-bit machines
LOOK_SECONDS = 0.05


class Pace(NamedTuple):
    """How fast ksmd scans."""

    pages_to_scan: int
    sleep_milliseconds: int


DEFAULTS = Pace(100, 20)  # the kernel's own
FAST = Pace(10_000, 20)


@contextlib.contextmanager
def merging(pace: Pace) -> Iterator[None]:
    """Let ksmd run at a pace for the length of a block; afterwards all settings are as before.

    Raises Unavailable where the kernel has no KSM, or this user may not start it.
    """
    if os.geteuid() != 0 or not SETTINGS.exists():
        raise Unavailable("needs root and a kernel with KSM")
    wanted = {"pages_to_scan": str(pace.pages_to_scan), "sleep_millisecs": str(pace.sleep_milliseconds), "run": "1"}
    if (SETTINGS / "advisor_mode").exists():
        wanted = {"advisor_mode": "none"} | wanted  # an advisor would set the pace itself
    before = {name: _selected((SETTINGS / name).read_text()) for name in wanted}
    try:
        for name, value in wanted.items():
            (SETTINGS / name).write_text(value)
        yield
    finally:
        for name, value in reversed(before.items()):
            (SETTINGS / name).write_text(value)


def merged_pages(pids: Sequence[int]) -> int:
    """Return how many pages of processes are in frames of KSM; other processes of the machine do not count."""
    return sum(int(Path(f"/proc/{pid}/ksm_merging_pages").read_text()) for pid in pids)


def bookkeeping_bytes(pids: Sequence[int]) -> int:
    """Return what the kernel notes of the scanned pages of processes: one item of its slab for each."""
    fields = (line.split() for pid in pids for line in Path(f"/proc/{pid}/ksm_stat").read_text().splitlines())
    return sum(int(words[1]) for words in fields if words[0] == "ksm_rmap_items") * RMAP_ITEM_BYTES


def ksmd_cpu_seconds() -> float:
    """Return the CPU time of the kernel's daemon so far."""
    pids = (process.pid for process in psutil.process_iter(["name"]) if process.info["name"] == "ksmd")
    return sum(map(cpu_seconds, pids))


def wait_until_merged(pids: Sequence[int], pages: int, share: float, most_seconds: float) -> float:
    """Wait until a share of pages has been merged and return the seconds. Raises Unavailable if that takes too long."""
    began = time.monotonic()
    while (merged := merged_pages(pids)) < share * pages:
        if time.monotonic() - began > most_seconds:
            raise Unavailable(f"had merged {merged / pages:.0%} of the pages after {most_seconds:.0f} s")
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - began


def _selected(value: str) -> str:
    """Return the setting in force: `[none] scan-time` shows all that there are."""
    words = value.split()
    return next((word.strip("[]") for word in words if word.startswith("[")), words[0])
