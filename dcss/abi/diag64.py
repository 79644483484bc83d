"""DIAGNOSE X'64', the hypercall of saved segments: function codes, parameter blocks, condition and return codes.

Sources: arch/s390/mm/extmem.c of Linux (subcodes, qin64, qout64), VM/370 System Programmer's Guide (condition codes,
return code 44), z/VM CP control blocks SXIDABK and SXODABK. Everything is big-endian; names are EBCDIC.
"""

from enum import IntEnum
from typing import NamedTuple

from dcss.abi.layout import U8, U16, U32, U64, Bytes3, Bytes8, struct_of

DIAGNOSE_64 = 0x64


class Diag64(IntEnum):
    """Function codes, in Ry; those ending in X take and return 64-bit addresses."""

    LOADSHR = 0x00
    LOADNSHR = 0x04
    PURGESEG = 0x08
    FINDSEG = 0x0C
    LOADNOLY = 0x10
    SEGEXT = 0x18
    LOADSHRX = 0x20
    LOADNSRX = 0x24
    FINDSEGX = 0x2C
    SEGEXTX = 0x38


class ConditionCode(IntEnum):
    """What the instruction leaves in the PSW. Linux takes 0 and 1 as success (extmem.c: dcss_diag)."""

    DONE = 0
    INSIDE_STORAGE = 1  # LOAD: inside defined storage; FIND: exists but is not loaded; PURGE: not found here
    FAILED = 2  # Ry holds the return code
    UNSUPPORTED = 3  # this subcode, or this form of the call, does not exist


class ReturnCode(IntEnum):
    """In Ry with condition code 2. Numbers other than 44 are not in public sources: ours, marked so in docs/."""

    NOT_FOUND = 44
    NOT_AUTHORIZED = 45  # ours
    BAD_AREA = 46  # ours: an operand or output area is not what the call needs
    OVERLAPS = 47  # ours: LOADNOLY would overlay storage or a loaded segment
    ABOVE_2G = 48  # ours: the segment lies out of a 31-bit call's reach
    PAGING_ERROR = 177  # VM/370 (SY20-0886-1, GC20-1807-7): "paging I/O error"; what z/VM has today is unconfirmed


FINDSEGA = 0x0C  # qopcode: query all attributes
NAME_SIZE_BYTES = 8


class Qin64(NamedTuple):
    """SEGEXT's input area (struct qin64): 22 bytes and tail padding to 24."""

    qopcode: U8
    rsrv1: Bytes3
    qrcode: U8
    rsrv2: Bytes3
    qname: Bytes8
    qoutptr: U32
    qoutlen: U16


QIN64 = struct_of(Qin64, ">", pad_bytes=2)


class Qrange(NamedTuple):
    """One range of SEGEXTX (struct qrange): the low byte of `start` is the segment type."""

    start: U64
    end: U64


QRANGE = struct_of(Qrange, ">")


class QrangeOld(NamedTuple):
    """One range of SEGEXT, 31 bit (struct qrange_old)."""

    start: U32
    end: U32


QRANGE_OLD = struct_of(QrangeOld, ">")


class Qout64(NamedTuple):
    """Head of SEGEXTX's output area (struct qout64); `segrcnt` ranges follow."""

    segstart: U64
    segend: U64
    segcnt: U32
    segrcnt: U32


QOUT64 = struct_of(Qout64, ">")


class Qout64Old(NamedTuple):
    """Head of SEGEXT's output area, 31 bit (struct qout64_old)."""

    segstart: U32
    segend: U32
    segcnt: U32
    segrcnt: U32


QOUT64_OLD = struct_of(Qout64Old, ">")
LINUX_RANGES = 6  # extmem.c passes room for this many
QOUT64_LINUX_SIZE_BYTES = QOUT64.size + LINUX_RANGES * QRANGE.size
