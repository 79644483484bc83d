"""Segments as host and guest name them: names, page types, ranges and definitions.

Sources: arch/s390/include/asm/extmem.h and arch/s390/mm/extmem.c of Linux for the type codes and limits; z/VM's "CP
Commands and Utilities Reference", DEFSEG, for what the codes mean.
"""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import NewType, Self

from dcss.abi.page import PAGE_SHIFT

SEGMENT_SIZE = 1 << 20  # the unit in which z/VM shares storage: one megabyte
MAX_DCSS_ADDR = 512 << 30  # asm/extmem.h: a DCSS lies below this absolute address
MAX_DCSS_BYTES = 2047 << 20  # z/VM: one DCSS spans less than 2 GiB
MAX_RANGES = 64  # per DEFSEG (unconfirmed)

_EBCDIC = codecs.lookup("cp037")  # here, because a guest that imports the codec itself pays 650 KiB of copied pages

AbsoluteAddress = NewType("AbsoluteAddress", int)  # in a guest's absolute storage


class SegmentName(str):
    """A DCSS name: 1 to 8 upper-case characters A-Z, 0-9, @, # and $. Raises ValueError on anything else."""

    __slots__ = ()
    _VALID = re.compile(r"[A-Z0-9@#$]{1,8}", re.ASCII)

    def __new__(cls, name: str) -> Self:  # noqa: D102 - the class says it
        if not cls._VALID.fullmatch(name):
            raise ValueError(f"segment name {name!r}: found {len(name)} characters, wanted 1 to 8 of A-Z 0-9 @ # $")
        return super().__new__(cls, name)

    @property
    def ebcdic(self) -> bytes:
        """The name as DIAG X'64' takes it: 8 bytes of EBCDIC, padded with blanks."""
        return _EBCDIC.encode(self.ljust(8))[0]

    @classmethod
    def from_ebcdic(cls, name: bytes) -> Self:
        """Read 8 bytes of blank-padded EBCDIC. Raises ValueError where they hold no valid name."""
        return cls(_EBCDIC.decode(name)[0].rstrip(" "))


class SegmentType(IntEnum):
    """Page type of a range; the value is SEGEXT's type byte and its low bit means exclusive (asm/extmem.h)."""

    SW = 0
    EW = 1
    SR = 2
    ER = 3
    SN = 4
    EN = 5
    SC = 6
    EWEN = 7  # Linux only: a contiguous mix of EW and EN ranges

    @property
    def exclusive(self) -> bool:
        """Each guest has a copy of its own, made by the first write."""
        return bool(self & 1)

    @property
    def read_only(self) -> bool:
        """A guest that loaded the segment shared may not store into it."""
        return self in _READ_ONLY

    @property
    def shared_writable(self) -> bool:
        """A store by one guest is seen by all: the one case in which a guest's descriptor is writable."""
        return self in _SHARED_WRITABLE

    @property
    def saved(self) -> bool:
        """SAVESEG keeps the content; otherwise a later load reads zeros."""
        return self not in _NOT_SAVED

    @property
    def label(self) -> str:
        """The name as extmem's messages print it."""
        return "EW/EN-MIXED" if self is SegmentType.EWEN else self.name


def adjoining_types(lower: SegmentType, upper: SegmentType) -> bool:
    """Say whether dcssblk makes one device of adjoining segments of these types (dcssblk_is_continuous)."""
    return lower is upper or {lower, upper} <= _MIXABLE


_MIXABLE = frozenset({SegmentType.EW, SegmentType.EN, SegmentType.EWEN})
_READ_ONLY = frozenset({SegmentType.SR, SegmentType.ER, SegmentType.SC})
_SHARED_WRITABLE = frozenset({SegmentType.SW, SegmentType.SN})
_NOT_SAVED = frozenset({SegmentType.SN, SegmentType.EN, SegmentType.SC})


