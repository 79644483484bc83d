"""Sizes and offsets of DIAG X'64' structures against formats written down here from FACTS, not from the code."""

import ctypes
import string

import pytest

from dcss.abi import diag64
from dcss.abi.diag64 import ConditionCode, Diag64, Qin64, Qout64


class CQin64(ctypes.BigEndianStructure):
    """struct qin64 of arch/s390/mm/extmem.c, laid out by the C rules of ctypes."""

    _fields_ = (
        ("qopcode", ctypes.c_uint8),
        ("rsrv1", ctypes.c_uint8 * 3),
        ("qrcode", ctypes.c_uint8),
        ("rsrv2", ctypes.c_uint8 * 3),
        ("qname", ctypes.c_char * 8),
        ("qoutptr", ctypes.c_uint32),
        ("qoutlen", ctypes.c_uint16),
    )


class CQrange(ctypes.BigEndianStructure):
    _fields_ = (("start", ctypes.c_uint64), ("end", ctypes.c_uint64))


class CQout64(ctypes.BigEndianStructure):
    _fields_ = (
        ("segstart", ctypes.c_uint64),
        ("segend", ctypes.c_uint64),
        ("segcnt", ctypes.c_uint32),
        ("segrcnt", ctypes.c_uint32),
        ("range", CQrange * 6),
    )


class CQrangeOld(ctypes.BigEndianStructure):
    _fields_ = (("start", ctypes.c_uint32), ("end", ctypes.c_uint32))


class CQout64Old(ctypes.BigEndianStructure):
    _fields_ = (
        ("segstart", ctypes.c_uint32),
        ("segend", ctypes.c_uint32),
        ("segcnt", ctypes.c_uint32),
        ("segrcnt", ctypes.c_uint32),
        ("range", CQrangeOld * 6),
    )


def test_sizes() -> None:
    assert diag64.QIN64.size == ctypes.sizeof(CQin64) == 24
    assert diag64.QOUT64_LINUX_SIZE_BYTES == ctypes.sizeof(CQout64) == 120
    assert diag64.QOUT64_OLD.size + 6 * diag64.QRANGE_OLD.size == ctypes.sizeof(CQout64Old) == 64
    assert (diag64.QOUT64.size, diag64.QRANGE.size) == (24, 16)
    assert (diag64.QOUT64_OLD.size, diag64.QRANGE_OLD.size) == (16, 8)


def test_qin64_is_what_c_lays_out() -> None:
    packed = diag64.QIN64.pack(*Qin64(0x0C, b"abc", 7, b"def", b"\xd3\xc9\xc2\x40\x40\x40\x40\x40", 0x12345678, 0x0078))
    read = CQin64.from_buffer_copy(packed)
    assert (read.qopcode, bytes(read.rsrv1), read.qrcode, bytes(read.rsrv2)) == (0x0C, b"abc", 7, b"def")
    assert (read.qname, read.qoutptr, read.qoutlen) == (b"\xd3\xc9\xc2@@@@@", 0x12345678, 0x78)
    assert packed[20:] == b"\x00\x78\0\0"


def test_qout64_is_what_c_lays_out() -> None:
    packed = diag64.QOUT64.pack(*Qout64(1, 2, 3, 4)) + diag64.QRANGE.pack(5, 6) + bytes(80)
    read = CQout64.from_buffer_copy(packed)
    assert (read.segstart, read.segend, read.segcnt, read.segrcnt) == (1, 2, 3, 4)
    assert (read.range[0].start, read.range[0].end) == (5, 6)


def test_function_codes() -> None:
    assert {code.name: int(code) for code in Diag64} == {
        "LOADSHR": 0x00,
        "LOADNSHR": 0x04,
        "PURGESEG": 0x08,
        "FINDSEG": 0x0C,
        "LOADNOLY": 0x10,
        "SEGEXT": 0x18,
        "LOADSHRX": 0x20,
        "LOADNSRX": 0x24,
        "FINDSEGX": 0x2C,
        "SEGEXTX": 0x38,
    }
    assert [int(code) for code in ConditionCode] == [0, 1, 2, 3]
    assert diag64.ReturnCode.NOT_FOUND == 44
    assert diag64.FINDSEGA == 0x0C


@pytest.mark.parametrize("kind", list(diag64.ReturnCode))
def test_return_codes_fit_a_register_and_differ(kind: diag64.ReturnCode) -> None:
    assert [other for other in diag64.ReturnCode if other.value == kind.value] == [kind]
    assert set(kind.name) <= set(string.ascii_uppercase + string.digits + "_")
