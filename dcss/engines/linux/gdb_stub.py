"""QEMU's gdb stub: it stops a virtual machine, and shows and changes the registers of the CPU that stopped.

Source: "gdb Remote Serial Protocol" of the GDB manual, and gdbstub.c of QEMU. The stub answers one packet at a time.
Addresses are virtual ones of the CPU that stopped; real storage is read from outside (dcss.engines.linux.real_storage).
"""

import asyncio
import re
import socket
from collections.abc import Iterable
from typing import NamedTuple

from dcss.engines.linux.ended import MachineEndedError

_PIECE_BYTES = 1024  # of storage in one packet: the stub takes 4 KiB, in hexadecimal
_STOP = re.compile(r"T([0-9a-f]{2}).*?thread:([0-9a-f]+);")
_TRAP = 0x05  # the signal of break- and watchpoints and of steps
# Of a machine that shuts down, and of one whose kernel panicked (gdb_vm_state_change of QEMU): it ends next. Mostly it
# has ended before it tells; on a busy host it tells before.
_ENDING = frozenset({0x03, 0x8F})


class Stop(NamedTuple):
    """Why the machine stopped: `watched` where a watchpoint was hit, and no breakpoint."""

    watched: bool


class GdbStub:
    """One connection to QEMU's gdb stub. Every method raises MachineEndedError where QEMU has ended."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._thread = ""  # the CPU that stopped, as the stub numbers them

    @classmethod
    async def connect(cls, sock: socket.socket) -> "GdbStub":
        """Greet the stub that has the other end of `sock`, which is taken over."""
        stub = cls(*await asyncio.open_unix_connection(sock=sock))
        await stub._ask("qSupported")
        await stub._ask("qXfer:features:read:target.xml:0,ffb")  # without it the stub answers no p and P
        if await stub._ask("QStartNoAckMode") == "OK":
            stub._writer.write(b"+")
        return stub

    def close(self) -> None:
        """Give up the connection. The machine goes on if it runs."""
        self._writer.close()

    async def resume(self) -> Stop:
        """Let the machine run until it stops."""
        return self._stopped(await self._ask("c"))

    async def step(self) -> None:
        """Have the CPU that stopped execute one instruction, and no other CPU any: that might stop instead."""
        self._stopped(await self._ask(f"vCont;s:{self._thread}"))

    async def register(self, number: int) -> int:
        """Return a register of the CPU that stopped."""
        return int(await self._ask(f"p{number:x}"), 16)

    async def set_register(self, number: int, value: int) -> None:
        """Change a register of the CPU that stopped."""
        await self._order(f"P{number:x}={value & 0xFFFF_FFFF_FFFF_FFFF:016x}")

    async def read(self, address: int, size_bytes: int) -> bytes:
        """Read storage by its virtual address."""
        pieces = [
            bytes.fromhex(await self._ask(f"m{address + done:x},{min(_PIECE_BYTES, size_bytes - done):x}"))
            for done in range(0, size_bytes, _PIECE_BYTES)
        ]
        return b"".join(pieces)

    async def write(self, address: int, content: bytes) -> None:
        """Write storage by its virtual address."""
        for done in range(0, len(content), _PIECE_BYTES):
            piece = content[done : done + _PIECE_BYTES]
            await self._order(f"M{address + done:x},{len(piece):x}:{piece.hex()}")

    async def set_breakpoints(self, addresses: Iterable[int]) -> None:
        """Have the machine stop before the instructions at these virtual addresses."""
        for address in addresses:
            await self._order(f"Z1,{address:x},2")

    async def remove_breakpoints(self, addresses: Iterable[int]) -> None:
        """Undo `set_breakpoints`."""
        for address in addresses:
            await self._order(f"z1,{address:x},2")

    async def watch_writes(self, address: int, size_bytes: int) -> None:
        """Have the machine stop after each store into these bytes."""
        await self._order(f"Z2,{address:x},{size_bytes:x}")

    async def unwatch_writes(self, address: int, size_bytes: int) -> None:
        """Undo `watch_writes`."""
        await self._order(f"z2,{address:x},{size_bytes:x}")

    def _stopped(self, answer: str) -> Stop:
        found = _STOP.match(answer)
        if found is None:
            raise ValueError(f"QEMU's gdb stub: found the answer {answer!r}, wanted which CPU stopped")
        number, self._thread = int(found[1], 16), found[2]
        if number in _ENDING:
            raise MachineEndedError
        if number != _TRAP:
            raise ValueError(f"QEMU's gdb stub: found a stop by signal {number}, wanted {_TRAP}, of a breakpoint")
        return Stop("watch:" in answer)

    async def _order(self, packet: str) -> None:
        answer = await self._ask(packet)
        if answer != "OK":
            raise ValueError(f"QEMU's gdb stub: {packet[:40]}: found the answer {answer!r}, wanted OK")

    async def _ask(self, packet: str) -> str:
        content = packet.encode("ascii")
        self._writer.write(b"$%b#%02x" % (content, sum(content) & 0xFF))
        return await self._next()

    async def _next(self) -> str:
        try:
            answer = await self._receive()
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise MachineEndedError from error
        if answer[:1] in {"W", "X"}:
            raise MachineEndedError
        return answer

    async def _receive(self) -> str:
        packet = await self._reader.readuntil(b"#")
        await self._reader.readexactly(2)  # the checksum: nothing is lost on a socket
        return packet[packet.rindex(b"$") + 1 : -1].decode("latin-1")
