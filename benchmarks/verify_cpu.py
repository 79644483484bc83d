"""CPU seconds of each claim for a hundred guests that share 100 MiB, and how far that is from merely reading the books.

The segment holds this machine's own libraries. Guests are forked by a server of this benchmark's own, exec'd before the
segment exists: each maps it at its absolute address, maps every library at user level, one mmap each and every page
present, and writes some 2 MiB of Python objects of its own. The floor is reading alone: the same pagemaps by one call
a guest, and the same private pages by one call a run. Rounds alternate; the first is discarded.

    python benchmarks/verify_cpu.py [GUESTS [MIB [ROUNDS]]]
"""

import ctypes
import gc
import hashlib
import json
import mmap
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from dcss.account.targets import SystemTarget
    from dcss.verify.snapshot import GuestView, Snapshot

T = TypeVar("T")

PAGE = 4096
RESERVED = 1 << 39
ADDRESS = 0x20000000
FIXED, NORESERVE, POPULATE = 0x10, 0x4000, 0x8000

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)


class File(NamedTuple):
    path: bytes
    runs: tuple[tuple[int, int, int], ...]
    damage: str = ""


def map_pages(address: int | None, pages: int, protection: int, flags: int, descriptor: int, page: int = 0) -> int:  # noqa: PLR0917
    found: int | None = libc.mmap(address, pages * PAGE, protection, flags, descriptor, page * PAGE)
    if found is None or found == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return found


