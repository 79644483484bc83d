"""QEMU's monitor, by QMP: addresses of the machine's storage, and descriptors that it takes over.

Source: docs/interop/qemu-qmp-ref of QEMU; gpa2hva and gva2gpa are commands of its human monitor.
"""

import logging
import re
import socket
from contextlib import suppress
from typing import NamedTuple

from qemu.qmp import ExecuteError, QMPClient, QMPError

from dcss.engines.linux.ended import MachineEndedError
from dcss.errors import LaunchError


class PassedDescriptor(NamedTuple):
    """A descriptor in QEMU: its number there, and that of the set that QEMU keeps it in."""

    number: int
    set_number: int


class Monitor:
    """One connection to QEMU's monitor. Every method raises MachineEndedError where QEMU has ended."""

    def __init__(self, client: QMPClient) -> None:
        self._client = client

    @classmethod
    async def connect(cls, name: str, sock: socket.socket) -> "Monitor":
        """Greet the monitor that has the other end of `sock`, which is taken over."""
        client = QMPClient(name)
        client.logger.setLevel(logging.CRITICAL)  # what it would log is raised
        try:
            await client.connect(sock)
        except QMPError as error:
            raise MachineEndedError from error
        return cls(client)

    async def close(self) -> None:
        """Give up the connection."""
        with suppress(QMPError, EOFError):  # QEMU has ended
            await self._client.disconnect()

    async def host_address(self, address: int) -> int:
        """Return where QEMU has real `address` in its own memory. Raises LaunchError."""
        return await self._address(f"gpa2hva {address:#x}", r" is (0x[0-9a-f]+)")

    async def real_address(self, address: int) -> int:
        """Return the real address of a virtual one of the first CPU. Raises LaunchError."""
        return await self._address(f"gva2gpa {address:#x}", r"gpa: (0x[0-9a-f]+)")

    async def pass_descriptor(self, descriptor: int) -> PassedDescriptor:
        """Give QEMU a descriptor, which is closed by `close_descriptor`."""
        try:
            self._client.send_fd_scm(descriptor)
        except OSError as error:
            raise MachineEndedError from error
        answer = await self._execute("add-fd", {})
        assert isinstance(answer, dict), "QMP's answer to add-fd"
        return PassedDescriptor(answer["fd"], answer["fdset-id"])

    async def close_descriptor(self, passed: PassedDescriptor) -> None:
        """Have QEMU close a descriptor that was passed."""
        await self._execute("remove-fd", {"fdset-id": passed.set_number})

    async def _address(self, command: str, pattern: str) -> int:
        answer = str(await self._execute("human-monitor-command", {"command-line": command}))
        found = re.search(pattern, answer)
        if found is None:
            raise LaunchError(f"QEMU's monitor: {command}: found {answer.strip()!r}, wanted an address")
        return int(found[1], 16)

    async def _execute(self, command: str, arguments: dict[str, object]) -> object:
        try:
            return await self._client.execute(command, arguments)
        except ExecuteError as error:
            raise LaunchError(f"QEMU's monitor: {command}: {error}") from error
        except (QMPError, EOFError) as error:
            raise MachineEndedError from error
