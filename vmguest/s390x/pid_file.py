"""Open files that stand for processes (kernel/pid.c, fs/pidfs.c): they can be read from, as poll says, at the end."""

from errno import EBADF, EINVAL
from typing import NoReturn

from dcss.errors import KernelError
from vmguest.fs.anonymous import ANON_INODEFS, anonymous_dentry
from vmguest.fs.file import StreamFile
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_NONBLOCK, O_RDWR, FileDescription
from vmguest.fs.poll import READABLE
from vmguest.s390x.process import Process, Thread


class PidFile(StreamFile):
    """One process, whatever becomes of its number."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def read(self, position: int, buffer: memoryview) -> NoReturn:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"read of {len(buffer)} bytes at {position}: a process has none")

    def write(self, position: int, data: bytes | memoryview) -> NoReturn:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"write of {len(data)} bytes at {position}: a process takes none")

    def poll(self) -> int:
        """Return whether the process has ended."""
        return READABLE if self.process.ended is not None else 0

    def close(self) -> None:
        """Nothing is held."""


def new_pid_file(vfs: Vfs, process: Process, flags: int) -> FileDescription:
    """Return an open file for a process; `flags` may be O_NONBLOCK. Raises KernelError(EINVAL) for others."""
    if flags & ~O_NONBLOCK:
        raise KernelError(EINVAL, f"pidfd_open with flags {flags:#x}")
    file = PidFile(process)
    dentry = anonymous_dentry(vfs, ANON_INODEFS, 0o600, "anon_inode:[pidfd]")
    return FileDescription(vfs, dentry, file, O_RDWR | flags, target=file, device=file)


def process_of(thread: Thread, number: int) -> tuple[Process, bool]:
    """Return the process of a descriptor of pidfd_open, and whether a wait for it blocks. Raises KernelError(EBADF)."""
    opened = thread.process.files.get(number)
    if not isinstance(opened.file, PidFile):
        raise KernelError(EBADF, f"descriptor {number}: no process")
    return opened.file.process, not opened.flags & O_NONBLOCK
