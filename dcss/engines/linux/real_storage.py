"""A virtual machine's real storage, read and written from outside, and segments mapped into it.

QEMU has all of absolute storage in one mapping of its own. A segment that is loaded is mapped over a part of that, from
the object that CP has published: QEMU is made to execute mmap(2), as a debugger would, so that the machine uses the
very frames that every other guest uses.
"""

import mmap
import os

from dcss.account.maps import read_maps
from dcss.errors import LaunchError
from dcss.host.ptrace import StoppedProcess, syscall_instruction

_SYS_MMAP = 9  # of x86_64
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_NO_DESCRIPTOR = 0xFFFF_FFFF_FFFF_FFFF


class RealStorage:
    """Storage of the QEMU process `pid`, whose real address 0 lies at its address `start`.

    Methods raise OSError where the process has ended.
    """

    def __init__(self, pid: int, start: int) -> None:
        self._pid, self.start = pid, start
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        self._code: int | None = None

    def close(self) -> None:
        """Close the descriptor of its memory."""
        os.close(self._memory)

    def read(self, address: int, size_bytes: int) -> bytes:
        """Return bytes from real `address` on."""
        content = os.pread(self._memory, size_bytes, self.start + address)
        if len(content) < size_bytes:
            raise OSError(f"real storage: found {len(content)} bytes at {address:#x}, wanted {size_bytes}")
        return content

    def write(self, address: int, content: bytes | memoryview) -> None:
        """Store bytes from real `address` on."""
        view = memoryview(content)
        while view:
            done_bytes = os.pwrite(self._memory, view, self.start + address)
            view, address = view[done_bytes:], address + done_bytes

    def map(self, address: int, size_bytes: int, number: int, *, shared: bool) -> None:
        """Map an object, open in QEMU as descriptor `number`, at absolute `address`.

        What the machine writes there goes into the object where it is `shared`; else it becomes its own. The machine
        must stand still. Raises LaunchError where QEMU has no instruction that makes a system call.
        """
        self._mmap(address, size_bytes, mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE, number)

    def unmap(self, address: int, size_bytes: int) -> None:
        """Have storage of the machine's own at `address`, which reads as zeros."""
        self._mmap(address, size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, _NO_DESCRIPTOR)

    def _mmap(self, address: int, size_bytes: int, kind: int, number: int) -> None:
        if self._code is None:
            self._code = self._syscall_instruction()
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        flags = kind | _MAP_FIXED | _MAP_NORESERVE
        with StoppedProcess(self._pid, self._code) as process:
            process.call(_SYS_MMAP, self.start + address, size_bytes, protection, flags, number, 0)

    def _syscall_instruction(self) -> int:
        for vma in read_maps(self._pid):
            if vma.permissions.startswith("r-x") and not vma.path.startswith(b"[vsyscall"):
                found = syscall_instruction(self._memory, vma.start, vma.end)
                if found is not None:
                    return found
        raise LaunchError(f"process {self._pid}: found no instruction syscall in its text, wanted one")
