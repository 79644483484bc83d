"""Bare forks that get at the same bytes: by mapping one object, by private copies, or by file systems of their own.

Each is forked from this process, which has imported next to nothing and has frozen the garbage collector, does its
work, and waits. It is what no guest can beat with processes. Started with `-I -S` and a JSON document as its argument:

    {"count": N, "work": "map" | "copy" | "merge" | "files", "path": FILE or directory with one mount for each fork,
     "huge": true: the file gets huge pages first, where the machine has them}

One line of JSON says that all are ready, one more that all are gone, after the standard input has ended.
"""

import ctypes
import gc
import json
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

POPULATE = 0x8000
MERGEABLE, COLLAPSE = 12, 25  # MADV_MERGEABLE, MADV_COLLAPSE
HUGE_BYTES = 2 << 20
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)


def map_pages(size_bytes: int, protection: int, flags: int, descriptor: int) -> int:
    """Map and return the address."""
    address: int | None = libc.mmap(None, size_bytes, protection, flags, descriptor, 0)
    if address is None or address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return address


def map_shared(descriptor: int) -> None:
    """Map a whole file, every page present."""
    size_bytes = os.fstat(descriptor).st_size
    if size_bytes:
        map_pages(size_bytes, mmap.PROT_READ, mmap.MAP_SHARED | POPULATE, descriptor)


def copy(descriptor: int, *, mergeable: bool) -> None:
    """Read a whole file into memory of this process's own."""
    size_bytes = -(-os.fstat(descriptor).st_size // 4096) * 4096
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = map_pages(size_bytes, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1)
    if mergeable and libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), MERGEABLE):
        raise OSError(ctypes.get_errno(), "madvise(MADV_MERGEABLE)")
    view = memoryview((ctypes.c_char * size_bytes).from_address(address)).cast("B")
    offset = 0
    while count := os.preadv(descriptor, [view[offset : offset + (1 << 20)]], offset):
        offset += count


def work_on_files(top: str) -> None:
    """Map every file below a directory, every page present."""
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)  # noqa: PTH118 - pathlib would be more private memory in each fork
            if not os.path.islink(path):  # noqa: PTH114
                descriptor = os.open(path, os.O_RDONLY)
                map_shared(descriptor)
                os.close(descriptor)


def worker(order: dict[str, str]) -> Callable[[int], None]:
    """Return what each fork does with its number; whatever can be prepared is, so that a fork costs the least."""
    work, path = order["work"], order["path"]
    if work == "files":
        return lambda number: work_on_files(f"{path}/{number}")
    descriptor = os.open(path, os.O_RDONLY)
    if work != "map":
        return lambda _: copy(descriptor, mergeable=work == "merge")
    return same_as_guests(descriptor, huge=bool(order.get("huge")))


def same_as_guests(descriptor: int, *, huge: bool) -> Callable[[int], None]:
    """Return a worker that maps a whole file by one call and reads a byte of every page.

    This process imports what the fork server of guests imports, so that nothing but their work tells them apart. It
    maps the file as well, as CP does: its pages have more than one owner even where there is one fork.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import dcss.engines.process.forkserver  # noqa: F401 - imported, not used
    from vmguest import hostmem

    size_bytes = os.fstat(descriptor).st_size
    reservation = hostmem.reserve()
    window, user_area = (-(-start // HUGE_BYTES) * HUGE_BYTES for start in (reservation.window, reservation.user_area))
    hostmem.map_object(window, size_bytes, descriptor, 0, writable=False, private=False, populate=True)
    if huge:
        # Refused where the kernel has no huge page to give, or no such advice; the pages stay small then.
        libc.madvise(ctypes.c_void_p(window), ctypes.c_size_t(size_bytes // HUGE_BYTES * HUGE_BYTES), COLLAPSE)

    def work(_: int) -> None:
        hostmem.map_object(user_area, size_bytes, descriptor, 0, writable=False, private=False, populate=False)
        hostmem.view(user_area, size_bytes)[::4096].tobytes()

    return work


def start(order: dict[str, str], count: int) -> list[int]:
    """Fork, and return when every fork has done its work."""
    work = worker(order)
    prctl, pause, write, numbers, kill = libc.prctl, signal.pause, os.write, range(count), int(signal.SIGKILL)
    ready, theirs = os.pipe()
    pids = []
    gc.collect()
    gc.freeze()
    for number in numbers:
        pid = os.fork()
        if not pid:
            try:
                prctl(1, kill)
                work(number)
                write(theirs, b"x")
                while True:
                    pause()
            finally:
                os._exit(1)
        pids.append(pid)
    os.close(theirs)
    left = count
    while left:
        said = len(os.read(ready, left))
        if not said:
            raise SystemExit("a bare fork died before it was ready")
        left -= said
    return pids


def main() -> None:
    """Start, wait, end."""
    order = json.loads(sys.argv[1])
    began = time.monotonic()
    pids = start(order, int(order["count"]))
    print(json.dumps({"ready": time.monotonic() - began, "pids": pids}), flush=True)
    sys.stdin.read()
    began = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    print(json.dumps({"stop": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main()
