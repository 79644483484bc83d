"""Descriptors that processes hold: which files, how they were opened, and a duplicate of one (pidfd_getfd)."""

import ctypes
import os
import stat
from pathlib import Path
from typing import NamedTuple

from dcss.account.proc import proc_errors, read_proc

_SYS_PIDFD_GETFD = 438  # the same on every architecture: Linux 5.6, include/uapi/asm-generic/unistd.h
_O_PATH = 0o10000000

_libc = ctypes.CDLL(None, use_errno=True)


class FileDescriptor(NamedTuple):
    """A regular file that a process has open; `path` leads to it while it is."""

    pid: int
    number: int
    device: int
    inode: int

    @property
    def object(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode

    @property
    def path(self) -> str:
        """The kernel's link to it."""
        return f"/proc/{self.pid}/fd/{self.number}"

    @property
    def target(self) -> str:
        """What the link reads as: a path, or a name such as /memfd:x (deleted)."""
        return str(Path(self.path).readlink())

    @property
    def writable(self) -> bool:
        """Whether it was opened for writing, as fdinfo has it."""
        for line in read_proc(self.pid, f"fdinfo/{self.number}").splitlines():
            if line.startswith(b"flags:"):
                flags = int(line.split()[1], 8)
                return flags & os.O_ACCMODE != os.O_RDONLY and not flags & _O_PATH
        raise ValueError(f"/proc/{self.pid}/fdinfo/{self.number}: found no line `flags:`")


def open_files(pid: int) -> list[FileDescriptor]:
    """Return the regular files that process `pid` has open. Errors as dcss.account.proc has them."""
    found = []
    with proc_errors(pid, "fd"):
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    for link in links:
        try:
            status = link.stat()
        except FileNotFoundError:  # closed since
            continue
        if stat.S_ISREG(status.st_mode):
            found.append(FileDescriptor(pid, int(link.name), status.st_dev, status.st_ino))
    return found


def duplicate(file: FileDescriptor) -> int:
    """Return a duplicate of another process's descriptor: the same open file. Raises OSError where that is refused."""
    pidfd = os.pidfd_open(file.pid)
    try:
        descriptor = _libc.syscall(_SYS_PIDFD_GETFD, pidfd, file.number, 0)
        if descriptor < 0:
            errno = ctypes.get_errno()
            raise OSError(errno, f"pidfd_getfd of descriptor {file.number} of process {file.pid}: {os.strerror(errno)}")
        return int(descriptor)
    finally:
        os.close(pidfd)
