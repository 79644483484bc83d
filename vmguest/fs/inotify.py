"""Watches of files and directories (fs/notify/inotify): who watches reads what is done to them, as events."""

import struct
from collections import deque
from dataclasses import dataclass
from errno import EAGAIN, EEXIST, EINVAL, ENOSPC, ENOTTY
from itertools import count
from typing import Final, NamedTuple

from dcss.errors import KernelError
from vmguest.fs.anonymous import ANON_INODEFS, anonymous_dentry
from vmguest.fs.file import StreamFile, UserMemory
from vmguest.fs.filesystem import FileSystem, VfsInode
from vmguest.fs.ioctls import FIONREAD, INT
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_NONBLOCK, O_RDONLY, FileDescription
from vmguest.fs.poll import READABLE
from vmguest.fs.watch_events import ALL_EVENTS, IN_DELETE_SELF, IN_IGNORED, IN_ISDIR, IN_MOVE_SELF, IN_Q_OVERFLOW

IN_MASK_CREATE, IN_MASK_ADD, IN_ONESHOT = 0x1000_0000, 0x2000_0000, 0x8000_0000
_MOST_EVENTS: Final = 16_384  # fs.inotify.max_queued_events
_MOST_WATCHES: Final = 8_192  # fs.inotify.max_user_watches, at the least
_EVENT = struct.Struct(">iIII")  # watch, mask, cookie, bytes of the name with zero bytes behind it
_Key = tuple[FileSystem, int]


