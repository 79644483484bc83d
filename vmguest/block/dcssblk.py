"""The DCSS block device driver: rules, errno and messages of drivers/s390/block/dcssblk.c of Linux 3.13."""

from dataclasses import dataclass, field
from errno import EAGAIN, EBUSY, EEXIST, EINVAL, EIO, ENAMETOOLONG, ENODEV, ERANGE
from itertools import pairwise

from dcss.abi.ext2 import SECTOR_SIZE
from dcss.abi.extmem import PAGE_SHIFT, PAGE_SIZE
from dcss.abi.extmem import SegmentType as Type
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, DirectAccess, Opened, check_request
from vmguest.extmem import DcssSegment, Extmem, dcss_mkname
from vmguest.machine import Machine
from vmguest.printk import KernelLog

DCSSBLK_MAJOR = 252  # the kernel gives the driver any that is free
MAX_NAME = 8
PARM_LEN = 400
DAX_ALIGNMENT_BYTES = 2 << 20
_LOCAL = "(local)"
_MIXABLE = frozenset({Type.EW, Type.EN, Type.EWEN})


class DcssblkDevice:
    """One disk made of one or more contiguous segments; `segments` are in the order given, the first names it."""

    direct_accessible = True
    logical_block_size_bytes = PAGE_SIZE

    def __init__(self, name: str, driver: "Dcssblk", segments: list[DcssSegment]) -> None:
        self.name = name
        self.segments = segments
        self.start = min(segment.start for segment in segments)
        self.size_bytes = max(segment.end for segment in segments) + 1 - self.start
        self.is_shared = True
        self.save_pending = False
        self.read_only = segments[0].type.read_only
        self._driver = driver
        self._opens: set[Opened] = set()
        self._gone = False

    @property
    def segment_name(self) -> str:
        """The name under /sys/devices/dcssblk."""
        return self.segments[0].name

    @property
    def dax_supported(self) -> bool:
        """Whether start and size are multiples of 2 MiB, which Linux wants of a DCSS for DAX since 2025."""
        return (self.start | self.size_bytes) % DAX_ALIGNMENT_BYTES == 0

    @property
    def use_count(self) -> int:
        """How often the device is open."""
        return len(self._opens)

    def open(self) -> Opened:
        """Add a user. Raises KernelError(ENODEV) where the device was removed."""
        if self._gone:
            raise KernelError(ENODEV, f"{self.name}: the device was removed")
        opened = Opened(self)
        self._opens.add(opened)
        return opened

    def release(self, opened: Opened) -> None:
        """Drop a user; every reference made through it is stale from now on. The last one triggers a pending save."""
        opened.alive = False
        if opened in self._opens:
            self._opens.remove(opened)
            if not self._opens and self.save_pending:
                self._driver.log.log(
                    "info", f"dcssblk: Device {self.segment_name} has become idle and is being saved now"
                )
                self.save_pending = False
                self._driver.save_segments(self)

    def retire(self) -> None:
        """End the device: opens fail from now on, and what was open is stale."""
        self._gone = True
        self.save_pending = False
        for opened in tuple(self._opens):
            self.release(opened)

    def read(self, opened: Opened, sector: int, address: int, size_bytes: int) -> None:
        """Copy whole pages of the segment to a host address."""
        opened.check()
        check_request(self, sector, size_bytes)
        hostmem.copy(address, self._address(sector), size_bytes)

    def write(self, opened: Opened, sector: int, address: int, size_bytes: int) -> None:
        """Copy whole pages into the segment, unless it is read-only and loaded shared."""
        opened.check()
        check_request(self, sector, size_bytes)
        if self.is_shared:
            first, last = self._absolute(sector), self._absolute(sector) + size_bytes - 1
            for segment in self.segments:
                if segment.type.read_only and segment.start <= last and first <= segment.end:
                    self._driver.log.log(
                        "warn",
                        f"dcssblk: Writing to {segment.name} failed because it is a read-only device",
                    )
                    raise KernelError(EIO, f"{self.name}: segment {segment.name} is of type {segment.type.name}")
        hostmem.copy(self._address(sector), address, size_bytes)

    def direct_access(self, opened: Opened, sector: int, size_bytes: int) -> DirectAccess:
        """Return a reference to bytes of the device; no check of access mode is made, as in dcssblk.c."""
        opened.check()
        if sector % SECTORS_PER_PAGE:
            raise KernelError(EINVAL, f"{self.name}: sector {sector} is not page aligned")
        if sector < 0 or size_bytes <= 0 or sector * SECTOR_SIZE + size_bytes > self.size_bytes:
            raise KernelError(
                ERANGE, f"{self.name}: {size_bytes} bytes at sector {sector} end beyond {self.size_bytes} bytes"
            )
        return DirectAccess(opened, self._address(sector), self._absolute(sector) >> PAGE_SHIFT, size_bytes)

    def _absolute(self, sector: int) -> int:
        return self.start + sector * SECTOR_SIZE

    def _address(self, sector: int) -> int:
        return self._driver.machine.absolute(0) + self._absolute(sector)


