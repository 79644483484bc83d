"""Where the data of sparse members belongs: the old GNU headers, and pax in the formats 0.0, 0.1 and 1.0.

Source: the GNU tar manual, "Storing Sparse Files".
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from dcss.image.tar import pax
from dcss.image.tar.header import BLOCK_BYTES, Header, TarFormatError, parse_number

_MAX_PIECES: Final = 1 << 20  # each takes memory; GNU tar writes one for each stretch of data
_OLD_ENTRIES: Final = (386, 4, 482)  # offset of the first entry, how many, offset of the flag that more follow
_MORE_ENTRIES: Final = (0, 21, 504)
_SIZE_KEYS: Final = (b"GNU.sparse.realsize", b"GNU.sparse.size")
_MAP_KEYS: Final = (*_SIZE_KEYS, b"GNU.sparse.map", b"GNU.sparse.numblocks")
_PIECE_KEYS: Final = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_DECIMAL: Final = re.compile(rb"[0-9]{1,20}")

ReadBlock = Callable[[], bytes]


class SparseMap(NamedTuple):
    """The size of a file with its holes, and its data in order, as (offset, bytes)."""

    size_bytes: int
    pieces: tuple[tuple[int, int], ...]


def old_gnu_map(header: Header, next_block: ReadBlock) -> SparseMap:
    """Return the map in a header of type S, and in the blocks after it. Raises TarFormatError."""
    pieces: list[tuple[int, int]] = []
    block, (start, count, flag) = header.raw, _OLD_ENTRIES
    while True:
        for at in range(start, start + 24 * count, 24):
            if block[at + 12] == 0:
                break
            offset = parse_number(block[at : at + 12], "offset of sparse data")
            pieces.append((offset, parse_number(block[at + 12 : at + 24], "size of sparse data")))
        if not block[flag]:
            return _checked(parse_number(header.raw[483:495], "real size"), pieces)
        if len(pieces) > _MAX_PIECES:
            raise _too_many()
        block, (start, count, flag) = next_block(), _MORE_ENTRIES


def pax_map(records: pax.Records, changes: Sequence[tuple[bytes, bytes]], next_block: ReadBlock) -> SparseMap | None:
    """Return the map in extended headers, for format 1.0 in the blocks of data, or None. Raises TarFormatError."""
    if records.get(b"GNU.sparse.major", b"0") != b"0":
        version = records[b"GNU.sparse.major"] + b"." + records.get(b"GNU.sparse.minor", b"")
        if version != b"1.0":
            raise TarFormatError(f"sparse format: found {version!r}, wanted 0.0, 0.1 or 1.0")
        return _checked(_size(records), _pairs(_numbers_in_blocks(next_block)))
    pieces = [(key, value) for key, value in changes if key in _PIECE_KEYS]
    if not pieces and records.keys().isdisjoint(_MAP_KEYS):
        return None
    listed = records.get(b"GNU.sparse.map")
    if listed is not None:
        pairs = _pairs([_decimal(each) for each in listed.split(b",")])
    elif all(key == _PIECE_KEYS[number % 2] for number, (key, _) in enumerate(pieces)):
        pairs = _pairs([_decimal(value) for _, value in pieces])
    else:
        raise TarFormatError("sparse member: found records of its map out of order, wanted offset, numbytes, offset …")
    count = pax.number(records, b"GNU.sparse.numblocks", len(pairs))
    if count < len(pairs):
        raise TarFormatError(f"sparse member: found {len(pairs)} stretches in its map, wanted {count}: its numblocks")
    return _checked(_size(records), pairs)


def _size(records: pax.Records) -> int:
    """Return the size of the file: what it ends with beyond its map is a hole. Both keys are read in every format."""
    for key in _SIZE_KEYS:
        if key in records:
            return pax.number(records, key, 0)
    raise TarFormatError(f"sparse member: found no {_SIZE_KEYS[0].decode()}, wanted its size")


def _numbers_in_blocks(next_block: ReadBlock) -> list[int]:
    """Return the numbers that begin the data, each on a line: how many pairs, then those."""
    lines = _lines(next_block)
    count = _decimal(next(lines))
    if count > _MAX_PIECES:
        raise _too_many()
    return [_decimal(next(lines)) for _ in range(2 * count)]


def _lines(next_block: ReadBlock) -> Iterator[bytes]:
    rest = b""
    while True:
        *lines, rest = (rest + next_block()).split(b"\n")
        yield from lines
        if len(rest) > BLOCK_BYTES:
            raise TarFormatError("sparse member: found no line ends in its map, wanted a number on each line")


def _decimal(value: bytes) -> int:
    if not _DECIMAL.fullmatch(value):
        raise TarFormatError(f"sparse member: found {value[:40]!r} in its map, wanted a number")
    return int(value)


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2:
        raise TarFormatError(f"sparse member: found {len(numbers)} numbers in its map, wanted pairs")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _checked(size_bytes: int, pieces: list[tuple[int, int]]) -> SparseMap:
    """Return the map. Raises TarFormatError where data is out of order, or past the end of the file."""
    end = 0
    for offset, length in pieces:
        if not end <= offset <= offset + length <= size_bytes:
            raise TarFormatError(
                f"sparse member: found data of {length} bytes at {offset}, wanted it between {end} and {size_bytes}"
            )
        end = offset + length
    return SparseMap(size_bytes, tuple((offset, length) for offset, length in pieces if length))


def _too_many() -> TarFormatError:
    return TarFormatError(f"sparse member: found more than {_MAX_PIECES} stretches of data, which is not supported")
