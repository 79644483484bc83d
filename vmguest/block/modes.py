"""The ways to file bytes that need a device of their own above a disk: a ramdisk read from it, an mtd over it."""

from vmguest.block.dcssblk import Dcssblk, DcssblkDevice
from vmguest.block.device import BlockDevice
from vmguest.block.genhd import BlockDevices
from vmguest.block.mtd import MtdDevice, add_mtd
from vmguest.block.ramdisk import Ramdisk, add_ramdisk
from vmguest.extmem import Extmem
from vmguest.machine import VirtualMachine

RAMDISK, MTD = "ramdisk", "mtd"


def add_device(
    mode: str, source: BlockDevice, devices: BlockDevices, machine: VirtualMachine, extmem: Extmem
) -> BlockDevice:
    """Make the device that a mount with `mode` is made from. Raises KernelError: ENOMEM, EIO, EOPNOTSUPP."""
    if mode == RAMDISK:
        return add_ramdisk(devices, source, machine.storage)
    assert mode == MTD, mode
    return add_mtd(devices, source, machine, extmem.iomem)


def drop_sources(devices: BlockDevices, dcssblk: Dcssblk) -> None:
    """Remove each dcssblk device that a ramdisk was read from and that nobody uses: the original is not needed."""
    read = {disk.source_name for disk in devices if isinstance(disk, Ramdisk)}
    for disk in devices:
        if isinstance(disk, DcssblkDevice) and disk.name in read and not disk.use_count:
            dcssblk.remove(disk.segment_name)


def mode_of(device: BlockDevice, in_place: str | None) -> str:
    """Return how file bytes of a mounted disk are reached; `in_place` is xip, dax or None."""
    if isinstance(device, Ramdisk):
        return RAMDISK
    if isinstance(device, MtdDevice):
        return MTD
    return in_place or "page-cache"
