"""Shared memory of System V (ipc/shm.c): segments with an id, and perhaps a key, which outlive who made them."""

from dataclasses import dataclass
from errno import EACCES, EEXIST, EINVAL, ENOENT, EPERM
from itertools import count
from time import time
from typing import Final

from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.credentials import Credentials
from vmguest.s390x.shared_memory import SharedMemory
from vmguest.storage import RealStorage

IPC_PRIVATE: Final = 0
IPC_CREAT, IPC_EXCL = 0o1000, 0o2000
SHM_DEST: Final = 0o1000  # of the mode: it goes with its last mapping


@dataclass(slots=True, eq=False)
class SharedSegment:
    """One segment; the table has one hold of its memory, each mapping another one."""

    number: int
    key: int
    size_bytes: int
    mode: int
    memory: SharedMemory
    owner: Credentials
    creator: Credentials
    creator_pid: int
    last_pid: int = 0
    attached: int = 0  # seconds since 1970, as are the others
    detached: int = 0
    changed: int = 0
    doomed: bool = False

    @property
    def mappings(self) -> int:
        """How often it is mapped (shm_nattch)."""
        return self.memory.holders - (0 if self.doomed else 1)

    def check(self, user: Credentials, wanted: int) -> None:
        """Raise KernelError(EACCES) where a user may not read or write it (ipcperms)."""
        shift = 6 if user.uid in {self.owner.uid, self.creator.uid} else 3 if user.in_group(self.owner.gid) else 0
        if not user.privileged and wanted & ~(self.mode >> shift):
            raise KernelError(EACCES, f"shared memory {self.number}: mode {self.mode:#o}")

    def check_owner(self, user: Credentials) -> None:
        """Raise KernelError(EPERM) unless a user may change or remove it."""
        if not user.privileged and user.uid not in {self.owner.uid, self.creator.uid}:
            raise KernelError(EPERM, f"shared memory {self.number}: user {user.uid} does not own it")


class SharedSegments:
    """The segments of a guest."""

    def __init__(self, storage: RealStorage) -> None:
        self._storage = storage
        self._segments: dict[int, SharedSegment] = {}
        self._numbers = count()

    def get(self, user: Credentials, pid: int, key: int, size_bytes: int, flags: int) -> int:
        """Return the id of a key's segment, or of a new one (shmget).

        Raises KernelError: ENOENT, EEXIST, EINVAL, EACCES.
        """
        self._forget_unused()
        found = None
        if key != IPC_PRIVATE:
            found = next((each for each in self._segments.values() if each.key == key and not each.doomed), None)
        if found is not None:
            if flags & IPC_CREAT and flags & IPC_EXCL:
                raise KernelError(EEXIST, f"shared memory of key {key:#x}: is there")
            if size_bytes > found.size_bytes:
                raise KernelError(EINVAL, f"shared memory of key {key:#x}: has {found.size_bytes} bytes")
            found.check(user, flags >> 6 & 6 | flags >> 3 & 6 | flags & 6)
            return found.number
        if key != IPC_PRIVATE and not flags & IPC_CREAT:
            raise KernelError(ENOENT, f"shared memory of key {key:#x}: there is none")
        if not 0 < size_bytes <= self._storage.size_bytes:
            raise KernelError(EINVAL, f"shared memory of {size_bytes} bytes")
        memory = SharedMemory(self._storage, hostmem.pages(size_bytes))
        number = next(self._numbers)
        made = SharedSegment(number, key, size_bytes, flags & 0o777, memory, user, user, pid, changed=int(time()))
        self._segments[number] = made
        return number

    def find(self, number: int) -> SharedSegment:
        """Return a segment by its id. Raises KernelError(EINVAL)."""
        self._forget_unused()
        found = self._segments.get(number)
        if found is None:
            raise KernelError(EINVAL, f"shared memory {number}: there is none")
        return found

    def remove(self, segment: SharedSegment) -> None:
        """Have a segment go with its last mapping (IPC_RMID)."""
        if not segment.doomed:
            segment.doomed, segment.key = True, IPC_PRIVATE
            segment.memory.close()
        self._forget_unused()

    def of_memory(self, memory: object) -> SharedSegment | None:
        """Return the segment that a mapping shows, if any."""
        return next((each for each in self._segments.values() if each.memory is memory), None)

    def _forget_unused(self) -> None:
        for number in [each.number for each in self._segments.values() if each.doomed and not each.memory.holders]:
            del self._segments[number]
