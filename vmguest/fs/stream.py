"""A program's standard streams where it has no terminal: bytes that come from the host, and bytes that go there."""

import stat
from collections.abc import Callable
from errno import EACCES, EAGAIN
from typing import NoReturn

from dcss.errors import KernelError
from vmguest.fs.anonymous import PIPEFS, anonymous_dentry
from vmguest.fs.file import StreamFile
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_ACCMODE, O_WRONLY, FileDescription
from vmguest.fs.pipe import Pipe, fifos_of
from vmguest.fs.poll import WRITABLE


class InputFile(Pipe):
    """What programs read: a pipe that the host writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writers = self.writer_opens = 1

    @property
    def waiting_bytes(self) -> int:
        """How much was fed that no program has read."""
        return len(self.content)

    def feed(self, data: bytes | memoryview) -> None:
        """Add bytes, however many wait already."""
        self.content += data
        self.arrivals += 1

    def end(self) -> None:
        """Say that nothing more will come: programs read what is left, and then the end."""
        self.writers = 0
        if self.reader_opens:
            self.closed()


class OutputFile(StreamFile):
    """What programs write goes to `sink`, while `has_room` says so; without it, always.

    The sink may raise KernelError(EPIPE), where nobody takes it any more.
    """

    def __init__(self, sink: Callable[[bytes], None], has_room: Callable[[], bool] | None = None) -> None:
        self._sink = sink
        self._has_room = has_room
        self._opens = 0
        self._refusals = 0
        self.forget: Callable[[], None] | None = None

    def open(self, flags: int) -> "OutputFile":
        """Open it once more, as /proc/PID/fd has it. Raises KernelError(EACCES) for reading."""
        if flags & O_ACCMODE != O_WRONLY:
            raise KernelError(EACCES, "this can be opened for writing only")
        self._opens += 1
        return self

    def read(self, position: int, buffer: memoryview) -> NoReturn:
        """Refuse. Raises KernelError(EACCES); a descriptor that could read does not come to be."""
        raise KernelError(EACCES, f"read of {len(buffer)} bytes at {position}: this can be written only")

    def write(self, position: int, data: bytes | memoryview) -> int:  # noqa: ARG002
        """Hand bytes on. Raises KernelError: EAGAIN no room, EPIPE."""
        if not self.poll():
            self._refusals += 1
            raise KernelError(EAGAIN, "who reads this has not taken what is there")
        if data:
            self._sink(bytes(data))
        return len(data)

    def poll(self) -> int:
        """Return whether it takes anything now."""
        return WRITABLE if self._has_room is None or self._has_room() else 0

    def activity(self) -> object:
        """Return how often it had no room: whoever met that waits for some."""
        return self._refusals

    def close(self) -> None:
        """End one open."""
        self._opens -= 1
        if not self._opens and self.forget is not None:
            self.forget()


def open_stream(vfs: Vfs, file: InputFile | OutputFile, flags: int) -> FileDescription:
    """Open a stream; fstat(2) says that it is a pipe. Raises KernelError(EACCES) for what it cannot do."""
    dentry = anonymous_dentry(vfs, PIPEFS, stat.S_IFIFO | 0o600, "pipe:[%d]")
    fifos = fifos_of(vfs)
    file.forget = lambda: fifos.remove(dentry)
    fifos.add(dentry, file)
    opened = file.open(flags)
    target = None if flags & O_ACCMODE == 0 else opened
    return FileDescription(vfs, dentry, opened, flags, target=target, device=opened)
