"""Pipes and FIFOs: a queue of bytes from those who have opened it for writing to those who read it (fs/pipe.c)."""

import stat
from collections.abc import Callable
from errno import EAGAIN, EBUSY, EINVAL, ENFILE, ENOTTY, ENXIO, EPERM, EPIPE
from typing import Protocol

from dcss.errors import KernelError
from vmguest.credentials import Credentials
from vmguest.fs.anonymous import PIPEFS, anonymous_dentry
from vmguest.fs.devices import DeviceFile
from vmguest.fs.file import StreamFile, UserMemory
from vmguest.fs.filesystem import FileSystem
from vmguest.fs.ioctls import FIONREAD, INT
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_ACCMODE, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, FileDescription
from vmguest.fs.poll import POLLERR, POLLHUP, READABLE, WRITABLE

CAPACITY_BYTES = 65_536
PIPE_BUF = 4096  # as much is written as a whole or not at all
MOST_BYTES = 64 << 20  # of all pipes with that capacity (fs.pipe-user-pages-soft); those beyond have PIPE_BUF
MOST_BYTES_OF_USER = 1 << 20  # of one pipe, but for root (fs.pipe-max-size)
MOST_PIPES = 32_768  # of a guest


class Pipe:
    """The bytes on their way, and how many opens read and write it. `forget` is called when nobody has it any more.

    Only an open of one that is `named`, a FIFO, waits for the other side.
    """

    def __init__(self, capacity_bytes: int = CAPACITY_BYTES, *, named: bool = False) -> None:
        self.capacity_bytes = capacity_bytes
        self.named = named
        self.counted = False  # among those of the guest: a stream of the host's is none
        self.forget: Callable[[], None] | None = None
        self.content = bytearray()
        self.readers = 0
        self.writers = 0
        self.reader_opens = 0  # ever: that of a FIFO waits for the next one of the other side
        self.writer_opens = 0
        self.arrivals = 0  # writes ever
        self.departures = 0  # reads ever

    @property
    def room_bytes(self) -> int:
        """How much can be written."""
        return self.capacity_bytes - len(self.content)

    def open(self, flags: int) -> "PipeEnd":
        """Open an end, or both. Raises KernelError(ENXIO) for writing without a reader, with O_NONBLOCK."""
        access = flags & O_ACCMODE
        if self.named and access == O_WRONLY and flags & O_NONBLOCK and not self.readers:
            raise KernelError(ENXIO, "a FIFO is opened for writing that nobody reads")
        return PipeEnd(self, flags)

    def closed(self) -> None:
        """Forget the content with the last open."""
        if not self.readers and not self.writers:
            self.content.clear()
            if self.forget is not None:
                self.forget()


class PipeEnd(StreamFile):
    """One open of a pipe: its reading end, its writing end, or both."""

    __slots__ = ("_awaited", "_pipe", "_reads", "_unwritten", "_writes")

    def __init__(self, pipe: Pipe, flags: int) -> None:
        access = flags & O_ACCMODE
        self._pipe = pipe
        self._reads = access in {O_RDONLY, O_RDWR}
        self._writes = access in {O_WRONLY, O_RDWR}
        pipe.readers += self._reads
        pipe.writers += self._writes
        pipe.reader_opens += self._reads
        pipe.writer_opens += self._writes
        alone = (access == O_WRONLY and not pipe.readers) or (access == O_RDONLY and not pipe.writers)
        alone = alone and pipe.named
        self._awaited = self._partner_opens() if alone and not flags & O_NONBLOCK else None
        self._unwritten = pipe.writer_opens if alone and flags & O_NONBLOCK else None

    @property
    def pipe(self) -> Pipe:
        """The pipe that it is an end of."""
        return self._pipe

    @property
    def open_pending(self) -> bool:
        """Whether nobody has opened the other end since this one was opened."""
        if self._awaited is not None and self._awaited != self._partner_opens():
            self._awaited = None
        return self._awaited is not None

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Take bytes; return 0 where nobody writes any more. Raises KernelError(EAGAIN)."""
        content = self._pipe.content
        if not content and self._pipe.writers and buffer:
            raise KernelError(EAGAIN, "the pipe is empty")
        count = min(len(content), len(buffer))
        buffer[:count] = memoryview(content)[:count]
        del content[:count]
        self._pipe.departures += 1
        return count

    def write(self, position: int, data: bytes | memoryview) -> int:  # noqa: ARG002
        """Add bytes, PIPE_BUF and less as a whole. Raises KernelError: EPIPE nobody reads any more, EAGAIN no room."""
        pipe, room_bytes = self._pipe, self._pipe.room_bytes
        if not data:
            return 0
        if not pipe.readers:
            raise KernelError(EPIPE, "nobody reads the pipe")
        if room_bytes == 0 or (len(data) <= PIPE_BUF and len(data) > room_bytes):
            raise KernelError(EAGAIN, f"the pipe has room for {room_bytes} bytes")
        pipe.content += memoryview(data)[:room_bytes]
        pipe.arrivals += 1
        return min(len(data), room_bytes)

    def poll(self) -> int:
        """Return what can be done, and whether the other side has gone."""
        pipe, events = self._pipe, 0
        if self._reads:
            events |= READABLE if pipe.content else 0
            events |= POLLHUP if not pipe.writers and self._unwritten != pipe.writer_opens else 0
        if self._writes:
            events |= WRITABLE if pipe.room_bytes >= PIPE_BUF else 0
            events |= 0 if pipe.readers else POLLERR
        return events

    def activity(self) -> object:
        """Return how often something came for a reader, or room for a writer."""
        return self._reads and self._pipe.arrivals, self._writes and self._pipe.departures

    def ioctl(self, request: int, argument: int, memory: UserMemory) -> int:
        """Tell with FIONREAD how much can be read. Raises KernelError(ENOTTY) for all others."""
        if request != FIONREAD:
            raise KernelError(ENOTTY, f"ioctl {request:#x}: no request of pipes")
        memory.write(argument, INT.pack(len(self._pipe.content)))
        return 0

    def close(self) -> None:
        """End the open."""
        self._pipe.readers -= self._reads
        self._pipe.writers -= self._writes
        self._pipe.closed()

    def _partner_opens(self) -> int:
        return self._pipe.reader_opens if self._writes else self._pipe.writer_opens


class Openable(Protocol):
    """What a FIFO's inode stands for while it is in use."""

    def open(self, flags: int) -> DeviceFile:
        """Open it once more. Raises KernelError(ENXIO)."""
        ...


