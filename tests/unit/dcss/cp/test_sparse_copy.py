"""Contents with holes: copied whole, and written only where there is data."""

import os
from pathlib import Path

import pytest

from dcss.cp.segments.content import copy_descriptor

MIB = 1 << 20
BLOCK_BYTES = 512


def written(path: Path, pieces: dict[int, bytes], size_bytes: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, size_bytes)
    for offset, piece in pieces.items():
        os.pwrite(descriptor, piece, offset)
    return descriptor


@pytest.mark.parametrize(
    "pieces",
    [
        {},
        {0: b"first"},
        {5 * MIB: b"middle", 40 * MIB: bytes(range(256)) * 5000},
        {64 * MIB - 4: b"last"},
        {place * MIB: b"every" for place in range(64)},
    ],
)
@pytest.mark.parametrize("reserved", [True, False])
def test_holes_are_not_written(tmp_path: Path, pieces: dict[int, bytes], reserved: bool) -> None:
    source = written(tmp_path / "source", pieces, 64 * MIB)
    target = written(tmp_path / "target", {}, 64 * MIB if reserved else 0)
    parts: list[int] = []
    copy_descriptor(source, target, 64 * MIB, parts.append)
    assert sum(parts) == 64 * MIB
    assert os.lseek(target, 0, os.SEEK_CUR) == 64 * MIB
    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()
    assert os.fstat(target).st_blocks * BLOCK_BYTES < 16 * MIB
    os.close(source)
    os.close(target)


@pytest.mark.parametrize("pieces", [{}, {0: b"first"}])
def test_a_source_that_is_too_short_is_an_error(tmp_path: Path, pieces: dict[int, bytes]) -> None:
    source, target = written(tmp_path / "source", pieces, MIB), written(tmp_path / "target", {}, 0)
    with pytest.raises(EOFError, match="found 1048576 bytes, wanted 2097152"):
        copy_descriptor(source, target, 2 * MIB)
    os.close(source)
    os.close(target)


def test_a_part_is_copied_to_where_the_target_stands(tmp_path: Path) -> None:
    source, target = written(tmp_path / "source", {10: b"words"}, 100), written(tmp_path / "target", {0: b"head"}, 4)
    os.lseek(target, 4, os.SEEK_SET)
    copy_descriptor(source, target, 12)
    assert (tmp_path / "target").read_bytes() == b"head" + bytes(10) + b"wo"
    os.close(source)
    os.close(target)


def test_zeros_that_are_written_in_the_source_are_none_in_the_target(tmp_path: Path) -> None:
    source = written(tmp_path / "source", {0: bytes(32 * MIB), 20 * MIB: b"words"}, 32 * MIB)
    target = written(tmp_path / "target", {}, 0)
    copy_descriptor(source, target, 32 * MIB)
    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()
    assert os.fstat(target).st_blocks * BLOCK_BYTES <= MIB
    os.close(source)
    os.close(target)


def test_a_source_that_ends_before_the_part_has_none_of_it(tmp_path: Path) -> None:
    source, target = written(tmp_path / "source", {0: b"x"}, 100), written(tmp_path / "target", {}, 0)
    with pytest.raises(EOFError, match=r"^found 0 bytes, wanted 10$"):
        copy_descriptor(source, target, 10, first_byte=200)
    with pytest.raises(EOFError, match=r"^found 5 bytes, wanted 10$"):
        copy_descriptor(source, target, 10, first_byte=95)
    os.close(source)
    os.close(target)
