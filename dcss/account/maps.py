"""/proc/PID/maps: the memory ranges (VMAs) of a process. Source: Documentation/filesystems/proc.rst of Linux."""

import os
import re
from functools import lru_cache
from typing import NamedTuple

from dcss.abi.page import PAGE_SHIFT
from dcss.account.proc import read_proc

# The path is the rest of the line, blanks and all; " (deleted)" is part of it.
_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) ([0-9]+) *(.*)", re.DOTALL)


class Vma(NamedTuple):
    """One line of maps; `end` is exclusive, `device` as in st_dev, `path` as printed (newlines as \\012)."""

    start: int
    end: int
    permissions: str
    offset_bytes: int
    device: int
    inode: int
    path: bytes

    @property
    def shared(self) -> bool:
        """MAP_SHARED."""
        return self.permissions[3] == "s"

    @property
    def writable(self) -> bool:
        """Stores are allowed now."""
        return self.permissions[1] == "w"

    @property
    def pages(self) -> int:
        """Pages that it spans."""
        return (self.end - self.start) >> PAGE_SHIFT

    @property
    def object(self) -> tuple[int, int]:
        """Device and inode of what backs it; inode 0 means nothing does."""
        return self.device, self.inode


# Guests are forked from one process and map the same files at the same addresses: most lines were parsed before.
@lru_cache(maxsize=1 << 16)
def parse_line(line: bytes) -> Vma:
    """Parse one line of maps, or the head line of one mapping in smaps. Raises ValueError on anything else."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"maps line {line!r}: wanted START-END PERMISSIONS OFFSET DEVICE INODE [PATH]")
    start, end, permissions, offset, major, minor, inode, path = match.groups()
    device = os.makedev(int(major, 16), int(minor, 16))
    return Vma(int(start, 16), int(end, 16), permissions.decode(), int(offset, 16), device, int(inode), path)


def parse_maps(text: bytes) -> list[Vma]:
    """Parse a whole maps file; ascending by address."""
    return [parse_line(line) for line in text.split(b"\n") if line]


def read_maps(pid: int) -> list[Vma]:
    """Read the memory ranges of process `pid`."""
    return parse_maps(read_proc(pid, "maps"))