class _Event(NamedTuple):
    watch: int
    mask: int
    cookie: int
    name: bytes

    def pack(self) -> bytes:
        size_bytes = -(-(len(self.name) + 1) // _EVENT.size) * _EVENT.size if self.name else 0
        return _EVENT.pack(self.watch, self.mask, self.cookie, size_bytes) + self.name.ljust(size_bytes, b"\0")


@dataclass(slots=True, eq=False)
class _Watch:
    """One watch of one inode, by one inotify."""

    owner: "Inotify"
    number: int
    key: _Key
    mask: int


class Watches:
    """Who watches which inodes of a guest."""

    def __init__(self) -> None:
        self._by_inode: dict[_Key, list[_Watch]] = {}

    def add(self, watch: _Watch) -> None:
        """Add a watch."""
        self._by_inode.setdefault(watch.key, []).append(watch)

    def remove(self, watch: _Watch) -> None:
        """Remove a watch."""
        found = self._by_inode[watch.key]
        found.remove(watch)
        if not found:
            del self._by_inode[watch.key]

    def notify(self, mask: int, place: Dentry, *, itself: bool, parent: bool, cookie: int = 0) -> None:
        """Tell who watches an inode itself, and with its name who watches the directory that it is in."""
        if not self._by_inode:
            return
        file_system = place.mount.file_system
        shown = mask | (IN_ISDIR if place.inode.is_dir and mask != IN_MOVE_SELF else 0)
        if parent and place.parent is not None and place.parent.mount is place.mount:
            self._tell((file_system, place.parent.inode.number), mask, shown, cookie, place.name)
        if itself:
            self._tell((file_system, place.inode.number), mask, shown, cookie)

    def gone(self, file_system: FileSystem, inode: VfsInode) -> None:
        """Tell that an inode is no more, and end its watches."""
        key = file_system, inode.number
        self._tell(key, IN_DELETE_SELF, IN_DELETE_SELF, 0)
        for watch in tuple(self._by_inode.get(key, ())):
            watch.owner.end(watch)

    def _tell(self, key: _Key, mask: int, shown: int, cookie: int, name: bytes = b"") -> None:
        for watch in tuple(self._by_inode.get(key, ())):
            if watch.mask & mask:
                watch.owner.put(_Event(watch.number, shown, cookie, name))
                if watch.mask & IN_ONESHOT:
                    watch.owner.end(watch)


class Inotify(StreamFile):
    """What one inotify_init(2) made: its watches, and the events that wait to be read."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches
        self._own: dict[int, _Watch] = {}
        self._events: deque[_Event] = deque()
        self._numbers = count(1)
        self._arrivals = 0

    def watch(self, place: Dentry, mask: int) -> int:
        """Watch an inode, or change what is told of it; return the watch's number.

        Raises KernelError: EINVAL no events, EEXIST it is watched (IN_MASK_CREATE), ENOSPC.
        """
        if not mask & ALL_EVENTS or (mask & IN_MASK_ADD and mask & IN_MASK_CREATE):
            raise KernelError(EINVAL, f"inotify_add_watch: mask {mask:#x}")
        key, kept = (place.mount.file_system, place.inode.number), mask & (ALL_EVENTS | IN_ONESHOT)
        found = next((each for each in self._own.values() if each.key == key), None)
        if found is not None:
            if mask & IN_MASK_CREATE:
                raise KernelError(EEXIST, f"inotify_add_watch: watch {found.number} is there")
            found.mask = found.mask | kept if mask & IN_MASK_ADD else kept
            return found.number
        if len(self._own) >= _MOST_WATCHES:
            raise KernelError(ENOSPC, f"inotify_add_watch: {_MOST_WATCHES} watches, which is the limit")
        made = _Watch(self, next(self._numbers), key, kept)
        self._own[made.number] = made
        self._watches.add(made)
        return made.number

    def unwatch(self, number: int) -> None:
        """End a watch. Raises KernelError(EINVAL)."""
        found = self._own.get(number)
        if found is None:
            raise KernelError(EINVAL, f"watch {number}: there is none")
        self.end(found)

    def end(self, watch: _Watch) -> None:
        """End a watch, and tell so."""
        del self._own[watch.number]
        self._watches.remove(watch)
        self.put(_Event(watch.number, IN_IGNORED, 0, b""))

    def put(self, event: _Event) -> None:
        """Add an event, unless it is the same as the last one; where too many wait, say that some were lost."""
        if self._events and self._events[-1] == event:
            return
        if len(self._events) >= _MOST_EVENTS:
            if len(self._events) > _MOST_EVENTS:
                return
            event = _Event(-1, IN_Q_OVERFLOW, 0, b"")
        self._events.append(event)
        self._arrivals += 1

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Take events, as many as fit. Raises KernelError: EAGAIN there is none, EINVAL not one fits."""
        if not self._events:
            raise KernelError(EAGAIN, "nothing has happened")
        done = 0
        while self._events and done + len(packed := self._events[0].pack()) <= len(buffer):
            buffer[done : done + len(packed)] = packed
            done += len(packed)
            self._events.popleft()
        if not done:
            raise KernelError(EINVAL, f"read of {len(buffer)} bytes from an inotify: the next event is larger")
        return done

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"write of {len(data)} bytes at {position} to an inotify")

    def poll(self) -> int:
        """Return whether an event waits."""
        return READABLE if self._events else 0

    def activity(self) -> object:
        """Return how many events came."""
        return self._arrivals

    def ioctl(self, request: int, argument: int, memory: UserMemory) -> int:
        """Tell with FIONREAD how large the events are that wait. Raises KernelError(ENOTTY)."""
        if request != FIONREAD:
            raise KernelError(ENOTTY, f"ioctl {request:#x}: no request of inotify")
        memory.write(argument, INT.pack(sum(len(event.pack()) for event in self._events)))
        return 0

    def close(self) -> None:
        """End all watches."""
        for watch in self._own.values():
            self._watches.remove(watch)
        self._own.clear()


def new_inotify(vfs: Vfs, flags: int = 0) -> FileDescription:
    """Return an inotify; `flags` may be O_NONBLOCK. Raises KernelError(EINVAL) for others."""
    if flags & ~O_NONBLOCK:
        raise KernelError(EINVAL, f"inotify_init1 with flags {flags:#o}")
    if vfs.watches is None:
        vfs.watches = Watches()
    assert isinstance(vfs.watches, Watches)
    file = Inotify(vfs.watches)
    dentry = anonymous_dentry(vfs, ANON_INODEFS, 0o600, "anon_inode:inotify")
    return FileDescription(vfs, dentry, file, O_RDONLY | flags, device=file)
