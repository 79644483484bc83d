"""Nothing that a guest sends makes CP raise, and nothing that it sends changes what another guest has."""

import struct
from collections.abc import Iterator

import pytest
from cp_support import BlockingCp, control_program, define, filler
from hypothesis import given
from hypothesis import strategies as st

from dcss.abi.diag64 import ReturnCode
from dcss.abi.hypercall import MAX_PACKET_BYTES

NAMES = ["LIB", "APP", "RW", "HIGH", "SECRET", "NOTHERE"]
names = st.one_of(
    st.sampled_from(NAMES).map(lambda name: name.ljust(8).encode("cp037")), st.binary(min_size=8, max_size=8)
)
registers = st.one_of(st.integers(0, 0x40), st.sampled_from([0x1000, 0x1FF8, 0x1004]), st.integers(0, (1 << 64) - 1))
areas = st.builds(
    lambda opcode, name, pointer, length: struct.pack(">B7x8sIHxx", opcode, name, pointer, length),
    st.sampled_from([0x0C, 0x0C, 0]),
    names,
    st.one_of(st.sampled_from([0, 0x2000, 0x2004, 0x2FF8]), st.integers(0, (1 << 32) - 1)),
    st.integers(0, 0xFFFF),
)
packets = st.one_of(
    st.binary(max_size=200),
    st.binary(min_size=1, max_size=100).map(lambda data: (data * MAX_PACKET_BYTES)[:MAX_PACKET_BYTES]),
    st.builds(
        lambda code, rx, ry, block: struct.pack(">QQQ", code, rx, ry) + block,
        st.one_of(st.just(0x64), st.just(0x64), registers),
        registers,
        st.one_of(st.sampled_from([0, 4, 8, 0xC, 0x10, 0x18, 0x20, 0x24, 0x2C, 0x38]), registers),
        st.one_of(names, areas, st.binary(max_size=100)),
    ),
)


@pytest.fixture(scope="module")
def cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        running.publish(define("LIB", "20000-2000F SR"), filler(b"lib"))
        running.publish(define("APP", "20008-2001F EW", "20100-2010F EN"), filler(b"app"))
        running.publish(define("RW", "30000-3000F SW"), filler(b"rw"))
        running.publish(define("HIGH", "100000-10000F SR"), filler(b"high"))
        running.publish(define("SECRET", "40000-4000F SR", restricted=True), filler(b"secret"))
        yield running


@given(sent=st.lists(packets, max_size=20))
def test_any_packet_gets_a_condition_code_and_disturbs_nobody(cp: BlockingCp, sent: list[bytes]) -> None:
    for guest in ("BAD", "GOOD"):
        cp.release(guest)
        cp.register(guest, storage_bytes=1 << 26)
    for name in ("LIB", "RW"):
        cp.handle("GOOD", struct.pack(">QQQ8s", 0x64, 0x1000, 0x20, name.ljust(8).encode("cp037")))
    before = dict(cp.loaded("GOOD"))
    digests = {name: segment.digest for name, segment in cp.segments.items()}
    for packet in sent:
        reply = cp.handle("BAD", packet)
        assert reply.condition_code in {0, 1, 2, 3}
        assert all(0 <= register < 1 << 64 for register in (reply.rx, reply.ry))
        assert len(reply.block) <= 4096
        if reply.condition_code == 2:
            assert reply.ry in list(ReturnCode)
        if reply.condition_code >= 2:
            assert (reply.block, reply.descriptor) == (b"", None)
    assert cp.loaded("GOOD") == before
    assert "SECRET" not in cp.loaded("BAD")
    assert {name: segment.digest for name, segment in cp.segments.items()} == digests
    for name, segment in cp.segments.items():
        loaded_by = {guest for guest in ("BAD", "GOOD") if name in cp.loaded(guest)}
        assert segment.users == loaded_by
        assert segment.object.buffer[:1] == name[:1].lower().encode()
    cp.release("BAD")
    assert (cp.users("LIB"), cp.users("RW")) == (1, 1)
