"""CP commands from a guest, as Linux's cpcmd issues them: registers, response length and condition code."""

import os
import struct
from collections.abc import Iterator

import pytest
from cp_support import BlockingCp, control_program
from hypothesis import given
from hypothesis import strategies as st

from dcss.abi.hypercall import MAX_BLOCK_BYTES, Reply

RESPONSE = 0x40000000


@pytest.fixture
def cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        running.register("LINUX01", storage_bytes=1 << 28)
        running.register(
            "MAINT",
            storage_bytes=1 << 30,
            privilege="EG",
            dump=lambda fd, _address, _size: os.pwrite(fd, b"storage of MAINT", 0),
        )
        yield running


def diag(
    cp: BlockingCp, command: str, guest: str = "LINUX01", *, buffer_bytes: int = 4096, flags: int = RESPONSE
) -> Reply:
    text = command.encode("cp037")
    return cp.handle(guest, struct.pack(">QQQQQ", 0x08, 0x1000, len(text) | flags, 0x2000, buffer_bytes) + text)


def test_response_and_its_length(cp: BlockingCp) -> None:
    expected = f"LINUX01  AT {cp.system.upper()}".encode("cp037") + b"\x15"
    assert diag(cp, "query userid") == Reply(0, len(expected), 0, expected)


@pytest.mark.parametrize("room", [0, 1, 11])
def test_response_that_does_not_fit(cp: BlockingCp, room: int) -> None:
    whole = diag(cp, "QUERY USERID").block
    assert diag(cp, "QUERY USERID", buffer_bytes=room) == Reply(1, len(whole) - room, 0, whole[:room])


def test_without_buffer_only_the_return_code_comes_back(cp: BlockingCp) -> None:
    assert diag(cp, "QUERY USERID", flags=0) == Reply(0, 0x1000, 0)
    assert diag(cp, "NONSENSE", flags=0) == Reply(0, 0x1000, 1)


def test_return_code_is_the_message_number(cp: BlockingCp) -> None:
    reply = diag(cp, "nonsense")
    assert (reply.condition_code, reply.ry) == (0, 1)
    assert reply.block.decode("cp037") == "HCPCMD001E Unknown CP command: NONSENSE\x85"


def test_several_commands(cp: BlockingCp) -> None:
    reply = diag(cp, "QUERY USERID\x85NONSENSE\x85Q USERID")
    assert (reply.ry, reply.block.count(b"\x15")) == (0, 3)


def test_segment_save_of_extmem(cp: BlockingCp) -> None:
    """DEFSEG and SAVESEG as segment_save of arch/s390/mm/extmem.c issues them: no buffer, class E."""
    for command in ("DEFSEG LIB 20000-20000 SR", "SAVESEG LIB"):
        assert diag(cp, command, flags=0).ry == 1
        assert diag(cp, command, "MAINT", flags=0).ry == 0
    assert (cp.files[1].owner, cp.files[1].file_class) == ("MAINT", "A")
    assert bytes(cp.open(cp.files[1].name).object.buffer[:16]) == b"storage of MAINT"


def test_malformed_requests(cp: BlockingCp) -> None:
    long = "QUERY USERID".ljust(241).encode("cp037")
    for block, ry in (
        (b"", 0),
        (bytes(15), 0),
        (bytes(16) + b"\xd8", 2),
        (bytes(16) + long, len(long)),
    ):
        assert cp.handle("LINUX01", struct.pack(">QQQ", 0x08, 0, ry) + block)[:2] == (3, 0)


def test_response_longer_than_the_channel_carries(cp: BlockingCp) -> None:
    for number in range(200):
        cp.execute(f"DEFSEG S{number} {number:X}00-{number:X}FF SR")
    reply = diag(cp, "QUERY NSS MAP", "MAINT", buffer_bytes=1 << 20)
    assert (reply.condition_code, len(reply.block)) == (1, MAX_BLOCK_BYTES)
    assert len(reply.block) + reply.rx == len("".join(line + "\n" for line in cp.execute("QUERY NSS MAP").lines))


@pytest.fixture(scope="module")
def shared_cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        running.register("LINUX01", storage_bytes=0)
        yield running


@given(
    block=st.one_of(
        st.binary(max_size=300), st.text(max_size=50).map(lambda text: bytes(16) + text.encode("cp037", "replace"))
    ),
    flags=st.sampled_from([0, RESPONSE]),
)
def test_anything_gets_a_condition_code(shared_cp: BlockingCp, block: bytes, flags: int) -> None:
    reply = shared_cp.handle("LINUX01", struct.pack(">QQQ", 0x08, 0, max(len(block) - 16, 0) | flags) + block)
    assert reply.condition_code in {0, 1, 3}
    assert shared_cp.files == {}
