"""The storage object: what all virtual machines of a system map, privately, as their real storage.

It is sparse. A segment's content is copied to its absolute address when the first machine loads it; then every machine
that has not written there sees the same frames. It lies in shared memory, and only this user may open it, by name as
QEMU does.
"""

import fcntl
import os
from contextlib import suppress
from threading import Lock
from typing import Final, NamedTuple

import posix_ipc

from dcss.errors import PublishError
from dcss.host.holes import punch_hole
from dcss.host.shm import MAX_SAME_NAME, SHM_DIRECTORY, ObjectName, check_space
from dcss.host.signals import interrupts_held

LABEL: Final = "storage"
_MODE: Final = 0o600


class PlacedSegment(NamedTuple):
    """A segment's content in the object: where it lies, and of which object (device and inode) it is a copy."""

    start: int
    size_bytes: int
    source: tuple[int, int]

    def overlaps(self, start: int, size_bytes: int) -> bool:
        """Say whether it has a byte in common with a range."""
        return start < self.start + self.size_bytes and self.start < start + size_bytes


class StorageObject:
    """Real storage of at least `size_bytes`, of which nothing is there at first. Raises PublishError."""

    def __init__(self, system: str, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._placed: list[PlacedSegment] = []
        self._placing = Lock()  # machines load in threads of their own
        self.name, self._descriptor = _create(system)
        os.ftruncate(self._descriptor, size_bytes)

    def grow(self, size_bytes: int) -> None:
        """Have it hold at least `size_bytes`."""
        if size_bytes > self.size_bytes:
            os.ftruncate(self._descriptor, size_bytes)
            self.size_bytes = size_bytes

    @property
    def path(self) -> str:
        """Where QEMU opens it."""
        return f"{SHM_DIRECTORY}{self.name}"

    @property
    def object(self) -> tuple[int, int]:
        """Its device and inode."""
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def place(self, content: int, start: int, size_bytes: int) -> bool:
        """Have the content of a segment's object, open as `content`, at absolute address `start`.

        Return False where another version, or another segment, lies there: machines may be using that. Raises
        PublishError where there is no room.
        """
        status = os.fstat(content)
        wanted = PlacedSegment(start, size_bytes, (status.st_dev, status.st_ino))
        with self._placing:
            if wanted in self._placed:
                return True
            if any(placed.overlaps(start, size_bytes) for placed in self._placed):
                return False
            self._copy(content, start, size_bytes)
            self._placed.append(wanted)
        return True

    def _copy(self, content: int, start: int, size_bytes: int) -> None:
        check_space("storage of virtual machines", size_bytes)
        done_bytes = 0
        try:
            while done_bytes < size_bytes:
                copied_bytes = os.copy_file_range(
                    content, self._descriptor, size_bytes - done_bytes, done_bytes, start + done_bytes
                )
                if not copied_bytes:
                    break
                done_bytes += copied_bytes
        except OSError as error:
            raise PublishError(f"storage of virtual machines: {size_bytes} bytes at {start:#x}: {error}") from error

    def trim(self, size_bytes: int) -> None:
        """Give back the zero pages that machines left in it by reading their own storage, the first `size_bytes`."""
        punch_hole(self._descriptor, 0, size_bytes)

    def close(self) -> None:
        """Unlink and close it; the machines that have it mapped keep it."""
        with interrupts_held():
            if self._descriptor < 0:
                return
            with suppress(posix_ipc.ExistentialError):  # someone removed it by hand
                posix_ipc.unlink_shared_memory(self.name)
            os.close(self._descriptor)
            self._descriptor = -1


def _create(system: str) -> tuple[str, int]:
    """Create an object under the first free number, with a lock that tells sweepers that a CP lives."""
    for number in range(1, MAX_SAME_NAME + 1):
        name = str(ObjectName(system, LABEL, number))
        with interrupts_held():
            try:
                descriptor = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=_MODE).fd
            except posix_ipc.ExistentialError:
                continue
            except posix_ipc.Error as error:
                raise PublishError(f"storage of virtual machines: {name}: {error}") from error
            os.fchmod(descriptor, _MODE)  # whatever the umask is
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return name, descriptor
            os.close(descriptor)  # a sweep took it for a leftover before it was locked
    raise PublishError(f"storage of virtual machines: no free name among {MAX_SAME_NAME} in {SHM_DIRECTORY}")
