"""A stage for claims about sharing: a segment in shared memory, CP (the test itself), a fork server, live guests.

Every guest is a process that does what the test orders (segment_actor_support.py), without launch, cp or vmguest.
"""

import ctypes
import hashlib
import json
import mmap
import os
import pickle
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from dcss.abi.extmem import SegmentType
from dcss.abi.page import PAGE_SIZE
from dcss.account.targets import AddressRange, FileRuns, GuestTarget, SegmentTarget, SystemTarget
from dcss.verify.search.system_v import detached_segments
from dcss.verify.segment_content import SegmentContent
from dcss.verify.segment_view import SegmentFiles, SegmentView

ACTOR = Path(__file__).with_name("segment_actor_support.py")
NOBODY = 65534
ADDRESS = 0x20000000  # absolute, as in the ready systems
POPULATE = 0x8000
PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 4, 8, 47, 2
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522

_PATIENCE_SECONDS = 60  # a guest that dies does not answer
T = TypeVar("T")
Order = list[Any]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class File(NamedTuple):
    """A file of a segment, as dcss.image.files has them."""

    path: bytes
    runs: tuple[tuple[int, int, int], ...]
    damage: str = ""


# 8 pages of metadata, then three files: one in two runs, one of a single page.
PAGES = 96
FILES = (
    File(b"/lib/one.so", ((0, 8, 40),)),
    File(b"/lib/two.so", ((0, 48, 16), (16, 72, 16))),
    File(b"/lib/three.so", ((0, 88, 1),)),
)


def random_content(pages: int = PAGES, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, pages * PAGE_SIZE, np.uint8).tobytes()


def unmapped(content: bytes, files: Sequence[FileRuns] = (), name: str = "LIB") -> SegmentView:
    """A segment in a file of this process's own: nothing of it is in /dev/shm, and nobody maps it."""
    descriptor = os.memfd_create(name)
    os.write(descriptor, content)
    pages = len(content) // PAGE_SIZE
    target = SegmentTarget(name, SegmentType.SR, "/none", descriptor, 0, len(content), None, files)
    held = SegmentContent(descriptor, pages)
    weakref.finalize(held, os.close, descriptor)
    return SegmentView(target, (1, 2), held, SegmentFiles.of(files, pages))


def order(verb: str, **arguments: Any) -> Order:
    return [verb, arguments]


def map_file(file: File, at: int, **more: Any) -> list[Order]:
    """Orders that map a file whole from page `at` of the user area on."""
    return [order("map", at=at + first, page=page, pages=pages, **more) for first, page, pages in file.runs]


def map_all(files: tuple[File, ...] = FILES, pages: int = PAGES) -> list[Order]:
    """Orders of an honest guest: the segment at its address, every file mapped, side by side with a gap."""
    orders = [order("device", address=ADDRESS, pages=pages)]
    for index, file in enumerate(files):
        orders += map_file(file, 1000 * index)
    return orders


