"""Maps of sparse members: the old GNU headers with the blocks after them, and pax's formats."""

from collections.abc import Callable
from pathlib import Path

import pytest
from image_support import Read, build
from tar_support import END, header

from dcss.config.sources import TarSource
from dcss.image.tar import sparse
from dcss.image.tar.header import TarFormatError, parse_header
from dcss.image.tar.sparse import SparseMap, old_gnu_map, pax_map

PIECES = [(1000 * number, 10 + number) for number in range(30)]
SIZE_BYTES = 40_000


def entries(pieces: list[tuple[int, int]]) -> bytes:
    return b"".join(b"%011o\0%011o\0" % piece for piece in pieces)


def old_gnu(pieces: list[tuple[int, int]], size_bytes: int = SIZE_BYTES) -> tuple[bytes, list[bytes]]:
    """Return the header of a sparse member and the blocks of its map that come after it."""
    first, rest = pieces[:4], pieces[4:]
    stored_bytes = sum(length for _, length in pieces)
    block = bytearray(header(b"s", b"S", stored_bytes, magic=b"ustar  \0"))
    block[386 : 386 + 24 * len(first)] = entries(first)
    block[482] = bool(rest)
    block[483:495] = b"%011o\0" % size_bytes
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more = []
    while rest:
        part, rest = rest[:21], rest[21:]
        more.append(entries(part).ljust(504, b"\0") + bytes([bool(rest)]) + bytes(7))
    return bytes(block), more


def blocks(*given: bytes) -> Callable[[], bytes]:
    return iter(given).__next__


@pytest.mark.parametrize("count", [0, 1, 4, 5, 25, 26, 30])
def test_an_old_gnu_map_goes_on_in_blocks_after_the_header(count: int) -> None:
    block, more = old_gnu(PIECES[:count])
    assert len(more) == -(-max(0, count - 4) // 21)
    found = old_gnu_map(parse_header(block), blocks(*more))
    assert found == SparseMap(SIZE_BYTES, tuple(PIECES[:count]))


def test_a_member_with_such_a_map_is_read_with_its_holes_and_the_next_one_too(tmp_path: Path) -> None:
    block, more = old_gnu(PIECES)
    data = b"".join(bytes([number + 1]) * length for number, (_, length) in enumerate(PIECES))
    after = header(b"after", size_bytes=5) + b"after".ljust(512, b"\0")
    (tmp_path / "x.tar").write_bytes(block + b"".join(more) + data + bytes(-len(data) % 512) + after + END)
    build(TarSource(tmp_path / "x.tar"), tmp_path / "x.img")
    wanted = bytearray(SIZE_BYTES)
    for number, (offset, length) in enumerate(PIECES):
        wanted[offset : offset + length] = bytes([number + 1]) * length
    content = Read(tmp_path / "x.img").content
    assert content == {b"/s": bytes(wanted), b"/after": b"after"}


def test_a_map_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "_MAX_PIECES", 25)
    block, more = old_gnu(PIECES[:26])
    assert len(old_gnu_map(parse_header(block), blocks(*more)).pieces) == 26  # they are counted before each block
    block, more = old_gnu([(1000 * number, 1) for number in range(47)], 50_000)
    with pytest.raises(TarFormatError, match="found more than 25 stretches of data"):
        old_gnu_map(parse_header(block), blocks(*more))
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"99"}
    lines = b"26\n" + b"".join(b"%d\n1\n" % number for number in range(26))
    with pytest.raises(TarFormatError, match="found more than 25 stretches of data"):
        pax_map(records, (), blocks(lines.ljust(512, b"\0")))


@pytest.mark.parametrize(
    ("pieces", "size_bytes", "wanted"),
    [([(0, 5), (4, 1)], 9, "found data of 1 bytes at 4, wanted it between 5 and 9"), ([(5, 5)], 9, "found data of 5")],
)
def test_data_out_of_order_or_past_the_end_is_refused(
    pieces: list[tuple[int, int]], size_bytes: int, wanted: str
) -> None:
    block, _ = old_gnu(pieces, size_bytes)
    with pytest.raises(TarFormatError, match=wanted):
        old_gnu_map(parse_header(block), blocks())


