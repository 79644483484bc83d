"""A virtual machine's real storage, read and written from outside: QEMU has it mapped from the storage object."""

import os
from typing import Self

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.maps import read_maps
from dcss.account.pagemap import Pagemap, is_file, populated_of, runs_of
from dcss.errors import LaunchError


class RealStorage:
    """Storage of the QEMU process `pid`, whose real address 0 lies at its address `start`.

    Reading and writing raise OSError where the process has ended.
    """

    def __init__(self, pid: int, start: int) -> None:
        self._pid, self.start = pid, start
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)

    @classmethod
    def of(cls, pid: int, storage_object: tuple[int, int]) -> Self:
        """Find where process `pid` has mapped the object (device and inode). Raises LaunchError, OSError."""
        starts = [vma.start for vma in read_maps(pid) if vma.object == storage_object and not vma.offset_bytes]
        if len(starts) != 1:
            raise LaunchError(f"QEMU: found {len(starts)} mappings of its storage, wanted one")
        return cls(pid, starts[0])

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
        """Store bytes from real `address` on; the pages become the machine's own."""
        view = memoryview(content)
        while view:
            done_bytes = os.pwrite(self._memory, view, self.start + address)
            view, address = view[done_bytes:], address + done_bytes

    def own_pages(self, address: int, size_bytes: int) -> list[tuple[int, int]]:
        """Return the runs (page in the range, pages) that the machine has written and no longer shares."""
        with Pagemap(self._pid) as pagemap:
            entries = pagemap.read((self.start + address) >> PAGE_SHIFT, size_bytes >> PAGE_SHIFT)
        populated = populated_of(entries)
        return runs_of(populated[~is_file(entries[populated])])

    def restore(self, address: int, content: int, runs: list[tuple[int, int]]) -> int:
        """Store pages of the file `content`, which belongs at `address`; return how many of them differed."""
        changed = 0
        for first, count in runs:
            wanted = np.frombuffer(os.pread(content, count * PAGE_SIZE, first * PAGE_SIZE), np.uint8)
            found = np.frombuffer(self.read(address + first * PAGE_SIZE, len(wanted)), np.uint8)
            differs = np.flatnonzero((wanted != found).reshape(-1, PAGE_SIZE).any(axis=1))
            for start, pages in runs_of(differs):
                part = wanted[start * PAGE_SIZE : (start + pages) * PAGE_SIZE]
                self.write(address + (first + start) * PAGE_SIZE, part.data)
            changed += len(differs)
        return changed
