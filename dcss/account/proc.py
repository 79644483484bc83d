"""One process's files in /proc: opened and read whole, with errors that say which process and why."""

import contextlib
import os
from collections.abc import Iterable
from errno import EACCES, ENOENT, EPERM, ESRCH
from pathlib import Path

from dcss.errors import LaunchError, MeasurementDeniedError

_MORE_BYTES = 64 << 10
_LINE_BYTES = 4096


class ProcessGoneError(LaunchError):
    """Process `pid` ended while its `book` in /proc was read."""

    def __init__(self, pid: int, book: str) -> None:
        super().__init__(f"process {pid} ended while /proc/{pid}/{book} was read; its log says why it ended")
        self.pid = pid
        self.book = book

    def __reduce__(self) -> tuple[type, tuple[int, str]]:
        return type(self), (self.pid, self.book)


class _ProcErrors:
    """A context manager of a class of its own: one of contextlib takes ten times as long, thousands of times a look."""

    __slots__ = ("_book", "_pid")

    def __init__(self, pid: int, book: str) -> None:
        self._pid, self._book = pid, book

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._translate(error)

    def _translate(self, error: BaseException) -> None:
        pid, book = self._pid, self._book
        if not isinstance(error, OSError):
            return
        # ENOENT: the directory is gone; ESRCH: it was open already.
        if error.errno in (ENOENT, ESRCH):
            raise ProcessGoneError(pid, book) from error
        if error.errno in (EACCES, EPERM):
            if _ended(pid):  # the books of what has no memory any more belong to root
                raise ProcessGoneError(pid, book) from error
            reason = f"/proc/{pid}/{book}: {error.strerror}; the kernel shows it to {_allowed(book)}"
            raise MeasurementDeniedError(reason) from error


def proc_errors(pid: int, book: str) -> _ProcErrors:
    """Return a context that turns an OSError at /proc/PID/`book` into ProcessGoneError or MeasurementDeniedError."""
    return _ProcErrors(pid, book)


def _allowed(book: str) -> str:
    """Say who may read a file of a process. Source: ptrace(2), "Ptrace access mode checking", and Yama."""
    if book == "mem":
        return "the process's ancestors of its own user or to CAP_SYS_PTRACE (root)"
    return "the process's own user or to CAP_SYS_PTRACE (root)"


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
    with proc_errors(pid, book):
        text = read_whole(f"/proc/{pid}/{book}")
    if not text:
        raise ProcessGoneError(pid, book)
    return text


def read_whole(path: str) -> bytes:
    """Read a file of /proc whole; it may be empty. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(descriptor, _LINE_BYTES)]  # most have a line or two
        while parts[-1]:
            parts.append(os.read(descriptor, _MORE_BYTES))
    finally:
        os.close(descriptor)
    return b"".join(parts)


def family(pids: Iterable[int]) -> tuple[int, ...]:
    """Return `pids` and their living descendants: what a guest forks is the guest's too.

    Needs CONFIG_PROC_CHILDREN, which every distribution's kernel has; without it `pids` alone are returned.
    """
    found = list(dict.fromkeys(pids))
    known = set(found)
    for pid in found:  # grows while it is walked
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - a Path for each takes as long as reading
                # A child of any thread is listed with that thread.
                children = list(map(int, read_whole(f"/proc/{pid}/task/{task}/children").split()))
                found += [child for child in children if child not in known]
                known.update(children)
    return tuple(found)
