"""Packets about programs are read as they were packed, and what is no packet is refused."""

import pytest

from dcss.abi.console import OUTPUT_BYTES, PACKET_BYTES
from dcss.abi.programs import OUTPUT, ProgramPacket, ProgramRequest, TerminalSize, head_of, pieces


@pytest.mark.parametrize(
    "request_",
    [
        ProgramRequest((b"ls",)),
        ProgramRequest((b"sh", b"-c", b""), (b"A=b", b"LANG="), b"/tmp", has_input=True, strace=True),
        ProgramRequest((b"bash", b"\xff"), terminal=TerminalSize(24, 80)),
        ProgramRequest((b"bash",), has_input=True, terminal=TerminalSize(0, 65535)),
    ],
)
def test_a_request_is_what_it_was(request_: ProgramRequest) -> None:
    assert ProgramRequest.unpack(request_.pack()) == request_


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (ProgramRequest(()), "at least one word"),
        (ProgramRequest((b"a\0b",)), "no NUL"),
        (ProgramRequest((b"a",), (b"A=\0",)), "no NUL"),
        (ProgramRequest((b"a",), directory=b"/\0"), "no NUL"),
        (ProgramRequest((b"x" * PACKET_BYTES,)), "wanted at most"),
    ],
)
def test_what_no_packet_holds_is_refused(request_: ProgramRequest, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        request_.pack()


def test_a_packet_has_its_kind_and_number() -> None:
    assert ProgramPacket.unpack(head_of(OUTPUT, 70000) + b"data") == ProgramPacket(OUTPUT, 70000, b"data")
    with pytest.raises(ValueError, match="packet of 4 bytes"):
        ProgramPacket.unpack(b"o\0\0\0")


def test_pieces_fit_and_are_the_whole() -> None:
    data = bytes(range(256)) * 1000
    found = pieces(data)
    assert b"".join(found) == data
    assert max(map(len, found)) == OUTPUT_BYTES
    assert list(pieces(b"")) == []
