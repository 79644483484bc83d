"""The command line of a virtual machine with an x86_64 CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from dcss.engines.base import Accelerator
from dcss.engines.linux.pmem import PmemDevice
from dcss.engines.linux.qemu import PROGRAMS
from dcss.kernels.guest_plan import FIRST_PMEM_SLOT

MOST_DEVICES = 0x1F - FIRST_PMEM_SLOT  # slot 1f is the chip set's own
_CPUS = {"kvm": "host", "tcg": "max"}


class PmemMachine(NamedTuple):
    """A virtual machine with an x86_64 CPU, as QEMU is to make it."""

    name: str
    storage_bytes: int
    cpus: int
    kernel: Path
    append: str
    accelerator: Accelerator
    time_limit_seconds: float | None = None  # for the guest's `run:` list

    def command(self, monitor: int, agent: int, initrd: int, devices: Sequence[PmemDevice]) -> list[str]:
        """Return QEMU's words, with the numbers of what it inherits: two sockets, the initramfs and the devices.

        Its console is standard output.
        """
        parameters = [
            "console=ttyS0",
            "init_on_free=1",  # freed copies of a segment would count as copies
            "swiotlb=noforce",  # no device needs the 64 MiB that a kernel sets aside where memory passes 4 GiB
            "panic=-1",
            self.append,
        ]
        backing = f"memory-backend-ram,id=storage,size={self.storage_bytes},share=off,merge=off"
        return [
            *base_command(self.accelerator.name, f"{self.storage_bytes >> 20}M{self._reach(devices)}", self.kernel),
            *("-name", self.name, "-smp", str(self.cpus), "-object", backing, "-machine", "memory-backend=storage"),
            *(word for number, device in enumerate(devices) for word in _pmem(number, device)),
            *("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"),
            *("-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,fd={agent}"),
            *("-device", "virtserialport,chardev=agent,name=dcss.agent"),
            *("-device", "virtio-balloon-pci,free-page-reporting=on"),  # what the kernel frees goes back to the host
            *("-initrd", f"/proc/self/fd/{initrd}", "-append", " ".join(parameters).strip()),
        ]

    def _reach(self, devices: Sequence[PmemDevice]) -> str:
        """Return what -m says of how far memory reaches with the devices."""
        if not devices:
            return ""
        most_bytes = self.storage_bytes + sum(device.size_bytes for device in devices)
        return f",slots={len(devices)},maxmem={most_bytes}"


def base_command(accelerator: Literal["kvm", "tcg"], memory: str, kernel: Path) -> list[str]:
    """Return what all machines have: a CPU, `memory` as -m takes it, and a console, which is standard output."""
    return [
        PROGRAMS["x86_64"],
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35", "-accel", accelerator, "-cpu", _CPUS[accelerator], "-m", memory),
        *("-chardev", "stdio,id=console,signal=off", "-device", "isa-serial,chardev=console"),
        *("-kernel", str(kernel)),
    ]


def _pmem(number: int, device: PmemDevice) -> list[str]:
    path = f"/proc/self/fd/{device.descriptor}"
    backing = f"memory-backend-file,id=segment{number},mem-path={path},size={device.size_bytes}"
    return [
        *("-object", f"{backing},share=on,readonly=on,align=2M"),
        *("-device", f"virtio-pmem-pci,memdev=segment{number},addr={FIRST_PMEM_SLOT + number:#x}"),
    ]
