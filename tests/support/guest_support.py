"""Guest kernels inside the test process, with a real CP answering their hypercalls from a thread each."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from cp_support import BlockingCp

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName
from dcss.abi.hypercall import MAX_PACKET_BYTES, Request, send_reply
from vmguest import hostmem
from vmguest.fs.open import O_APPEND, O_CREAT, O_TRUNC, O_WRONLY
from vmguest.hostmem import Reservation
from vmguest.kernel import Kernel

STORAGE_BYTES = 64 << 20
WRITE = O_WRONLY | O_CREAT | O_TRUNC
APPEND = O_WRONLY | O_CREAT | O_APPEND


@cache
def reservation(slot: int = 0) -> Reservation:
    """Reserve a guest's addresses, once for all tests of this process; guests at the same time have a slot each."""
    return hostmem.reserve()


def definition(name: str, words: str = "20000-200FF SR") -> SegmentDefinition:
    """Return a definition in DEFSEG's words, ranges separated by commas."""
    return SegmentDefinition(SegmentName(name), tuple(PageRange.parse(w) for w in words.split(",")))


class Answering:
    """Serves one guest's hypercalls; `packets` keeps what crossed the socket."""

    def __init__(self, cp: BlockingCp, guest: str, storage_bytes: int, window: int) -> None:
        self.packets: list[bytes] = []
        self.port, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._cp = cp
        self._guest = guest

        def dump_storage(descriptor: int, address: int, size_bytes: int) -> None:
            os.write(descriptor, hostmem.view(window + address, size_bytes))

        cp.register(guest, storage_bytes=storage_bytes, privilege="EG", dump=dump_storage)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def functions(self) -> list[int]:
        """Return the function codes asked for so far."""
        return [Request.unpack(packet).ry for packet in self.packets]

    def close(self) -> None:
        self.port.close()
        self._thread.join()
        self._cp.release(self._guest)

    def _serve(self) -> None:
        with self._ours:  # closed however this ends, so that the guest never waits for a CP that failed
            while packet := self._ours.recv(MAX_PACKET_BYTES):
                self.packets.append(packet)
                send_reply(self._ours, self._cp.handle(self._guest, packet))


@contextmanager
def guest_kernel(
    cp: BlockingCp, name: str = "LINUX", storage_bytes: int = STORAGE_BYTES, *, slot: int = 0
) -> Iterator[Kernel]:
    """Yield a running kernel; its `calls` attribute is the Answering that serves it."""
    place = reservation(slot)
    answering = Answering(cp, name, storage_bytes, place.window)
    try:
        kernel = Kernel(place, storage_bytes, answering.port)
        kernel.calls = answering  # type: ignore[attr-defined]
        yield kernel
    finally:
        answering.close()
        for address, size_bytes in place.ranges:
            hostmem.unmap(address, size_bytes)


def fill_with(content: bytes) -> Callable[[int], None]:
    """Return what fills a segment with `content` from its start."""

    def fill(descriptor: int) -> None:
        os.pwrite(descriptor, content, 0)

    return fill
