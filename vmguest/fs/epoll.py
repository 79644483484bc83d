"""Waiting for many files at once: epoll (fs/eventpoll.c)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EEXIST, EINVAL, ELOOP, ENOENT, EPERM
from typing import Final, NoReturn

from dcss.errors import KernelError
from vmguest.fs.anonymous import ANON_INODEFS, anonymous_dentry
from vmguest.fs.file import FileDefaults, StreamFile
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_RDWR, FileDescription
from vmguest.fs.poll import POLLERR, POLLHUP, READABLE

EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD = 1, 2, 3
EPOLLEXCLUSIVE, EPOLLWAKEUP, EPOLLONESHOT, EPOLLET = 1 << 28, 1 << 29, 1 << 30, 1 << 31
EPOLL_EVENT: Final = struct.Struct(">I4xQ")  # struct epoll_event of s390, which has padding
_ALWAYS = POLLERR | POLLHUP
_EVENTS = (1 << 28) - 1
_MAX_NESTING: Final = 4  # EP_MAX_NESTS: so many epolls may wait for each other in a row
_NOTHING = object()


@dataclass(slots=True)
class _Entry:
    """A file that is waited for. `seen` and `activity` are what the last report of an edge-triggered one was about."""

    opened: FileDescription
    events: int
    data: int
    armed: bool = True
    seen: int = 0
    activity: object = _NOTHING

    def ready(self) -> int:
        """Return the events that would be reported now."""
        if not self.armed:
            return 0
        now = self.opened.poll() & (self.events & _EVENTS | _ALWAYS)
        if self.events & EPOLLET and self.activity == self.opened.file.activity() and not now & ~self.seen:
            self.seen &= now
            return 0
        return now

    def report(self, now: int) -> None:
        """Note that events were reported."""
        self.seen, self.activity = now, self.opened.file.activity()
        if self.events & EPOLLONESHOT:
            self.armed = False


class Epoll(StreamFile):
    """A set of open files with the events that are waited for, each under the number that a process gave it.

    A file leaves the set with its last descriptor.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[int, FileDescription], _Entry] = {}

    def control(self, operation: int, number: int, opened: FileDescription, events: int = 0, data: int = 0) -> None:
        """Do what epoll_ctl(2) does.

        Raises KernelError: EEXIST, ENOENT, EPERM for a file that is always ready, EINVAL, ELOOP for a circle.
        """
        self._forget_closed()
        key = number, opened
        if not _can_wait(opened):
            raise KernelError(EPERM, f"descriptor {number}: a file that is always ready")
        if opened.file is self:
            raise KernelError(EINVAL, f"descriptor {number}: an epoll cannot wait for itself")
        if operation == EPOLL_CTL_ADD:
            if key in self._entries:
                raise KernelError(EEXIST, f"descriptor {number}: is waited for already")
            if isinstance(opened.file, Epoll):
                self._check_nesting(opened.file)
            self._entries[key] = _Entry(opened, events, data)
            return
        if key not in self._entries:
            raise KernelError(ENOENT, f"descriptor {number}: is not waited for")
        if operation == EPOLL_CTL_DEL:
            del self._entries[key]
        elif operation == EPOLL_CTL_MOD and not events & EPOLLEXCLUSIVE:
            self._entries[key] = _Entry(opened, events, data)
        else:
            raise KernelError(EINVAL, f"epoll_ctl {operation} with events {events:#x}")

    def ready(self, limit: int) -> list[tuple[int, int]]:
        """Return events and data of files that are ready, at most `limit`; those that were reported come last next."""
        self._forget_closed()
        found: list[tuple[int, int]] = []
        for key, entry in tuple(self._entries.items()):
            if len(found) >= limit:
                break
            if now := entry.ready():
                found.append((now, entry.data))
                entry.report(now)
                self._entries[key] = self._entries.pop(key)
        return found

    def poll(self) -> int:
        """Return whether a file is ready."""
        self._forget_closed()
        return READABLE if any(entry.ready() for entry in self._entries.values()) else 0

    def alarm_seconds(self) -> float | None:
        """Return in how many seconds time alone may make a file ready."""
        alarms = (entry.opened.alarm_seconds() for entry in self._entries.values() if entry.armed)
        return min((seconds for seconds in alarms if seconds is not None), default=None)

    def read(self, position: int, buffer: memoryview) -> NoReturn:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"read of {len(buffer)} bytes at {position}: an epoll has no bytes")

    def write(self, position: int, data: bytes | memoryview) -> NoReturn:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"write of {len(data)} bytes at {position}: an epoll has no bytes")

    def close(self) -> None:
        """Wait for nothing any more."""
        self._entries.clear()

    def inner(self) -> Iterator["Epoll"]:
        """Yield the epolls that this one waits for."""
        for entry in self._entries.values():
            if isinstance(entry.opened.file, Epoll):
                yield entry.opened.file

    def _check_nesting(self, added: "Epoll") -> None:
        level = {added}
        for _ in range(_MAX_NESTING):
            if self in level:
                raise KernelError(ELOOP, "two epolls would wait for each other")
            level = {inner for each in level for inner in each.inner()}
        if level:
            raise KernelError(ELOOP, f"more than {_MAX_NESTING} epolls would wait for each other in a row")

    def _forget_closed(self) -> None:
        for key in [key for key, entry in self._entries.items() if entry.opened.is_closed]:
            del self._entries[key]


def new_epoll(vfs: Vfs) -> FileDescription:
    """Return an epoll that waits for nothing yet."""
    file = Epoll()
    dentry = anonymous_dentry(vfs, ANON_INODEFS, 0o600, "anon_inode:[eventpoll]")
    return FileDescription(vfs, dentry, file, O_RDWR, target=file, device=file)


def _can_wait(opened: FileDescription) -> bool:
    """Return whether a file has a poll of its own (file_can_poll)."""
    default: object = FileDefaults.poll
    return type(opened.file).poll is not default