class Stage:
    """One system. CP is this very process; leaving the context ends all processes and unlinks the objects."""

    def __init__(self) -> None:
        self.segments: list[SegmentTarget] = []
        self.guests: list[GuestTarget] = []
        self._stack = ExitStack()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = self._stack.enter_context(ours)
        ours.settimeout(_PATIENCE_SECONDS)
        command = [sys.executable, "-I", "-S", str(ACTOR), str(theirs.fileno())]
        self.server = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self._stack.callback(self._end)
        theirs.close()
        hello = json.loads(ours.recv(1 << 16))
        self.window, self.user_area = (
            AddressRange(hello[area], hello[area] + hello["bytes"]) for area in ("window", "user_area")
        )

    def publish(
        self,
        content: bytes | None = None,
        files: tuple[File, ...] = FILES,
        *,
        name: str = "LIB",
        kind: SegmentType = SegmentType.SR,
        digest: str | None = "",
    ) -> SegmentTarget:
        """Put a segment into shared memory and map it; `digest` is that of the content unless given."""
        content = random_content() if content is None else content
        path = Path(f"/dev/shm/dcss-test-{os.getpid()}-{name}")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._stack.callback(path.unlink)
        os.write(descriptor, content)
        os.close(descriptor)
        reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._stack.callback(os.close, reader)
        address = _libc.mmap(None, len(content), mmap.PROT_READ, mmap.MAP_SHARED | POPULATE, reader, 0)
        self._stack.callback(_libc.munmap, address, len(content))
        digest = hashlib.sha256(content).hexdigest() if digest == "" else digest
        target = SegmentTarget(name, kind, f"/{path.name}", reader, address, len(content), digest, files)
        self.segments.append(target)
        return target

    def path(self, index: int = 0) -> Path:
        """The segment's object."""
        return Path("/dev/shm" + self.segments[index].shm_name)

    def guest(self, orders: list[Order], *, expect: Any = "shared", **more: Any) -> GuestTarget:
        """Start a guest and wait until it has done its orders."""
        socket.send_fds(self._control, [json.dumps(orders).encode()], [s.descriptor for s in self.segments])
        reply = json.loads(self._control.recv(1 << 16))
        assert reply["answer"] == "ready", reply["answer"]
        target = GuestTarget(
            name=f"LINUX{len(self.guests) + 1:02}",
            engine="process",
            pids=(reply["pid"],),
            expect=expect,
            storage_bytes=64 << 20,
            window=self.window,
            user_area=self.user_area,
            **more,
        )
        self.guests.append(target)
        return target

    def fork_server_keeps(self) -> None:
        """Let the fork server read the first segment into its own memory, which guests then inherit."""
        socket.send_fds(self._control, [json.dumps("keep").encode()], [self.segments[0].descriptor])
        assert self._control.recv(16) == b"kept"

    def fork_server_has_program(self, path: Path) -> None:
        """Let the fork server map a file privately and copy its pages by writing, as loaders do with libraries."""
        with path.open("rb") as program:
            socket.send_fds(self._control, [json.dumps("rewrite").encode()], [program.fileno()])
            assert self._control.recv(16) == b"rewritten"

    def fork_server_shares(self, descriptor: int) -> None:
        """Let the fork server map a file shared, which guests then inherit."""
        socket.send_fds(self._control, [json.dumps("share").encode()], [descriptor])
        assert self._control.recv(16) == b"shared"

    def remove_system_v(self) -> None:
        """Remove the System V segments that its guests made: they outlive them."""
        pids = {pid for guest in self.guests for pid in guest.pids}
        for segment in detached_segments(pids):
            _libc.shmctl(segment.number, 0, None)

    @property
    def system(self) -> SystemTarget:
        """The system as CP would describe it."""
        return SystemTarget("stage", os.getpid(), (self.server.pid,), tuple(self.guests), tuple(self.segments))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        for guest in self.guests:
            for pid in guest.pids:
                _kill(pid)
        self.server.kill()
        self.server.wait()


def _kill(pid: int) -> None:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if children.exists():
        for child in children.read_text().split():
            _kill(int(child))
    with suppress(ProcessLookupError):
        os.kill(pid, 9)


@contextmanager
def disk_directory() -> Iterator[Path]:
    """A directory that is not in memory, which /tmp may be."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="dcss-test-") as path:
        Path(path).chmod(0o777)
        yield Path(path)


def without_privilege(call: Callable[[], T]) -> T:
    """Run `call` as an ordinary user: in a forked child of uid 65534 where this process is root."""
    if os.geteuid() != 0:
        return call()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become_nobody()
            result: T | BaseException = call()
        except BaseException as error:
            result = error
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(result, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        result = pickle.load(pipe)
    os.waitpid(pid, 0)
    if isinstance(result, BaseException):
        raise result
    return result


def _become_nobody() -> None:
    """Give up root, but for the right to read files: the interpreter itself may lie in root's home."""
    os.setgroups([])
    os.setgid(NOBODY)
    _libc.prctl(PR_SET_KEEPCAPS, 1)
    os.setuid(NOBODY)
    capabilities = (ctypes.c_uint32 * 6)(*([1 << CAP_DAC_READ_SEARCH] * 3), 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    assert _libc.capset(header, capabilities) == 0
    assert _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0) == 0
    _libc.prctl(PR_SET_DUMPABLE, 1)  # else its own books are closed to it
