"""Guests that map files of a segment and do nothing else, forked by a server that was exec'd before the segment exists.

Its argument is the descriptor of a SEQPACKET socket. It says where the guests' two reserved ranges are, and then forks
one guest for each packet: [[page of the segment, pages], ...] with the segment's descriptor.
"""

import ctypes
import gc
import json
import mmap
import os
import signal
import socket
import sys

PAGE_BYTES = 4096
RESERVED_BYTES = 1 << 39
ADDRESS = 0x20000000
FIXED, NORESERVE, POPULATE = 0x10, 0x4000, 0x8000
OWN_OBJECTS = 10_000  # some 2 MiB of Python objects of each guest's own

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)


def map_pages(address: int | None, pages: int, protection: int, flags: int, *, descriptor: int, page: int = 0) -> int:
    """Map pages of a file, or anonymous ones, and return the address."""
    found: int | None = libc.mmap(address, pages * PAGE_BYTES, protection, flags, descriptor, page * PAGE_BYTES)
    if found is None or found == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return found


def serve(control: socket.socket) -> None:
    """Reserve, and fork guests until the other end is closed."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
    window, user_area = (map_pages(None, RESERVED_BYTES // PAGE_BYTES, 0, flags, descriptor=-1) for _ in range(2))
    control.send(json.dumps([window, user_area]).encode())
    gc.collect()
    gc.freeze()
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 1)
        if not packet:
            return
        if os.fork() == 0:
            libc.prctl(1, signal.SIGKILL)
            be_guest(control, json.loads(packet), descriptors[0], window, user_area=user_area)
        os.close(descriptors[0])


def be_guest(
    control: socket.socket, runs: list[tuple[int, int]], descriptor: int, window: int, *, user_area: int
) -> None:
    """Map the segment at its absolute address and each run at user level, write own objects, and wait."""
    shared = mmap.MAP_SHARED | FIXED
    pages = os.fstat(descriptor).st_size // PAGE_BYTES
    map_pages(window + ADDRESS, pages, mmap.PROT_READ, shared, descriptor=descriptor)
    at = user_area
    for page, count in runs:
        map_pages(at, count, mmap.PROT_READ, shared | POPULATE, descriptor=descriptor, page=page)
        at += (count + 1) * PAGE_BYTES
    own = [{"number": number} for number in range(OWN_OBJECTS)]
    control.send(str(os.getpid()).encode())
    while own:
        signal.pause()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
