"""Descriptors that processes hold: which files, how they were opened, and a duplicate of one (pidfd_getfd)."""

import ctypes
import os
import stat
from collections.abc import Sequence
from errno import ESTALE
from pathlib import Path
from typing import NamedTuple

from dcss.abi.page import PAGE_SIZE
from dcss.account.proc import ProcessGoneError, proc_errors, read_proc
from dcss.host.file_questions import FileStatus, NoAnswerError
from dcss.verify.backing import Backings, mount_and_inode

_SYS_PIDFD_GETFD = 438  # the same on every architecture: Linux 5.6, include/uapi/asm-generic/unistd.h
_O_PATH = 0o10000000

_libc = ctypes.CDLL(None, use_errno=True)


class FileDescriptor(NamedTuple):
    """A file that a process has open; `path` leads to it while it is."""

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


def open_files(pid: int, numbers: Sequence[int], backings: Backings) -> tuple[list[FileDescriptor], list[str]]:
    """Return the files among the descriptors of process `pid`, and why some of them cannot be told apart.

    Regular files, that is, and whatever is open of a file system that has to ask a server: what that is, is not asked.
    Errors as dcss.account.proc has them.
    """
    found: list[FileDescriptor] = []
    reasons: list[str] = []
    for number in numbers:
        try:
            mount_number, inode = mount_and_inode(read_proc(pid, f"fdinfo/{number}"))
            mount = backings.mount(pid, mount_number)
            if mount is not None and not mount.answers and inode is not None:
                found.append(FileDescriptor(pid, number, mount.device, inode))
                continue
            status = _status(f"/proc/{pid}/fd/{number}", backings, answers=mount is not None and mount.answers)
        except (FileNotFoundError, ProcessGoneError):  # closed since
            continue
        except (OSError, NoAnswerError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            reasons.append(f"descriptor {number} of process {pid}: {reason}")
            continue
        if backings.is_message_queue(status):
            reasons += _queued(pid, number)
        elif stat.S_ISREG(status.mode):
            found.append(FileDescriptor(pid, number, status.device, status.inode))
    return found, reasons


def _queued(pid: int, number: int) -> list[str]:
    """Return a line if a message queue holds a page or more: messages cannot be read without taking them out."""
    try:
        state = Path(f"/proc/{pid}/fd/{number}").read_bytes()  # mq_overview(7): QSIZE:129 NOTIFY:2 …
    except OSError as error:
        return [f"descriptor {number} of process {pid}: a message queue: {error.strerror}"]
    queued_bytes = int(state.removeprefix(b"QSIZE:").split()[0])
    if queued_bytes < PAGE_SIZE:
        return []
    held = f"this message queue holds {queued_bytes:,} bytes"
    return [f"descriptor {number} of process {pid}: {held}, which nobody can look at"]


def descriptor_numbers(pid: int) -> list[int]:
    """Return the numbers of a process's descriptors. Errors as dcss.account.proc has them."""
    with proc_errors(pid, "fd"):
        return list(map(int, os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208 - a Path for each takes as long


def _status(path: str, backings: Backings, *, answers: bool) -> FileStatus:
    """Return what a descriptor is, by asking its file system; what no mount table shows may be on any, if named."""
    if answers or not os.readlink(path).startswith("/"):  # noqa: PTH115 - as above
        status = os.stat(path)  # noqa: PTH116
        return FileStatus(status.st_mode, status.st_dev, status.st_ino, 0)
    return backings.questions.status(path)


def duplicate(file: FileDescriptor) -> int:
    """Return a duplicate of another process's descriptor: the same open file.

    Raises OSError where that is refused, and where the number stands for another file by now.
    """
    descriptor = duplicate_number(file.pid, file.number)
    try:
        # The process runs, and may have closed the file and opened another, or have ended and left its id to another.
        _, inode = mount_and_inode(read_proc(os.getpid(), f"fdinfo/{descriptor}"))
        same = inode in (None, file.inode)  # a file system that does not answer is not asked
        if same:
            status = os.fstat(descriptor)
            same = (status.st_dev, status.st_ino) == file.object
        if not same:
            raise OSError(ESTALE, f"descriptor {file.number} of process {file.pid} is another file by now")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def duplicate_number(pid: int, number: int) -> int:
    """Return a duplicate of descriptor `number` of process `pid`. Raises OSError where that is refused."""
    pidfd = os.pidfd_open(pid)
    try:
        descriptor = _libc.syscall(_SYS_PIDFD_GETFD, pidfd, number, 0)
        if descriptor < 0:
            errno = ctypes.get_errno()
            raise OSError(errno, f"pidfd_getfd of descriptor {number} of process {pid}: {os.strerror(errno)}")
        return int(descriptor)
    finally:
        os.close(pidfd)
