"""What crosses the socket for DIAG X'64', decoded with formats written down here from FACTS section 2."""

import mmap
import os
import socket
import struct
from collections.abc import Iterator

import pytest
from cp_support import BlockingCp, control_program, define, descriptor_of, filler

from dcss.abi.extmem import SegmentName
from dcss.abi.hypercall import Reply, Request, send_reply

# A name in EBCDIC, from the code page chart: L=D3 I=C9 B=C2, blank=40.
LIB = bytes([0xD3, 0xC9, 0xC2, 0x40, 0x40, 0x40, 0x40, 0x40])
HIGH = bytes([0xC8, 0xC9, 0xC7, 0xC8, 0x40, 0x40, 0x40, 0x40])
NONE = bytes([0xD5, 0xD6, 0xD5, 0xC5, 0x40, 0x40, 0x40, 0x40])
LOADSHR, LOADNSHR, PURGESEG, FINDSEG, LOADNOLY, SEGEXT = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x18
LOADSHRX, LOADNSRX, FINDSEGX, SEGEXTX = 0x20, 0x24, 0x2C, 0x38
LOADS = [LOADSHR, LOADNSHR, LOADNOLY, LOADSHRX, LOADNSRX]
START, END = 0x20000000, 0x200FFFFF
PAGING_ERROR, NOT_AUTHORIZED, BAD_AREA, OVERLAPS, ABOVE_2G = 177, 45, 46, 47, 48


@pytest.fixture
def cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        running.publish(define("LIB", "20000-200FF SR"), filler(b"content"))
        running.publish(define("HIGH", "100000-100000 SR"), filler(b"high"))
        running.register("G", storage_bytes=0x10000000)
        yield running


def diag(cp: BlockingCp, subcode: int, block: bytes, *, rx: int = 0x1000, guest: str = "G") -> Reply:
    return cp.handle(guest, struct.pack(">QQQ", 0x64, rx, subcode) + block)


def qin64(name: bytes, *, opcode: int = 0x0C, outptr: int = 0x2000, outlen: int = 120) -> bytes:
    return struct.pack(">B3xB3x8sIHxx", opcode, 0, name, outptr, outlen)


