"""What a block device of the guest offers: page-aligned transfers, counted opens, and direct access where it can."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from errno import EIO, ENODEV, EOPNOTSUPP

from dcss.abi.ext2 import SECTOR_SIZE
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError, StaleReferenceError
from vmguest import hostmem

SECTORS_PER_PAGE = PAGE_SIZE // SECTOR_SIZE


@dataclass(slots=True, eq=False)
class DeviceHandle:
    """One open of a device; `alive` until the device is released or its storage goes."""

    device: "BlockDevice"
    alive: bool = True

    def check(self) -> None:
        """Raise StaleReferenceError where this open has ended."""
        if not self.alive:
            raise StaleReferenceError(ENODEV, f"{self.device.name}: the reference outlived the device's release")


@dataclass(frozen=True, slots=True)
class DirectAccess:
    """A reference into a device: `page_frame` is the absolute page number of its first byte."""

    handle: DeviceHandle
    kernel_address: int
    page_frame: int
    size_bytes: int

    def view(self) -> memoryview:
        """Return the bytes themselves, read-only. Raises StaleReferenceError after release or unload."""
        self.handle.check()
        return hostmem.view(self.kernel_address, self.size_bytes).toreadonly()


class BlockDevice(ABC):
    """A disk of the guest (struct gendisk): sizes in bytes, sectors of 512 bytes, addresses as the host sees them.

    `number` is its major and minor number. A driver overrides `direct_access` where `direct_accessible`.
    """

    direct_accessible = False
    own_pages = 0  # pages of the guest's real storage that hold its sectors
    logical_block_size_bytes = SECTOR_SIZE

    def __init__(self, name: str, number: tuple[int, int], size_bytes: int, *, read_only: bool) -> None:
        self.name = name
        self.number = number
        self.size_bytes = size_bytes
        self.read_only = read_only
        self._handles: set[DeviceHandle] = set()
        self._retired = False

    @property
    def dax_supported(self) -> bool:
        """Whether a file system may be mounted from it with dax."""
        return False

    @property
    def use_count(self) -> int:
        """How often the device is open."""
        return len(self._handles)

    def open(self) -> DeviceHandle:
        """Add a user. Raises KernelError(ENODEV) where the device was removed."""
        if self._retired:
            raise KernelError(ENODEV, f"{self.name}: the device was removed")
        handle = DeviceHandle(self)
        self._handles.add(handle)
        return handle

    def release(self, handle: DeviceHandle) -> None:
        """Drop a user; every reference made through it is stale from now on."""
        handle.alive = False
        if handle in self._handles:
            self._handles.remove(handle)
            if not self._handles:
                self.became_idle()

    def became_idle(self) -> None:  # noqa: B027 - most devices have nothing to do
        """Do what waits for the last release."""

    def retire(self) -> None:
        """End the device, which nobody has open: opens fail from now on."""
        self._retired = True

    @abstractmethod
    def read(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:
        """Copy whole pages from `sector` on to the page at `address`, in one transfer. Raises KernelError(EIO)."""

    @abstractmethod
    def write(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:
        """Copy whole pages from the page at `address` to `sector` on, in one transfer. Raises KernelError(EIO)."""

    def flush(self) -> None:  # noqa: B027 - what most devices take is where it stays
        """Bring what was written to stable storage. Raises KernelError(EIO)."""

    def direct_access(self, handle: DeviceHandle, sector: int, size_bytes: int) -> DirectAccess:
        """Return a cpu-addressable reference to `size_bytes` from `sector` on, without copying.

        Raises KernelError: ENODEV no device, EINVAL sector not page aligned, ERANGE not wholly inside, EOPNOTSUPP
        where the device has no such operation (Linux 2.6.26 to 3.19; the length came with 4.0).
        """
        handle.check()
        raise KernelError(EOPNOTSUPP, f"{self.name}: no direct access to {size_bytes} bytes at sector {sector}")

    def check_stores(self, sector: int, size_bytes: int) -> None:  # noqa: B027 - most devices can be stored into
        """Raise KernelError(EIO) where storing into bytes of the device would be a protection exception."""

    def check_request(self, sector: int, size_bytes: int) -> None:
        """Raise KernelError(EIO) unless a transfer is of whole pages, on page boundaries and inside the device.

        The last page of a device may lie in it in part.
        """
        aligned = sector % SECTORS_PER_PAGE == 0 and size_bytes % PAGE_SIZE == 0
        end = hostmem.pages(self.size_bytes) * PAGE_SIZE
        if not aligned or sector < 0 or size_bytes < 0 or sector * SECTOR_SIZE + size_bytes > end:
            raise KernelError(
                EIO,
                f"{self.name}: transfer of {size_bytes} bytes at sector {sector}, wanted whole pages on page boundaries"
                f" within {self.size_bytes} bytes",
            )

    def check_buffer(self, address: int) -> None:
        """Raise KernelError(EIO) unless a transfer's other end is on a page boundary too."""
        if address % PAGE_SIZE:
            raise KernelError(EIO, f"{self.name}: transfer to or from {address:#x}, wanted a page boundary")