def test_numbers_of_format_1_0_may_run_over_blocks() -> None:
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"%d" % SIZE_BYTES}
    lines = b"%d\n" % len(PIECES) + b"".join(b"%d\n%d\n" % piece for piece in PIECES)
    padded = lines.ljust(512, b"\0")
    found = pax_map(records, (), blocks(*(padded[at : at + 100] for at in range(0, len(padded), 100))))
    assert found == SparseMap(SIZE_BYTES, tuple(PIECES))
    with pytest.raises(TarFormatError, match="found no line ends in its map"):
        pax_map(records, (), lambda: b"1" * 512)
    with pytest.raises(TarFormatError, match=r"found b'1.1', wanted 0.0, 0.1 or 1.0"):
        pax_map(records | {b"GNU.sparse.minor": b"1"}, (), blocks())


def test_a_member_without_any_record_of_a_map_is_not_sparse() -> None:
    assert pax_map({b"path": b"x"}, [(b"path", b"x")], blocks()) is None


REALSIZE = {b"GNU.sparse.realsize": b"%d" % SIZE_BYTES}


def listed(pieces: list[tuple[int, int]]) -> list[tuple[bytes, bytes]]:
    return [
        (key, b"%d" % value)
        for piece in pieces
        for key, value in zip((b"GNU.sparse.offset", b"GNU.sparse.numbytes"), piece, strict=True)
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 30])
@pytest.mark.parametrize("key", [b"GNU.sparse.realsize", b"GNU.sparse.size"])
def test_maps_of_formats_0_0_and_0_1(count: int, key: bytes) -> None:
    pieces = PIECES[:count]
    wanted = SparseMap(SIZE_BYTES, tuple(pieces))
    records = {key: b"%d" % SIZE_BYTES, b"GNU.sparse.numblocks": b"%d" % count}
    assert pax_map(records, [(b"path", b"x"), *listed(pieces)], blocks()) == wanted
    if count:
        joined = b",".join(b"%d,%d" % piece for piece in pieces)
        assert pax_map(records | {b"GNU.sparse.map": joined}, (), blocks()) == wanted


@pytest.mark.parametrize(
    ("records", "changes", "wanted"),
    [
        (REALSIZE, listed(PIECES[:2])[::-1], "found records of its map out of order"),
        (REALSIZE, listed(PIECES[:3])[:1] * 2, "found records of its map out of order"),
        (REALSIZE, listed(PIECES[:2])[:3], "found 3 numbers in its map, wanted pairs"),
        (REALSIZE | {b"GNU.sparse.map": b"1,2,3"}, (), "found 3 numbers in its map, wanted pairs"),
        (REALSIZE | {b"GNU.sparse.map": b"1,x"}, (), "found b'x' in its map, wanted a number"),
        (REALSIZE | {b"GNU.sparse.map": b""}, (), "found b'' in its map, wanted a number"),
        (REALSIZE | {b"GNU.sparse.numblocks": b"1"}, listed(PIECES[:2]), "found 2 stretches in its map, wanted 1: its"),
        ({}, listed(PIECES[:1]), "found no GNU.sparse.realsize, wanted its size"),
    ],
)
def test_maps_that_do_not_hold_together(
    records: dict[bytes, bytes], changes: list[tuple[bytes, bytes]], wanted: str
) -> None:
    with pytest.raises(TarFormatError, match=wanted):
        pax_map(records, changes, blocks())


def test_empty_stretches_are_left_out() -> None:
    assert pax_map(REALSIZE, listed([(0, 0), (5, 1), (9, 0)]), blocks()) == SparseMap(SIZE_BYTES, ((5, 1),))
