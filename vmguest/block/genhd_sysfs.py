"""The disks in sysfs, whichever driver they are of: /sys/block/NAME/dev, ro and size, mode 0444."""

from dcss.abi.ext2 import SECTOR_SIZE
from vmguest.block.device import BlockDevice
from vmguest.block.genhd import BlockDevices
from vmguest.fs.sysfs import SysfsAttribute, SysfsDirectory


def disks_tree(devices: BlockDevices) -> SysfsDirectory:
    """Return what /sys/block shows now."""
    return {device.name.encode(): _disk(device) for device in devices}


def _disk(device: BlockDevice) -> SysfsDirectory:
    major, minor = device.number
    return {
        b"dev": SysfsAttribute(lambda: f"{major}:{minor}\n"),
        b"ro": SysfsAttribute(lambda: f"{device.read_only:d}\n"),
        b"size": SysfsAttribute(lambda: f"{device.size_bytes // SECTOR_SIZE}\n"),
    }
