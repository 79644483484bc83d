"""The other side of segment_support: a fork server whose guests do what a test tells them; run as a file, exec'd.

It knows nothing of the project. A guest gets its orders as JSON, `[[verb, arguments], ...]`, and the segments'
descriptors in order; it answers `ready` or what went wrong, and then sleeps.
"""

import array
import ctypes
import fcntl
import json
import mmap
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

PAGE = 4096
RESERVED = 1 << 39
NORESERVE, FIXED, POPULATE = 0x4000, 0x10, 0x8000
PR_SET_PDEATHSIG = 1
IO_SETUP = {"x86_64": 206, "s390x": 243}.get(os.uname().machine, 0)
SOL_PACKET, PACKET_RX_RING = 263, 5

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
libc.shmat.restype = ctypes.c_void_p
libc.mremap.restype = ctypes.c_void_p
libc.mremap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def map_at(address: int | None, pages: int, protection: int, flags: int, *, descriptor: int = -1, page: int = 0) -> int:
    found = libc.mmap(address, pages * PAGE, protection, flags, descriptor, page * PAGE)
    if found == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), f"mmap at {address}")
    return int(found)


def rewrite_privately(descriptor: int) -> int:
    """Map a whole file privately, write what is there already, so that every page is a copy, and keep it mapped."""
    pages = -(-os.fstat(descriptor).st_size // PAGE)
    address = map_at(None, pages, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, descriptor=descriptor)
    for index in range(pages):
        byte = ctypes.c_ubyte.from_address(address + index * PAGE)
        byte.value = byte.value
    return address


class Guest:
    """One guest's memory, and the verbs of its orders."""

    def __init__(self, descriptors: list[int], window: int, user_area: int) -> None:
        self.descriptors = descriptors
        self.window, self.user_area = window, user_area
        self.kept: list[object] = []

    def content(self, page: int, pages: int, segment: int = 0) -> bytes:
        with mmap.mmap(self.descriptors[segment], 0, prot=mmap.PROT_READ) as whole:
            return whole[page * PAGE : (page + pages) * PAGE]

    def device(
        self, *, address: int, pages: int, segment: int = 0, private: bool = False, populate: bool = False
    ) -> None:
        """Map a segment at its absolute address."""
        flags = FIXED | (mmap.MAP_PRIVATE if private else mmap.MAP_SHARED) | (POPULATE if populate else 0)
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if private else 0)
        map_at(self.window + address, pages, protection, flags, descriptor=self.descriptors[segment])

    def map(
        self, *, at: int, page: int, pages: int, segment: int = 0, touched: int | None = None, private: bool = False
    ) -> None:
        """Map pages of a segment at user level; `at` is a page of the user area."""
        address = self.user_area + at * PAGE
        flags = FIXED | (mmap.MAP_PRIVATE if private else mmap.MAP_SHARED)
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if private else 0)
        map_at(address, pages, protection, flags, descriptor=self.descriptors[segment], page=page)
        # MADV_RANDOM does not turn fault-around off: what should stay absent is thrown out again.
        for index in range(pages):
            ctypes.c_ubyte.from_address(address + index * PAGE).value  # noqa: B018
        if touched is not None:
            libc.madvise(ctypes.c_void_p(address + touched * PAGE), (pages - touched) * PAGE, 4)

    def hole(self, *, at: int, pages: int) -> None:
        map_at(
            self.user_area + at * PAGE, pages, mmap.PROT_READ, FIXED | POPULATE | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        )

    def replace(
        self, *, at: int, page: int, pages: int, segment: int = 0, change: bool = False, shared: bool = False
    ) -> None:
        """Put memory of its own where a file is mapped, with equal content or one byte changed in each page."""
        data = bytearray(self.content(page, pages, segment))
        if change:
            for index in range(pages):
                data[index * PAGE] ^= 0xFF
        flags = FIXED | mmap.MAP_ANONYMOUS | (mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE)
        address = map_at(self.user_area + at * PAGE, pages, mmap.PROT_READ | mmap.PROT_WRITE, flags)
        ctypes.memmove(address, bytes(data), len(data))
        libc.mprotect(address, len(data), mmap.PROT_READ)

    def move_in(self, *, at: int, page: int, pages: int, segment: int = 0) -> None:
        """Move private memory with a copy over mapped pages, as mremap does."""
        data = self.content(page, pages, segment)
        address = self.anonymous(len(data))
        ctypes.memmove(address, data, len(data))
        length, target = pages * PAGE, self.user_area + at * PAGE
        if (
            libc.mremap(ctypes.c_void_p(address), length, length, 3, ctypes.c_void_p(target))
            == ctypes.c_void_p(-1).value
        ):
            raise OSError(ctypes.get_errno(), "mremap")

    def share_zeros(self, *, at: int, pages: int) -> None:
        """Fill a hole's place with private pages of zeros, which are not the zero page."""
        address = map_at(
            self.user_area + at * PAGE,
            pages,
            mmap.PROT_READ | mmap.PROT_WRITE,
            FIXED | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
        )
        ctypes.memset(address, 0, pages * PAGE)

    def unmap_pages(self, *, at: int, pages: int) -> None:
        libc.munmap(ctypes.c_void_p(self.user_area + at * PAGE), pages * PAGE)

    def map_path(
        self, *, path: str, at: int, pages: int, page: int = 0, area: str = "user_area", writable: bool = False
    ) -> None:
        """Map a file of the host where a segment's pages should be."""
        descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        map_at(
            getattr(self, area) + at * PAGE,
            pages,
            mmap.PROT_READ,
            FIXED | POPULATE | mmap.MAP_SHARED,
            descriptor=descriptor,
            page=page,
        )
        os.close(descriptor)

    def keep_writable(self, path: str) -> None:
        """Hold the segment's object open for writing."""
        self.kept.append(os.open(path, os.O_RDWR))

    def map_writable(self, path: str) -> None:
        """Map the segment's object for writing, then close it."""
        descriptor = os.open(path, os.O_RDWR)
        map_at(None, 1, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | POPULATE, descriptor=descriptor)
        os.close(descriptor)

    def map_of_writable(self, path: str) -> None:
        """Map the segment's object for reading, of a descriptor that could have been written through."""
        descriptor = os.open(path, os.O_RDWR)
        map_at(None, 1, mmap.PROT_READ, mmap.MAP_SHARED | POPULATE, descriptor=descriptor)
        os.close(descriptor)

    def open_path(self, path: str, flags: int = os.O_RDONLY) -> None:
        """Hold a file of the host open."""
        self.kept.append(os.open(path, flags))

    def change_directory(self, path: str) -> None:
        os.chdir(path)

    def copy_private(self, path: str) -> None:
        """Hold copies of a file's pages in a private mapping of it."""
        descriptor = os.open(path, os.O_RDONLY)
        rewrite_privately(descriptor)
        os.close(descriptor)

    def write_into(self, path: str, file_page: int, page: int) -> None:
        """Write a segment's page into the private mapping of a file that it inherited."""
        line = next(line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(path))
        address = int(line.split("-")[0], 16) + file_page * PAGE
        ctypes.memmove(address, self.content(page, 1), PAGE)

    def share_private(self, path: str) -> None:
        """Map a whole file private, outside both areas, touch its first page, and close it."""
        descriptor = os.open(path, os.O_RDONLY)
        mapped = mmap.mmap(descriptor, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
        os.close(descriptor)
        self.kept.append(mapped)
        mapped[0]

    def sparse(self, *, size_bytes: int, kind: str, touched_bytes: int = 0) -> None:
        """Map memory that is empty, and read a part of it: a page of each mapping is the zero page, or none."""
        protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, NORESERVE | mmap.MAP_PRIVATE
        descriptor = -1
        if kind == "reserved":
            protection = 0
        elif kind == "anonymous-read":
            protection = mmap.PROT_READ
        elif kind.startswith("memfd"):
            descriptor = os.memfd_create("sparse")
        elif kind.startswith("disk"):
            descriptor = os.open("/var/tmp", os.O_TMPFILE | os.O_RDWR)
        elif kind.startswith("shm"):
            descriptor = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR)
        if descriptor >= 0:
            os.ftruncate(descriptor, size_bytes)
            if not kind.endswith("private"):
                flags = NORESERVE | mmap.MAP_SHARED
        else:
            flags |= mmap.MAP_ANONYMOUS
        address = map_at(None, size_bytes // PAGE, protection, flags, descriptor=descriptor)
        libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(touched_bytes), 22)  # MADV_POPULATE_READ
        self.kept.append(descriptor)

    def hide_before_zeros(self, data: bytes) -> None:
        """At the end of a page that is written, with the zeros that it ends in on a page that was only read."""
        address = self.anonymous(1 << 26)
        libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(1 << 26), 22)
        written = data.rstrip(b"\0")
        end = address + (1 << 25)
        ctypes.memmove(end - len(written), written, len(written))

    def close(self) -> None:
        """Keep no descriptor of the segments."""
        for descriptor in self.descriptors:
            os.close(descriptor)

    def store(self, address: int, text: str) -> None:
        """Write into a private mapping in the window."""
        ctypes.memmove(self.window + address, text.encode(), len(text))

    def rewrite(self, address: int, pages: int, area: str = "window") -> None:
        """Write what is there already, so that the kernel makes private copies."""
        for index in range(pages):
            byte = ctypes.c_ubyte.from_address(getattr(self, area) + address + index * PAGE)
            byte.value = byte.value

    def storage(self, pages: int) -> None:
        """Real storage: private memory at the bottom of the window."""
        flags = FIXED | NORESERVE | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        map_at(self.window, pages, mmap.PROT_READ | mmap.PROT_WRITE, flags)

    def read_into(self, address: int, page: int, pages: int, segment: int = 0) -> None:
        """Copy segment pages into real storage, as a page cache does."""
        ctypes.memmove(self.window + address, self.content(page, pages, segment), pages * PAGE)

    def hide(self, *, how: str, page: int, pages: int, segment: int = 0) -> None:
        """Keep a copy of segment pages."""
        getattr(self, f"hide_{how}")(self.content(page, pages, segment))

    def hide_bytes(self, data: bytes) -> None:
        self.kept.append(data[:1] + data[1:])

    def hide_bytearray(self, data: bytes) -> None:
        self.kept.append(bytearray(data))

    def hide_pieces(self, data: bytes) -> None:
        self.kept += [data[start : start + 65536] for start in range(0, len(data), 65536)]

    def hide_odd(self, data: bytes) -> None:
        self.kept.append(b"odd" + data)

    def anonymous(self, size: int, flags: int = mmap.MAP_PRIVATE) -> int:
        return map_at(None, -(-size // PAGE) + 1, mmap.PROT_READ | mmap.PROT_WRITE, flags | mmap.MAP_ANONYMOUS)

    def hide_private(self, data: bytes) -> None:
        ctypes.memmove(self.anonymous(len(data)) + 8, data, len(data))

    def hide_anonymous_shared(self, data: bytes) -> None:
        ctypes.memmove(self.anonymous(len(data), mmap.MAP_SHARED), data, len(data))

    def hide_dropped(self, data: bytes) -> None:
        """Shared memory that holds the copy while no page of it is present."""
        address = self.anonymous(len(data), mmap.MAP_SHARED)
        ctypes.memmove(address, data, len(data))
        libc.madvise(ctypes.c_void_p(address), len(data), 4)

    def hide_prot_none(self, data: bytes) -> None:
        address = self.anonymous(len(data))
        ctypes.memmove(address, data, len(data))
        libc.mprotect(address, len(data) + PAGE, 0)

    def hide_straddling(self, data: bytes) -> None:
        """Over the border of two mappings that the kernel keeps apart."""
        address = self.anonymous(len(data) + PAGE)
        ctypes.memmove(address + 1000, data, len(data))
        libc.mprotect(address + PAGE, PAGE, mmap.PROT_READ)

    def hide_file_private(self, data: bytes) -> None:
        """In a private mapping of a file of the host, written over."""
        mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if " /usr" in line}
        path = next(path for path in sorted(mapped) if Path(path).stat().st_size >= len(data))
        descriptor = os.open(path, os.O_RDONLY)
        pages = len(data) // PAGE
        address = map_at(None, pages, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, descriptor=descriptor)
        os.close(descriptor)
        ctypes.memmove(address, data, len(data))

    def hide_vdso(self, data: bytes) -> None:
        """Over the code that the kernel itself mapped, one page of it."""
        line = next(line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("[vdso]"))
        address = int(line.split("-")[0], 16)
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:  # as debuggers do it
            memory.seek(address)
            memory.write(data)

    def hide_memfd(self, data: bytes) -> None:
        descriptor = self.memfd(data)
        self.kept.append(mmap.mmap(descriptor, len(data)))
        os.close(descriptor)

    def hide_memfd_unmapped(self, data: bytes) -> None:
        self.kept.append(self.memfd(data))

    def hide_tmpfs(self, data: bytes) -> None:
        path = Path(f"/dev/shm/dcss-test-hidden-{os.getpid()}")
        path.write_bytes(data)
        self.kept.append(path.open("rb"))
        path.unlink()

    def hide_system_v(self, data: bytes) -> None:
        """In a System V segment that it detaches again; whoever ends the guest removes it."""
        number = libc.shmget(0, len(data), 0o1600)
        address = libc.shmat(number, None, 0)
        ctypes.memmove(address, data, len(data))
        libc.shmdt(ctypes.c_void_p(address))

    def hide_message(self, data: bytes) -> None:
        """In a memory file that only a message on its way holds."""
        here, there = socket.socketpair()
        descriptor = self.memfd(data)
        socket.send_fds(here, [b"x"], [descriptor])
        os.close(descriptor)
        self.kept += [here, there]

    def hide_pipe(self, data: bytes) -> None:
        reader, writer = os.pipe()
        fcntl.fcntl(writer, 1031, 1 << 20)  # F_SETPIPE_SZ
        os.write(writer, data)
        self.kept += [reader, writer]

    def hide_socket(self, data: bytes) -> None:
        here, there = socket.socketpair()
        here.sendall(data)
        self.kept += [here, there]

    def chatter(self, size: int) -> None:
        """Leave a pipe and a socket with some bytes in them."""
        self.hide_pipe(bytes(size))
        self.hide_socket(bytes(size))

    def hide_io_uring(self, data: bytes) -> None:
        """In a memory file that only an io_uring holds."""
        ring = libc.syscall(425, 4, ctypes.create_string_buffer(120))
        if ring < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        descriptor = self.memfd(data)
        files = (ctypes.c_int * 1)(descriptor)
        if libc.syscall(427, ring, 2, files, 1) < 0:
            raise OSError(ctypes.get_errno(), "io_uring_register")
        os.close(descriptor)

    def hide_aio_ring(self, data: bytes) -> None:
        """In the ring of events that asynchronous input and output shares with the kernel, behind its first page."""
        ring = ctypes.c_ulong()
        event_bytes = 32
        if libc.syscall(IO_SETUP, (len(data) + PAGE) // event_bytes, ctypes.byref(ring)) < 0:
            raise OSError(ctypes.get_errno(), "io_setup")
        ctypes.memmove(ring.value + PAGE, data, len(data))

    def hide_packet_ring(self, data: bytes) -> None:
        """In the ring of packets of a socket that no protocol is bound to, so that nothing overwrites it."""
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        pages = len(data) // PAGE
        request = struct.pack("4I", PAGE, pages, PAGE, pages)  # struct tpacket_req: blocks of one frame each
        packets.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        ring = mmap.mmap(packets.fileno(), len(data))
        packets.close()
        ring[:] = data
        self.kept.append(ring)

    def hide_message_queue(self, data: bytes) -> None:
        """In a POSIX message queue that only its descriptor leads to."""
        message_bytes, name = 8192, f"/dcss-test-{os.getpid()}".encode()
        attributes = (ctypes.c_long * 8)(0, 10, message_bytes)
        queue = libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, attributes)
        if queue < 0:
            raise OSError(ctypes.get_errno(), "mq_open")
        libc.mq_unlink(name)
        for start in range(0, 10 * message_bytes, message_bytes):
            libc.mq_send(queue, ctypes.c_void_p(id(data) + bytes.__basicsize__ - 1 + start), message_bytes, 0)

    def hide_child(self, data: bytes) -> None:
        """In a process that the guest forks."""
        started, ready = os.pipe()
        if os.fork() == 0:
            self.hide_private(data)
            os.write(ready, b"x")
            signal.pause()
        os.read(started, 1)

    def hide_moving(self, data: bytes) -> None:
        """Move the copy between two buffers all the time: it is in one of them at any moment."""

        def move(here: int, there: int) -> None:
            while True:
                ctypes.memmove(there, here, len(data))
                ctypes.memset(here, 0, len(data))
                here, there = there, here
                time.sleep(0.002)

        here, there = (self.anonymous(len(data)) for _ in range(2))
        ctypes.memmove(here, data, len(data))
        threading.Thread(target=move, args=(here, there), daemon=True).start()

    def hide_moving_between_processes(self, data: bytes) -> None:
        """Move the copy from process to process through memory that both have: it is in one of them at any moment."""
        size = len(data)
        between = self.anonymous(size, mmap.MAP_SHARED)
        own = self.anonymous(size)
        turn = mmap.mmap(-1, PAGE)
        ctypes.memmove(own, data, size)

        def pass_on(mine: int) -> None:
            while True:
                if turn[0] == mine:
                    ctypes.memmove(between, own, size)
                    ctypes.memset(own, 0, size)
                    turn[0] = 2 + 1 - mine
                elif turn[0] == 2 + mine:
                    ctypes.memmove(own, between, size)
                    ctypes.memset(between, 0, size)
                    turn[0] = mine

        if os.fork() == 0:
            ctypes.memset(own, 0, size)
            pass_on(1)
        threading.Thread(target=pass_on, args=(0,), daemon=True).start()

    def memfd(self, data: bytes) -> int:
        descriptor = os.memfd_create("hidden")
        os.write(descriptor, data)
        return descriptor

    def map_own_twice(self, pages: int) -> None:
        """Map memory of its own at two addresses, and touch all pages at both."""
        descriptor = os.memfd_create("own")
        os.ftruncate(descriptor, pages * PAGE)
        for _ in range(2):
            own = mmap.mmap(descriptor, 0)
            own[::PAGE] = bytes(pages)
            self.kept.append(own)

    def share(self, path: str, touched: int) -> None:
        """Map a whole file shared, outside both areas, and touch its first pages."""
        descriptor = os.open(path, os.O_RDWR)
        mapped = mmap.mmap(descriptor, 0)
        self.kept.append(mapped)
        os.close(descriptor)
        for index in range(touched):
            mapped[index * PAGE]

    def undumpable(self) -> None:
        """Close its books to all but root."""
        libc.prctl(4, 0)


def become_guest(
    control: socket.socket, orders: list[Any], descriptors: list[int], window: int, user_area: int
) -> NoReturn:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    answer = "ready"
    try:
        guest = Guest(descriptors, window, user_area)
        for verb, arguments in orders:
            getattr(guest, verb)(**arguments)
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    control.send(json.dumps({"pid": os.getpid(), "answer": answer}).encode())
    control.close()
    while True:
        signal.pause()


def main() -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    control = socket.socket(fileno=int(sys.argv[1]))
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
    window, user_area = (map_at(None, RESERVED // PAGE, 0, flags) for _ in range(2))
    control.send(json.dumps({"window": window, "user_area": user_area, "bytes": RESERVED}).encode())
    kept: list[bytes] = []
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 16)
        if not packet:
            return
        orders = json.loads(packet)
        if orders == "rewrite":
            rewrite_privately(descriptors[0])
            control.send(b"rewritten")
        elif orders == "share":
            pages = -(-os.fstat(descriptors[0]).st_size // PAGE)
            map_at(None, pages, mmap.PROT_READ, mmap.MAP_SHARED | POPULATE, descriptor=descriptors[0])
            control.send(b"shared")
        elif orders == "keep":
            kept.append(Path(f"/proc/self/fd/{descriptors[0]}").read_bytes())
            control.send(b"kept")
        elif os.fork() == 0:
            become_guest(control, orders, list(array.array("i", descriptors)), window, user_area)
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    main()
