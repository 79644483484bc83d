"""Shared memory of System V (ipc/shm.c): segments with an id, and perhaps a key, which outlive who made them."""

from dataclasses import dataclass
from errno import EINVAL
from typing import ClassVar, Final

from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.credentials import Credentials
from vmguest.s390x.ipc_objects import IPC_PRIVATE, IpcObject, IpcTable
from vmguest.s390x.shared_memory import SharedMemory
from vmguest.storage import RealStorage

SHM_DEST: Final = 0o1000  # of the mode: it goes with its last mapping


@dataclass(slots=True, eq=False)
class SharedSegment(IpcObject):
    """One segment; the table has one hold of its memory, each mapping another one."""

    kind: ClassVar[str] = "shared memory"

    size_bytes: int
    memory: SharedMemory
    creator_pid: int
    last_pid: int = 0
    attached: int = 0  # seconds since 1970
    detached: int = 0
    doomed: bool = False

    @property
    def mappings(self) -> int:
        """How often it is mapped (shm_nattch)."""
        return self.memory.holders - (0 if self.doomed else 1)


class SharedSegments:
    """The segments of a guest."""

    def __init__(self, storage: RealStorage) -> None:
        self._storage = storage
        self._table: IpcTable[SharedSegment] = IpcTable(SharedSegment.kind)

    def get(self, user: Credentials, pid: int, key: int, size_bytes: int, flags: int) -> int:
        """Return the id of a key's segment, or of a new one (shmget).

        Raises KernelError: ENOENT, EEXIST, EINVAL, EACCES.
        """
        self._forget_unused()

        def fits(found: SharedSegment) -> None:
            if size_bytes > found.size_bytes:
                raise KernelError(EINVAL, f"shared memory of key {key:#x}: has {found.size_bytes} bytes")

        def make(number: int) -> SharedSegment:
            if not 0 < size_bytes <= self._storage.size_bytes:
                raise KernelError(EINVAL, f"shared memory of {size_bytes} bytes")
            memory = SharedMemory(self._storage, hostmem.pages(size_bytes))
            return SharedSegment(number, key, flags & 0o777, user, user, size_bytes, memory, pid)

        return self._table.get(user, key, flags, fits, make)

    def find(self, number: int) -> SharedSegment:
        """Return a segment by its id. Raises KernelError(EINVAL)."""
        self._forget_unused()
        return self._table.find(number)

    def remove(self, segment: SharedSegment) -> None:
        """Have a segment go with its last mapping (IPC_RMID)."""
        if not segment.doomed:
            segment.doomed, segment.key = True, IPC_PRIVATE
            segment.memory.close()
        self._forget_unused()

    def __len__(self) -> int:
        self._forget_unused()
        return len(self._table)

    @property
    def highest(self) -> int:
        """The highest id in use."""
        return self._table.highest

    @property
    def pages(self) -> int:
        """How many pages all have together."""
        return sum(each.memory.pages for each in self._table)

    def of_memory(self, memory: object) -> SharedSegment | None:
        """Return the segment that a mapping shows, if any."""
        return next((each for each in self._table if each.memory is memory), None)

    def _forget_unused(self) -> None:
        for each in self._table:
            if each.doomed and not each.memory.holders:
                self._table.remove(each.number)
