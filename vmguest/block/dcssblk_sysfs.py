"""dcssblk's attributes in sysfs, as drivers/s390/block/dcssblk.c makes them.

/sys/devices/dcssblk/add, remove                    0200
/sys/devices/dcssblk/NAME/shared, save              0600
/sys/devices/dcssblk/NAME/seglist                   0400
/sys/devices/dcssblk/NAME/block                     link to the disk
"""

from errno import EBUSY, EINVAL

from dcss.errors import KernelError
from vmguest.block.dcssblk import Dcssblk, DcssblkDevice
from vmguest.fs.sysfs import SysfsAttribute, SysfsDirectory, SysfsLink


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


def driver_tree(driver: Dcssblk) -> SysfsDirectory:
    """Return what /sys/devices/dcssblk shows now."""
    tree: SysfsDirectory = {
        b"add": SysfsAttribute(store=driver.add, mode=0o200),
        b"remove": SysfsAttribute(store=driver.remove, mode=0o200),
    }
    tree.update((device.segment_name.encode(), _device(driver, device)) for device in driver.devices.values())
    return tree


def _device(driver: Dcssblk, device: DcssblkDevice) -> SysfsDirectory:
    name = device.segment_name

    def set_shared(text: str) -> None:
        driver.set_shared(name, shared=flag_of(text, busy=device.use_count > 0))

    def save(text: str) -> None:
        driver.save(name, wanted=flag_of(text))

    return {
        b"block": SysfsLink(b"../../../block/" + device.name.encode()),
        b"save": SysfsAttribute(lambda: f"{device.save_pending:d}\n", save, 0o600),
        b"seglist": SysfsAttribute(lambda: "".join(f"{member.name}\n" for member in device.members), mode=0o400),
        b"shared": SysfsAttribute(lambda: f"{device.is_shared:d}\n", set_shared, 0o600),
    }