def test_captured_messages(cp: BlockingCp) -> None:
    """A guest's packets as bytes, sent through a socket; the answers as bytes, taken apart here."""
    guest, host = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def exchange(packet: bytes) -> tuple[bytes, list[int]]:
        guest.send(packet)
        send_reply(host, cp.handle("G", host.recv(65536)))
        return socket.recv_fds(guest, 65536, 4)[:2]

    answer, descriptors = exchange(
        bytes.fromhex(
            "0000000000000064 0000000000001000 0000000000000038"  # DIAG code, Rx, Ry = SEGEXTX
            "0c000000 00000000 d3c9c24040404040 00002000 0078 0000"  # FINDSEGA, LIB, 120 bytes at 2000
        )
    )
    assert descriptors == []
    assert answer == bytes.fromhex(
        "0000000000000000 0000000000001000 0000000000000038"  # cc 0
        "0000000020000000 00000000200fffff 00000001 00000001"  # segstart, segend, segcnt, segrcnt
        "0000000020000002 00000000200fffff"  # the only range, type SR = 2 in the low byte
    )
    answer, descriptors = exchange(bytes.fromhex("0000000000000064 0000000000001000 0000000000000020 d3c9c24040404040"))
    assert answer == bytes.fromhex("0000000000000000 0000000020000000 00000000200fffff")
    (descriptor,) = descriptors
    assert os.pread(descriptor, 7, 0) == b"content"
    with pytest.raises(PermissionError):
        mmap.mmap(descriptor, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    mapping = mmap.mmap(descriptor, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
    assert mapping[:7] == b"content"
    mapping.close()
    os.close(descriptor)
    answer, descriptors = exchange(bytes.fromhex("0000000000000064 0000000000001000 0000000000000008 d3c9c24040404040"))
    assert (answer[:8], descriptors) == (bytes(8), [])
    guest.close()
    host.close()


@pytest.mark.parametrize("subcode", LOADS)
def test_load_returns_first_and_last_byte(cp: BlockingCp, subcode: int) -> None:
    reply = diag(cp, subcode, LIB)
    assert reply[:4] == (0, START, END, b"")
    assert os.pread(descriptor_of(reply), 7, 0) == b"content"
    assert cp.users("LIB") == 1


@pytest.mark.parametrize("subcode", [LOADSHR, LOADNSHR, LOADSHRX, LOADNSRX])
def test_load_inside_defined_storage(cp: BlockingCp, subcode: int) -> None:
    cp.register("BIG", storage_bytes=START + 1)
    assert diag(cp, subcode, LIB, guest="BIG")[:3] == (1, START, END)


def test_find_tells_loaded_from_existing(cp: BlockingCp) -> None:
    for subcode in (FINDSEG, FINDSEGX):
        assert diag(cp, subcode, LIB)[:5] == (1, START, END, b"", None)
    diag(cp, LOADSHRX, LIB)
    for subcode in (FINDSEG, FINDSEGX):
        assert diag(cp, subcode, LIB)[:5] == (0, START, END, b"", None)


def test_purge(cp: BlockingCp) -> None:
    assert diag(cp, PURGESEG, LIB)[:3] == (1, 0x1000, 44)
    diag(cp, LOADSHRX, LIB)
    assert diag(cp, PURGESEG, LIB).condition_code == 0
    assert cp.users("LIB") == 0
    assert diag(cp, FINDSEGX, LIB).condition_code == 1
    assert diag(cp, PURGESEG, NONE)[:3] == (2, 0x1000, 44)


@pytest.mark.parametrize("subcode", [*LOADS, PURGESEG, FINDSEG, FINDSEGX])
@pytest.mark.parametrize("name", [NONE, b"dummy\0\0\0", b"dummy   ", bytes(8), b"\x40" * 8, b"\xff" * 8])
def test_unknown_and_un_ebcdic_names_do_not_exist(cp: BlockingCp, subcode: int, name: bytes) -> None:
    assert diag(cp, subcode, name)[:5] == (2, 0x1000, 44, b"", None)


@pytest.mark.parametrize("subcode", [SEGEXT, SEGEXTX])
def test_segext_of_an_unknown_name(cp: BlockingCp, subcode: int) -> None:
    assert diag(cp, subcode, qin64(NONE))[:4] == (2, 0x1000, 44, b"")
    assert diag(cp, subcode, qin64(b"dummy\0\0\0"))[:4] == (2, 0x1000, 44, b"")


def test_segext_old_form(cp: BlockingCp) -> None:
    reply = diag(cp, SEGEXT, qin64(LIB, outlen=64))
    assert reply.condition_code == 0
    assert struct.unpack(">6I", reply.block) == (START, END, 1, 1, START | 2, END)


def test_segext_returns_as_many_ranges_as_there_is_room_for(cp: BlockingCp) -> None:
    words = [f"{0x40000 + i * 0x100:X}-{0x400FF + i * 0x100:X} {'EW' if i % 2 else 'EN'}" for i in range(8)]
    cp.publish(define("MANY", *words), filler(b""))
    many = bytes([0xD4, 0xC1, 0xD5, 0xE8]) + b"\x40" * 4
    for subcode, head, entry, room in ((SEGEXTX, ">QQII", ">QQ", 24), (SEGEXT, ">IIII", ">II", 16)):
        each = struct.calcsize(entry)
        for outlen, returned in ((room, 0), (room + each - 1, 0), (room + each, 1), (room + 6 * each, 6), (1024, 8)):
            reply = diag(cp, subcode, qin64(many, outlen=outlen))
            assert reply.condition_code == 0
            assert struct.unpack_from(head, reply.block) == (0x40000000, 0x407FFFFF, 8, returned)
            ranges = list(struct.iter_unpack(entry, reply.block[room:]))
            assert ranges == [
                (0x40000000 + i * 0x100000 | (1 if i % 2 else 5), 0x400FFFFF + i * 0x100000) for i in range(returned)
            ]
        assert diag(cp, subcode, qin64(many, outlen=room - 1))[:3] == (2, 0x1000, BAD_AREA)


@pytest.mark.parametrize(
    ("block", "rx"),
    [
        (qin64(LIB)[:-1], 0x1000),
        (qin64(LIB) + b"\0", 0x1000),
        (b"", 0x1000),
        (qin64(LIB, opcode=0x0D), 0x1000),
        (qin64(LIB, outptr=0x2004), 0x1000),
        (qin64(LIB, outptr=0x2FF0), 0x1000),
        (qin64(LIB), 0x1004),
        (qin64(LIB), 0x1FF0),
    ],
)
def test_bad_areas(cp: BlockingCp, block: bytes, rx: int) -> None:
    assert diag(cp, SEGEXTX, block, rx=rx)[:4] == (2, rx, BAD_AREA, b"")


@pytest.mark.parametrize("block", [b"", LIB[:7], LIB + b"\x40"])
@pytest.mark.parametrize("subcode", [*LOADS, PURGESEG, FINDSEG, FINDSEGX])
def test_names_have_eight_bytes(cp: BlockingCp, subcode: int, block: bytes) -> None:
    assert diag(cp, subcode, block)[:3] == (2, 0x1000, BAD_AREA)


@pytest.mark.parametrize("subcode", [LOADSHR, LOADNSHR, LOADNOLY, FINDSEG])
def test_31_bit_calls_refuse_what_lies_above_2_gib(cp: BlockingCp, subcode: int) -> None:
    assert diag(cp, subcode, HIGH)[:3] == (2, 0x1000, ABOVE_2G)
    assert diag(cp, SEGEXT, qin64(HIGH))[:3] == (2, 0x1000, ABOVE_2G)
    assert cp.users("HIGH") == 0


def test_64_bit_calls_reach_what_lies_above_2_gib(cp: BlockingCp) -> None:
    assert diag(cp, LOADSHRX, HIGH)[:3] == (0, 0x100000000, 0x100000FFF)
    assert diag(cp, FINDSEGX, HIGH)[:3] == (0, 0x100000000, 0x100000FFF)
    assert struct.unpack_from(">QQ", diag(cp, SEGEXTX, qin64(HIGH)).block) == (0x100000000, 0x100000FFF)
    assert diag(cp, PURGESEG, HIGH).condition_code == 0


@pytest.mark.parametrize("subcode", [0x01, 0x14, 0x1C, 0x28, 0x30, 0x34, 0x3C, 0xFF, 1 << 32, 0xFFFFFFFFFFFFFFFF])
def test_undefined_subcodes(cp: BlockingCp, subcode: int) -> None:
    assert diag(cp, subcode, LIB)[:5] == (3, 0x1000, subcode, b"", None)


@pytest.mark.parametrize("packet", [b"", b"\0" * 23, Request(0x0C, 0, 0).pack(), Request(0x65, 0, 0x20, LIB).pack()])
def test_malformed_packets_and_other_diagnoses(cp: BlockingCp, packet: bytes) -> None:
    assert cp.handle("G", packet).condition_code == 3


def test_load_purges_what_it_overlaps_but_noly_refuses(cp: BlockingCp) -> None:
    cp.publish(define("OVER", "20080-2017F SR"), filler(b"over"))
    over = bytes([0xD6, 0xE5, 0xC5, 0xD9]) + b"\x40" * 4
    diag(cp, LOADSHRX, LIB)
    assert diag(cp, LOADNOLY, over)[:3] == (2, 0x1000, OVERLAPS)
    assert set(cp.loaded("G")) == {"LIB"}
    assert diag(cp, LOADNSRX, over).condition_code == 0
    assert set(cp.loaded("G")) == {"OVER"}
    assert (cp.users("LIB"), cp.users("OVER")) == (0, 1)


def test_segments_that_share_a_megabyte_overlap(cp: BlockingCp) -> None:
    cp.publish(define("NEAR", "20100-2017F SR"), filler(b""))
    cp.publish(define("NEAR2", "20180-201FF SR"), filler(b""))
    near, near2 = (name.ljust(8).encode("cp037") for name in ("NEAR", "NEAR2"))
    diag(cp, LOADSHRX, LIB)
    diag(cp, LOADSHRX, near)
    assert set(cp.loaded("G")) == {"LIB", "NEAR"}
    diag(cp, LOADSHRX, near2)
    assert set(cp.loaded("G")) == {"LIB", "NEAR2"}


def test_noly_refuses_storage(cp: BlockingCp) -> None:
    cp.register("BIG", storage_bytes=START + 4096)
    assert diag(cp, LOADNOLY, LIB, guest="BIG")[:3] == (2, 0x1000, OVERLAPS)


def test_loading_twice_loads_once(cp: BlockingCp) -> None:
    diag(cp, LOADSHRX, LIB)
    assert diag(cp, LOADNSRX, LIB)[:3] == (0, START, END)
    assert cp.users("LIB") == 1
    assert not cp.loaded("G")[SegmentName("LIB")].shared
    diag(cp, PURGESEG, LIB)
    assert diag(cp, PURGESEG, LIB).condition_code == 1


def test_restricted_segments_need_namesave(cp: BlockingCp) -> None:
    cp.publish(define("SECRET", "50000-500FF SR", restricted=True), filler(b"secret"))
    secret = "SECRET".ljust(8).encode("cp037")
    cp.register("MAY", storage_bytes=0, namesave=frozenset({"SECRET"}))
    for subcode in LOADS:
        assert diag(cp, subcode, secret)[:5] == (2, 0x1000, NOT_AUTHORIZED, b"", None)
    assert cp.users("SECRET") == 0
    assert os.pread(descriptor_of(diag(cp, LOADSHRX, secret, guest="MAY")), 6, 0) == b"secret"
    assert cp.segments[SegmentName("SECRET")].file_class == "R"


@pytest.mark.parametrize("kind", ["SW", "EW", "SR", "ER", "SN", "EN", "SC"])
@pytest.mark.parametrize("subcode", [LOADSHR, LOADNSHR, LOADNOLY, LOADSHRX, LOADNSRX])
def test_descriptor_is_writable_only_for_a_shared_load_of_sw_or_sn(cp: BlockingCp, kind: str, subcode: int) -> None:
    cp.publish(define("KIND", f"60000-600FF {kind}"), filler(b""))
    descriptor = descriptor_of(diag(cp, subcode, "KIND".ljust(8).encode("cp037")))
    writable = kind in {"SW", "SN"} and subcode not in {LOADNSHR, LOADNSRX}
    if writable:
        mmap.mmap(descriptor, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE).close()
    else:
        with pytest.raises(PermissionError):
            mmap.mmap(descriptor, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        mmap.mmap(descriptor, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE).close()


def test_mixed_types_stay_read_only(cp: BlockingCp) -> None:
    cp.publish(define("MIX", "60000-600FF SW", "60100-601FF SR"), filler(b""))
    descriptor = descriptor_of(diag(cp, LOADSHRX, "MIX".ljust(8).encode("cp037")))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(descriptor, b"x", 0)


def test_unlisted_pages_of_a_shared_megabyte_are_read_only(cp: BlockingCp) -> None:
    """FACTS 1.1: nobody writes what no range lists, so the one descriptor is read-only; without a gap it is not."""
    for name, second, refused in (("GAP", "60010-60017 SW", True), ("NONE", "60008-60017 SN", False)):
        cp.publish(define(name, "60000-60007 SW", second), filler(b"words"))
        descriptor = descriptor_of(diag(cp, LOADSHRX, name.ljust(8).encode("cp037")))
        assert os.pread(descriptor, 5, 0) == b"words"
        if refused:
            with pytest.raises(PermissionError):
                mmap.mmap(descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        else:
            mmap.mmap(descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE).close()


def test_unlisted_pages_of_an_exclusive_megabyte_are_the_guests_own(cp: BlockingCp) -> None:
    """FACTS 1.1: as EN, zero at first, and nobody else's."""
    segment = cp.publish(define("GAP", "60000-60007 EW", "60010-60017 EW"), filler(b"words"))
    descriptor = descriptor_of(diag(cp, LOADSHRX, b"\xc7\xc1\xd7\x40\x40\x40\x40\x40"))
    with mmap.mmap(descriptor, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as memory:
        assert memory[0x8000] == 0
        memory[0x8000] = 1
    assert bytes(segment.object.buffer[0x8000:0x10000]) == bytes(0x8000)


def test_content_that_cannot_be_renewed_is_a_paging_error(cp: BlockingCp) -> None:
    calls = []

    def fill(write_fd: int) -> None:
        calls.append(write_fd)
        if len(calls) > 1:
            raise OSError(5, "gone")

    cp.publish(define("DISK", "60000-600FF SW"), fill)
    disk = "DISK".ljust(8).encode("cp037")
    assert diag(cp, LOADSHRX, disk).condition_code == 0
    diag(cp, PURGESEG, disk)
    reported: list[str] = []
    cp.report_findings(reported.append)
    for _ in range(3):
        assert diag(cp, LOADSHRX, disk)[:5] == (2, 0x1000, PAGING_ERROR, b"", None)
    assert reported == ["guest G: segment DISK: could not be written as it was saved: [Errno 5] gone"]
    assert cp.users("DISK") == 0


def test_why_a_guest_was_refused_is_noted_and_is_no_warning(cp: BlockingCp) -> None:
    reported: list[str] = []
    noted: list[str] = []
    cp.report_findings(reported.append, noted.append)
    assert diag(cp, FINDSEGX, b"dummy\0\0\0").ry == 44  # Linux asks so whether CP knows the function
    nosuch = "NOSUCH".ljust(8).encode("cp037")
    for _ in range(200):
        assert diag(cp, LOADSHRX, nosuch).ry == 44
    line = "guest G: LOADSHRX gets return code 44: segment NOSUCH: does not exist, or is not saved"
    assert noted == [*[line] * 100, "100 hypercalls were refused; further ones are not noted"]
    assert reported == []


@pytest.mark.parametrize("kind", ["SR", "SW"])
def test_a_truncated_object_is_a_paging_error(cp: BlockingCp, kind: str) -> None:
    """The guest would end by SIGBUS; what guests may write is written anew for the next first user."""
    segment = cp.publish(define("DISK", f"60000-600FF {kind}"), filler(b"words"))
    disk = "DISK".ljust(8).encode("cp037")
    assert diag(cp, LOADSHRX, disk).condition_code == 0
    os.ftruncate(segment.object.write_fd, 4096)
    reported: list[str] = []
    cp.report_findings(reported.append)
    diag(cp, PURGESEG, disk)
    if kind == "SW":
        assert diag(cp, LOADSHRX, disk).condition_code == 0
        assert os.fstat(segment.object.write_fd).st_size == 0x100000
    else:
        assert diag(cp, LOADSHRX, disk)[:5] == (2, 0x1000, PAGING_ERROR, b"", None)
        assert f"object {segment.object.name}: found 4096 bytes, wanted 1048576" in reported[0]
