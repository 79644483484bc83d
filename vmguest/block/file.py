"""Disks on files of the host: descriptors that the host opened and handed over, read and written by pread and pwrite.

Their storage cannot be addressed, so there is no direct access: ext2 on them goes through the page cache.
"""

import os
from collections.abc import Callable, Iterable
from errno import EINVAL, EIO
from typing import NamedTuple

from dcss.abi.ext2 import SECTOR_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.block.device import BlockDevice, DeviceHandle
from vmguest.block.genhd import BlockDevices

DRIVER_NAME = "file"
FILE_MAJOR = 253  # the kernel gives the driver any that is free


class FileDisk(NamedTuple):
    """A disk that the guest is started with; `descriptor` is open for writing where it is `writable`."""

    name: str
    descriptor: int
    writable: bool


class FileDevice(BlockDevice):
    """A disk whose sectors are those of an open file, which this device owns; its size is the file's at the start."""

    def __init__(self, minor: int, disk: FileDisk) -> None:
        self._descriptor = disk.descriptor
        size_bytes = os.fstat(disk.descriptor).st_size // SECTOR_SIZE * SECTOR_SIZE
        super().__init__(disk.name, (FILE_MAJOR, minor), size_bytes, read_only=not disk.writable)

    def read(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:
        """Read from the file into pages; what lies behind its last sector reads as zeros."""
        handle.check()
        view = self._checked(sector, address, size_bytes)
        inside = self._inside(sector, size_bytes)
        self._transfer(os.preadv, view[:inside], sector)
        view[inside:] = bytes(size_bytes - inside)

    def write(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:
        """Write pages to the file, up to its last sector."""
        handle.check()
        if self.read_only:
            raise KernelError(EIO, f"{self.name}: write to a read-only disk (give it `writable: true`)")
        view = self._checked(sector, address, size_bytes)
        self._transfer(os.pwritev, view[: self._inside(sector, size_bytes)], sector)

    def flush(self) -> None:
        """Have the host write the file's data to its disk."""
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise KernelError(EIO, f"{self.name}: {error.strerror}") from error

    def duplicate_descriptor(self) -> int:
        """Return one more descriptor of the file, which the caller closes."""
        return os.dup(self._descriptor)

    def _checked(self, sector: int, address: int, size_bytes: int) -> memoryview:
        """Return the buffer of a transfer. Raises KernelError(EIO)."""
        self.check_request(sector, size_bytes)
        self.check_buffer(address)
        return hostmem.view(address, size_bytes)

    def _inside(self, sector: int, size_bytes: int) -> int:
        return min(size_bytes, self.size_bytes - sector * SECTOR_SIZE)

    def _transfer(self, move: Callable[[int, list[memoryview], int], int], view: memoryview, sector: int) -> None:
        offset = sector * SECTOR_SIZE
        while view:
            try:
                moved = move(self._descriptor, [view], offset)
            except OSError as error:
                raise KernelError(EIO, f"{self.name}: {len(view)} bytes at {offset}: {error.strerror}") from error
            if not moved:
                raise KernelError(EIO, f"{self.name}: its file ends at {offset}, wanted {self.size_bytes} bytes")
            view, offset = view[moved:], offset + moved


def add_file_disks(devices: BlockDevices, disks: Iterable[FileDisk]) -> None:
    """Register the driver and its disks. Raises KernelError(EINVAL) where another disk has the name of one."""
    devices.register_blkdev(FILE_MAJOR, DRIVER_NAME)
    for minor, disk in enumerate(disks):
        if devices.by_name(disk.name) is not None:
            raise KernelError(EINVAL, f"disk {disk.name}: another disk has that name")
        devices.add_disk(FileDevice(minor, disk))
