"""A traced run as a consumer: the files that a command and all that it starts map and read, and which pages of them.

Mapped pages are those of the page tables, read before a process unmaps them, executes a program or ends. Reads are
taken from their system calls.
"""

import os
import shlex
import stat
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import PurePath
from struct import Struct
from typing import Final, NamedTuple

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.maps import read_maps
from dcss.account.pagemap import Flags, Pagemap
from dcss.account.proc import ProcessGoneError, read_proc
from dcss.errors import ImageError, LaunchError
from dcss.ext2.mkfs.tree import DataRun, TreeFile
from dcss.host.traced_calls import unknown_because
from dcss.host.traced_run import RunEnd, trace_run
from dcss.image.sources.host import HostFile
from dcss.plan.inputs.consumer import Consumer, UsedFile
from dcss.plan.inputs.process_files import ProcessFiles, in_a_guest, present_pages

_ADDRESSES_END: Final = 1 << 64
_VECTOR: Final = Struct("=QQ")  # struct iovec
_OFFSET: Final = Struct("=q")


class _Read(NamedTuple):
    """Which arguments of a system call say what it reads: the descriptor, where, and how much."""

    descriptor: int
    length: int
    vector: int | None = None  # the argument with the addresses of iovecs, of which `length` is the number
    offset: int | None = None  # absent: the position of the open file
    pointer: bool = False  # the offset is the address of one; 0 means the position


_READS: Final = {
    "read": _Read(0, 2),
    "readv": _Read(0, 2, vector=1),
    "pread64": _Read(0, 2, offset=3),
    "preadv": _Read(0, 2, vector=1, offset=3),
    "preadv2": _Read(0, 2, vector=1, offset=3),
    "sendfile": _Read(1, 3, offset=2, pointer=True),
    "copy_file_range": _Read(0, 4, offset=1, pointer=True),
    "splice": _Read(0, 4, offset=1, pointer=True),
}


def run_consumer(command: Sequence[str], notes: list[str]) -> Consumer:
    """Run a command to its end and return it as a consumer; what does not count is added to `notes`.

    Raises LaunchError where it cannot be started or traced.
    """
    label = shlex.join(command)
    touched = _TouchedFiles()
    began_ns = time.time_ns()
    end = trace_run(command, touched)
    files = touched.lasting(began_ns)
    if not files:
        raise LaunchError(f"{label}: found no file that it has touched, wanted one at least; {_how_ended(end)}")
    notes += touched.notes()
    if end.interrupted or end.status:
        notes.append(f"{label}: {_how_ended(end)}; what it touched until then counts")
    if (reason := unknown_because()) is not None:
        notes.append(f"{label}: what it read, and unmapped before its end, is not known: {reason}")
    return Consumer(PurePath(command[0]).name, "run", label, files)


def _how_ended(end: RunEnd) -> str:
    if end.interrupted:
        return "it was interrupted"
    return f"it ended by signal {-end.status}" if end.status < 0 else f"it ended with status {end.status}"


