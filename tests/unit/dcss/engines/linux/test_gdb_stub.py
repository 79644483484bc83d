"""QEMU's gdb stub, spoken to by its protocol."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from gdb_support import FakeStub
from loop_support import in_event_loop

from dcss.engines.linux.ended import MachineEndedError
from dcss.engines.linux.gdb_stub import GdbStub, Stop


@asynccontextmanager
async def connected(fake: FakeStub) -> AsyncIterator[GdbStub]:
    ours, theirs = socket.socketpair()
    serving = asyncio.create_task(fake.serve(theirs))
    stub = await GdbStub.connect(ours)
    try:
        yield stub
    finally:
        stub.close()
        await serving


@in_event_loop
async def test_registers_and_storage_are_read_and_written() -> None:
    fake = FakeStub(registers={5: 0xFFFF_FFFF_FFFF_FFF0})
    async with connected(fake) as stub:
        assert await stub.register(5) == 0xFFFF_FFFF_FFFF_FFF0
        await stub.set_register(6, -1)
        content = bytes(range(256)) * 11
        await stub.write(0x100, content)
        assert await stub.read(0x100, len(content)) == content
    assert fake.registers[6] == 0xFFFF_FFFF_FFFF_FFFF


@in_event_loop
async def test_it_stops_at_breakpoints_and_watchpoints_and_ends() -> None:
    fake = FakeStub(stops=[(0x40, "watch:1d8;"), (0x80, "")])
    async with connected(fake) as stub:
        await stub.set_breakpoints([0x80, 0x90])
        await stub.remove_breakpoints([0x90])
        await stub.watch_writes(0x1D0, 16)
        assert await stub.resume() == Stop(watched=True)
        assert await stub.resume() == Stop(watched=False)
        with pytest.raises(MachineEndedError):
            await stub.resume()
    assert fake.breakpoints == {0x80}
    assert fake.watched == ["Z2,1d0,10"]


@pytest.mark.parametrize("number", ["03", "8f"])
@in_event_loop
async def test_a_machine_that_shuts_down_or_panicked_is_about_to_end(number: str) -> None:
    async with connected(FakeStub(stops=[(0x40, "")], signal=number)) as stub:
        with pytest.raises(MachineEndedError):
            await stub.resume()


@in_event_loop
async def test_a_machine_that_somebody_else_stopped_is_an_error() -> None:
    async with connected(FakeStub(stops=[(0x40, "")], signal="02")) as stub:
        with pytest.raises(ValueError, match="found a stop by signal 2, wanted 5"):
            await stub.resume()


@in_event_loop
async def test_a_qemu_that_ends_in_the_middle_ends_the_call() -> None:
    async with connected(FakeStub(ends_at="p1")) as stub:
        with pytest.raises(MachineEndedError):
            await stub.register(1)


@in_event_loop
async def test_an_order_that_is_refused_is_named() -> None:
    class Refusing(FakeStub):
        def answer(self, packet: str) -> str:
            return "E22" if packet.startswith("Z") else super().answer(packet)

    async with connected(Refusing()) as stub:
        with pytest.raises(ValueError, match="Z1,10,2: found the answer 'E22', wanted OK"):
            await stub.set_breakpoints([0x10])
