"""Bitmaps of blocks and inodes, as integers: bit n stands for the n-th block or inode of a group."""

from collections.abc import Iterator


def load_bitmap(block: bytes | memoryview) -> int:
    """Return the bitmap that a block holds."""
    return int.from_bytes(block, "little")


def store_bitmap(bits: int, block_size_bytes: int) -> bytes:
    """Return the block that holds a bitmap."""
    return bits.to_bytes(block_size_bytes, "little")


def span_bits(first: int, end: int) -> int:
    """Return a bitmap in which the bits from `first` up to, not including, `end` are set."""
    return ((1 << end - first) - 1) << first


def padding_bits(count: int, block_size_bytes: int) -> int:
    """Return a bitmap in which all bits of the block past the first `count` are set, as a short group has them."""
    return span_bits(count, 8 * block_size_bytes)


def clear_spans(bits: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of clear bits among the first `count`, as (first, end)."""
    clear = ~bits & span_bits(0, count)
    at = 0
    while clear:
        skip = (clear & -clear).bit_length() - 1
        clear >>= skip
        length = (~clear & clear + 1).bit_length() - 1
        clear >>= length
        yield at + skip, at + skip + length
        at += skip + length


def find_clear(bits: int, first: int, end: int) -> int | None:
    """Return the number of the first clear bit from `first` up to, not including, `end`, or None."""
    clear = ~bits & span_bits(first, end) if first < end else 0
    return (clear & -clear).bit_length() - 1 if clear else None