@dataclass(frozen=True, slots=True)
class PageRange:
    """Pages of absolute storage of one type; `first_page` and `last_page` are page numbers, both inclusive."""

    first_page: int
    last_page: int
    type: SegmentType

    _WORDS = re.compile(r"([0-9A-Fa-f]{1,13})-([0-9A-Fa-f]{1,13}) +([A-Za-z]{2})", re.ASCII)

    def __post_init__(self) -> None:
        if not 0 <= self.first_page <= self.last_page:
            raise ValueError(
                f"page range {self}: found a first page above the last, wanted first-last in ascending order"
            )
        if self.last_page >= MAX_DCSS_ADDR >> PAGE_SHIFT:
            raise ValueError(f"page range {self}: wanted pages up to {(MAX_DCSS_ADDR >> PAGE_SHIFT) - 1:X}")
        if self.type is SegmentType.EWEN:
            raise ValueError(f"page range {self}: wanted one of SW EW SR ER SN EN SC")

    def __str__(self) -> str:
        return f"{self.first_page:05X}-{self.last_page:05X} {self.type.name}"

    @property
    def start(self) -> AbsoluteAddress:
        """Absolute address of the first byte."""
        return AbsoluteAddress(self.first_page << PAGE_SHIFT)

    @property
    def end(self) -> AbsoluteAddress:
        """Absolute address of the last byte, as CP counts."""
        return AbsoluteAddress(((self.last_page + 1) << PAGE_SHIFT) - 1)

    @property
    def pages(self) -> int:
        """Number of pages."""
        return self.last_page - self.first_page + 1

    @classmethod
    def parse(cls, words: str) -> Self:
        """Read DEFSEG's words, such as ``20000-23FFF SR``. Raises ValueError with what is wrong."""
        match = cls._WORDS.fullmatch(words.strip())
        if match is None:
            raise ValueError(f"page range {words!r}: wanted HEXPAGE-HEXPAGE TYPE, such as '20000-23FFF SR'")
        kind = match[3].upper()
        if kind not in SegmentType.__members__ or kind == "EWEN":
            raise ValueError(f"page range {words!r}: found type {kind}, wanted one of SW EW SR ER SN EN SC")
        return cls(int(match[1], 16), int(match[2], 16), SegmentType[kind])


@dataclass(frozen=True, slots=True)
class SegmentDefinition:
    """What DEFSEG defines: a name and page ranges in ascending order that do not overlap.

    The segment's bytes, offset 0 first, are those from `start` to `end`, gaps between ranges included.
    """

    name: SegmentName
    ranges: tuple[PageRange, ...]
    load_non_shared: bool = False  # LOADNSHR
    restricted: bool = False  # RSTD
    secure: bool = False  # SECURE

    def __post_init__(self) -> None:
        if not 1 <= len(self.ranges) <= MAX_RANGES:
            raise ValueError(f"segment {self.name}: found {len(self.ranges)} page ranges, wanted 1 to {MAX_RANGES}")
        for lower, upper in zip(self.ranges, self.ranges[1:], strict=False):
            if upper.first_page <= lower.last_page:
                raise ValueError(
                    f"segment {self.name}: ranges {lower} and {upper} overlap or are not in ascending order"
                )
        if self.size_bytes > MAX_DCSS_BYTES:
            raise ValueError(
                f"segment {self.name}: spans {self.size_bytes} bytes, wanted at most {MAX_DCSS_BYTES} (2047 MiB)"
            )
        if self.load_non_shared and (self.restricted or any(r.type is SegmentType.SC for r in self.ranges)):
            raise ValueError(f"segment {self.name}: LOADNSHR goes neither with RSTD nor with a range of type SC")
        self._check_megabytes()

    def _check_megabytes(self) -> None:
        pages_per_megabyte = SEGMENT_SIZE >> PAGE_SHIFT
        for lower, upper in zip(self.ranges, self.ranges[1:], strict=False):
            same_megabyte = lower.last_page // pages_per_megabyte == upper.first_page // pages_per_megabyte
            if same_megabyte and lower.type.exclusive != upper.type.exclusive:
                raise ValueError(
                    f"segment {self.name}: ranges {lower} and {upper} lie in one megabyte, whose 256 pages must be"
                    " all exclusive or all shared"
                )

    @property
    def start(self) -> AbsoluteAddress:
        """Absolute address of the first byte."""
        return self.ranges[0].start

    @property
    def end(self) -> AbsoluteAddress:
        """Absolute address of the last byte."""
        return self.ranges[-1].end

    @property
    def contiguous(self) -> bool:
        """No page between the first and the last is in no range."""
        return sum(each.pages for each in self.ranges) << PAGE_SHIFT == self.size_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes from the first page to the last."""
        return self.end - self.start + 1


def check_adjoining(definitions: Sequence[SegmentDefinition]) -> None:
    """Raise ValueError where one of the segments does not begin where the one before it ends."""
    for lower, upper in pairwise(definitions):
        if upper.start != lower.end + 1:
            wanted = f"{lower.end + 1:#x}, where {lower.name} ends"
            raise ValueError(f"segment {upper.name}: found it at {upper.start:#x}, wanted it at {wanted}")