class Fifos:
    """The FIFOs in use, by their inodes; pipes are among them, since /proc/PID/fd has them opened once more."""

    def __init__(self) -> None:
        self._in_use: dict[tuple[FileSystem, int], Openable] = {}
        self._pipes = 0  # how many there are, with and without a name
        self._capacity_bytes = 0  # of all of them

    def resize(self, pipe: Pipe, size_bytes: int, user: Credentials) -> int:
        """Change how many bytes a pipe holds, to a power of 2 (pipe_set_size); return how many.

        Raises KernelError: EINVAL for more than 2 GiB, EPERM for more than who asks, or all, may have, EBUSY.
        """
        if size_bytes > 1 << 31:
            raise KernelError(EINVAL, f"pipe of {size_bytes} bytes: wanted at most 2 GiB")
        new_bytes = PIPE_BUF if size_bytes <= PIPE_BUF else 1 << (size_bytes - 1).bit_length()
        grows_by = new_bytes - pipe.capacity_bytes
        if grows_by > 0 and (
            (new_bytes > MOST_BYTES_OF_USER and not user.privileged) or self._capacity_bytes + grows_by > MOST_BYTES
        ):
            raise KernelError(
                EPERM, f"pipe of {new_bytes} bytes: the limit is {MOST_BYTES_OF_USER}, of all {MOST_BYTES}"
            )
        if new_bytes < len(pipe.content):
            raise KernelError(EBUSY, f"pipe of {new_bytes} bytes: holds {len(pipe.content)}")
        pipe.capacity_bytes = new_bytes
        if pipe.counted:
            self._capacity_bytes += grows_by
        return new_bytes

    def new_pipe(self, forget: Callable[[], None], *, named: bool = False) -> Pipe:
        """Return a pipe, which has a small capacity where others take what there is. Raises KernelError(ENFILE)."""
        if self._pipes >= MOST_PIPES:
            raise KernelError(ENFILE, f"{MOST_PIPES} pipes are in use")
        is_large = self._capacity_bytes + CAPACITY_BYTES <= MOST_BYTES
        pipe = Pipe(CAPACITY_BYTES if is_large else PIPE_BUF, named=named)
        self._count(pipe)

        def forgotten() -> None:
            self._uncount(pipe)
            forget()

        pipe.forget = forgotten
        return pipe

    def open(self, dentry: Dentry, flags: int) -> DeviceFile:
        """Open an end of a FIFO.

        Raises KernelError: ENXIO for writing without a reader, with O_NONBLOCK; ENFILE.
        """
        system, inode = dentry.mount.file_system, dentry.inode
        found = self._in_use.get((system, inode.number))
        if found is not None:
            return found.open(flags)

        def forget() -> None:
            self.remove(dentry)
            system.release(inode)

        pipe = self.new_pipe(forget, named=True)
        try:
            end = pipe.open(flags)
        except KernelError:
            self._uncount(pipe)
            raise
        self._in_use[system, inode.number] = pipe
        system.hold(inode)
        return end

    def _count(self, pipe: Pipe) -> None:
        pipe.counted = True
        self._pipes += 1
        self._capacity_bytes += pipe.capacity_bytes

    def _uncount(self, pipe: Pipe) -> None:
        self._pipes -= 1
        self._capacity_bytes -= pipe.capacity_bytes

    def add(self, dentry: Dentry, opened: Openable) -> None:
        """Have opens of an inode be opens of something that is in use already."""
        self._in_use[dentry.mount.file_system, dentry.inode.number] = opened

    def remove(self, dentry: Dentry) -> None:
        """Forget what an inode stood for."""
        self._in_use.pop((dentry.mount.file_system, dentry.inode.number), None)


def make_pipe(vfs: Vfs, flags: int = 0) -> tuple[FileDescription, FileDescription]:
    """Return the reading and the writing end of a new pipe; `flags` may be O_NONBLOCK (pipe2).

    O_CLOEXEC is for who gives them numbers. Raises KernelError: EINVAL for other flags, ENFILE.
    """
    if flags & ~O_NONBLOCK:
        raise KernelError(EINVAL, f"pipe with flags {flags:#o}: wanted none but O_NONBLOCK")
    dentry = anonymous_dentry(vfs, PIPEFS, stat.S_IFIFO | 0o600, "pipe:[%d]")
    fifos = fifos_of(vfs)
    pipe = fifos.new_pipe(lambda: fifos.remove(dentry))
    fifos.add(dentry, pipe)
    writing, reading = pipe.open(O_WRONLY), pipe.open(O_RDONLY)
    return (
        FileDescription(vfs, dentry, reading, O_RDONLY | flags, device=reading),
        FileDescription(vfs, dentry, writing, O_WRONLY | flags, target=writing, device=writing),
    )


def fifos_of(vfs: Vfs) -> Fifos:
    """Return the FIFOs of a guest, which has them from now on."""
    if vfs.fifos is None:
        vfs.fifos = Fifos()
    assert isinstance(vfs.fifos, Fifos)
    return vfs.fifos
