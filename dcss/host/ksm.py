"""Kernel samepage merging (Documentation/admin-guide/mm/ksm.rst): its settings, its daemon, and who takes part."""

import contextlib
import ctypes
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

SETTINGS = Path("/sys/kernel/mm/ksm")
_PR_SET_MEMORY_MERGE = 67
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Pace(NamedTuple):
    """How fast ksmd scans."""

    pages_to_scan: int
    sleep_milliseconds: int


DEFAULTS = Pace(100, 20)  # the kernel's own
FAST = Pace(10_000, 20)


def unusable_because() -> str | None:
    """Return why KSM cannot be started here, or None."""
    if not SETTINGS.exists():
        return "this kernel has no KSM (CONFIG_KSM)"
    return None if os.access(SETTINGS / "run", os.W_OK) else "only root starts KSM"


@contextlib.contextmanager
def merging(pace: Pace) -> Iterator[None]:
    """Let ksmd run at a pace for the length of a block; afterwards all settings are as before."""
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


@contextlib.contextmanager
def processes_merged() -> Iterator[None]:
    """Let KSM look at all memory of the processes that are started in the block (Linux 6.4). Raises OSError."""
    if _prctl(_PR_SET_MEMORY_MERGE, 1, 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl(PR_SET_MEMORY_MERGE): {os.strerror(errno)}")
    try:
        yield
    finally:
        _prctl(_PR_SET_MEMORY_MERGE, 0, 0, 0, 0)


def merged_pages(pids: Sequence[int]) -> int:
    """Return how many pages of processes are in frames of KSM; other processes of the machine do not count."""
    return sum(int(Path(f"/proc/{pid}/ksm_merging_pages").read_text()) for pid in pids)


def counter(name: str) -> int:
    """Return a counter of the machine: full_scans, pages_shared and others."""
    return int((SETTINGS / name).read_text())


def daemon_pids() -> list[int]:
    """Return the kernel's daemon: a list of one process, or of none."""
    return [process.pid for process in psutil.process_iter(["name"]) if process.info["name"] == "ksmd"]


def _selected(value: str) -> str:
    """Return the setting in force: `[none] scan-time` shows all that there are."""
    words = value.split()
    return next((word.strip("[]") for word in words if word.startswith("[")), words[0])
