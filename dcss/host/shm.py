"""Named POSIX shared memory objects: what ours are called, and whether there is room for more.

Names are ``/dcss.SYSTEM.LABEL.NUMBER``; LABEL has no dot, so that names of systems `a` and `a.b` are never confused.
CP's statistics area is ``/dcss.SYSTEM.stats``, with a number only where another system has that name.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple, Self

from dcss.errors import PublishError
from dcss.host.memory import available_memory_bytes

SHM_DIRECTORY = Path("/dev/shm")
MAX_SAME_NAME = 10_000
STATISTICS = "stats"
_OBJECT_FILE = re.compile(
    rf"dcss\.(?P<system>.+)\.(?:(?P<label>[A-Za-z0-9@#$_-]+)\.(?P<number>[0-9]+)|{STATISTICS})", re.ASCII
)


class ObjectName(NamedTuple):
    """The parts of an object's name; `number` is 0 where the name has none."""

    system: str
    label: str
    number: int

    def __str__(self) -> str:
        return f"/dcss.{self.system}.{self.label}" + (f".{self.number}" if self.number else "")

    @classmethod
    def parse(cls, file_name: str) -> Self | None:
        """Read the name of a file in /dev/shm; None if it is not one of ours."""
        match = _OBJECT_FILE.fullmatch(file_name)
        return cls(match["system"], match["label"] or STATISTICS, int(match["number"] or 0)) if match else None


def check_space(what: str, size_bytes: int) -> None:
    """Raise PublishError if /dev/shm or the machine's memory has no room for `size_bytes` more."""
    limits = os.statvfs(SHM_DIRECTORY)
    available_bytes, total_bytes = limits.f_bavail * limits.f_frsize, limits.f_blocks * limits.f_frsize
    if size_bytes > available_bytes:
        raise PublishError(
            f"{what}: needs {_mebibytes(size_bytes)} in /dev/shm, found {_mebibytes(available_bytes)}"
            f" available of {_mebibytes(total_bytes)}; enlarge it: mount -o remount,size=SIZE /dev/shm, or docker run"
            " --shm-size=SIZE (Docker's default is 64 MiB)"
        )
    memory_bytes = available_memory_bytes()
    if size_bytes > memory_bytes:
        raise PublishError(
            f"{what}: needs {_mebibytes(size_bytes)} of memory, found {_mebibytes(memory_bytes)} available"
            " (MemAvailable and SwapFree of /proc/meminfo)"
        )


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes} bytes ({size_bytes / (1 << 20):.1f} MiB)"
