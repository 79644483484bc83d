"""Device nodes: a number becomes a device, and an open node a file on it (fs/block_dev.c, drivers/char/mem.c)."""

import stat
from collections.abc import Callable, Iterator
from errno import EBUSY, EINVAL, ENOSPC, ENOTBLK, ENXIO
from itertools import count
from typing import NamedTuple, Protocol

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, BlockDevice
from vmguest.block.genhd import BlockDevices
from vmguest.fs.file import Actor, UnmappableFile, WritableFileOperations, clip, copy_pieces, send_pieces
from vmguest.fs.filesystem import VfsInode
from vmguest.storage import RealStorage

NULL = (1, 3)
WINDOW_PAGES = 64


class DeviceFile(WritableFileOperations, Protocol):
    """An open device node."""

    def close(self) -> None:
        """End the open."""
        ...


class CharacterDevice(NamedTuple):
    """A device without blocks; its node in /dev has a `name`, which may lie in a directory, and permissions."""

    name: bytes
    number: tuple[int, int]
    open: Callable[[], DeviceFile]
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


class Devices:
    """What device nodes stand for. `buffer_pages` are what open block devices have copied just now.

    `links` are symbolic links of /dev, and `directories` those in it that are there for mounts.
    """

    def __init__(self, disks: BlockDevices, storage: RealStorage) -> None:
        self.disks = disks
        self.buffer_pages = 0
        self.links: dict[bytes, bytes] = {}
        self.directories: list[bytes] = []
        self._storage = storage
        self._characters = {NULL: CharacterDevice(b"null", NULL, NullFile)}

    @property
    def characters(self) -> tuple[CharacterDevice, ...]:
        """The devices without blocks, in the order of their registration."""
        return tuple(self._characters.values())

    def register_chrdev(self, device: CharacterDevice) -> None:
        """Add a device. Raises KernelError(EBUSY) where one has its number."""
        if device.number in self._characters:
            raise KernelError(EBUSY, f"character device {device.number}: is there")
        self._characters[device.number] = device

    def unregister_chrdev(self, number: tuple[int, int]) -> None:
        """Remove a device; opens of it go on."""
        del self._characters[number]

    def character(self, number: tuple[int, int]) -> CharacterDevice | None:
        """Return the device without blocks that has a number, or None."""
        return self._characters.get(number)

    def replace_chrdev(self, device: CharacterDevice) -> None:
        """Have a device that is there be another: its node has other permissions."""
        self._characters[device.number] = device

    def free_minor(self, major: int) -> int:
        """Return the lowest minor number that no device has."""
        return next(minor for minor in count() if (major, minor) not in self._characters)

    def block_device(self, inode: VfsInode) -> BlockDevice:
        """Return the disk that a node stands for. Raises KernelError: ENOTBLK it is no block device, ENXIO no disk."""
        if not stat.S_ISBLK(inode.mode):
            raise KernelError(ENOTBLK, f"inode {inode.number}: {stat.filemode(inode.mode)}, wanted a block device")
        device = self.disks.by_number(inode.rdev)
        if device is None:
            major, minor = inode.rdev
            raise KernelError(ENXIO, f"block device {major}:{minor}: there is none")
        return device

    def open(self, inode: VfsInode) -> DeviceFile:
        """Open a node. Raises KernelError(ENXIO) where there is no such device."""
        if stat.S_ISBLK(inode.mode):
            return BlockFile(self.block_device(inode), self._storage, self._count)
        device = self._characters.get(inode.rdev)
        if device is not None:
            return device.open()
        major, minor = inode.rdev
        raise KernelError(ENXIO, f"character device {major}:{minor}: there is none")

    def _count(self, pages: int) -> None:
        self.buffer_pages += pages


class BlockFile(UnmappableFile):
    """An open block device: its bytes pass through a window of copies in real storage, given back at the close.

    What is written is on the device when the call returns. `count` is called with the pages taken, and given back.
    """

    def __init__(self, device: BlockDevice, storage: RealStorage, count: Callable[[int], None]) -> None:
        self._device = device
        self._handle = device.open()
        self._storage = storage
        self._count = count
        self._frame: int | None = None

    @property
    def size_bytes(self) -> int:
        """The disk's size."""
        return self._device.size_bytes

    def read(self, position: int, buffer: memoryview) -> int:
        """Copy bytes of the disk into `buffer`."""
        return copy_pieces(self._pieces(position, len(buffer)), buffer)

    def sendfile(self, position: int, count: int, actor: Actor) -> int:
        """Hand copies of the disk's bytes to `actor`."""
        return send_pieces(self._pieces(position, count), actor)

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Copy bytes to the disk, up to its end; return how many. Raises KernelError: EIO, EINVAL, ENOSPC there."""
        if position < 0:
            raise KernelError(EINVAL, f"{self._device.name}: write at {position}: wanted no negative number")
        if data and position >= self.size_bytes:
            raise KernelError(ENOSPC, f"{self._device.name}: write at {position}: it ends at {self.size_bytes}")
        view = memoryview(data)[: self.size_bytes - position]
        done = 0
        while done < len(view):
            start, offset = divmod(position + done, PAGE_SIZE)
            size_bytes = min(len(view) - done, WINDOW_PAGES * PAGE_SIZE - offset)
            window = self._window(hostmem.pages(offset + size_bytes))
            if offset or size_bytes % PAGE_SIZE:
                self._transfer(start, window)  # what is written only in part must be there first
            window[offset : offset + size_bytes] = view[done : done + size_bytes]
            self._transfer(start, window, write=True)
            done += size_bytes
        return done

    def truncate(self, size_bytes: int) -> None:
        """Do nothing: a disk keeps its size, whatever O_TRUNC says."""

    def close(self) -> None:
        """Give the window back, and end this use of the disk."""
        if self._frame is not None:
            self._storage.release(self._frame, WINDOW_PAGES)
            self._count(-WINDOW_PAGES)
            self._frame = None
        self._device.release(self._handle)

    def _pieces(self, position: int, count: int) -> Iterator[memoryview]:
        end = clip(self, position, count)
        while position < end:
            start, offset = divmod(position, PAGE_SIZE)
            size_bytes = min(end - position, WINDOW_PAGES * PAGE_SIZE - offset)
            window = self._window(hostmem.pages(offset + size_bytes))
            self._transfer(start, window)
            yield window[offset : offset + size_bytes].toreadonly()
            position += size_bytes

    def _window(self, pages: int) -> memoryview:
        if self._frame is None:
            self._frame = self._storage.allocate(WINDOW_PAGES)
            self._count(WINDOW_PAGES)
        return hostmem.view(self._storage.address(self._frame), pages * PAGE_SIZE)

    def _transfer(self, page: int, window: memoryview, *, write: bool = False) -> None:
        assert self._frame is not None
        move = self._device.write if write else self._device.read
        move(self._handle, page * SECTORS_PER_PAGE, self._storage.address(self._frame), len(window))


class NullFile(UnmappableFile):
    """/dev/null: takes everything, holds nothing."""

    endless = True
    size_bytes = 0

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Return 0: the end."""
        return 0

    def sendfile(self, position: int, count: int, actor: Actor) -> int:  # noqa: ARG002
        """Return 0: nothing to hand on."""
        return 0

    def write(self, position: int, data: bytes | memoryview) -> int:  # noqa: ARG002
        """Take it."""
        return len(data)

    def truncate(self, size_bytes: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Nothing is held."""
