"""The ramdisk driver: a disk whose sectors are pages of the guest's own real storage, read once from another disk.

Linux's driver reads the data into pages, keeps a reference to them, and the original can go. A file system on it reads
into the page cache from there, so what is read lies in real storage twice.
"""

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, BlockDevice, DeviceHandle
from vmguest.block.genhd import BlockDevices
from vmguest.frames import FrameMap
from vmguest.storage import RealStorage

DRIVER_NAME = "ramdisk"
RAMDISK_MAJOR = 1  # include/uapi/linux/major.h


class Ramdisk(BlockDevice):
    """A disk in real storage; `source_name` is the disk that it was read from."""

    logical_block_size_bytes = PAGE_SIZE

    def __init__(self, minor: int, source: BlockDevice, storage: RealStorage) -> None:
        super().__init__(f"ram{minor}", (RAMDISK_MAJOR, minor), source.size_bytes, read_only=source.read_only)
        self.source_name = source.name
        self._storage = storage
        self._frames = FrameMap(storage)
        self._load(source)

    def read(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:
        """Copy pages of the ramdisk to a host address."""
        for place, own, run_bytes in self._runs(handle, sector, address, size_bytes):
            hostmem.copy(place, own, run_bytes)

    def write(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:
        """Copy pages into the ramdisk."""
        for place, own, run_bytes in self._runs(handle, sector, address, size_bytes):
            hostmem.copy(own, place, run_bytes)

    def retire(self) -> None:
        """End the disk and give its storage back."""
        super().retire()
        self._frames.truncate(0)
        self.own_pages = 0

    def _runs(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> list[tuple[int, int, int]]:
        """Return of each run of frames its part of the buffer, its own address, and its size in bytes."""
        handle.check()
        self.check_request(sector, size_bytes)
        self.check_buffer(address)
        first = sector // SECTORS_PER_PAGE
        return [
            (
                address + (run.file_page - first) * PAGE_SIZE,
                self._storage.address(run.page_frame),
                run.pages * PAGE_SIZE,
            )
            for run in self._frames.runs(first, size_bytes // PAGE_SIZE)
        ]

    def _load(self, source: BlockDevice) -> None:
        """Read the whole source. Raises KernelError: ENOMEM where real storage is too small, EIO."""
        wanted = hostmem.pages(self.size_bytes)
        handle = source.open()
        try:
            if self._frames.fill(0, wanted) < wanted:
                raise self._storage.shortage(wanted)
            self.own_pages = wanted
            for run in self._frames.runs(0, wanted):
                sector = run.file_page * SECTORS_PER_PAGE
                source.read(handle, sector, self._storage.address(run.page_frame), run.pages * PAGE_SIZE)
        except KernelError:
            self._frames.truncate(0)
            raise
        finally:
            source.release(handle)


def add_ramdisk(devices: BlockDevices, source: BlockDevice, storage: RealStorage) -> Ramdisk:
    """Make the next ramdisk from what a disk holds now. Raises KernelError: ENOMEM, EIO."""
    minor = devices.next_minor(RAMDISK_MAJOR, DRIVER_NAME)
    ramdisk = Ramdisk(minor, source, storage)
    devices.add_disk(ramdisk)
    return ramdisk