class _TouchedFiles:
    """An observer of a run that collects the pages of files which it touches."""

    def __init__(self) -> None:
        self._files = ProcessFiles()
        self._used: dict[TreeFile, UsedFile] = {}
        self._pages: dict[TreeFile, Flags] = {}
        self._open: dict[tuple[int, int], TreeFile | None] = {}
        self._changed: list[str] = []

    def calling(self, tid: int, call: str, arguments: Sequence[int]) -> None:
        with suppress(ProcessGoneError):  # it was killed while it stood still
            if call == "munmap":
                self._add_mapped(tid, arguments[0], arguments[0] + arguments[1])
            elif call in _READS:
                self._add_read(tid, _READS[call], arguments)
            else:
                self.ending(tid)

    def ending(self, tid: int) -> None:
        with suppress(ProcessGoneError):
            self._add_mapped(tid, 0, _ADDRESSES_END)

    def lasting(self, began_ns: int) -> list[UsedFile]:
        """Return the files that are still as they were when the run began, with what of them was touched."""
        lasting = []
        for node, file in self._used.items():
            if not self._pages[node].any():
                continue
            assert isinstance(node.store, HostFile)
            try:
                os.close(node.store.open())
                written = node.store.mtime_ns >= began_ns
            except ImageError:
                written = True
            if written:
                self._changed.append(os.fsdecode(file.paths[0]))
            else:
                file.touched_bytes = _touched_bytes(node.data, self._pages[node])
                lasting.append(file)
        return lasting

    def notes(self) -> list[str]:
        """Return what was left out, and why."""
        changed = sorted(self._changed)
        found = [f"left out, since the run wrote or removed {'them' if changed[1:] else 'it'}: {', '.join(changed)}"]
        return self._files.notes() + (found if changed else [])

    def _add_mapped(self, tid: int, start: int, end: int) -> None:
        vmas = [vma for vma in read_maps(tid) if vma.start < end and start < vma.end]
        wanted = [(path, vma) for vma in vmas if (path := self._files.mapped_path(vma)) is not None]
        if not wanted:
            return
        with Pagemap(tid) as pagemap:
            for path, vma in wanted:
                pages = present_pages(vma, pagemap)
                if len(pages) and (node := self._node(tid, path)) is not None:
                    flags = self._pages[node]
                    flags[pages[pages < len(flags)]] = True

    def _add_read(self, tid: int, read: _Read, arguments: Sequence[int]) -> None:
        descriptor = arguments[read.descriptor] & 0xFFFF_FFFF
        node = self._opened(tid, descriptor)
        if node is None:
            return
        offset = _offset(tid, read, arguments, descriptor)
        end = offset + _length(tid, read, arguments)
        self._pages[node][offset >> PAGE_SHIFT : -(-min(end, node.size_bytes) // PAGE_SIZE)] = True

    def _opened(self, tid: int, descriptor: int) -> TreeFile | None:
        """Return the file that a descriptor is open for, None where a segment could not have it."""
        link = f"/proc/{tid}/fd/{descriptor}"
        try:
            found = os.stat(link)  # noqa: PTH116 - for each read
            key = found.st_dev, found.st_ino
            if not stat.S_ISREG(found.st_mode):
                return None
            if key not in self._open:
                path = os.fsencode(os.readlink(link))  # noqa: PTH115
                self._open[key] = self._node(tid, path) if in_a_guest(path) and found.st_nlink else None
        except OSError:  # not open: the call fails, too
            return None
        return self._open[key]

    def _node(self, tid: int, path: bytes) -> TreeFile | None:
        file = self._files.file(tid, path)
        if file is None:
            return None
        known = self._used.setdefault(file.node, file)
        if known is file:
            self._pages[file.node] = np.zeros(-(-file.node.size_bytes // PAGE_SIZE), np.bool_)
        elif path not in known.paths:
            known.paths.append(path)
        return file.node


def _offset(tid: int, read: _Read, arguments: Sequence[int], descriptor: int) -> int:
    if read.offset is not None:
        given = arguments[read.offset]
        if read.pointer and given:
            (pointed,) = _OFFSET.unpack(_memory(tid, given, _OFFSET.size))
            return max(int(pointed), 0)
        if not read.pointer and given < _ADDRESSES_END >> 1:  # -1 of preadv2 means the position
            return given
    return int(read_proc(tid, f"fdinfo/{descriptor}").split(maxsplit=2)[1])


def _length(tid: int, read: _Read, arguments: Sequence[int]) -> int:
    if read.vector is None:
        return arguments[read.length]
    text = _memory(tid, arguments[read.vector], arguments[read.length] * _VECTOR.size)
    return sum(length for _, length in _VECTOR.iter_unpack(text))


def _memory(tid: int, address: int, length: int) -> bytes:
    """Return what stands in a process's memory; zeroes where there is none, for which the call fails."""
    try:
        with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
            return os.pread(memory.fileno(), length, address).ljust(length, b"\0")
    except (OSError, OverflowError):
        return bytes(length)


def _touched_bytes(data: Iterable[DataRun], pages: Flags) -> int:
    """Return how much of the touched pages holds data."""
    holds = np.zeros(len(pages), np.bool_)
    for file_offset, _, length_bytes in data:
        holds[file_offset >> PAGE_SHIFT : -(-(file_offset + length_bytes) // PAGE_SIZE)] = True
    return int(np.count_nonzero(holds & pages)) * PAGE_SIZE
