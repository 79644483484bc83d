"""One run of a Linux guest: its QEMU, its kernel's calls of CP, and the agent in it."""

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dcss.account.targets import AddressRange
from dcss.engines.base import End, MemoryLayout, Port
from dcss.engines.forked.console import GuestConsole
from dcss.engines.linux.agent_port import AgentPort
from dcss.engines.linux.ended import MachineEndedError
from dcss.engines.linux.gdb_stub import GdbStub
from dcss.engines.linux.hypercalls import Hypercalls
from dcss.engines.linux.kernel_entry import enter_kernel
from dcss.engines.linux.monitor import Monitor
from dcss.engines.linux.qemu import Machine, QemuProcess
from dcss.engines.linux.real_storage import RealStorage
from dcss.engines.storage import dump_storage
from dcss.engines.told import ToldByConsole
from dcss.errors import LaunchError
from dcss.host.aio import cancel, start_task

_ENTER_SECONDS = 300.0  # to the kernel's first C function; 6 s where nothing else runs


class Sockets(NamedTuple):
    """CP's ends of the sockets of a machine: to QEMU's gdb stub and its monitor, and to the agent's port."""

    gdb: socket.socket
    monitor: socket.socket
    agent: socket.socket


class LinuxInstance(ToldByConsole):
    """A machine whose QEMU has been started; see dcss.engines.base.Instance."""

    def __init__(
        self,
        machine: Machine,
        process: QemuProcess,
        port: Port,
        sockets: Sockets,
        *,
        log: int,
    ) -> None:
        self.name = machine.name
        self._machine, self._process, self._hypercall_port = machine, process, port
        self._log = os.dup(log)
        self._reason = ""
        self._storage: RealStorage | None = None
        self._agent = AgentPort(sockets.agent, lambda: self._give_up("its agent sent what no agent sends"))
        self._console = GuestConsole(self.name, self._agent.packets, self.kill)
        self._console.start()
        self._life = start_task(self._live(sockets), f"machine {self.name}")

    @property
    def pid(self) -> int | None:
        """QEMU's process."""
        return self._process.pid

    @property
    def pidfd(self) -> int | None:
        """A descriptor of that process while it lives."""
        return self._process.pidfd

    @property
    def exit_status(self) -> int | None:
        """How QEMU ended; None while it runs."""
        return self._process.exit_status

    @property
    def window(self) -> int:
        """Where QEMU has absolute address 0; 0 while that is not known."""
        return 0 if self._storage is None else self._storage.start

    @property
    def pids(self) -> tuple[int, ...]:
        """QEMU's process while it lives."""
        return () if self.exit_status is not None else (self._process.pid,)

    async def ended(self) -> End:
        """Wait until QEMU has ended and all that the guest sent has been read."""
        return await asyncio.shield(self._life)

    def kill(self) -> None:
        """End QEMU at once."""
        self._process.kill()

    def read_storage(self, write_fd: int, address: int, size_bytes: int) -> None:
        """Write absolute storage to a file that reads as zeros."""
        dump_storage(self, write_fd, address, size_bytes)

    def memory(self) -> MemoryLayout:
        """Return where QEMU has the guest's storage; files are used where segments lie."""
        window = AddressRange(self.window, self.window + self._machine.storage_bytes)
        return MemoryLayout(window, AddressRange(0, 0), in_place=True, buffering=True)

    async def _live(self, sockets: Sockets) -> End:
        """Serve the machine from its first instruction to its end."""
        passing = asyncio.create_task(self._agent.serve())
        calls = asyncio.create_task(self._answer_calls(sockets))
        limit = asyncio.create_task(self._keep_time())
        try:
            status = await self._process.ended
            await passing
            await calls
        finally:
            await cancel(passing, calls, limit)
            if self._storage is not None:
                self._storage.close()
            os.close(self._log)
        self._console.end(status)
        return End(status, self._reason)

    async def _keep_time(self) -> None:
        if self._machine.time_limit_seconds is not None:
            try:
                async with asyncio.timeout(self._machine.time_limit_seconds):
                    await self._console.verdict()
            except TimeoutError:
                self._give_up(f"its `run:` list took longer than {self._machine.time_limit_seconds:g} s")

    async def _answer_calls(self, sockets: Sockets) -> None:
        try:
            stub = await GdbStub.connect(sockets.gdb)
            monitor = await Monitor.connect(self.name, sockets.monitor)
            try:
                await self._run(stub, monitor)
            finally:
                stub.close()
                await monitor.close()
        except MachineEndedError:
            pass
        except (LaunchError, OSError, ValueError) as error:
            if self.exit_status is None:
                self._give_up(f"the machine cannot go on: {error}")

    async def _run(self, stub: GdbStub, monitor: Monitor) -> None:
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

    def _note(self, line: str) -> None:
        with suppress(OSError):  # a full disk
            os.write(self._log, f"cp: {line}\n".encode())

    def _give_up(self, reason: str) -> None:
        self._reason = self._reason or reason
        self.kill()
