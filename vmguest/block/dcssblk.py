"""The DCSS block device driver: rules, errno and messages of drivers/s390/block/dcssblk.c of Linux 3.13."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EAGAIN, EBUSY, EEXIST, EINVAL, EIO, ENAMETOOLONG, ENODEV, ERANGE
from itertools import pairwise
from typing import NamedTuple

from dcss.abi.ext2 import SECTOR_SIZE
from dcss.abi.extmem import SegmentType as Type
from dcss.abi.extmem import adjoining_types
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, BlockDevice, DeviceHandle, DirectAccess
from vmguest.block.genhd import BlockDevices
from vmguest.extmem import DcssSegment, Extmem, toupper
from vmguest.machine import VirtualMachine
from vmguest.printk import LogBuffer

DRIVER_NAME = "dcssblk"
DCSSBLK_MAJOR = 252  # the kernel gives the driver any that is free
MAX_NAME = 8
PARM_LEN = 400  # with the NUL that ends the string
DAX_ALIGNMENT_BYTES = 2 << 20
_LOCAL = "(local)"


class SegmentInfo(NamedTuple):
    """A segment of a device, under the name that was given for it, in upper case (struct segment_info)."""

    name: str
    segment: DcssSegment


class DcssblkDevice(BlockDevice):
    """One disk made of one or more contiguous segments; `members` are in the order given, the first names it."""

    direct_accessible = True
    logical_block_size_bytes = PAGE_SIZE

    def __init__(self, minor: int, driver: "Dcssblk", members: list[SegmentInfo]) -> None:
        self.members = tuple(members)
        self.segment_name = members[0].name  # under /sys/devices/dcssblk
        self.segment_type = members[0].segment.type
        self.start = min(segment.start for _, segment in members)
        self.is_shared = True
        self.save_pending = False
        self._driver = driver
        size_bytes = max(segment.end for _, segment in members) + 1 - self.start
        number = (DCSSBLK_MAJOR, minor)
        super().__init__(f"dcssblk{minor}", number, size_bytes, read_only=self.segment_type.read_only)

    @property
    def dax_supported(self) -> bool:
        """Whether start and size are multiples of 2 MiB, which Linux wants of a DCSS for DAX since 2025."""
        return (self.start | self.size_bytes) % DAX_ALIGNMENT_BYTES == 0

    def became_idle(self) -> None:
        """Do the save that waited for the last release."""
        if self.save_pending:
            self._driver.save_idle(self)

    def read(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:
        """Copy whole pages of the segments to a host address."""
        handle.check()
        self.check_request(sector, size_bytes)
        self.check_buffer(address)
        hostmem.copy(address, self._address(sector), size_bytes)

    def write(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:
        """Copy whole pages into the segments, unless the device is read-only and loaded shared."""
        handle.check()
        self.check_request(sector, size_bytes)
        if self.is_shared and self.segment_type.read_only:
            self._driver.log.log(
                "warn", f"dcssblk: Writing to {self.segment_name} failed because it is a read-only device"
            )
            raise KernelError(EIO, f"{self.name}: segment {self.segment_name} is of type {self.segment_type.name}")
        self.check_buffer(address)
        self.check_stores(sector, size_bytes)
        hostmem.copy(self._address(sector), address, size_bytes)

    def direct_access(self, handle: DeviceHandle, sector: int, size_bytes: int) -> DirectAccess:
        """Return a reference to bytes of the device; no check of access mode is made, as in dcssblk.c."""
        handle.check()
        if sector % SECTORS_PER_PAGE:
            raise KernelError(EINVAL, f"{self.name}: sector {sector} is not page aligned")
        if sector < 0 or size_bytes <= 0 or sector * SECTOR_SIZE + size_bytes > self.size_bytes:
            raise KernelError(
                ERANGE, f"{self.name}: {size_bytes} bytes at sector {sector} end beyond {self.size_bytes} bytes"
            )
        return DirectAccess(handle, self._address(sector), self._absolute(sector) >> PAGE_SHIFT, size_bytes)

    def check_stores(self, sector: int, size_bytes: int) -> None:
        """Refuse to store into a member that stayed shared for another user when its device was made exclusive.

        Linux goes on, and the store is a protection exception in the kernel. Raises KernelError(EIO).
        """
        first, last = self._absolute(sector), self._absolute(sector) + size_bytes - 1
        for name, segment in self.members:
            if not segment.writable and segment.start <= last and first <= segment.end:
                raise KernelError(EIO, f"{self.name}: protection exception, DCSS {name} is still loaded shared")

    def _absolute(self, sector: int) -> int:
        return self.start + sector * SECTOR_SIZE

    def _address(self, sector: int) -> int:
        return self._driver.machine.absolute(0) + self._absolute(sector)


@dataclass(slots=True)
class Dcssblk:
    """The driver: devices by minor number, and what one writes to add, remove, shared and save in its sysfs."""

    machine: VirtualMachine
    extmem: Extmem
    block_devices: BlockDevices
    log: LogBuffer
    devices: dict[int, DcssblkDevice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.block_devices.register_blkdev(DCSSBLK_MAJOR, DRIVER_NAME)

    def load_module(self, parameter: str) -> None:
        """Take the `segments=` parameter: commas between devices, colons between members; a failure stops no other.

        A failure shows in what add and shared log, and nowhere else. A parameter that is too long is not taken.
        """
        if len(parameter) >= PARM_LEN:
            self.log.log("err", f"dcssblk.segments: string doesn't fit in {PARM_LEN - 1} chars.")
            return
        for entry in parameter.removesuffix(",").split(",") if parameter else ():
            names, bracket, rest = entry.partition("(")
            with suppress(KernelError):
                device = self.add(names)
                if (bracket + rest).startswith(_LOCAL):
                    self.set_shared(device.segment_name, shared=False)

    def add(self, text: str) -> DcssblkDevice:
        """Load the segments named, colon between them, as one device. Raises KernelError as add_store() returns it.

        Names are taken one by one: those before a wrong one are loaded, and unloaded again.
        """
        text = _first_line(text)
        if not text:
            raise KernelError(ENAMETOOLONG, "no name given: wanted names of 1 to 8 characters, a colon between them")
        members: list[SegmentInfo] = []
        try:
            for name in map(toupper, text.split(":")):
                members.append(SegmentInfo(name, self._load_segment(name)))
            self._check_contiguous(members)
        except KernelError:
            self._unload(members)
            raise
        minor = next(number for number in range(len(self.devices) + 1) if number not in self.devices)
        device = DcssblkDevice(minor, self, members)
        self.devices[minor] = device
        self.block_devices.add_disk(device)
        sectors = device.size_bytes // SECTOR_SIZE
        self._info(f"Loaded {text} with total size {device.size_bytes} bytes and capacity {sectors} sectors")
        return device

    def remove(self, text: str) -> None:
        """Remove a device by its name and unload its segments. Raises KernelError as remove_store() does."""
        name = toupper(_first_line(text))
        if not 0 < len(name) <= MAX_NAME:
            raise KernelError(ENAMETOOLONG, f"{name!r}: wanted 1 to {MAX_NAME} characters")
        device = self.by_segment(name)
        if device is None:
            self._warn(f"Device {name} cannot be removed because it is not a known device")
            raise KernelError(ENODEV, f"{name}: no such device")
        if device.use_count:
            self._warn(f"Device {name} cannot be removed while it is in use")
            raise KernelError(EBUSY, f"{name}: open {device.use_count} times")
        self._forget(device)
        self._unload(device.members)

    def set_shared(self, name: str, *, shared: bool) -> None:
        """Reload a device's segments shared or exclusive-writable, as shared_store(); a failure removes the device."""
        device = self.by_segment(name)
        if device is None:
            raise KernelError(ENODEV, f"{name}: no such device")
        if device.use_count:
            raise KernelError(EBUSY, f"{name}: open {device.use_count} times")
        if not shared and device.segment_type is Type.SC:
            self._error(f"DCSS {device.segment_name} is of type SC and cannot be loaded as exclusive-writable")
            raise KernelError(EINVAL, f"{device.segment_name}: type SC")
        for member in device.members:
            try:
                self.extmem.segment_modify_shared(member.name, do_nonshared=not shared)
            except KernelError as error:
                if error.errno == EAGAIN:
                    continue  # another user keeps it as it is; dcssblk.c goes on
                self._error(f"DCSS device {device.segment_name} is removed after a failed access mode change")
                self._forget(device)
                self._unload(other for other in device.members if other is not member)
                raise
        device.is_shared = shared
        device.read_only = shared and device.segment_type.read_only

    def save(self, name: str, *, wanted: bool) -> None:
        """Save a device's segments now, or once it is idle, or take that request back, as save_store()."""
        device = self.by_segment(name)
        if device is None:
            raise KernelError(ENODEV, f"{name}: no such device")
        if not wanted:
            if device.save_pending:
                device.save_pending = False
                self._info(f"A pending save request for device {device.segment_name} has been canceled")
        elif device.use_count:
            self._info(f"Device {device.segment_name} is in use, its DCSSs will be saved when it becomes idle")
            device.save_pending = True
        else:
            self._info(f"All DCSSs that map to device {device.segment_name} are saved")
            self._save_segments(device)

    def save_idle(self, device: DcssblkDevice) -> None:
        """Do the save that waited for the last release."""
        self._info(f"Device {device.segment_name} has become idle and is being saved now")
        self._save_segments(device)
        device.save_pending = False

    def by_segment(self, name: str) -> DcssblkDevice | None:
        """Return the device whose first segment is `name`."""
        return next((d for d in self.devices.values() if d.segment_name == toupper(name)), None)

    def _save_segments(self, device: DcssblkDevice) -> None:
        """Save each segment whose pages CP keeps; later kernels than 3.13 leave out SN and EN, which hold nothing."""
        for name, segment in device.members:
            if segment.type in {Type.SN, Type.EN}:
                self._warn(f"DCSS {name} is of type SN or EN and cannot be saved")
            else:
                self.extmem.segment_save(name)

    def _load_segment(self, name: str) -> DcssSegment:
        if not 0 < len(name) <= MAX_NAME:
            raise KernelError(ENAMETOOLONG, f"{name!r}: found {len(name)} characters, wanted 1 to {MAX_NAME}")
        if any(member.name == name for device in self.devices.values() for member in device.members):
            raise KernelError(EEXIST, f"{name}: already part of a device")
        try:
            return self.extmem.segment_load(name, do_nonshared=False)
        except KernelError as error:
            self.extmem.segment_warning(error, name)
            raise

    def _unload(self, members: Iterable[SegmentInfo]) -> None:
        for member in members:
            self.extmem.segment_unload(member.name)

    def _forget(self, device: DcssblkDevice) -> None:
        self.block_devices.del_disk(device)
        self.devices = {minor: other for minor, other in self.devices.items() if other is not device}

    def _check_contiguous(self, members: list[SegmentInfo]) -> None:
        by_address = sorted(members, key=lambda member: member.segment.start)
        for (lower_name, lower), (upper_name, upper) in pairwise(by_address):
            if lower.end + 1 != upper.start:
                self._error(f"Adjacent DCSSs {lower_name} and {upper_name} are not contiguous")
                raise KernelError(EINVAL, f"{lower_name} and {upper_name} are not contiguous")
            if not adjoining_types(lower.type, upper.type):
                self._error(f"DCSS {lower_name} and DCSS {upper_name} have incompatible types")
                raise KernelError(EINVAL, f"{lower_name} is {lower.type.label}, {upper_name} is {upper.type.label}")

    def _error(self, message: str) -> None:
        self.log.log("err", f"dcssblk: {message}")

    def _warn(self, message: str) -> None:
        self.log.log("warn", f"dcssblk: {message}")

    def _info(self, message: str) -> None:
        self.log.log("info", f"dcssblk: {message}")


def _first_line(text: str) -> str:
    """Return what stands before the first newline or NUL: a store looks no further."""
    return text.partition("\n")[0].partition("\0")[0]
