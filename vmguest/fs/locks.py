"""Locks of files: those of flock(2), and record locks of fcntl(2), by process or by open file (fs/locks.c).

Record locks of both kinds keep each other out, locks of flock(2) only each other. A process's record locks on a file
end when it closes any descriptor of that file, those of an open file with its last descriptor.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import EAGAIN, EDEADLK
from typing import Final, NamedTuple

from dcss.errors import KernelError
from vmguest.fs.filesystem import FileSystem
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs

F_RDLCK, F_WRLCK, F_UNLCK = range(3)
TO_END: Final = (1 << 63) - 1  # OFFSET_MAX: the last byte of a lock that has no end
NO_PROCESS: Final = -1  # the process id of a lock that belongs to an open file
_MOST_STEPS: Final = 10  # MAX_DEADLK_ITERATIONS

_Key = tuple[FileSystem, int]


class RecordLock(NamedTuple):
    """A lock of the bytes `start` to `end`, both included; `kind` is F_RDLCK or F_WRLCK, in a request F_UNLCK too.

    `owner` is a process's table of descriptors, or an open file.
    """

    owner: object
    kind: int
    start: int
    end: int
    pid: int

    def overlaps(self, other: "RecordLock") -> bool:
        """Return whether both have a byte in common."""
        return self.start <= other.end and other.start <= self.end

    def conflicts(self, other: "RecordLock") -> bool:
        """Return whether another lock keeps this one out."""
        return self.owner is not other.owner and F_WRLCK in {self.kind, other.kind} and self.overlaps(other)


class WholeLock(NamedTuple):
    """A lock of a file as a whole, and which process took it."""

    exclusive: bool
    pid: int


@dataclass(slots=True)
class _FileLocks:
    """The locks of one inode: records by their first bytes, and who has it locked as a whole."""

    records: list[RecordLock] = field(default_factory=list)
    whole: dict[object, WholeLock] = field(default_factory=dict)  # by open file


class Locks:
    """All locks of a guest, and which requests wait for one."""

    def __init__(self) -> None:
        self._files: dict[_Key, _FileLocks] = {}
        self._waiting: dict[object, tuple[Dentry, RecordLock]] = {}  # by thread

    def conflict(self, file: Dentry, wanted: RecordLock) -> RecordLock | None:
        """Return the first lock that keeps a record lock out, or None (F_GETLK)."""
        found = self._files.get(_key(file))
        return None if found is None else next((each for each in found.records if wanted.conflicts(each)), None)

    def set_record(self, file: Dentry, wanted: RecordLock) -> None:
        """Take a record lock, change its kind, or give it up. Raises KernelError(EAGAIN) where another is there."""
        if wanted.kind != F_UNLCK and (other := self.conflict(file, wanted)) is not None:
            raise KernelError(EAGAIN, f"bytes {wanted.start} to {wanted.end}: process {other.pid} has a lock there")
        locks = self._locks_of(file)
        locks.records = sorted(_joined(_changed(locks.records, wanted)), key=lambda lock: lock.start)
        self._forget_if_unlocked(file)

    def set_whole(self, file: Dentry, owner: object, wanted: WholeLock) -> None:
        """Lock a file as a whole; the lock that its open file had before is gone then, whatever comes of it.

        Raises KernelError(EAGAIN) where another open file's lock is in the way.
        """
        locks = self._locks_of(file)
        before = locks.whole.get(owner)
        if before is not None and before.exclusive is wanted.exclusive:
            return
        locks.whole.pop(owner, None)
        if self.whole_conflict(file, owner, wanted):
            raise KernelError(EAGAIN, "another open file has it locked")
        locks.whole[owner] = wanted

    def whole_conflict(self, file: Dentry, owner: object, wanted: WholeLock) -> bool:
        """Return whether a lock of the file as a whole keeps another one out."""
        found = self._files.get(_key(file))
        others = {} if found is None else found.whole
        return any(other is not owner and (wanted.exclusive or lock.exclusive) for other, lock in others.items())

    def clear_whole(self, file: Dentry, owner: object) -> None:
        """End an open file's lock of a file as a whole, if it has one."""
        found = self._files.get(_key(file))
        if found is not None:
            found.whole.pop(owner, None)
            self._forget_if_unlocked(file)

    def release(self, file: Dentry, owner: object) -> None:
        """End all locks that an owner has on a file: a descriptor of it was closed."""
        found = self._files.get(_key(file))
        if found is not None:
            found.records = [lock for lock in found.records if lock.owner is not owner]
            found.whole.pop(owner, None)
            self._forget_if_unlocked(file)

    def text(self) -> str:
        """Return what /proc/locks shows (lock_get_status); waits are not in it."""
        lines: list[str] = []
        for (file_system, number), locks in self._files.items():
            major, minor = file_system.device_number
            place = f"{major:02x}:{minor:02x}:{number}"
            for lock in locks.records:
                kind = "OFDLCK" if lock.pid == NO_PROCESS else "POSIX "
                end = "EOF" if lock.end == TO_END else lock.end
                lines.append(f"{kind} ADVISORY  {_access(lock.kind == F_WRLCK)} {lock.pid} {place} {lock.start} {end}")
            for whole in locks.whole.values():
                lines.append(f"FLOCK  ADVISORY  {_access(whole.exclusive)} {whole.pid} {place} 0 EOF")
        return "".join(f"{number}: {line}\n" for number, line in enumerate(lines, 1))

    def begin_wait(self, waiter: object, file: Dentry, wanted: RecordLock) -> None:
        """Note that a thread waits for a record lock, until `end_wait`.

        Raises KernelError(EDEADLK) where processes would wait for each other for ever (posix_locks_deadlock).
        """
        blocking = self.conflict(file, wanted)
        for _ in range(_MOST_STEPS if wanted.pid != NO_PROCESS else 0):
            if blocking is None or blocking.pid == NO_PROCESS:
                break
            blocking = self._waited_for_by(blocking.owner)
            if blocking is not None and blocking.owner is wanted.owner:
                raise KernelError(EDEADLK, f"process {wanted.pid} has what the lock's owner waits for")
        self._waiting[waiter] = file, wanted

    def end_wait(self, waiter: object) -> None:
        """Note that a thread does not wait any more."""
        self._waiting.pop(waiter, None)

    def _waited_for_by(self, owner: object) -> RecordLock | None:
        for file, wanted in self._waiting.values():
            if wanted.owner is owner and (found := self.conflict(file, wanted)) is not None:
                return found
        return None

    def _locks_of(self, file: Dentry) -> _FileLocks:
        return self._files.setdefault(_key(file), _FileLocks())

    def _forget_if_unlocked(self, file: Dentry) -> None:
        found = self._files[_key(file)]
        if not found.records and not found.whole:
            del self._files[_key(file)]


