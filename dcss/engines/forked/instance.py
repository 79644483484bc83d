"""One run of a guest in a process of its own: its process, its hypercall socket and its console."""

import asyncio
import os
import signal
import socket
from contextlib import suppress

from dcss.account.targets import AddressRange
from dcss.engines.base import End, MemoryLayout, Port
from dcss.engines.forked.console import GuestConsole
from dcss.engines.forked.disks import OpenDisks
from dcss.engines.forked.port import HypercallSocket
from dcss.engines.storage import dump_storage
from dcss.engines.told import ToldByConsole
from vmguest.hostmem import Reservation


class ForkedInstance(ToldByConsole):
    """A guest from the request for its process on. `window` is the host address of its absolute address 0."""

    console_type: type[GuestConsole] = GuestConsole

    def __init__(
        self,
        name: str,
        reservation: Reservation,
        port: Port,
        port_socket: socket.socket,
        console: socket.socket,
        *,
        disks: OpenDisks | None = None,
        storage_bytes: int = 0,
    ) -> None:
        self.name = name
        self.pid: int | None = None
        self.pidfd: int | None = None
        self.exit_status: int | None = None
        self._reservation = reservation
        self._disks = disks or OpenDisks()
        self._storage_bytes = storage_bytes
        self._port = HypercallSocket(port_socket, port, self._give_up)
        self._console = self.console_type(name, console, self.kill)
        self._reason = ""
        self._ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    @property
    def window(self) -> int:
        """Where in its process the guest's absolute storage begins."""
        return self._reservation.window

    @property
    def pids(self) -> tuple[int, ...]:
        """Its process while it lives."""
        return () if self.pid is None or self.exit_status is not None else (self.pid,)

    def serve(self) -> None:
        """Serve its hypercalls and read its console from now on, unless it has ended already."""
        if self.exit_status is None:
            self._port.start(self.name)
            self._console.start()

    def process_ended(self, status: int) -> None:
        """Record that its process has ended, after reading its console to the end."""
        self._port.end()
        self._console.end(status)
        self.exit_status = status
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        self._ended.set_result(End(status, self._reason))

    async def ended(self) -> End:
        """Wait until its process has ended."""
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """Kill the process; the descriptor makes sure that it is not another one that got its number."""
        if self.pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def shut_down(self) -> bool:
        """Have a guest that writes to files of this machine end in order; return False if it does not, or is busy."""
        return self._disks.writable and self.exit_status is None and self._console.hang_up()

    def read_storage(self, write_fd: int, address: int, size_bytes: int) -> None:
        """Write absolute storage to a file that reads as zeros."""
        dump_storage(self, write_fd, address, size_bytes)

    def memory(self) -> MemoryLayout:
        """Return the ranges that the fork server reserved for every guest, and its disks."""
        place = self._reservation
        return MemoryLayout(
            AddressRange(place.window, place.window + place.window_bytes),
            AddressRange(place.user_area, place.user_area + place.user_area_bytes),
            ((AddressRange(place.module_area, place.module_area + place.module_area_bytes), "modules"),),
            self._disks.files,
        )

    async def close(self) -> None:
        """Wait until CP answers no hypercall of it, and close what the host holds. Its process has ended."""
        await self._port.close()
        if self.exit_status is None:
            self.process_ended(-signal.SIGKILL)

    def _give_up(self, reason: str) -> None:
        """End a guest that cannot go on, for `reason`."""
        self._reason = reason
        self.kill()
