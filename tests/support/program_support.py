"""What programs of a guest would do with its kernel: memory that requests point to, and calls that return an errno."""

from collections.abc import Callable
from errno import EFAULT

from dcss.errors import KernelError
from vmguest.fs.open import FileDescription

ADDRESS = 0x1000


class FakeMemory:
    """The memory of a program, from ADDRESS on."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content.ljust(4096, b"\0"))

    def read(self, address: int, size_bytes: int) -> bytes:
        start = self._check(address, size_bytes)
        return bytes(self.content[start : start + size_bytes])

    def write(self, address: int, data: bytes) -> None:
        start = self._check(address, len(data))
        self.content[start : start + len(data)] = data

    def _check(self, address: int, size_bytes: int) -> int:
        if not ADDRESS <= address <= ADDRESS + len(self.content) - size_bytes:
            raise KernelError(EFAULT, f"{size_bytes} bytes at {address:#x}")
        return address - ADDRESS


def errno_of(call: Callable[[], object]) -> int | None:
    """Return the errno that a call fails with, None where it does not."""
    try:
        call()
    except KernelError as error:
        return error.errno
    return None


def read(file: FileDescription, size_bytes: int = 100_000) -> bytes:
    """Read once, as read(2)."""
    buffer = bytearray(size_bytes)
    return bytes(buffer[: file.read(memoryview(buffer))])


def ioctl(file: FileDescription, request: int, given: bytes = b"") -> bytes:
    """Make a request with bytes in memory; return the memory after it."""
    memory = FakeMemory(given)
    assert file.ioctl(request, ADDRESS, memory) == 0
    return bytes(memory.content)
