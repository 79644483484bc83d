"""Read partition tables: MBR with its logical partitions, and GPT.

Sources: UEFI 2.10, chapter 5; util-linux's fdisk.
"""

from collections.abc import Iterator
from struct import Struct, iter_unpack
from typing import Final, NamedTuple

from dcss.ext2.source import BlockSource

_SECTOR_SIZES_BYTES: Final = (512, 4096)
_MBR_ENTRIES_OFFSET: Final = 446
_MBR_SIGNATURE_OFFSET: Final = 510
_MBR_ENTRY: Final = Struct("<B3xB3x2I")  # status, type, first sector, sectors
_GPT_HEADER: Final = Struct("<8s64xQ2I")  # signature, sector of the entries, their number, their size
_GPT_ENTRY: Final = Struct("<16s16s2Q")  # type, unique name, first and last sector
_EXTENDED: Final = frozenset({0x05, 0x0F, 0x85})
_PROTECTIVE: Final = 0xEE
_MAX_LOGICAL: Final = 60
_MAX_GPT_ENTRIES: Final = 128


class PartitionTable(NamedTuple):
    """A table, by its kind, and the first byte of each of its partitions in their order."""

    kind: str
    first_bytes: tuple[int, ...]


def partition_table(source: BlockSource) -> PartitionTable | None:
    """Return the partition table at the front of `source`, or None."""
    for sector_size_bytes in _SECTOR_SIZES_BYTES:
        found = tuple(_gpt(source, sector_size_bytes))
        if found:
            return PartitionTable("GPT", found)
    found = tuple(_mbr(source))
    return PartitionTable("MBR", found) if found else None


def read(source: BlockSource, offset: int, length: int) -> bytes:
    """Return `length` bytes at `offset`, or fewer at the end."""
    here = max(0, min(length, source.size_bytes - offset))
    return bytes(source.bytes_at(offset, here)) if here else b""


def _gpt(source: BlockSource, sector_size_bytes: int) -> Iterator[int]:
    head = read(source, sector_size_bytes, _GPT_HEADER.size)
    if not head.startswith(b"EFI PART") or len(head) < _GPT_HEADER.size:
        return
    _, sector, count, entry_size_bytes = _GPT_HEADER.unpack(head)
    if not _GPT_ENTRY.size <= entry_size_bytes <= sector_size_bytes:
        return
    for number in range(min(count, _MAX_GPT_ENTRIES)):
        entry = read(source, sector * sector_size_bytes + number * entry_size_bytes, _GPT_ENTRY.size)
        if len(entry) < _GPT_ENTRY.size:
            return
        kind, _, first, last = _GPT_ENTRY.unpack(entry)
        if any(kind) and first <= last:
            yield first * sector_size_bytes


def _mbr(source: BlockSource) -> Iterator[int]:
    entries = _mbr_entries(source, 0)
    # Boot sectors of FAT and NTFS have the same signature, but code where the table would be.
    if any(status not in {0, 0x80} for status, *_ in entries):
        return
    for _, kind, first, sectors in entries:
        if kind == _PROTECTIVE or not (kind and first and sectors):
            continue
        if kind in _EXTENDED:
            yield from _logical(source, first)
        else:
            yield first * 512


def _logical(source: BlockSource, extended: int) -> Iterator[int]:
    """Yield the logical partitions in the extended one at sector `extended`; each has a table that names the next."""
    at = extended
    for _ in range(_MAX_LOGICAL):
        entries = _mbr_entries(source, at * 512)
        following = 0
        for _, kind, first, sectors in entries[:2]:
            if kind in _EXTENDED:
                following = first
            elif kind and first and sectors:
                yield (at + first) * 512
        if not following:
            return
        at = extended + following


def _mbr_entries(source: BlockSource, offset: int) -> list[tuple[int, ...]]:
    sector = read(source, offset, 512)
    if sector[_MBR_SIGNATURE_OFFSET:] != b"\x55\xaa":
        return []
    return list(iter_unpack(_MBR_ENTRY.format, sector[_MBR_ENTRIES_OFFSET:_MBR_SIGNATURE_OFFSET]))