@dataclass(slots=True)
class Dcssblk:
    """The driver: devices by minor number, and what one writes to add, remove and shared in its sysfs."""

    machine: Machine
    extmem: Extmem
    log: KernelLog
    devices: dict[int, DcssblkDevice] = field(default_factory=dict)

    def load_module(self, parameter: str) -> None:
        """Take the `segments=` parameter: commas between devices, colons between members; a failure stops no other."""
        for entry in filter(None, parameter[:PARM_LEN].split(",")):
            names, local = entry.removesuffix(_LOCAL), entry.endswith(_LOCAL)
            try:
                device = self.add(names)
                if local:
                    self.set_shared(device.segment_name, shared=False)
            except KernelError as error:
                self.log.log("err", f"dcssblk: segments={entry}: {error.strerror}")

    def add(self, text: str) -> DcssblkDevice:
        """Load the segments named, colon between them, as one device. Raises KernelError as add_store() returns it."""
        names = _split_names(text)
        taken = {segment.name for device in self.devices.values() for segment in device.segments}
        for name in names:
            if dcss_mkname(name) in taken:
                raise KernelError(EEXIST, f"{name}: already part of a device")
        segments: list[DcssSegment] = []
        try:
            for name in names:
                segments.append(self._load(name))
            self._check_contiguous(segments)
        except KernelError:
            self._unload(segments)
            raise
        minor = next(number for number in range(len(self.devices) + 1) if number not in self.devices)
        device = DcssblkDevice(f"dcssblk{minor}", self, segments)
        self.devices[minor] = device
        sectors = device.size_bytes // SECTOR_SIZE
        self._info(f"Loaded {text.strip()} with total size {device.size_bytes} bytes and capacity {sectors} sectors")
        return device

    def remove(self, text: str) -> None:
        """Remove a device by its segment's name and unload its segments. Raises KernelError as remove_store() does."""
        name = text.strip().upper()
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
        self._unload(device.segments)

    def set_shared(self, name: str, *, shared: bool) -> None:
        """Reload a device's segments shared or exclusive-writable, as shared_store(); a failure removes the device."""
        device = self.by_segment(name)
        if device is None:
            raise KernelError(ENODEV, f"{name}: no such device")
        if device.use_count:
            raise KernelError(EBUSY, f"{name}: open {device.use_count} times")
        if not shared and any(segment.type is Type.SC for segment in device.segments):
            culprit = next(segment.name for segment in device.segments if segment.type is Type.SC)
            self._warn(f"DCSS {culprit} is of type SC and cannot be loaded as exclusive-writable")
            raise KernelError(EINVAL, f"{culprit}: type SC")
        for index, segment in enumerate(device.segments):
            try:
                device.segments[index] = self.extmem.segment_modify_shared(segment.name, do_nonshared=not shared)
            except KernelError as error:
                if error.errno == EAGAIN:
                    continue  # another user keeps it as it is; dcssblk.c goes on
                self._warn(f"DCSS device {device.segment_name} is removed after a failed access mode change")
                self._forget(device)
                self._unload([other for other in device.segments if other is not segment])
                raise
        device.is_shared = shared
        device.read_only = shared and device.segments[0].type.read_only

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
            device.save_pending = True
            self._info(f"Device {device.segment_name} is in use, its DCSSs will be saved when it becomes idle")
        else:
            self._info(f"All DCSSs that map to device {device.segment_name} are saved")
            self.save_segments(device)

    def save_segments(self, device: DcssblkDevice) -> None:
        """Save each segment whose pages CP keeps; types SN and EN have nothing to save (Linux 4.18 and later)."""
        for segment in device.segments:
            if segment.type in {Type.SN, Type.EN}:
                self._warn(f"DCSS {segment.name} is of type SN or EN and cannot be saved")
            else:
                self.extmem.segment_save(segment.name)

    def by_segment(self, name: str) -> DcssblkDevice | None:
        """Return the device whose first segment is `name`."""
        return next((d for d in self.devices.values() if d.segment_name == name.upper()), None)

    def by_name(self, name: str) -> DcssblkDevice | None:
        """Return the device called dcssblkN."""
        return next((d for d in self.devices.values() if d.name == name), None)

    def _load(self, name: str) -> DcssSegment:
        try:
            return self.extmem.segment_load(name, do_nonshared=False)
        except KernelError as error:
            self.extmem.segment_warning(error, name.upper())
            raise

    def _unload(self, segments: list[DcssSegment]) -> None:
        for segment in segments:
            self.extmem.segment_unload(segment.name)

    def _forget(self, device: DcssblkDevice) -> None:
        device.retire()
        self.devices = {minor: other for minor, other in self.devices.items() if other is not device}

    def _check_contiguous(self, segments: list[DcssSegment]) -> None:
        by_address = sorted(segments, key=lambda segment: segment.start)
        for lower, upper in pairwise(by_address):
            if lower.end + 1 != upper.start:
                self._error(f"Adjacent DCSSs {lower.name} and {upper.name} are not contiguous")
                raise KernelError(EINVAL, f"{lower.name} and {upper.name} are not contiguous")
            if lower.type is not upper.type and not {lower.type, upper.type} <= _MIXABLE:
                self._error(f"DCSS {lower.name} and DCSS {upper.name} have incompatible types")
                raise KernelError(EINVAL, f"{lower.name} is {lower.type.label}, {upper.name} is {upper.type.label}")

    def _error(self, message: str) -> None:
        self.log.log("err", f"dcssblk: {message}")

    def _warn(self, message: str) -> None:
        self.log.log("warn", f"dcssblk: {message}")

    def _info(self, message: str) -> None:
        self.log.log("info", f"dcssblk: {message}")


def _split_names(text: str) -> list[str]:
    names = text.strip().upper().split(":") if text else [""]
    if any(not 0 < len(name) <= MAX_NAME for name in names):
        raise KernelError(ENAMETOOLONG, f"{text!r}: wanted names of 1 to {MAX_NAME} characters, a colon between them")
    return names
