"""The segments of a machine without DIAGNOSE: it gets them as devices, and CP is asked for them in its name.

A segment becomes a virtio-pmem device, which QEMU maps from the object that CP has published. QEMU gets that object by
a descriptor that cannot write.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from dcss.abi.diag64 import DIAGNOSE_64, ConditionCode, Diag64
from dcss.abi.extmem import SegmentName
from dcss.abi.hypercall import Request
from dcss.config.plan import DEVICE_BYTES, GuestPlan
from dcss.engines.base import GuestRefusedError, Port

_OPERAND = 0x2000  # any doubleword: nothing is stored there


class PmemDevice(NamedTuple):
    """A loaded segment: a read-only descriptor of its object, which whoever has this closes."""

    segment: str
    descriptor: int
    size_bytes: int

    @property
    def object(self) -> tuple[int, int]:
        """The object as mappings name it: device and inode."""
        status = os.fstat(self.descriptor)
        return status.st_dev, status.st_ino


async def load_devices(plan: GuestPlan, port: Port, note: Callable[[str], None]) -> list[PmemDevice]:
    """Load the segments of a guest's devices, in order; `note` gets a line for each.

    Raises GuestRefusedError where one cannot be loaded or cannot be a device.
    """
    devices: list[PmemDevice] = []
    try:
        for name in plan.dcssblk:
            devices.append(await _load(plan, port, name))
            note(f"DIAG X'64' {Diag64.LOADSHRX:02X} {name!r}: virtio-pmem device {len(devices) - 1}, given by the host")
    except BaseException:
        close_devices(devices)
        raise
    return devices


def close_devices(devices: list[PmemDevice]) -> None:
    """Close the descriptors of devices."""
    for device in devices:
        os.close(device.descriptor)


async def _load(plan: GuestPlan, port: Port, name: str) -> PmemDevice:
    reply = await port(Request(DIAGNOSE_64, _OPERAND, Diag64.LOADSHRX, SegmentName(name).ebcdic))
    where = f"{plan.where}: dcssblk: segment {name}"
    if reply.condition_code == ConditionCode.FAILED or reply.descriptor is None:
        raise GuestRefusedError(f"{where}: cannot be loaded: CP answers with code {reply.ry}")
    size_bytes = reply.ry + 1 - reply.rx
    if size_bytes % DEVICE_BYTES:
        raise GuestRefusedError(f"{where}: found {size_bytes} bytes, wanted a multiple of {DEVICE_BYTES} (2 MiB)")
    return PmemDevice(name, os.open(f"/proc/self/fd/{reply.descriptor}", os.O_RDONLY | os.O_CLOEXEC), size_bytes)
