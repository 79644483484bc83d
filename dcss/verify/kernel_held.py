"""What the kernel holds for a process where nobody can look: files and buffers of io_uring, messages, full pipes.

A copy may lie there and in no memory that can be searched. Sources: fdinfo of proc(5), io_uring/fdinfo.c and
net/unix/af_unix.c of Linux, FIONREAD of pipe(7) and unix(7).
"""

import fcntl
import os
import re
import struct
import termios
from collections.abc import Iterator, Sequence
from contextlib import suppress

from dcss.abi.page import PAGE_SIZE
from dcss.account.proc import ProcessGoneError, read_proc
from dcss.verify.descriptors import duplicate_number
from dcss.verify.wording import count

_RING = "anon_inode:[io_uring]"
_RING_FIELD = re.compile(rb"^(UserFiles|UserBufs):\s*(\d+)", re.MULTILINE)
_MESSAGES = re.compile(rb"^scm_fds:\s*(\d+)", re.MULTILINE)


def kernel_held(pid: int, numbers: Sequence[int]) -> Iterator[str]:
    """Yield a line for each descriptor of a process behind which the kernel holds what may be a page or more."""
    for number in numbers:
        with suppress(OSError, ProcessGoneError):  # closed since
            target = os.readlink(f"/proc/{pid}/fd/{number}")  # noqa: PTH115 - a Path takes longer than the call
            found = _behind(pid, number, target)
            if found:
                yield f"descriptor {number} of process {pid}: {found}, which nobody can look at"


def _behind(pid: int, number: int, target: str) -> str | None:
    if target == _RING:
        held = {name: int(amount) for name, amount in _RING_FIELD.findall(read_proc(pid, f"fdinfo/{number}"))}
        files, buffers = held.get(b"UserFiles", 0), held.get(b"UserBufs", 0)
        if files or buffers:
            return f"an io_uring holds {count(files, 'file')} and {count(buffers, 'buffer')}"
    elif target.startswith("socket:"):
        messages = _MESSAGES.search(read_proc(pid, f"fdinfo/{number}"))
        if messages is not None and int(messages[1]):
            return f"messages on their way to this socket hold {count(int(messages[1]), 'descriptor')}"
        return _queued(pid, number, "this socket")
    elif target.startswith("pipe:"):
        return _queued(pid, number, "this pipe")
    return None


def _queued(pid: int, number: int, what: str) -> str | None:
    descriptor = duplicate_number(pid, number)
    try:
        answer = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
    except OSError:  # a socket that listens, or of a kind that does not say
        return None
    finally:
        os.close(descriptor)
    (queued_bytes,) = struct.unpack("i", answer)
    return f"{what} holds {queued_bytes:,} bytes" if queued_bytes >= PAGE_SIZE else None
