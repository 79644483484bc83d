"""Partition tables, byte by byte."""

from struct import pack


def mbr(*partitions: tuple[int, int, int]) -> bytes:
    """Return a sector with a partition table: type, first sector and sectors of each."""
    entries = b"".join(pack("<B3xB3x2I", 0, *partition) for partition in partitions)
    return bytes(446) + entries.ljust(64, b"\0") + b"\x55\xaa"


def gpt(sector_size_bytes: int, *partitions: tuple[int, int]) -> tuple[tuple[int, bytes], ...]:
    """Return a protective MBR, a header and entries of a GPT, each with its offset."""
    header = b"EFI PART" + bytes(64) + pack("<Q2I", 2, 128, 128)
    entries = b"".join(bytes([7]) * 32 + pack("<2Q80x", first, first + count - 1) for first, count in partitions)
    return (0, mbr((0xEE, 1, 2000))), (sector_size_bytes, header), (2 * sector_size_bytes, entries)
