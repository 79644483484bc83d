"""A guest's start, rehearsed in the fork server: what a first run writes into the interpreter, guests then share.

While a function runs for the first times, CPython counts its calls in the code object, replaces its bytecode by
specialized instructions and fills their caches (PEP 659). All that lies in pages that a guest would have to copy.
"""

import os
import socket
import stat
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from dcss.abi.console import COUNTERS_REQUEST, pack_exec
from dcss.abi.diag64 import QOUT64, QRANGE, ConditionCode
from dcss.abi.extmem import SegmentType
from dcss.abi.hypercall import Reply, send_reply
from dcss.abi.page import PAGE_SIZE
from dcss.engines.forked.descriptors import LOG as _LOG
from dcss.engines.forked.hot_code import gathered, note_functions
from dcss.host.process import how_ended
from dcss.host.rlimits import explain_fork
from vmguest import hostmem
from vmguest.boot_record import BootRecord
from vmguest.bootstrap import GuestHost, run_guest
from vmguest.cloning import Clone
from vmguest.hostmem import Reservation
from vmguest.spec import GuestSpec
from vmguest.workload import prepare

if TYPE_CHECKING:
    from dcss.ext2.mkfs.tree import Tree

_RUNS = 10  # CPython 3.11 specializes a function that has been called eight times
_SEGMENT_ADDRESS = 64 << 20
_DIRECTORIES, _FILES = 2, 4
_SMALL_BYTES, _LARGE_BYTES = 64 << 10, (4 << 20) + (256 << 10)
_PATTERN = "/**/*.so"
_SPEC = GuestSpec("REHEARSE", 16 << 20, ("REHEARSE",), (("dcssblk0", "/", ("ro", "xip"), ""),), (("map", _PATTERN),))
_REQUESTS = (
    COUNTERS_REQUEST,
    pack_exec([b"ls", b"-l", b"/lib0"]),
    pack_exec([b"cat", b"/lib0/lib1.so"]),
    pack_exec([b"sha256sum", b"/lib0/lib1.so"]),
)


class _ZeroFile:
    """A file of zeros that an image copies from."""

    def open(self) -> int:
        return os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)


def rehearse(reservation: Reservation) -> None:
    """Start guests in this process, which map the files of a small image, and leave nothing of them behind."""
    prepare(_PATTERN)
    image = os.memfd_create("dcss:rehearsal", os.MFD_CLOEXEC)
    try:
        _write_image(image)
        size_bytes = -(-os.fstat(image).st_size // PAGE_SIZE) * PAGE_SIZE
        os.ftruncate(image, size_bytes)
        with _output_discarded():
            note_functions()
            with gathered():
                _run(reservation, image, size_bytes)
            for _ in range(_RUNS):
                _run(reservation, image, size_bytes)
    finally:
        os.close(image)


@contextmanager
def _output_discarded() -> Iterator[None]:
    """Have what the guests log go nowhere."""
    kept = os.dup(_LOG)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), _LOG)
        yield
    finally:
        os.dup2(kept, _LOG)
        os.close(kept)


def _write_image(image: int) -> None:
    """Write the image in a child, so that guests inherit neither what makes images nor blocks in freed memory.

    Such a block could equal one of a real segment.
    """
    try:
        pid = os.fork()
    except OSError as error:
        sys.exit(f"dcss: the fork server cannot make its image: {explain_fork(error)}")
    if pid == 0:
        status = 1
        try:
            from dcss.ext2.mkfs.copy import ImageWindow
            from dcss.ext2.mkfs.image import place

            placed = place(_tree(), _SEGMENT_ADDRESS, None)
            placed.write(ImageWindow(image, 0, placed.size_bytes), None)
            status = 0
        except BaseException:
            traceback.print_exc()  # into CP's log
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise RuntimeError(f"the image of the rehearsal could not be made: its process {how_ended(status)}")


class _RehearsedClones:
    """Makes a guest its own clone, which does in this process what it would in its own (vmguest.cloning.CloneMaker)."""

    def __init__(self, port: socket.socket, replies: Sequence[Reply]) -> None:
        self._port, self._replies = port, replies
        self.record: BootRecord | None = None

    def refuse(self, reason: str) -> None:
        """Never happens: the rehearsed boot copies nothing."""
        raise RuntimeError(f"the rehearsed guest cannot be cloned: {reason}")

    def make(self, record: BootRecord) -> Clone:
        """Take from the guest what a clone does not inherit, and have CP's answers ready for the clone."""
        self.record = record
        record.give_up()
        for reply in self._replies:
            send_reply(self._port, reply)
        seconds = monotonic()
        record.repeater()(seconds, os.open(os.devnull, os.O_RDONLY))
        return Clone(_SPEC.name, seconds)


def _run(reservation: Reservation, image: int, size_bytes: int) -> None:
    port, their_port = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    console, their_console = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with port, their_port, console, their_console:
        replies = _replies(image, size_bytes)
        for reply in replies:
            send_reply(port, reply)
        for request in _REQUESTS:
            console.send(request)
        console.shutdown(socket.SHUT_WR)
        clones = _RehearsedClones(port, replies)
        status = run_guest(_SPEC, GuestHost(reservation, their_port, their_console), clones=clones)
        if status or clones.record is None:
            raise RuntimeError(f"the rehearsed guest ended with status {status}")
        clones.record.give_up()
    for address, length_bytes in reservation.ranges:
        hostmem.unmap(address, length_bytes)


def _replies(image: int, size_bytes: int) -> tuple[Reply, ...]:
    """Return CP's replies to a guest that probes for subcodes, queries and loads the one segment."""
    start, end = _SEGMENT_ADDRESS, _SEGMENT_ADDRESS + size_bytes - 1
    area = QOUT64.pack(start, end, 1, 1) + QRANGE.pack(start | SegmentType.SR, end)
    return (
        Reply(ConditionCode.FAILED),
        Reply(ConditionCode.DONE, block=area),
        Reply(ConditionCode.DONE, start, end, descriptor=image),
    )


def _tree() -> "Tree":
    from dcss.ext2.mkfs.tree import DataRun, NodeAttributes, Tree, TreeFile, default_directory

    attributes = NodeAttributes(stat.S_IFREG | 0o644, 0, 0, 0)
    root = default_directory()
    for number in range(_DIRECTORIES):
        directory = root.entries[b"lib%d" % number] = default_directory()
        for name in range(_FILES):
            # One of them needs double indirect blocks.
            size_bytes = _LARGE_BYTES if (number, name) == (0, 0) else _SMALL_BYTES
            data = (DataRun(0, 0, size_bytes),)
            directory.entries[b"lib%d.so" % name] = TreeFile(attributes, size_bytes, data, _ZeroFile())
    return Tree(root)
