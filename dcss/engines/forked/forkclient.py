"""CP's end of the fork server: starts it before anything is published, asks it for guests, receives how they end."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

from dcss.engines.forked.packets import LOG, PACKET_BYTES, pack_kill
from dcss.engines.forked.server_process import ServerProcess
from dcss.errors import LaunchError
from dcss.host.aio import in_thread, wait_readable, wait_writable
from dcss.host.process import has_ended_by, how_ended
from vmguest.hostmem import Reservation
from vmguest.spec import GuestSpec

_CLOSE_SECONDS = 10.0  # a thousand guests take one
_ENDS_SECONDS = 30.0  # a process closes its sockets a moment before it can be waited for; a busy machine's are long


class Started(NamedTuple):
    """A guest process exists; the descriptor refers to it for good, whatever becomes of its number.

    It is None where this process has no number left for one (EMFILE): the kernel leaves it out of the packet.
    """

    name: str
    pid: int
    pidfd: int | None


class Refused(NamedTuple):
    """A guest process could not be made, and why."""

    name: str
    reason: str


class Ended(NamedTuple):
    """A guest process ended: an exit status, or minus the signal's number."""

    name: str
    pid: int
    status: int


class Template(NamedTuple):
    """There is a template, from which guests are cloned; or, with `ended`, one of them has ended."""

    pid: int
    ended: bool


class ForkServer:
    """A fork server that serves this CP; from now on, its faults go to the descriptor `log`."""

    def __init__(self, server: ServerProcess, log: int) -> None:
        self._control, self._process = server.control, server.process
        with suppress(ConnectionError):  # it has gone: the first event says so
            socket.send_fds(self._control, [LOG], [log])

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def ended_well(self) -> bool:
        """Whether the server has ended by itself, and before that everything that it or its guests forked."""
        return self._process.returncode == 0

    async def reservation(self) -> Reservation:
        """Return the addresses that every guest has reserved: the server's first message. Raises LaunchError: gone."""
        message, _ = await self._receive()
        return Reservation(*message["reservation"])

    async def spawn(
        self, spec: GuestSpec, port: socket.socket, console: socket.socket, log: int, disks: Sequence[int]
    ) -> None:
        """Ask for a guest with these descriptors, `disks` in the order of the specification's.

        The specification fits into one packet, or the engine's `check` has refused it. Raises LaunchError where the
        server is gone, and OSError where the kernel has no memory for the packet.
        """
        await self._send(spec.pack(), [port.fileno(), console.fileno(), log, *disks])

    async def kill(self, pid: int) -> None:
        """Have the server kill a guest that this process has no descriptor of. Raises LaunchError: it is gone."""
        await self._send(pack_kill(pid), [])

    async def event(self) -> Started | Refused | Ended | Template:
        """Wait for and return the next event. Raises LaunchError where the server is gone."""
        message, descriptors = await self._receive()
        if message["event"] in {"template", "template ended"}:
            return Template(int(message["pid"]), ended=message["event"] == "template ended")
        name = str(message["name"])
        match message["event"]:
            case "started":
                return Started(name, int(message["pid"]), descriptors[0] if descriptors else None)
            case "refused":
                return Refused(name, str(message["reason"]))
            case _:
                return Ended(name, int(message["pid"]), int(message["status"]))

    async def close(self) -> None:
        """Have the server end every guest with all that it forked, and itself; kill it if that takes too long."""
        self._control.close()
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)  # somebody may have stopped it
            await in_thread(self._wait_or_kill)

    def _wait_or_kill(self) -> None:
        with suppress(ProcessLookupError):  # it was waited for
            pidfd = os.pidfd_open(self.pid)
            try:
                if not has_ended_by(pidfd, self.pid, monotonic() + _CLOSE_SECONDS):
                    self._process.kill()
            finally:
                os.close(pidfd)
        self._process.wait()

    async def _send(self, packet: bytes, descriptors: list[int]) -> None:
        while True:
            try:
                socket.send_fds(self._control, [packet], descriptors)
            except BlockingIOError:
                await wait_writable(self._control)
            except ConnectionError as error:
                raise await self._gone(error) from error
            else:
                return

    async def _receive(self) -> tuple[dict[str, Any], list[int]]:
        while True:
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._control, PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                await wait_readable(self._control)
                continue
            except OSError as error:
                raise await self._gone(error) from error
            if not packet:
                raise await self._gone(None)
            return json.loads(packet), descriptors

    async def _gone(self, error: OSError | None) -> LaunchError:
        with suppress(subprocess.TimeoutExpired):
            await in_thread(self._process.wait, _ENDS_SECONDS)
        status = self._process.returncode
        how = "ended" if status is None else how_ended(status)
        why = "" if error is None else f" ({error})"
        return LaunchError(f"fork server (process {self.pid}) {how}; its guests ended with it{why}")
