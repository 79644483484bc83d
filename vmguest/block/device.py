"""What a block device of the guest offers: addressable blocks where it can, page-aligned transfers, and a use count."""

from dataclasses import dataclass
from errno import EIO, ENODEV
from typing import Protocol

from dcss.abi.ext2 import SECTOR_SIZE
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError, StaleReferenceError
from vmguest import hostmem

SECTORS_PER_PAGE = PAGE_SIZE // SECTOR_SIZE


class BlockDevice(Protocol):
    """A disk of the guest; sizes in bytes, sectors of 512 bytes, addresses as the host sees them."""

    name: str
    size_bytes: int
    logical_block_size_bytes: int
    read_only: bool
    direct_accessible: bool

    @property
    def dax_supported(self) -> bool:
        """Whether a file system may be mounted from it with dax."""
        ...

    def open(self) -> "DeviceHandle":
        """Add a user. Raises KernelError(ENODEV) where the device is gone."""
        ...

    def release(self, opened: "DeviceHandle") -> None:
        """Drop a user; every reference made through it is stale from now on."""
        ...

    def read(self, opened: "DeviceHandle", sector: int, address: int, size_bytes: int) -> None:
        """Copy whole pages from `sector` on to the page at `address`, in one transfer. Raises KernelError(EIO)."""
        ...

    def write(self, opened: "DeviceHandle", sector: int, address: int, size_bytes: int) -> None:
        """Copy whole pages from the page at `address` to `sector` on, in one transfer. Raises KernelError(EIO)."""
        ...

    def direct_access(self, opened: "DeviceHandle", sector: int, size_bytes: int) -> "DirectAccess":
        """Return a cpu-addressable reference to `size_bytes` from `sector` on, without copying.

        Raises KernelError: ENODEV no device, EINVAL sector not page aligned, ERANGE not wholly inside, EOPNOTSUPP
        where the device has no such operation (Linux 2.6.26 to 3.19; the length came with 4.0).
        """
        ...


@dataclass(slots=True, eq=False)
class DeviceHandle:
    """One open of a device; `alive` until the device is released or its storage goes."""

    device: BlockDevice
    alive: bool = True

    def check(self) -> None:
        """Raise StaleReferenceError where this open has ended."""
        if not self.alive:
            raise StaleReferenceError(ENODEV, f"{self.device.name}: the reference outlived the device's release")


@dataclass(frozen=True, slots=True)
class DirectAccess:
    """A reference into a device: `page_frame` is the absolute page number of its first byte."""

    opened: DeviceHandle
    kernel_address: int
    page_frame: int
    size_bytes: int

    def view(self) -> memoryview:
        """Return the bytes themselves, read-only. Raises StaleReferenceError after release or unload."""
        self.opened.check()
        return hostmem.view(self.kernel_address, self.size_bytes).toreadonly()


def check_request(device: BlockDevice, sector: int, size_bytes: int) -> None:
    """Raise KernelError(EIO) unless a transfer is of whole pages, on page boundaries and inside the device."""
    aligned = sector % SECTORS_PER_PAGE == 0 and size_bytes % PAGE_SIZE == 0
    if not aligned or sector < 0 or size_bytes < 0 or sector * SECTOR_SIZE + size_bytes > device.size_bytes:
        raise KernelError(
            EIO,
            f"{device.name}: transfer of {size_bytes} bytes at sector {sector}, wanted whole pages on page boundaries"
            f" within {device.size_bytes} bytes",
        )


def check_buffer(device: BlockDevice, address: int) -> None:
    """Raise KernelError(EIO) unless a transfer's other end is on a page boundary too."""
    if address % PAGE_SIZE:
        raise KernelError(EIO, f"{device.name}: transfer to or from {address:#x}, wanted a page boundary")
