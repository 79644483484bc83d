"""Read partition tables: MBR with its logical partitions, and GPT.

Sources: UEFI 2.10, chapter 5; util-linux's fdisk.
"""

from collections.abc import Callable, Iterator
from struct import Struct, iter_unpack
from typing import Final, NamedTuple

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

Read = Callable[[int, int], bytes]
"""Given an offset and a length, returns that many bytes of a disk, or fewer at its end."""


class Partition(NamedTuple):
    """A partition, as its table has it: it may reach behind the end of the disk."""

    first_byte: int
    size_bytes: int


class PartitionTable(NamedTuple):
    """A table, by its kind, and its partitions in their order."""

    kind: str
    partitions: tuple[Partition, ...]


def partition_table(read: Read) -> PartitionTable | None:
    """Return the partition table at the front of the disk that `read` reads, or None."""
    for sector_size_bytes in _SECTOR_SIZES_BYTES:
        found = tuple(_gpt(read, sector_size_bytes))
        if found:
            return PartitionTable("GPT", found)
    found = tuple(_mbr(read))
    return PartitionTable("MBR", found) if found else None


def _gpt(read: Read, sector_size_bytes: int) -> Iterator[Partition]:
    head = read(sector_size_bytes, _GPT_HEADER.size)
    if not head.startswith(b"EFI PART") or len(head) < _GPT_HEADER.size:
        return
    _, sector, count, entry_size_bytes = _GPT_HEADER.unpack(head)
    if not _GPT_ENTRY.size <= entry_size_bytes <= sector_size_bytes:
        return
    for number in range(min(count, _MAX_GPT_ENTRIES)):
        entry = read(sector * sector_size_bytes + number * entry_size_bytes, _GPT_ENTRY.size)
        if len(entry) < _GPT_ENTRY.size:
            return
        kind, _, first, last = _GPT_ENTRY.unpack(entry)
        if any(kind) and first <= last:
            yield Partition(first * sector_size_bytes, (last - first + 1) * sector_size_bytes)


def _mbr(read: Read) -> Iterator[Partition]:
    entries = _mbr_entries(read, 0)
    # Boot sectors of FAT and NTFS have the same signature, but code where the table would be.
    if any(status not in {0, 0x80} for status, *_ in entries):
        return
    for _, kind, first, sectors in entries:
        if kind == _PROTECTIVE or not (kind and first and sectors):
            continue
        if kind in _EXTENDED:
            yield from _logical(read, first)
        else:
            yield Partition(first * 512, sectors * 512)


def _logical(read: Read, extended: int) -> Iterator[Partition]:
    """Yield the logical partitions in the extended one at sector `extended`; each has a table that names the next."""
    at = extended
    for _ in range(_MAX_LOGICAL):
        entries = _mbr_entries(read, at * 512)
        following = 0
        for _, kind, first, sectors in entries[:2]:
            if kind in _EXTENDED:
                following = first
            elif kind and first and sectors:
                yield Partition((at + first) * 512, sectors * 512)
        if not following:
            return
        at = extended + following


def _mbr_entries(read: Read, offset: int) -> list[tuple[int, ...]]:
    sector = read(offset, 512)
    if sector[_MBR_SIGNATURE_OFFSET:] != b"\x55\xaa":
        return []
    return list(iter_unpack(_MBR_ENTRY.format, sector[_MBR_ENTRIES_OFFSET:_MBR_SIGNATURE_OFFSET]))
