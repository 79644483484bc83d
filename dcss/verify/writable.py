"""Ways for a process to write to a segment: descriptors opened for writing, and shared mappings that are or may become
writable."""

import os
from contextlib import suppress
from typing import NamedTuple

from dcss.account.maps import Vma
from dcss.account.memory_map import MappingGroup
from dcss.account.proc import ProcessGoneError
from dcss.account.smaps import read_smaps
from dcss.verify.descriptors import FileDescriptor

_OWNER_WRITES = 0o200
_MAP_FILE = "/proc/{}/map_files/{:x}-{:x}"


class WritableMapping(NamedTuple):
    """A shared mapping of a segment: writable now, or else made of a descriptor that was opened for writing."""

    segment: str
    address: int
    writable_now: bool


def writable_mappings(pid: int, segment: str, group: MappingGroup) -> list[WritableMapping]:
    """Find the mappings in `group`, all of one segment, through which process `pid` writes or could come to write."""
    shared = [vma for vma in group.vmas if vma.shared]
    found = [WritableMapping(segment, vma.start, True) for vma in shared if vma.writable]
    changeable = _changeable(pid, [vma for vma in shared if not vma.writable])
    return found + [WritableMapping(segment, vma.start, False) for vma in changeable]


def _changeable(pid: int, vmas: list[Vma]) -> list[Vma]:
    """Return those of some shared mappings that mprotect could make writable."""
    # map_files' links carry the mode with which the mapped file was opened: cheaper than smaps, and for root only.
    try:
        return [vma for vma in vmas if os.lstat(_MAP_FILE.format(pid, vma.start, vma.end)).st_mode & _OWNER_WRITES]
    except OSError:
        return _changeable_by_flags(pid, vmas)


def _changeable_by_flags(pid: int, vmas: list[Vma]) -> list[Vma]:
    """Do the same by VmFlags: `mw` says that a mapping may become writable."""
    wanted = set(vmas)
    return [mapping.vma for mapping in read_smaps(pid) if mapping.vma in wanted and "mw" in mapping.flags]


def opened_for_writing(file: FileDescriptor) -> bool:
    """Say whether a descriptor was opened for writing; one that is closed by now was not."""
    with suppress(ProcessGoneError):
        return file.writable
    return False
