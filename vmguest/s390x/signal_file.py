"""Signals that are read from a file (fs/signalfd.c): whoever reads it takes his own pending signals."""

import stat
import struct
from collections.abc import Callable
from errno import EAGAIN, EINVAL
from typing import Final

from dcss.errors import KernelError
from vmguest.fs.anonymous import ANON_INODEFS, anonymous_dentry
from vmguest.fs.file import StreamFile
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_NONBLOCK, O_RDWR, FileDescription
from vmguest.fs.poll import POLLIN
from vmguest.s390x.process import Thread
from vmguest.s390x.signals import FAULTS, SI_KERNEL, SI_TIMER, SI_USER, SIGCHLD, SignalInfo, blockable

INFO_BYTES: Final = 128  # struct signalfd_siginfo
# Number, errno, code, process, user, descriptor, timer, band, overrun, trap, status, value as a number, value, user
# time, system time, address.
_INFO = struct.Struct(">IiiIIiIIIIiiQQQQ")
_SENDER = struct.Struct(">iI")
_VALUE = struct.Struct(">Q")
_CHILD = struct.Struct(">iIi4xQQ")


class SignalFile(StreamFile):
    """What one signalfd(2) made; `current` is the thread that runs, None while threads are chosen."""

    def __init__(self, mask: int, current: Callable[[], Thread | None]) -> None:
        self.mask = mask
        self._current = current
        self._users: dict[Thread, None] = {}  # who has read or polled it, and may wait for it

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Take pending signals, as many as fit. Raises KernelError: EINVAL not one fits, EAGAIN none is pending."""
        if len(buffer) < INFO_BYTES:
            raise KernelError(EINVAL, f"read of {len(buffer)} bytes from a signalfd: wanted {INFO_BYTES}")
        thread, done = self._user(), 0
        while thread is not None and done + INFO_BYTES <= len(buffer):
            info = thread.pending.take(self.mask) or thread.process.pending.take(self.mask)
            if info is None:
                break
            buffer[done : done + INFO_BYTES] = _packed(info)
            done += INFO_BYTES
        if not done:
            raise KernelError(EAGAIN, "no signal is pending")
        return done

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"write of {len(data)} bytes at {position} to a signalfd")

    def poll(self) -> int:
        """Return whether a signal is pending: of who asks, or while nobody runs, of anybody who may wait for one."""
        thread = self._user()
        users = tuple(self._users) if thread is None else (thread,)
        pending = any((each.pending.mask | each.process.pending.mask) & self.mask for each in users)
        return POLLIN if pending else 0

    def close(self) -> None:
        """Forget who used it."""
        self._users.clear()

    def _user(self) -> Thread | None:
        thread = self._current()
        if thread is not None and thread not in self._users:
            self._users = {each: None for each in self._users if not each.ended} | {thread: None}
        return thread


def new_signal_file(vfs: Vfs, mask: int, flags: int, current: Callable[[], Thread | None]) -> FileDescription:
    """Return a file of a set of signals; `flags` may be O_NONBLOCK. Raises KernelError(EINVAL) for others."""
    if flags & ~O_NONBLOCK:
        raise KernelError(EINVAL, f"signalfd with flags {flags:#o}")
    file = SignalFile(blockable(mask), current)
    dentry = anonymous_dentry(vfs, ANON_INODEFS, stat.S_IRUSR | stat.S_IWUSR, "anon_inode:[signalfd]")
    return FileDescription(vfs, dentry, file, O_RDWR | flags, target=file, device=file)


def _packed(info: SignalInfo) -> bytes:
    """Return struct signalfd_siginfo (signalfd_copyinfo)."""
    fields = info.fields.ljust(48, b"\0")
    first, second = _SENDER.unpack_from(fields)
    (value,) = _VALUE.unpack_from(fields, _SENDER.size)
    pid = uid = timer = overrun = status = user = system = address = 0
    given = 0
    if info.code == SI_TIMER:
        timer, overrun, given = first, second, value
    elif info.code < SI_USER:
        pid, uid, given = first, second, value
    elif info.code in {SI_USER, SI_KERNEL}:
        pid, uid = first, second
    elif info.number == SIGCHLD:
        pid, uid, status, user, system = _CHILD.unpack_from(fields)
    elif info.number in FAULTS:
        (address,) = _VALUE.unpack_from(fields)
    number = given >> 32  # sigval is a union: its int is the first half
    number -= 1 << 32 if number >> 31 else 0
    packed = _INFO.pack(
        *(info.number, 0, info.code, pid, uid, 0, timer, 0, overrun, 0, status, number, given, user, system, address)
    )
    return packed.ljust(INFO_BYTES, b"\0")
