"""Kernel samepage merging (Documentation/admin-guide/mm/ksm.rst): its settings, its daemon, and who takes part."""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from errno import EIO
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


# Its standard input ends with the process that has the other end.
_RESTORE = """
import json, sys
sys.stdin.read()
for path, value in json.loads(sys.argv[1]):
    with open(path, "w") as file:
        file.write(value)
"""
DEFAULTS = Pace(100, 20)  # the kernel's own
FAST = Pace(10_000, 20)


def unusable_because() -> str | None:
    """Return why KSM cannot be started here, or None."""
    if not SETTINGS.exists():
        return "this kernel has no KSM (CONFIG_KSM)"
    return None if os.access(SETTINGS / "run", os.W_OK) else "only root starts KSM"


@contextlib.contextmanager
def merging(pace: Pace) -> Iterator[None]:
    """Let ksmd run at a pace for the length of a block; afterwards all settings are as before.

    A process of its own restores them, so that they are restored even if this process is killed.
    """
    wanted = {"pages_to_scan": str(pace.pages_to_scan), "sleep_millisecs": str(pace.sleep_milliseconds), "run": "1"}
    if (SETTINGS / "advisor_mode").exists():
        wanted = {"advisor_mode": "none"} | wanted  # an advisor would set the pace itself
    before = [(str(SETTINGS / name), _selected((SETTINGS / name).read_text())) for name in reversed(wanted)]
    with _restored_at_the_end(before):
        for name, value in wanted.items():
            (SETTINGS / name).write_text(value)
        yield


@contextlib.contextmanager
def _restored_at_the_end(settings: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Have settings (file, value) written at the end of the block, or of this process. Raises OSError."""
    command = [sys.executable, "-I", "-S", "-c", _RESTORE, json.dumps(settings)]
    # A session of its own: Ctrl-C is for this process, whose end it waits for.
    restorer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        assert restorer.stdin is not None
        restorer.stdin.close()
        if restorer.wait() != 0:
            raise OSError(EIO, f"{SETTINGS}: the settings could not be restored to {dict(settings)}")


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
