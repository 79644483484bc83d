"""One process's files in /proc: opened and read whole, with errors that say which process and why."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from errno import EACCES, ENOENT, EPERM, ESRCH
from pathlib import Path

from dcss.errors import LaunchError, MeasurementDeniedError

READ_BYTES = 1 << 20
_LINE_BYTES = 4096


class ProcessGoneError(LaunchError):
    """Process `pid` ended while its `book` in /proc was read."""

    def __init__(self, pid: int, book: str) -> None:
        super().__init__(f"process {pid} ended while /proc/{pid}/{book} was read; its log says why it ended")
        self.pid = pid
        self.book = book

    def __reduce__(self) -> tuple[type, tuple[int, str]]:
        return type(self), (self.pid, self.book)


@contextlib.contextmanager
def proc_errors(pid: int, book: str) -> Iterator[None]:
    """Turn an OSError at /proc/PID/`book` into ProcessGoneError or MeasurementDeniedError."""
    try:
        yield
    except OSError as error:
        # ENOENT: the directory is gone; ESRCH: it was open already.
        if error.errno in (ENOENT, ESRCH):
            raise ProcessGoneError(pid, book) from error
        if error.errno in (EACCES, EPERM):
            if _ended(pid):  # the books of what has no memory any more belong to root
                raise ProcessGoneError(pid, book) from error
            reason = f"/proc/{pid}/{book}: {error.strerror}; the kernel shows it to the process's own user or to root"
            raise MeasurementDeniedError(reason) from error
        raise


def _ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return True
    return state in {b"Z", b"X"}


def open_proc(pid: int, book: str) -> int:
    """Open /proc/PID/`book` for reading and return the descriptor."""
    with proc_errors(pid, book):
        return os.open(f"/proc/{pid}/{book}", os.O_RDONLY | os.O_CLOEXEC)


def read_proc(pid: int, book: str) -> bytes:
    """Read /proc/PID/`book` whole. A process without memory (a zombie) counts as gone."""
    descriptor = open_proc(pid, book)
    try:
        with proc_errors(pid, book):
            parts = []
            while part := os.read(descriptor, READ_BYTES):
                parts.append(part)
    finally:
        os.close(descriptor)
    if not parts:
        raise ProcessGoneError(pid, book)
    return b"".join(parts)


def read_short(pid: int, book: str) -> bytes:
    """Read a file of one line, which the kernel gives in one call. Errors as `read_proc` has them."""
    descriptor = open_proc(pid, book)
    try:
        with proc_errors(pid, book):
            text = os.read(descriptor, _LINE_BYTES)
    finally:
        os.close(descriptor)
    if not text:
        raise ProcessGoneError(pid, book)
    return text


def family(pids: Iterable[int]) -> tuple[int, ...]:
    """Return `pids` and their living descendants: what a guest forks is the guest's too.

    Needs CONFIG_PROC_CHILDREN, which every distribution's kernel has; without it `pids` alone are returned.
    """
    found = list(dict.fromkeys(pids))
    known = set(found)
    for pid in found:  # grows while it is walked
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                # A child of any thread is listed with that thread.
                children = [int(child) for child in (task / "children").read_bytes().split()]
                found += [child for child in children if child not in known]
                known.update(children)
    return tuple(found)
