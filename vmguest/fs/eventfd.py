"""A counter that can be waited for (fs/eventfd.c)."""

from errno import EAGAIN, EINVAL
from typing import Final

from dcss.errors import KernelError
from vmguest.fs.anonymous import ANON_INODEFS, anonymous_dentry
from vmguest.fs.file import StreamFile
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_NONBLOCK, O_RDWR, FileDescription
from vmguest.fs.poll import READABLE, WRITABLE

EFD_SEMAPHORE: Final = 1
COUNTER_BYTES: Final = 8
_MAX: Final = (1 << 64) - 2


class EventFile(StreamFile):
    """A counter: writes add to it, a read takes all of it, or 1 where it is a semaphore."""

    def __init__(self, count: int, *, semaphore: bool) -> None:
        self._count = count
        self._semaphore = semaphore
        self._changes = 0

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Take from the counter. Raises KernelError: EINVAL the buffer is too small, EAGAIN it is 0."""
        if len(buffer) < COUNTER_BYTES:
            raise KernelError(EINVAL, f"read of {len(buffer)} bytes from an eventfd: wanted {COUNTER_BYTES}")
        if not self._count:
            raise KernelError(EAGAIN, "the counter is 0")
        taken = 1 if self._semaphore else self._count
        self._count -= taken
        self._changes += 1
        buffer[:COUNTER_BYTES] = taken.to_bytes(COUNTER_BYTES)
        return COUNTER_BYTES

    def write(self, position: int, data: bytes | memoryview) -> int:  # noqa: ARG002
        """Add to the counter. Raises KernelError: EINVAL no number that can be added, EAGAIN it would be too large."""
        added = int.from_bytes(data[:COUNTER_BYTES])
        if len(data) < COUNTER_BYTES or added > _MAX:
            raise KernelError(EINVAL, f"write of {len(data)} bytes to an eventfd: wanted {COUNTER_BYTES}, not all ones")
        if added > _MAX - self._count:
            raise KernelError(EAGAIN, f"the counter is {self._count}")
        self._count += added
        self._changes += 1
        return COUNTER_BYTES

    def poll(self) -> int:
        """Return whether it is above 0, and whether 1 can be added."""
        return (READABLE if self._count else 0) | (WRITABLE if self._count < _MAX else 0)

    def activity(self) -> object:
        """Return how often it has changed."""
        return self._changes

    def close(self) -> None:
        """Nothing is held."""


def new_eventfd(vfs: Vfs, count: int, flags: int = 0) -> FileDescription:
    """Return a counter; flags are EFD_SEMAPHORE and O_NONBLOCK. Raises KernelError(EINVAL) for others."""
    if flags & ~(EFD_SEMAPHORE | O_NONBLOCK):
        raise KernelError(EINVAL, f"eventfd with flags {flags:#o}")
    file = EventFile(count, semaphore=bool(flags & EFD_SEMAPHORE))
    dentry = anonymous_dentry(vfs, ANON_INODEFS, 0o600, "anon_inode:[eventfd]")
    return FileDescription(vfs, dentry, file, O_RDWR | flags & O_NONBLOCK, target=file, device=file)
