"""Find the file of a CP's statistics area, by its name and its head."""

import os
from contextlib import suppress
from pathlib import Path

from dcss.abi import statistics as abi
from dcss.errors import LaunchError
from dcss.host.shm import SHM_DIRECTORY


class StatisticsError(LaunchError):
    """A system has no statistics area that can be read."""


def area_file(system: str, pid: int) -> Path:
    """Return the file of the area that the CP `pid` announced: other users may run systems of the same name.

    Raises StatisticsError where there is none.
    """
    found = []
    for path in SHM_DIRECTORY.glob(f"dcss.{system}.stats*"):
        with suppress(OSError), path.open("rb", buffering=0) as file:
            first = file.read(abi.HEAD.size).ljust(abi.HEAD.size, b"\0")
            head = abi.AreaHead._make(abi.HEAD.unpack(first))
            if head.magic == abi.MAGIC and head.pid == pid and os.fstat(file.fileno()).st_uid == os.geteuid():
                return path
            found.append(path.name)
    raise StatisticsError(
        f"system {system}: found {', '.join(found) or 'no statistics area'} in {SHM_DIRECTORY}, wanted"
        f" dcss.{system}.stats of its CP (process {pid})"
    )


def has_area(system: str, pid: int | None) -> bool:
    """Return True if the CP that is process `pid` has announced its statistics area."""
    if pid is None:
        return False
    try:
        area_file(system, pid)
    except StatisticsError:
        return False
    return True
