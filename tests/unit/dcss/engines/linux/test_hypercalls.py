"""A machine's DIAGNOSE: registers and storage become CP's request, and its reply goes back into them."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from gdb_support import FakeStub
from loop_support import in_event_loop

from dcss.abi.diag08 import DIAGNOSE_08, REQUEST_HEAD, RESPONSE_IN_BUFFER
from dcss.abi.diag64 import DIAGNOSE_64, QIN64, Diag64, Qin64
from dcss.abi.hypercall import Reply, Request
from dcss.engines.linux.ended import MachineEndedError
from dcss.engines.linux.gdb_stub import GdbStub
from dcss.engines.linux.hypercalls import Hypercalls
from dcss.engines.linux.instructions import Site
from dcss.engines.linux.monitor import Monitor as QemuMonitor
from dcss.engines.linux.monitor import PassedDescriptor
from dcss.engines.linux.real_storage import RealStorage
from dcss.errors import LaunchError

CC = 44
NAME = "LIB     ".encode("cp037")


class Storage:
    """Real storage in a bytearray."""

    def __init__(self) -> None:
        self.bytes = bytearray(1 << 16)
        self.mapped: list[tuple[object, ...]] = []

    def read(self, address: int, size_bytes: int) -> bytes:
        return bytes(self.bytes[address : address + size_bytes])

    def write(self, address: int, content: bytes) -> None:
        self.bytes[address : address + len(content)] = content

    def map(self, address: int, size_bytes: int, number: int, *, shared: bool) -> None:
        self.mapped.append((address, size_bytes, number, shared))

    def unmap(self, address: int, size_bytes: int) -> None:
        self.mapped.append((address, size_bytes))


class Monitor:
    """A QEMU that takes descriptors over."""

    def __init__(self) -> None:
        self.held = 0

    async def pass_descriptor(self, _descriptor: int) -> PassedDescriptor:
        self.held += 1
        return PassedDescriptor(33, 1)

    async def close_descriptor(self, _passed: PassedDescriptor) -> None:
        self.held -= 1


class Machine:
    """One machine that stops at one instruction, and the CP that answers it."""

    def __init__(self, code: str, registers: dict[int, int], reply: Reply) -> None:
        self.fake = FakeStub(registers={2 + number: value for number, value in registers.items()}, stops=[(0x1000, "")])
        self.fake.registers[0] = 3 << CC | 1
        self.site = Site(0x1000, bytes.fromhex(code))
        self.storage, self.monitor = Storage(), Monitor()
        self.requests: list[Request] = []
        self.log: list[str] = []
        self.reply = reply
        self.replies: list[Reply] = []  # where there is more than one

    async def port(self, request: Request) -> Reply:
        self.requests.append(request)
        return self.replies.pop(0) if self.replies else self.reply

    async def run(self, wanted: type[Exception] = MachineEndedError, said: str | None = None) -> None:
        ours, theirs = socket.socketpair()
        serving = asyncio.create_task(self.fake.serve(theirs))
        stub = await GdbStub.connect(ours)
        calls = Hypercalls(
            stub,
            cast(RealStorage, self.storage),
            cast(QemuMonitor, self.monitor),
            self.port,
            {0x1000: self.site},
            log=self.log.append,
        )
        with pytest.raises(wanted, match=said):
            await calls.serve()
        stub.close()
        await serving

    @property
    def condition_code(self) -> int:
        return self.fake.registers[0] >> CC & 3

    def general(self, number: int) -> int:
        return self.fake.registers[2 + number]


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "segment"
    path.write_bytes(bytes(8192))
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@in_event_loop
async def test_a_load_passes_the_name_and_leaves_the_segments_ends(segment: int) -> None:
    machine = Machine("83240064", {2: 0x4000, 4: Diag64.LOADSHRX}, Reply(0, 0x10000000, 0x10001FFF, descriptor=segment))
    machine.storage.write(0x4000, NAME)
    await machine.run()
    assert machine.requests == [Request(DIAGNOSE_64, 0x4000, Diag64.LOADSHRX, NAME)]
    assert (machine.condition_code, machine.general(2), machine.general(4)) == (0, 0x10000000, 0x10001FFF)
    assert machine.fake.registers[1] == 0x1004
    assert machine.fake.registers[0] & 1, "the rest of the mask is as it was"
    assert machine.storage.mapped == [(0x10000000, 0x2000, 33, False)]
    assert not machine.monitor.held, "QEMU keeps the mapping, and no descriptor"
    assert machine.log == ["DIAG X'64' 20 'LIB': cc 0, 0x10000000, 0x10001fff"]


@in_event_loop
async def test_segext_stores_its_output_where_the_operand_says() -> None:
    operand = QIN64.pack(*Qin64(0xC, bytes(3), 0, bytes(3), NAME, 0x6000, 144))
    machine = Machine("83130064", {1: 0x4000, 3: Diag64.SEGEXTX}, Reply(0, 0x4000, Diag64.SEGEXTX, b"answer"))
    machine.storage.write(0x4000, operand)
    await machine.run()
    assert machine.requests[0].block == operand
    assert machine.storage.read(0x6000, 8) == b"answer\0\0"


@in_event_loop
async def test_a_refusal_leaves_the_return_code() -> None:
    machine = Machine("83240064", {2: 0x4000, 4: Diag64.LOADSHRX}, Reply(2, 0x4000, 44))
    await machine.run()
    assert (machine.condition_code, machine.general(4), machine.storage.mapped) == (2, 44, [])


@in_event_loop
async def test_what_machines_write_together_is_mapped_shared(tmp_path: Path) -> None:
    (tmp_path / "sw").write_bytes(bytes(4096))
    descriptor = os.open(tmp_path / "sw", os.O_RDWR)
    reply = Reply(0, 0x10000000, 0x10000FFF, descriptor=descriptor)
    machine = Machine("83240064", {2: 0x4000, 4: Diag64.LOADSHRX}, reply)
    machine.storage.write(0x4000, NAME)
    await machine.run()
    os.close(descriptor)
    assert machine.storage.mapped == [(0x10000000, 0x1000, 33, True)]


@in_event_loop
async def test_a_purge_takes_away_what_was_loaded(segment: int) -> None:
    machine = Machine("83240064", {2: 0x4000, 4: Diag64.LOADSHRX}, Reply(0, 0x10000000, 0x10001FFF, descriptor=segment))
    machine.storage.write(0x4000, NAME)
    machine.fake.stops.append((0x1000, ""))
    machine.fake.before_stop = [{}, {4: 0x4000, 6: Diag64.PURGESEG}]
    machine.replies = [machine.reply, Reply(0, 0x4000, Diag64.PURGESEG)]
    await machine.run()
    assert machine.storage.mapped == [(0x10000000, 0x2000, 33, False), (0x10000000, 0x2000)]


@in_event_loop
async def test_a_command_s_response_goes_into_its_buffer() -> None:
    command = "QUERY NSS".encode("cp037")
    registers = {2: 0x4000, 3: 0x5000, 4: RESPONSE_IN_BUFFER | len(command), 5: 6}
    machine = Machine("83240008", registers, Reply(1, 3, 0, b"response"))
    machine.storage.write(0x4000, command)
    await machine.run()
    (request,) = machine.requests
    assert (request.diagnose, request.ry) == (DIAGNOSE_08, RESPONSE_IN_BUFFER | len(command))
    assert request.block == REQUEST_HEAD.pack(0x5000, 6) + command
    assert machine.storage.read(0x5000, 8) == b"respon\0\0", "no more than there is room for"
    assert (machine.condition_code, machine.general(4), machine.general(5)) == (1, 0, 3)


@in_event_loop
async def test_without_a_buffer_the_return_code_alone_comes_back() -> None:
    command = "TERM CONMODE 3215".encode("cp037")
    machine = Machine("83240008", {2: 0x4000, 4: len(command), 5: 77}, Reply(0, 0, 3, b""))
    machine.storage.write(0x4000, command)
    await machine.run()
    assert (machine.condition_code, machine.general(4), machine.general(5)) == (0, 3, 77)


@in_event_loop
async def test_operands_that_are_elsewhere_for_each_cpu_are_refused() -> None:
    machine = Machine("83240064", {2: 0x100, 4: Diag64.LOADSHRX}, Reply(0))
    await machine.run()
    assert (machine.condition_code, machine.requests) == (3, [])


@in_event_loop
async def test_iucv_is_refused_once() -> None:
    machine = Machine("b2f01000", {}, Reply(0))
    machine.fake.breakpoints.add(0x1000)
    await machine.run()
    assert (machine.condition_code, machine.fake.breakpoints, machine.requests) == (3, set(), [])


@in_event_loop
async def test_stsi_shows_zvm() -> None:
    machine = Machine("b27d4000", {0: 0xFFFF_0000_3000_0002, 1: 0x2000_0002, 4: 0x900}, Reply(0))
    machine.fake.thread = "02"  # another may come to a call of its own meanwhile: it does not run
    await machine.run()
    assert machine.fake.steps == 1
    assert machine.fake.storage[0x900 + 56 : 0x900 + 72].decode("cp037") == "z/VM    7.3.0   "


@in_event_loop
async def test_a_stop_where_no_call_is_ends_the_machine_with_a_reason() -> None:
    machine = Machine("b27d4000", {}, Reply(0))
    machine.fake.stops = [(0x1004, "")]
    await machine.run(LaunchError, "it stopped at 0x1004, where its kernel has no call of CP")
