"""A kernel's calls of CP: what the instruction says in registers and storage goes to CP's port, and its answer back.

Sources: arch/s390/mm/extmem.c, arch/s390/kernel/cpcmd.c and drivers/s390/block/dcssblk.c of Linux. DIAGNOSE codes other
than X'08' and X'64' are left to QEMU, whose specification exception the kernel's exception table handles.
"""

import fcntl
import os
from collections.abc import Callable, Mapping
from functools import partial

from dcss.abi.diag08 import DIAGNOSE_08, LENGTH_MASK, MAX_COMMAND_BYTES, REQUEST_HEAD, RESPONSE_IN_BUFFER
from dcss.abi.diag64 import DIAGNOSE_64, NAME_SIZE_BYTES, QIN64, ConditionCode, Diag64, Qin64
from dcss.abi.hypercall import MAX_BLOCK_BYTES, Request
from dcss.engines.base import Port
from dcss.engines.linux.gdb_stub import GdbStub
from dcss.engines.linux.instructions import Call, Site
from dcss.engines.linux.monitor import Monitor
from dcss.engines.linux.real_storage import RealStorage
from dcss.engines.linux.registers import CONDITION_CODE_SHIFT, GPR0, PSW_ADDRESS, PSW_MASK
from dcss.engines.linux.stsi import show_zvm
from dcss.errors import LaunchError
from dcss.host.aio import in_thread

_INSTRUCTION_BYTES = 4
_PREFIXED_BYTES = 8192  # the first of real storage, which are elsewhere in absolute storage for each CPU
_IUCV_REFUSED = 3  # condition code: there is no IUCV; the kernel's first call of it is its last then
_LOADS = frozenset({Diag64.LOADSHR, Diag64.LOADNSHR, Diag64.LOADNOLY, Diag64.LOADSHRX, Diag64.LOADNSRX})


class Hypercalls:
    """The calls of one machine. `sites` are where they stand; `log` gets one line for each, but for STSI."""

    def __init__(
        self,
        stub: GdbStub,
        storage: RealStorage,
        monitor: Monitor,
        port: Port,
        sites: Mapping[int, Site],
        *,
        log: Callable[[str], None],
    ) -> None:
        self._stub, self._storage, self._monitor, self._port, self._log = stub, storage, monitor, port, log
        self._sites = dict(sites)
        self._loaded: dict[str, tuple[int, int]] = {}  # absolute address and bytes, by the segment's name

    async def serve(self) -> None:
        """Let the machine run and answer its calls until it ends. Raises MachineEndedError, LaunchError, OSError."""
        while True:
            await self._stub.resume()
            address = await self._stub.register(PSW_ADDRESS)
            site = self._sites.get(address)
            if site is None:
                raise LaunchError(f"it stopped at {address:#x}, where its kernel has no call of CP")
            match site.call:
                case Call.STSI:
                    await show_zvm(self._stub, site)
                case Call.IUCV:
                    await self._refuse_iucv(address)
                case Call.DIAGNOSE_08:
                    await self._finish(address, await self._diagnose_08(site))
                case Call.DIAGNOSE_64:
                    await self._finish(address, await self._diagnose_64(site))

    async def _refuse_iucv(self, address: int) -> None:
        gone = [each for each, site in self._sites.items() if site.call is Call.IUCV]
        await self._stub.remove_breakpoints(gone)
        for each in gone:
            del self._sites[each]
        await self._finish(address, _IUCV_REFUSED)

    async def _finish(self, address: int, condition_code: int) -> None:
        """Complete the instruction at `address`."""
        mask = await self._stub.register(PSW_MASK) & ~(3 << CONDITION_CODE_SHIFT)
        await self._stub.set_register(PSW_MASK, mask | condition_code << CONDITION_CODE_SHIFT)
        await self._stub.set_register(PSW_ADDRESS, address + _INSTRUCTION_BYTES)

    async def _diagnose_08(self, site: Site) -> int:
        """A CP command: Rx its address, Ry its length and flags, Rx+1 and Ry+1 the buffer for the response."""
        rx, ry = (GPR0 + number for number in site.operands)
        command_at, control = await self._stub.register(rx), await self._stub.register(ry)
        has_buffer = bool(control & RESPONSE_IN_BUFFER)
        buffer_at, room = (
            (await self._stub.register(rx + 1), await self._stub.register(ry + 1)) if has_buffer else (0, 0)
        )
        command = self._read(command_at, min(control & LENGTH_MASK, MAX_COMMAND_BYTES + 1))
        if command is None:
            return ConditionCode.UNSUPPORTED
        request = Request(DIAGNOSE_08, command_at, control, REQUEST_HEAD.pack(buffer_at, room) + command)
        reply = await self._port(request)
        self._log(f"DIAG X'08' {command.decode('cp037')!r}: code {reply.ry}, {len(reply.block)} bytes")
        if reply.condition_code == ConditionCode.UNSUPPORTED:
            return reply.condition_code
        if has_buffer:
            self._write(buffer_at, reply.block[:room])
            await self._stub.set_register(ry + 1, reply.rx)
        await self._stub.set_register(ry, reply.ry)
        return reply.condition_code

    async def _diagnose_64(self, site: Site) -> int:
        """Saved segments: Rx the operand's address, Ry the function."""
        rx, ry = (GPR0 + number for number in site.operands)
        operand_at, function = await self._stub.register(rx), await self._stub.register(ry)
        extended = function in {Diag64.SEGEXT, Diag64.SEGEXTX}
        block = self._read(operand_at, QIN64.size if extended else NAME_SIZE_BYTES)
        if block is None:
            return ConditionCode.UNSUPPORTED
        reply = await self._port(Request(DIAGNOSE_64, operand_at, function, block))
        name = (block[8:16] if extended else block).decode("cp037").strip()
        self._log(f"DIAG X'64' {function:02X} {name!r}: cc {reply.condition_code}, {reply.rx:#x}, {reply.ry:#x}")
        if extended and reply.block:
            self._write(Qin64._make(QIN64.unpack(block)).qoutptr, reply.block[:MAX_BLOCK_BYTES])
        if function in _LOADS and reply.descriptor is not None:
            self._loaded[name] = await self._map(reply.descriptor, reply.rx, reply.ry + 1 - reply.rx)
        elif function == Diag64.PURGESEG and reply.condition_code == ConditionCode.DONE and name in self._loaded:
            await in_thread(self._storage.unmap, *self._loaded.pop(name))
        await self._stub.set_register(rx, reply.rx)
        await self._stub.set_register(ry, reply.ry)
        return reply.condition_code

    async def _map(self, descriptor: int, start: int, size_bytes: int) -> tuple[int, int]:
        """Have a loaded segment in the machine's storage before that goes on, as CP passed it."""
        content = os.dup(descriptor)  # CP's own may be closed meanwhile
        try:
            passed = await self._monitor.pass_descriptor(content)
            await in_thread(partial(self._storage.map, start, size_bytes, passed.number, shared=_is_writable(content)))
            await self._monitor.close_descriptor(passed)
        finally:
            os.close(content)
        return start, size_bytes

    def _read(self, address: int, size_bytes: int) -> bytes | None:
        return None if address < _PREFIXED_BYTES else self._storage.read(address, size_bytes)

    def _write(self, address: int, content: bytes) -> None:
        if address >= _PREFIXED_BYTES:
            self._storage.write(address, content)


def _is_writable(descriptor: int) -> bool:
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