def serve(control: socket.socket) -> None:
    """Fork one guest for each packet: [[page of the segment, pages], ...] with the segment's descriptor."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
    window, user_area = (map_pages(None, RESERVED // PAGE, 0, flags, -1) for _ in range(2))
    control.send(json.dumps([window, user_area]).encode())
    gc.collect()
    gc.freeze()
    while True:
        packet, (descriptor,), _, _ = socket.recv_fds(control, 1 << 20, 1)
        if os.fork() == 0:
            libc.prctl(1, signal.SIGKILL)
            runs = json.loads(packet)
            pages = os.fstat(descriptor).st_size // PAGE
            map_pages(window + ADDRESS, pages, mmap.PROT_READ, mmap.MAP_SHARED | FIXED, descriptor)
            at = user_area
            for page, count in runs:
                map_pages(at, count, mmap.PROT_READ, mmap.MAP_SHARED | FIXED | POPULATE, descriptor, page)
                at += (count + 1) * PAGE
            own = [{"number": number} for number in range(10_000)]
            control.send(str(os.getpid()).encode())
            while own:
                signal.pause()
        os.close(descriptor)


def libraries(limit_bytes: int) -> Iterator[Path]:
    total = 0
    for path in sorted(Path("/usr/lib").rglob("*.so*")):
        if path.is_symlink() or not path.is_file():
            continue
        size_bytes = -(-path.stat().st_size // PAGE) * PAGE
        if 0 < size_bytes <= limit_bytes - total:
            total += size_bytes
            yield path


@contextmanager
def system(guests: int, size_bytes: int) -> Iterator[tuple["SystemTarget", int]]:
    """A system of `guests` that share `size_bytes` of libraries, and how many mappings each has."""
    from dcss.abi.extmem import SegmentType
    from dcss.account.targets import AddressRange, GuestTarget, SegmentTarget, SystemTarget

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = subprocess.Popen([sys.executable, __file__, "--serve", str(theirs.fileno())], pass_fds=[theirs.fileno()])
    path = Path(f"/dev/shm/dcss-bench-{os.getpid()}")
    try:
        window, user_area = json.loads(ours.recv(1 << 10))
        digest = hashlib.sha256()
        files, page = [], 0
        with path.open("xb") as segment:
            for library in libraries(size_bytes):
                content = library.read_bytes()
                content += bytes(-len(content) % PAGE)
                segment.write(content)
                digest.update(content)
                files.append(File(bytes(library), ((0, page, len(content) // PAGE),)))
                page += len(content) // PAGE
        descriptor = os.open(path, os.O_RDONLY)
        address = map_pages(None, page, mmap.PROT_READ, mmap.MAP_SHARED | POPULATE, descriptor)
        target = SegmentTarget(
            "LIB", SegmentType.SR, f"/{path.name}", descriptor, address, page * PAGE, digest.hexdigest(), tuple(files)
        )
        areas = [AddressRange(start, start + RESERVED) for start in (window, user_area)]
        orders = json.dumps([file.runs[0][1:] for file in files]).encode()
        members = []
        for number in range(guests):
            socket.send_fds(ours, [orders], [descriptor])
            pid = int(ours.recv(32))
            members.append(GuestTarget(f"G{number:03}", "process", (pid,), "shared", 0, areas[0], areas[1]))
        yield SystemTarget("bench", os.getpid(), (server.pid,), tuple(members), (target,)), len(files)
    finally:
        server.kill()
        server.wait()
        path.unlink(missing_ok=True)


def cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def one_round(target: "SystemTarget") -> dict[str, float]:
    """CPU seconds of each part of verify, made as verify makes them, and of reading alone."""
    from dcss.account.scan import hold_system, scan
    from dcss.verify.cache import ContentCache
    from dcss.verify.claims import books_close, no_copies, one_frame, protection
    from dcss.verify.examine import verify
    from dcss.verify.search.system_search import search_system
    from dcss.verify.segment_view import SegmentView
    from dcss.verify.snapshot import SnapshotBuilder

    seconds: dict[str, float] = {}

    def timed(name: str, call: Callable[[], T]) -> T:
        started = cpu_seconds()
        found = call()
        seconds[name] = cpu_seconds() - started
        return found

    segments = [SegmentView.of(segment) for segment in target.segments]
    objects = frozenset(segment.object for segment in segments)

    def read_page_tables() -> "Snapshot":
        with hold_system(target):
            builder = SnapshotBuilder(target, segments, frames=True, evidence=None)
            scan(target, [builder])
        return builder.snapshot

    def search_memory() -> None:
        searcher = timed("claim 2: anchors of all pages", lambda: ContentCache().searcher(segments))
        snapshot.search = search_system(target, objects, searcher, lambda *_, **__: None, frames=True)

    snapshot = timed("looking at all processes", read_page_tables)
    timed("claim 2, no-hidden-copies", search_memory)
    claims = [
        timed("claim 1, one-frame-per-page", lambda: one_frame.judge(snapshot)),
        timed("claim 3, books-close", lambda: books_close.judge(snapshot)),
        timed("claim 4, protection-holds", lambda: protection.judge(snapshot)),
        no_copies.judge(snapshot),
    ]
    assert all(claim.holds for claim in claims), claims
    timed("floor: pagemaps read", lambda: [read_pagemap(guest) for guest in snapshot.guests])
    timed("floor: private pages read", lambda: read_private(target))
    result = timed("verify, the whole", lambda: verify(target))
    assert result.verdict == "verified", result.claims
    return seconds


def read_pagemap(guest: "GuestView") -> int:
    start = guest.target.user_area.start // PAGE
    mapped = sum(segment.mapped.sum() for segment in guest.segments) + 2000
    descriptor = os.open(f"/proc/{guest.pids[0]}/pagemap", os.O_RDONLY)
    try:
        return len(os.pread(descriptor, int(mapped) * 8, start * 8))
    finally:
        os.close(descriptor)


def read_private(target: "SystemTarget") -> None:
    """Read each private frame once, a call a run, into one buffer."""
    import numpy as np

    from dcss.account.pagemap import frames_of, is_file, runs_of
    from dcss.account.space import ProcessPages

    seen = np.zeros(0, np.uint64)
    buffer = memoryview(bytearray(64 << 20))
    for pid in (*target.other_pids, *(guest.pids[0] for guest in target.guests)):
        space = ProcessPages.read(pid)
        frames = frames_of(space.entries)
        fresh = ~is_file(space.entries)
        if len(seen):
            fresh &= seen[np.minimum(np.searchsorted(seen, frames), len(seen) - 1)] != frames
        seen = np.concatenate((seen, frames[fresh]))
        seen.sort(kind="stable")
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        for first, count in runs_of(space.pages[fresh]):
            try:
                os.preadv(descriptor, [buffer[: count * PAGE]], first * PAGE)
            except OSError:
                continue  # the kernel's own mappings
        os.close(descriptor)


def main() -> None:
    guests, mib, rounds = (int(word) for word in (*sys.argv[1:], *("100", "100", "4")[len(sys.argv) - 1 :])[:3])
    with system(guests, mib << 20) as (target, mappings):
        measured = [one_round(target) for _ in range(rounds)][1:]
    medians = {name: statistics.median(seconds[name] for seconds in measured) for name in measured[0]}
    print(f"{guests} guests, {mib} MiB, {mappings} mappings each; CPU seconds, median of {rounds - 1} rounds")
    for name, seconds in medians.items():
        spread = f"[{min(r[name] for r in measured):.3f}-{max(r[name] for r in measured):.3f}]"
        print(f"  {name:30} {seconds:7.3f} {spread}")
    copies = medians["claim 2, no-hidden-copies"]
    rest = medians["verify, the whole"] - copies
    pagemaps, private = medians["floor: pagemaps read"], medians["floor: private pages read"]
    print(f"claims 1, 3 and 4: {rest:.2f} s (wanted: under 1), {rest / pagemaps:.1f} times the floor")
    print(f"claim 2: {copies:.2f} s (wanted: under 2), {copies / private:.1f} times the floor")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        main()
