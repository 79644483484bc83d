"""A process of a guest that waits, for which a test makes system calls: their results without any program's code."""

from guest390_support import Guest390

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.mm_area import PROT_READ, PROT_WRITE
from vmguest.s390x.calls.all import CALLS
from vmguest.s390x.calls.numbers import NUMBERS
from vmguest.s390x.process import Process, Thread, WaitError

AT_FDCWD = -100 & (1 << 64) - 1
_MEMORY = 0x7000_0000
_MEMORY_PAGES = 64


class Caller:
    """A process, and memory of its that calls point to."""

    def __init__(self, guest: Guest390) -> None:
        self.guest = guest
        self.process: Process = guest.start(b"/bin/pause")
        guest.programs.run(lambda: bool(self.process.threads and self.process.threads[0].waiting))
        self.process.space.map(None, 0, _MEMORY_PAGES, PROT_READ | PROT_WRITE, address=_MEMORY)
        self._used_bytes = 0

    @property
    def thread(self) -> Thread:
        """Its only thread."""
        return self.process.threads[0]

    def put(self, content: bytes | int) -> int:
        """Store bytes in its memory, or reserve so many; return their address."""
        size_bytes = content if isinstance(content, int) else len(content)
        address = _MEMORY + self._used_bytes
        self._used_bytes += -(-size_bytes // 16) * 16
        assert self._used_bytes <= _MEMORY_PAGES * PAGE_SIZE
        if not isinstance(content, int):
            self.process.space.write(address, content)
        return address

    def get(self, address: int, size_bytes: int) -> bytes:
        """Return bytes of its memory."""
        return self.process.space.read(address, size_bytes)

    def call(self, name: str, *parameters: int | bytes) -> int | None:
        """Make a call; bytes are stored, and their address given. Return its result, None where it would wait."""
        begin = self._used_bytes
        values = [self.put(each) if isinstance(each, bytes) else each & (1 << 64) - 1 for each in parameters]
        thread, system = self.thread, self.guest.system
        system.scheduler.load(thread)
        self.guest.kernel.vfs.user = self.process.credentials
        thread.waiting = None
        try:
            result = CALLS[NUMBERS[name]](system, thread, [0x1000000, 0, *values, *(0,) * (6 - len(values))])
        except KernelError as error:
            assert error.errno is not None
            return -error.errno
        except WaitError as wait:
            thread.waiting = wait.waiting
            return None
        finally:
            self._used_bytes = begin
        return result

    def open(self, path: bytes, flags: int, mode: int = 0o644) -> int:
        """Open a file; return its descriptor."""
        number = self.call("openat", AT_FDCWD, path + b"\0", flags, mode)
        assert number is not None
        assert number >= 0
        return number
