"""System V segments of shared memory that nobody has attached: only the kernel's list of them shows these.

Source: /proc/sysvipc/shm of proc(5). Attached ones are mappings like others, and are searched as those.
"""

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.pagemap import Pages
from dcss.verify.search.searcher import Searcher
from dcss.verify.segment_content import Bytes

_LIST = Path("/proc/sysvipc/shm")
_SHM_RDONLY = 0o10000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmat.restype = ctypes.c_void_p
_libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_libc.shmdt.argtypes = (ctypes.c_void_p,)
_FAILED = ctypes.c_void_p(-1).value


class DetachedSegment(NamedTuple):
    """A segment that no process has attached, and the processes that made it and used it last."""

    number: int
    size_bytes: int
    creator: int
    last_user: int


def detached_segments(pids: Iterable[int]) -> list[DetachedSegment]:
    """Return the segments that any of `pids` made or used last, and nobody has attached."""
    wanted = set(pids)
    try:
        head, *lines = _LIST.read_text("ascii").splitlines()
    except OSError:  # a kernel without System V
        return []
    names = head.split()
    found = []
    for line in lines:
        fields = dict(zip(names, map(int, line.split()), strict=False))
        segment = DetachedSegment(fields["shmid"], fields["size"], fields["cpid"], fields["lpid"])
        if not fields["nattch"] and wanted & {segment.creator, segment.last_user}:
            found.append(segment)
    return found


def search_detached(searcher: Searcher, segment: DetachedSegment) -> tuple[Pages, str | None]:
    """Return the contents found in a segment, with repetitions, and why it could not be searched, if so."""
    try:
        with _attached(segment) as content:

            def read(first_page: int, buffer: Bytes) -> int:
                here = content[first_page << PAGE_SHIFT :][: len(buffer)]
                buffer[: len(here)] = here
                buffer[len(here) :] = 0
                return len(buffer)

            return searcher.search(read, np.arange(-(-segment.size_bytes // PAGE_SIZE))).hits.contents, None
    except OSError as error:
        return np.zeros(0, np.int64), f"System V segment {segment.number}: {error.strerror}"


@contextmanager
def _attached(segment: DetachedSegment) -> Iterator[Bytes]:
    address = _libc.shmat(segment.number, None, _SHM_RDONLY)
    if address == _FAILED:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    try:
        yield np.ctypeslib.as_array((ctypes.c_uint8 * segment.size_bytes).from_address(address))
    finally:
        _libc.shmdt(address)
