"""docs/facts.md, section 2: DIAG X'64' as registers and bytes, one call a row; the row's name is its id there."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from cp_support import BlockingCp, control_program, define, filler

from dcss.abi.extmem import SegmentName

LOADSHR, LOADNSHR, PURGESEG, FINDSEG, LOADNOLY, SEGEXT = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x18
LOADSHRX, LOADNSRX, FINDSEGX, SEGEXTX = 0x20, 0x24, 0x2C, 0x38
START, END = 0x20000000, 0x200FFFFF
RX = 0x1000
STORAGE_BYTES = 0x10000000


class Call(NamedTuple):
    """One DIAG X'64' after those of `before`, and the condition code, Rx and Ry that it leaves; None is any.

    `shared` is the mode in which the segment is loaded then, None where it is not.
    """

    fact: str
    subcode: int
    name: str
    condition_code: int
    rx: int | None
    ry: int | None
    before: tuple[tuple[int, str], ...] = ()
    shared: bool | None = None


CALLS = (
    Call("2-00-LOADSHR", LOADSHR, "LIB", 0, START, END, shared=True),
    Call("2-04-LOADNSHR", LOADNSHR, "LIB", 0, START, END, shared=False),
    Call("2-08-PURGESEG", PURGESEG, "LIB", 0, None, None, ((LOADSHR, "LIB"),)),
    Call("2-0C-FINDSEG", FINDSEG, "LIB", 1, START, END),
    Call("2-10-LOADNOLY", LOADNOLY, "LIB", 0, START, END, shared=True),
    Call("2-20-LOADSHRX", LOADSHRX, "HIGH", 0, 0x100000000, 0x100000FFF, shared=True),
    Call("2-24-LOADNSRX", LOADNSRX, "HIGH", 0, 0x100000000, 0x100000FFF, shared=False),
    Call("2-2C-FINDSEGX", FINDSEGX, "HIGH", 1, 0x100000000, 0x100000FFF),
    Call("2-20-below-2G", LOADSHRX, "LIB", 0, START, END, shared=True),
    Call("2-00-above-2G", LOADSHR, "HIGH", 2, RX, None),
    Call("2-load-cc0", LOADSHRX, "LIB", 0, START, END, shared=True),
    Call("2-load-cc1", LOADSHRX, "INSIDE", 1, 0x100000, 0x1FFFFF, shared=True),
    Call("2-load-cc2", LOADSHRX, "NOSUCH", 2, RX, 44),
    Call("2-purge-cc0", PURGESEG, "LIB", 0, None, None, ((LOADSHRX, "LIB"),)),
    Call("2-purge-cc1", PURGESEG, "LIB", 1, None, None),
    Call("2-purge-cc2", PURGESEG, "NOSUCH", 2, RX, 44),
    Call("2-find-cc0", FINDSEGX, "LIB", 0, START, END, ((LOADSHRX, "LIB"),), shared=True),
    Call("2-find-cc1", FINDSEGX, "LIB", 1, START, END),
    Call("2-find-cc2", FINDSEGX, "NOSUCH", 2, RX, 44),
    Call("2-code-44", LOADSHRX, "SKELETON", 2, RX, 44),
    Call("2-cc3-unsupported", 0x28, "LIB", 3, RX, 0x28),
    Call("2-load-purges-overlapped", FINDSEGX, "LIB", 1, START, END, ((LOADSHRX, "LIB"), (LOADSHRX, "OVER"))),
    Call("2-purge-of-not-loaded-is-ignored", FINDSEGX, "LIB", 1, START, END, ((PURGESEG, "LIB"),)),
    Call("2-noly-refuses-overlap", LOADNOLY, "OVER", 2, RX, None, ((LOADSHRX, "LIB"),)),
)


@pytest.fixture
def cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        for name, words in (
            ("LIB", "20000-200FF SR"),
            ("OVER", "20080-2017F SR"),
            ("HIGH", "100000-100000 SR"),
            ("INSIDE", "00100-001FF SR"),
            ("MIX", "30000-300FF EW"),
        ):
            running.publish(define(name, words), filler(name.encode()))
        running.execute("DEFSEG SKELETON 50000-500FF SR")
        running.register("G", storage_bytes=STORAGE_BYTES)
        yield running


def diagnose(cp: BlockingCp, subcode: int, block: bytes, rx: int = RX) -> tuple[int, int, int, bytes]:
    reply = cp.handle("G", struct.pack(">QQQ", 0x64, rx, subcode) + block)
    return reply.condition_code, reply.rx, reply.ry, reply.block


def named(name: str) -> bytes:
    return name.ljust(8).encode("cp037")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.fact)
def test_registers_and_condition_codes(cp: BlockingCp, call: Call) -> None:
    for subcode, name in call.before:
        assert diagnose(cp, subcode, named(name))[0] < 2
    condition_code, rx, ry, _ = diagnose(cp, call.subcode, named(call.name))
    assert condition_code == call.condition_code
    assert call.rx in {None, rx}
    assert call.ry in {None, ry}
    load = cp.loaded("G").get(SegmentName(call.name))
    assert (None if load is None else load.shared) is call.shared


def test_2_probe(cp: BlockingCp) -> None:
    """Linux asks FINDSEGX for "dummy" in ASCII; 3 would make it use the 31-bit codes."""
    assert diagnose(cp, FINDSEGX, b"dummy\0\0\0")[:3] == (2, RX, 44)


class Area(NamedTuple):
    """One SEGEXT: its subcode, the format of head and range, and where its areas lie; None is a good answer."""

    fact: str
    subcode: int
    head: str
    entry: str
    rx: int = RX
    output: int = 0x2000
    opcode: int = 0x0C
    refused: bool = False


AREAS = (
    Area("2-18-SEGEXT", SEGEXT, ">IIII", ">II"),
    Area("2-38-SEGEXTX", SEGEXTX, ">QQII", ">QQ"),
    Area("2-area-input-doubleword", SEGEXTX, "", "", rx=RX + 4, refused=True),
    Area("2-area-input-one-page", SEGEXTX, "", "", rx=0x1FF0, refused=True),
    Area("2-area-output-doubleword", SEGEXTX, "", "", output=0x2004, refused=True),
    Area("2-area-output-one-page", SEGEXTX, "", "", output=0x2FF8, refused=True),
    Area("2-area-opcode", SEGEXTX, "", "", opcode=0x10, refused=True),
)


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.fact)
def test_segext(cp: BlockingCp, area: Area) -> None:
    cp.publish(define("MIX", "30000-300FF EW", "30100-301FF EN", "30200-302FF ER"), filler(b""))
    block = struct.pack(">B3xB3x8sIHxx", area.opcode, 0, named("MIX"), area.output, 120)
    condition_code, _, _, output = diagnose(cp, area.subcode, block, area.rx)
    if area.refused:
        assert (condition_code, output) == (2, b"")
        return
    assert condition_code == 0
    size_bytes = struct.calcsize(area.head)
    assert struct.unpack_from(area.head, output) == (0x30000000, 0x302FFFFF, 3, 3)
    assert list(struct.iter_unpack(area.entry, output[size_bytes:])) == [  # the type is the low byte of each start
        (0x30000000 | 1, 0x300FFFFF),
        (0x30100000 | 5, 0x301FFFFF),
        (0x30200000 | 3, 0x302FFFFF),
    ]
