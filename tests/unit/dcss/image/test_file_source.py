"""Images that are read by calls: ranges, and files that get shorter or cannot be read meanwhile."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcss.errors import Ext2FormatError, StaleReferenceError
from dcss.image.file_source import FileSource

SIZE_BYTES = 300_000
CONTENT = random.Random(1).randbytes(SIZE_BYTES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.img"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def source(path: Path) -> Iterator[FileSource]:
    descriptor = os.open(path, os.O_RDONLY)
    yield FileSource(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, 1), (0, SIZE_BYTES), (65_535, 1), (65_535, 2), (65_536, 65_536), (SIZE_BYTES, 0), (SIZE_BYTES - 9, 9)],
)
def test_every_range_inside(source: FileSource, offset: int, length: int) -> None:
    for _ in range(2):
        found = source.bytes_at(offset, length)
        assert found.readonly
        assert found == CONTENT[offset : offset + length]


def test_more_pieces_than_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "sparse.img"
    with path.open("wb") as file:
        file.truncate(1 << 36)
        file.seek(1 << 35)
        file.write(b"there")
    with path.open("rb") as file:
        source = FileSource(file.fileno())
        for number in range(200):
            assert source.bytes_at(number << 28, 4) == (b"ther" if number == 128 else bytes(4))
        assert source.bytes_at(1 << 35, 5) == b"there"


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, SIZE_BYTES + 1), (SIZE_BYTES, 1), (5, -6)])
def test_every_range_outside(source: FileSource, offset: int, length: int) -> None:
    with pytest.raises(Ext2FormatError, match="outside the image"):
        source.bytes_at(offset, length)


@pytest.mark.parametrize(("offset", "length"), [(200_000, 10), (0, SIZE_BYTES)])
def test_a_file_that_gets_shorter_is_an_error(source: FileSource, path: Path, offset: int, length: int) -> None:
    os.truncate(path, 4096)
    with pytest.raises(Ext2FormatError, match="got shorter while it was read: found 4096 bytes, wanted 300000"):
        source.bytes_at(offset, length)


def test_closed(source: FileSource) -> None:
    kept = source.bytes_at(0, 4)
    source.close()
    assert kept == CONTENT[:4]
    with pytest.raises(StaleReferenceError):
        source.bytes_at(0, 4)


def test_a_file_that_cannot_be_read_is_damaged_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(9000))
    descriptor = os.open(tmp_path / "image", os.O_WRONLY)
    try:
        source = FileSource(descriptor, 4096)
        with pytest.raises(Ext2FormatError, match="the image cannot be read at offset 0: Bad file descriptor"):
            source.bytes_at(5, 7)
    finally:
        os.close(descriptor)
