"""The block devices of a guest: what drivers have registered, by number and by name (block/genhd.c)."""

from collections.abc import Iterator
from errno import EBUSY

from dcss.errors import KernelError
from vmguest.block.device import BlockDevice


class BlockDevices:
    """Major numbers with their drivers, and disks in the order in which they were added."""

    def __init__(self) -> None:
        self._majors: dict[int, str] = {}
        self._disks: dict[tuple[int, int], BlockDevice] = {}

    def __iter__(self) -> Iterator[BlockDevice]:
        return iter(tuple(self._disks.values()))

    @property
    def drivers(self) -> tuple[tuple[int, str], ...]:
        """Major numbers and their drivers' names, in the order of registration."""
        return tuple(self._majors.items())

    def register_blkdev(self, major: int, name: str) -> None:
        """Give a driver a major number. Raises KernelError(EBUSY) where another has it."""
        if major in self._majors:
            raise KernelError(EBUSY, f"major number {major}: wanted by {name}, taken by {self._majors[major]}")
        self._majors[major] = name

    def next_minor(self, major: int, driver: str) -> int:
        """Return the lowest minor number that no disk of a driver has, after registering the driver if need be."""
        if self._majors.get(major) != driver:
            self.register_blkdev(major, driver)
        taken = {number[1] for number in self._disks if number[0] == major}
        return next(minor for minor in range(len(taken) + 1) if minor not in taken)

    def add_disk(self, device: BlockDevice) -> None:
        """Make a disk known under its number and name. Raises KernelError(EBUSY) where another has that number."""
        if device.number in self._disks:
            major, minor = device.number
            raise KernelError(EBUSY, f"{device.name}: number {major}:{minor} is {self._disks[device.number].name}'s")
        self._disks[device.number] = device

    def del_disk(self, device: BlockDevice) -> None:
        """Forget a disk, which can be opened no more."""
        device.retire()
        del self._disks[device.number]

    def by_number(self, number: tuple[int, int]) -> BlockDevice | None:
        """Return the disk with a major and minor number, or None."""
        return self._disks.get(number)

    def by_name(self, name: str) -> BlockDevice | None:
        """Return the disk of a name, such as dcssblk0, or None."""
        return next((disk for disk in self._disks.values() if disk.name == name), None)

    def major_index(self, major: int) -> int:
        """Return how many drivers registered before the one that has a major number."""
        return list(self._majors).index(major)
