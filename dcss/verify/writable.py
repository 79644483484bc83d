"""Ways for a process to write to a segment: descriptors opened for writing, and shared mappings that are or may become
writable."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dcss.account.maps import Vma
from dcss.account.memory_map import MappingGroup
from dcss.account.proc import ProcessGoneError
from dcss.verify.descriptors import FileDescriptor

_OWNER_WRITES = 0o200


class WritableMapping(NamedTuple):
    """A shared mapping of a segment: writable now, or else made of a descriptor that was opened for writing."""

    segment: str
    address: int
    writable_now: bool


def writable_mappings(pid: int, segment: str, group: MappingGroup) -> list[WritableMapping]:
    """Find the mappings in `group`, all of one segment, through which process `pid` writes or could come to write."""
    shared = [vma for vma in group.vmas if vma.shared]
    found = [WritableMapping(segment, vma.start, True) for vma in shared if vma.writable]
    # A look at each mapping is too much for thousands; the first and the last in address order are made apart.
    for vma in dict.fromkeys((*shared[:1], *shared[-1:])):
        if not vma.writable and _opened_for_writing(pid, vma):
            found.append(WritableMapping(segment, vma.start, False))
    return found


def _opened_for_writing(pid: int, vma: Vma) -> bool:
    # map_files' links carry the mode with which the mapped file was opened.
    try:
        mode = Path(f"/proc/{pid}/map_files/{vma.start:x}-{vma.end:x}").lstat().st_mode
    except OSError:
        return False
    return bool(mode & _OWNER_WRITES)


def opened_for_writing(file: FileDescriptor) -> bool:
    """Say whether a descriptor was opened for writing; one that is closed by now was not."""
    with suppress(ProcessGoneError):
        return file.writable
    return False
