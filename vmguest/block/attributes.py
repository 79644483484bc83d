"""dcssblk's attributes in sysfs, as drivers/s390/block/dcssblk.c makes them, and the disks behind them.

/sys/devices/dcssblk/add, remove                    0200
/sys/devices/dcssblk/NAME/shared, save              0600
/sys/devices/dcssblk/NAME/seglist                   0400
/sys/devices/dcssblk/NAME/block                     link to the disk
/sys/block/dcssblkN/dev, ro, size                   0444
"""

from errno import EBUSY, EINVAL

from dcss.abi.ext2 import SECTOR_SIZE
from dcss.errors import KernelError
from vmguest.block.dcssblk import DCSSBLK_MAJOR, Dcssblk, DcssblkDevice
from vmguest.fs.sysfs import Attribute, Directory, Link


def flag_of(text: str, *, busy: bool = False) -> bool:
    """Read what shared and save take: 0 or 1, and a newline or nothing behind it.

    Raises KernelError: EINVAL for anything else, but EBUSY where only the first character is wrong and the device is
    `busy`, since shared_store() looks at that in between.
    """
    if text[1:2] not in {"", "\n", "\0"}:
        raise KernelError(EINVAL, f"{text.strip()!r}: wanted 0 or 1, and nothing behind it")
    if text[:1] not in {"0", "1"}:
        raise KernelError(EBUSY if busy else EINVAL, f"{text.strip()!r}: wanted 0 or 1")
    return text[0] == "1"


def tree_of(driver: Dcssblk) -> Directory:
    """Return what /sys shows now."""
    devices = driver.devices.values()
    dcssblk: Directory = {
        b"add": Attribute(store=driver.add, mode=0o200),
        b"remove": Attribute(store=driver.remove, mode=0o200),
    }
    dcssblk.update((device.segment_name.encode(), _device(driver, device)) for device in devices)
    block: Directory = {device.name.encode(): _disk(device, minor) for minor, device in driver.devices.items()}
    return {b"block": block, b"devices": {b"dcssblk": dcssblk}}


def _device(driver: Dcssblk, device: DcssblkDevice) -> Directory:
    name = device.segment_name

    def set_shared(text: str) -> None:
        driver.set_shared(name, shared=flag_of(text, busy=device.use_count > 0))

    def save(text: str) -> None:
        driver.save(name, wanted=flag_of(text))

    return {
        b"block": Link(b"../../../block/" + device.name.encode()),
        b"save": Attribute(lambda: f"{device.save_pending:d}\n", save, 0o600),
        b"seglist": Attribute(lambda: "".join(f"{member.name}\n" for member in device.members), mode=0o400),
        b"shared": Attribute(lambda: f"{device.is_shared:d}\n", set_shared, 0o600),
    }


def _disk(device: DcssblkDevice, minor: int) -> Directory:
    return {
        b"dev": Attribute(lambda: f"{DCSSBLK_MAJOR}:{minor}\n"),
        b"ro": Attribute(lambda: f"{device.read_only:d}\n"),
        b"size": Attribute(lambda: f"{device.size_bytes // SECTOR_SIZE}\n"),
    }
