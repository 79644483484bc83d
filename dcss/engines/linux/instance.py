"""One run of an s390x Linux guest: its kernel's calls of CP, which QEMU's gdb stub shows."""

import asyncio
import socket
from pathlib import Path
from typing import NamedTuple

from dcss.account.targets import AddressRange
from dcss.engines.base import Accelerator, MemoryLayout, Port
from dcss.engines.linux.gdb_stub import GdbStub
from dcss.engines.linux.hypercalls import Hypercalls
from dcss.engines.linux.kernel_entry import enter_kernel
from dcss.engines.linux.machine_instance import GivenInitramfs, MachineInstance
from dcss.engines.linux.monitor import Monitor
from dcss.engines.linux.qemu import Machine, QemuProcess
from dcss.engines.linux.real_storage import RealStorage
from dcss.engines.storage import dump_storage
from dcss.errors import LaunchError

_ENTER_SECONDS = 300.0  # to the kernel's first C function; 6 s where nothing else runs


class Sockets(NamedTuple):
    """CP's ends of the sockets of a machine: to QEMU's gdb stub and its monitor, and to the agent's port."""

    gdb: socket.socket
    monitor: socket.socket
    agent: socket.socket


class LinuxInstance(MachineInstance):
    """An s390x machine, whose kernel makes its own calls of CP; `port` answers them."""

    def __init__(
        self,
        machine: Machine,
        process: QemuProcess,
        port: Port,
        sockets: Sockets,
        initramfs: GivenInitramfs,
        *,
        log: int,
    ) -> None:
        self._machine, self._hypercall_port, self._sockets = machine, port, sockets
        self._storage: RealStorage | None = None
        super().__init__(
            machine.name,
            process,
            sockets.agent,
            Accelerator("tcg"),
            initramfs,
            log=log,
            time_limit_seconds=machine.time_limit_seconds,
        )

    @property
    def window(self) -> int:
        """Where QEMU has absolute address 0; 0 while that is not known."""
        return 0 if self._storage is None else self._storage.start

    def read_storage(self, write_fd: int, address: int, size_bytes: int) -> None:
        """Write absolute storage to a file that reads as zeros."""
        dump_storage(self, write_fd, address, size_bytes)

    def memory(self) -> MemoryLayout:
        """Return where QEMU has the guest's storage; files are used where segments lie."""
        window = AddressRange(self.window, self.window + self._machine.storage_bytes)
        return MemoryLayout(window, AddressRange(0, 0), self._origins, in_place=True, buffering=True)

    def _own_storage(self) -> AddressRange:
        own_bytes = 0 if self._storage is None else self._machine.own_bytes
        return AddressRange(self.window, self.window + own_bytes)

    async def _attend(self) -> None:
        stub = await GdbStub.connect(self._sockets.gdb)
        monitor = await Monitor.connect(self.name, self._sockets.monitor)
        try:
            await self._answer_calls(stub, monitor)
        finally:
            stub.close()
            await monitor.close()

    def _closed(self) -> None:
        if self._storage is not None:
            self._storage.close()

    async def _answer_calls(self, stub: GdbStub, monitor: Monitor) -> None:
        self._storage = RealStorage(self._process.pid, await monitor.host_address(0))
        image_bytes = Path(self._machine.kernel).stat().st_size
        try:
            async with asyncio.timeout(_ENTER_SECONDS):
                entered = await enter_kernel(stub, monitor, self._storage, image_bytes, self._machine.own_bytes)
        except TimeoutError as error:
            raise LaunchError(f"its kernel did not come up within {_ENTER_SECONDS:g} s") from error
        self._note(f"kernel at {entered.virtual:#x}, real {entered.real:#x}, {len(entered.sites)} calls of CP")
        calls = Hypercalls(stub, self._storage, monitor, self._hypercall_port, entered.sites, log=self._note)
        await calls.serve()
