"""A guest process's absolute storage, read from outside for SAVESEG; the guest waits in its hypercall meanwhile."""

import os
import select
from contextlib import ExitStack
from errno import EIO, ESRCH
from pathlib import Path
from typing import Protocol

from dcss.account.maps import Vma, parse_maps

CHUNK_BYTES = 4 << 20


class GuestProcess(Protocol):
    """A guest's process: absolute address A lies at host address `window` + A. It ended if it has an `exit_status`."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def pid(self) -> int | None:
        """Its process; None where it has none yet."""
        ...

    @property
    def pidfd(self) -> int | None:
        """A descriptor of its process while that lives."""
        ...

    @property
    def exit_status(self) -> int | None:
        """How its process ended; None while it lives."""
        ...

    @property
    def window(self) -> int:
        """The host address of absolute address 0."""
        ...


def dump_storage(guest: GuestProcess, write_fd: int, address: int, size_bytes: int) -> None:
    """Write `size_bytes` from absolute `address` to the start of a file that reads as zeros.

    What the guest has not mapped is left out. Raises OSError where the guest has no process, or ends meanwhile.
    """
    if guest.pid is None or guest.pidfd is None:
        raise OSError(ESRCH, f"guest {guest.name} has no process to read its storage from")
    start, end = guest.window + address, guest.window + address + size_bytes
    with ExitStack() as stack:
        # A descriptor of this call's own: the guest's is closed when it ends, while this may go on in its thread.
        pidfd = os.dup(guest.pidfd)
        stack.callback(os.close, pidfd)
        try:
            memory = os.open(f"/proc/{guest.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, memory)
            text = Path(f"/proc/{guest.pid}/maps").read_bytes()
        except OSError as error:
            if _has_ended(pidfd):  # which is ESRCH for root, but EACCES for others: what is left of it is root's
                raise _ended(guest) from error
            raise
        readable = [vma for vma in parse_maps(text) if _is_readable(vma)]
        for vma in readable:
            low, high = max(vma.start, start), min(vma.end, end)
            if low < high:
                _copy(memory, low, write_fd, low - start, high - low)
        # Its ranges could have been cut short, and its number given to another, only by its end.
        gone = not readable or not os.pread(memory, 1, readable[0].start)
        if gone or guest.exit_status is not None or _has_ended(pidfd):
            raise _ended(guest)


def _ended(guest: GuestProcess) -> OSError:
    return OSError(ESRCH, f"guest {guest.name} ended while its storage was read")


def _is_readable(vma: Vma) -> bool:
    # The reserved window itself is PROT_NONE, and [vvar] and the like cannot be read by others.
    return vma.permissions[0] == "r" and not vma.path.startswith(b"[v")


def _copy(memory: int, address: int, write_fd: int, offset_bytes: int, size_bytes: int) -> None:
    buffer = memoryview(bytearray(min(size_bytes, CHUNK_BYTES)))
    done_bytes = 0
    while done_bytes < size_bytes:
        read_bytes = os.preadv(memory, [buffer[: size_bytes - done_bytes]], address + done_bytes)
        if read_bytes == 0:
            raise OSError(EIO, f"its memory ends at {address + done_bytes:#x}, wanted {size_bytes - done_bytes} bytes")
        part = buffer[:read_bytes]
        while part:
            written_bytes = os.pwrite(write_fd, part, offset_bytes + done_bytes)
            part, done_bytes = part[written_bytes:], done_bytes + written_bytes


def _has_ended(pidfd: int) -> bool:
    ended = select.poll()  # select(2) knows no descriptor above 1023, and CP has some for each guest
    ended.register(pidfd, select.POLLIN)
    return bool(ended.poll(0))