def _access(exclusive: bool) -> str:
    return "WRITE" if exclusive else "READ "


def _key(file: Dentry) -> _Key:
    return file.mount.file_system, file.inode.number


def _changed(records: list[RecordLock], wanted: RecordLock) -> Iterator[RecordLock]:
    """Yield the locks after a request: the owner's others without the bytes that it is for, and those in its kind."""
    for lock in records:
        if lock.owner is not wanted.owner or not lock.overlaps(wanted):
            yield lock
            continue
        if lock.start < wanted.start:
            yield lock._replace(end=wanted.start - 1)
        if lock.end > wanted.end:
            yield lock._replace(start=wanted.end + 1)
    if wanted.kind != F_UNLCK:
        yield wanted


def _joined(records: Iterator[RecordLock]) -> list[RecordLock]:
    """Return locks with those of one owner and kind joined that lie beside each other."""
    joined: list[RecordLock] = []
    for lock in sorted(records, key=lambda each: (id(each.owner), each.start)):
        before = joined[-1] if joined else None
        if before is not None and before[:2] == lock[:2] and before.end + 1 == lock.start:
            joined[-1] = before._replace(end=lock.end)
        else:
            joined.append(lock)
    return joined


def locks_of(vfs: Vfs) -> Locks:
    """Return the locks of a guest, which has them from now on."""
    if vfs.locks is None:
        vfs.locks = Locks()
    assert isinstance(vfs.locks, Locks)
    return vfs.locks
