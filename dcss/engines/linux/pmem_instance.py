"""One run of an x86_64 Linux guest, which has its segments as virtio-pmem devices."""

import socket
from collections.abc import Sequence
from errno import ENOTSUP
from typing import NamedTuple

from dcss.account.maps import read_maps
from dcss.account.targets import AddressRange
from dcss.engines.base import MemoryLayout
from dcss.engines.linux.machine_instance import GivenInitramfs, MachineInstance
from dcss.engines.linux.monitor import Monitor
from dcss.engines.linux.pmem_machine import PmemMachine
from dcss.engines.linux.qemu import QemuProcess
from dcss.errors import LaunchError
from dcss.host.aio import in_thread

_NOWHERE = AddressRange(0, 0)


class PmemSockets(NamedTuple):
    """CP's ends of the sockets of a machine: to QEMU's monitor and to the agent's port."""

    monitor: socket.socket
    agent: socket.socket


class PmemInstance(MachineInstance):
    """An x86_64 machine. `objects` are those of its devices, each as device and inode."""

    def __init__(
        self,
        machine: PmemMachine,
        process: QemuProcess,
        sockets: PmemSockets,
        objects: Sequence[tuple[int, int]],
        initramfs: GivenInitramfs,
        *,
        log: int,
    ) -> None:
        self._monitor, self._objects = sockets.monitor, frozenset(objects)
        self._devices = _NOWHERE
        limit_seconds = machine.time_limit_seconds
        self._storage, self._storage_bytes = _NOWHERE, machine.storage_bytes
        super().__init__(
            machine.name,
            process,
            sockets.agent,
            machine.accelerator,
            initramfs,
            log=log,
            time_limit_seconds=limit_seconds,
        )

    def read_storage(self, write_fd: int, address: int, size_bytes: int) -> None:
        """Refuse: nothing in the machine calls CP, so nobody there saves a segment."""
        del write_fd, address, size_bytes
        raise OSError(ENOTSUP, f"guest {self.name} has segments as devices that it cannot write")

    def memory(self) -> MemoryLayout:
        """Return where QEMU has the devices; files are used where segments lie."""
        return MemoryLayout(self._devices, _NOWHERE, self._origins, in_place=True, buffering=True)

    def _own_storage(self) -> AddressRange:
        return self._storage

    async def _attend(self) -> None:
        """Note where QEMU has memory and the devices; once its monitor answers, the whole machine is there."""
        monitor = await Monitor.connect(self.name, self._monitor)
        try:
            start = await monitor.host_address(0)
            self._storage = AddressRange(start, start + self._storage_bytes)
            self._devices = await in_thread(self._find_devices)
        finally:
            await monitor.close()

    def _find_devices(self) -> AddressRange:
        found = [vma for vma in read_maps(self._process.pid) if vma.object in self._objects]
        missing = len(self._objects) - len({vma.object for vma in found})
        if missing:
            raise LaunchError(f"QEMU has not mapped {missing} of its {len(self._objects)} segments")
        return AddressRange(min(vma.start for vma in found), max(vma.end for vma in found)) if found else _NOWHERE
