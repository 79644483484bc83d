"""Guest kernels in processes of their own that load segments from the CP of the test, and store, read, save and die.

This file is both sides: imported by a test it starts guests, executed it is one. Orders and answers are JSON.
"""

import ctypes
import faulthandler
import json
import mmap
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli_support import own_path
from cp_support import BlockingCp
from wait_support import LIMIT_SECONDS

from dcss.abi.hypercall import MAX_PACKET_BYTES, send_reply
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE

STORAGE_BYTES = 64 << 20
PRESENT, FILE_OR_SHARED = 1 << 63, 1 << 61  # bits of /proc/PID/pagemap


class GuestDiedError(Exception):
    """A guest ended instead of answering; `signal` is what ended it."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"ended by {signal}")
        self.signal = signal


class RealGuest:
    """A guest's process, as its CP sees it: the orders wait until it has answered, its hypercalls served meanwhile."""

    def __init__(self, cp: BlockingCp, name: str, *, namesave: frozenset[str] = frozenset()) -> None:
        self.name = name
        self._cp = cp
        self._port, port = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders, orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with port, orders:
            descriptors = [port.fileno(), orders.fileno()]
            command = [sys.executable, __file__, *map(str, descriptors)]
            environment = {**os.environ, "PYTHONPATH": own_path()}
            self.process = subprocess.Popen(command, pass_fds=descriptors, env=environment)
        cp.register(name, storage_bytes=STORAGE_BYTES, namesave=namesave, privilege="EG", dump=self._dump)
        try:
            self._window: int = self.ask("window")
        except BaseException:
            self.end()
            raise

    def load(self, name: str, *, shared: bool = True) -> None:
        """Load a segment, as dcssblk does."""
        self.ask("load", name, not shared)

    def unload(self, name: str) -> None:
        """Purge a segment."""
        self.ask("unload", name)

    def store(self, page: int, text: str) -> None:
        """Store at the start of a page, by the processor's instruction. Raises GuestDiedError where it may not."""
        self.ask("store", page, text)

    def read(self, page: int) -> str:
        """Return what a page begins with."""
        return str(self.ask("read", page))

    def make_writable(self, page: int) -> int:
        """Try mprotect on a page, and return the errno."""
        return int(self.ask("mprotect", page))

    def cp_command(self, line: str) -> int:
        """Give a CP command by DIAG X'08', and return its return code."""
        return int(self.ask("cp", line))

    def kill(self) -> None:
        """End it as the kernel's OOM killer would; CP hears of it by the end of its socket."""
        self.process.kill()
        self.process.wait()
        assert self._port.recv(1) == b""
        self._cp.release(self.name)

    def own_pages(self, first_page: int, pages: int) -> set[int]:
        """Return which pages of absolute storage stand in frames of the guest's own, by its page table."""
        entry_bytes = 8
        with Path(f"/proc/{self.process.pid}/pagemap").open("rb") as pagemap:
            pagemap.seek(((self._window >> PAGE_SHIFT) + first_page) * entry_bytes)
            entries = memoryview(pagemap.read(pages * entry_bytes)).cast("Q")
        return {first_page + i for i, entry in enumerate(entries) if entry & PRESENT and not entry & FILE_OR_SHARED}

    def own_bytes(self, first_page: int) -> int:
        """Return what the mapping of a page costs the guest alone, by smaps: its anonymous memory."""
        start = self._window + (first_page << PAGE_SHIFT)
        smaps = Path(f"/proc/{self.process.pid}/smaps").read_text()
        (found,) = re.findall(rf"^{start:x}-.*?^Anonymous: +(\d+) kB", smaps, re.MULTILINE | re.DOTALL)
        return int(found) << 10

    def ask(self, *order: Any) -> Any:
        """Give an order and return the answer, or raise what the guest ended by."""
        with selectors.DefaultSelector() as selector:
            for each in (self._port, self._orders):
                selector.register(each, selectors.EVENT_READ)
            return self._ask(selector, order)

    def _ask(self, selector: selectors.BaseSelector, order: tuple[Any, ...]) -> Any:
        self._orders.send(json.dumps(order).encode())
        while True:
            ready = [key.fileobj for key, _ in selector.select(LIMIT_SECONDS)]
            assert ready, f"guest {self.name} does not answer to {order}"
            if self._orders in ready:
                answer = self._received()
                if not answer:
                    raise GuestDiedError(-self.process.wait())
                return json.loads(answer)
            packet = self._port.recv(MAX_PACKET_BYTES)
            if packet:
                send_reply(self._port, self._cp.handle(self.name, packet))

    def _received(self) -> bytes:
        try:
            return self._orders.recv(1 << 16)
        except ConnectionResetError:  # it ended before it read the order
            return b""

    def end(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        self._port.close()
        self._orders.close()
        self._cp.release(self.name)

    def _dump(self, write_fd: int, address: int, size_bytes: int) -> None:
        with Path(f"/proc/{self.process.pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(self._window + address)
            os.pwrite(write_fd, memory.read(size_bytes), 0)


@contextmanager
def real_guests(cp: BlockingCp, *names: str) -> Iterator[list[RealGuest]]:
    """Start guests, and end them."""
    guests: list[RealGuest] = []
    try:
        for name in names:
            guests.append(RealGuest(cp, name))
        yield guests
    finally:
        for guest in guests:
            guest.end()


def _be_a_guest(port: int, orders: int) -> None:
    from vmguest import hostmem
    from vmguest.cpcmd import cpcmd
    from vmguest.kernel import Kernel

    faulthandler.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=orders)
    reservation = hostmem.reserve()
    kernel = Kernel(reservation, STORAGE_BYTES, socket.socket(fileno=port))
    libc = ctypes.CDLL(None, use_errno=True)

    def store(page: int, text: str) -> None:
        ctypes.memmove(kernel.machine.absolute(page), text.encode(), len(text))

    def mprotect(page: int) -> int:
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        address = ctypes.c_void_p(kernel.machine.absolute(page))
        return ctypes.get_errno() if libc.mprotect(address, PAGE_SIZE, protection) else 0

    def load(name: str, do_nonshared: bool) -> None:
        kernel.extmem.segment_load(name, do_nonshared=do_nonshared)

    verbs: dict[str, Callable[..., object]] = {
        "window": lambda: reservation.window,
        "load": load,
        "unload": kernel.extmem.segment_unload,
        "store": store,
        "read": lambda page: ctypes.string_at(kernel.machine.absolute(page), 64).rstrip(b"\0").decode("latin-1"),
        "mprotect": mprotect,
        "cp": lambda line: cpcmd(kernel.machine, line).return_code,
    }
    while order := channel.recv(1 << 16):
        verb, *arguments = json.loads(order)
        result = verbs[verb](*arguments)
        channel.send(json.dumps(result if isinstance(result, int | str) else None).encode())


if __name__ == "__main__":
    _be_a_guest(int(sys.argv[1]), int(sys.argv[2]))
