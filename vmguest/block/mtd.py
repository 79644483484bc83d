"""Read-only memory technology devices: storage that is addressed where it lies, without a block device's transfers.

The storage is a segment that dcssblk has loaded, or a file of the host that is mapped above all segments. Like a
physmap chip's point() in drivers/mtd, and mtdblock_ro above it, they give references and take no stores.
"""

import os
from errno import EINVAL, EIO, ENOMEM, EOPNOTSUPP, ERANGE
from typing import Protocol

from dcss.abi.ext2 import SECTOR_SIZE
from dcss.abi.extmem import MAX_DCSS_ADDR
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, BlockDevice, DeviceHandle, DirectAccess
from vmguest.block.file import FileDevice
from vmguest.block.genhd import BlockDevices
from vmguest.machine import AttachedStorage, VirtualMachine
from vmguest.resource import Resource, Resources

DRIVER_NAME = "mtdblock"
MTD_BLOCK_MAJOR = 31  # include/uapi/linux/major.h
_ALIGNMENT_BYTES = 2 << 20  # so that huge pages can map it


class AddressableStorage(Protocol):
    """Storage that a device of this driver shows."""

    @property
    def first_page(self) -> int:
        """The absolute page number of its first byte."""
        ...

    def release(self) -> None:
        """End the use of it."""
        ...


class SegmentStorage:
    """The storage of a device that has direct access, which stays open."""

    def __init__(self, source: BlockDevice) -> None:
        self._source = source
        self._handle = source.open()
        try:
            self.first_page = source.direct_access(self._handle, 0, source.size_bytes).page_frame
        except KernelError:
            self.release()
            raise

    def release(self) -> None:
        """Close the device."""
        self._source.release(self._handle)


class FileStorage:
    """A disk's file, mapped read-only at the highest absolute addresses that are free; the disk stays open."""

    def __init__(self, source: FileDevice, machine: VirtualMachine, iomem: Resources) -> None:
        self._source, self._machine, self._iomem = source, machine, iomem
        self._pages = hostmem.pages(source.size_bytes)
        start = _highest_free(iomem, self._pages * PAGE_SIZE)
        self._resource = Resource(f"mtd {source.name}", start, start + self._pages * PAGE_SIZE - 1, read_only=True)
        self.first_page = start >> PAGE_SHIFT
        iomem.request(self._resource)
        descriptor = source.duplicate_descriptor()
        try:
            machine.attach(AttachedStorage(self.first_page, self._pages, descriptor, 0, private=False, writable=False))
        except KernelError:
            os.close(descriptor)
            iomem.release(self._resource)
            raise
        self._handle = source.open()

    def release(self) -> None:
        """Unmap the file and close the disk."""
        self._machine.detach(self.first_page, self.first_page + self._pages - 1)
        self._iomem.release(self._resource)
        self._source.release(self._handle)


class MtdDevice(BlockDevice):
    """A read-only device over addressable storage; `source_name` is the disk whose storage it is."""

    direct_accessible = True
    logical_block_size_bytes = PAGE_SIZE

    def __init__(self, minor: int, source: BlockDevice, storage: AddressableStorage, machine: VirtualMachine) -> None:
        super().__init__(f"mtdblock{minor}", (MTD_BLOCK_MAJOR, minor), source.size_bytes, read_only=True)
        self.source_name = source.name
        self._storage = storage
        self._machine = machine

    def read(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:
        """Copy pages of the storage to a host address."""
        handle.check()
        self.check_request(sector, size_bytes)
        self.check_buffer(address)
        hostmem.copy(address, self._machine.absolute(self._page(sector)), size_bytes)

    def write(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:  # noqa: ARG002
        """Refuse. Raises KernelError(EIO)."""
        handle.check()
        raise KernelError(EIO, f"{self.name}: write of {size_bytes} bytes at sector {sector}: it is read-only")

    def direct_access(self, handle: DeviceHandle, sector: int, size_bytes: int) -> DirectAccess:
        """Return a reference to bytes of the storage."""
        handle.check()
        if sector % SECTORS_PER_PAGE:
            raise KernelError(EINVAL, f"{self.name}: sector {sector} is not page aligned")
        end = hostmem.pages(self.size_bytes) * PAGE_SIZE
        if sector < 0 or size_bytes <= 0 or sector * SECTOR_SIZE + size_bytes > end:
            raise KernelError(ERANGE, f"{self.name}: {size_bytes} bytes at sector {sector} end beyond {end} bytes")
        page = self._page(sector)
        return DirectAccess(handle, self._machine.absolute(page), page, size_bytes)

    def retire(self) -> None:
        """End the device and its use of the storage."""
        super().retire()
        self._storage.release()

    def _page(self, sector: int) -> int:
        return self._storage.first_page + sector // SECTORS_PER_PAGE


def add_mtd(devices: BlockDevices, source: BlockDevice, machine: VirtualMachine, iomem: Resources) -> MtdDevice:
    """Make the next device over what a disk's storage is.

    Raises KernelError: EOPNOTSUPP for a disk that is neither addressable nor a file, ENOMEM where it has no room.
    """
    storage: AddressableStorage
    if source.direct_accessible:
        storage = SegmentStorage(source)
    elif isinstance(source, FileDevice):
        storage = FileStorage(source, machine, iomem)
    else:
        raise KernelError(EOPNOTSUPP, f"{source.name}: its storage cannot be addressed, so no mtd can be over it")
    device = MtdDevice(devices.next_minor(MTD_BLOCK_MAJOR, DRIVER_NAME), source, storage, machine)
    devices.add_disk(device)
    return device


def _highest_free(iomem: Resources, size_bytes: int) -> int:
    """Return the highest aligned address from which so many bytes are nobody's. Raises KernelError(ENOMEM)."""
    end = MAX_DCSS_ADDR
    for resource in sorted(iomem, key=lambda resource: -resource.start):
        start = (end - size_bytes) // _ALIGNMENT_BYTES * _ALIGNMENT_BYTES
        if start > resource.end:
            return start
        end = resource.start
    raise KernelError(ENOMEM, f"no {size_bytes} bytes of absolute addresses are free above real storage")
