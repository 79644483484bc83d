import mmap
from errno import ENODEV
from pathlib import Path

import pytest

from dcss.errors import Ext2FormatError, StaleReferenceError
from dcss.ext2.source import BufferSource


def test_views_share_the_buffer_and_are_read_only() -> None:
    buffer = bytearray(b"0123456789")
    source = BufferSource(buffer)
    view = source.bytes_at(2, 3)
    buffer[2:5] = b"abc"
    assert view == b"abc"
    assert view.readonly
    assert source.size_bytes == 10


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 11), (10, 1), (11, 0), (5, -1), (5, 6), (1 << 70, 1)])
def test_a_range_outside_names_offset_length_and_size(offset: int, length: int) -> None:
    with pytest.raises(Ext2FormatError, match=rf"offset {offset}, length {length}, .* 10 bytes"):
        BufferSource(b"0123456789").bytes_at(offset, length)


@pytest.mark.parametrize(("offset", "length"), [(0, 10), (10, 0), (9, 1)])
def test_a_range_that_just_fits(offset: int, length: int) -> None:
    assert len(BufferSource(b"0123456789").bytes_at(offset, length)) == length


def test_wider_items_are_seen_as_bytes() -> None:
    source = BufferSource(memoryview(bytearray(16)).cast("Q"))
    assert source.size_bytes == 16
    assert source.bytes_at(15, 1) == b"\0"


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (0, 0), (99, 1)])
def test_after_close_every_read_is_stale(offset: int, length: int) -> None:
    source = BufferSource(b"0123456789")
    kept = source.bytes_at(0, 4)
    source.close()
    source.close()
    with pytest.raises(StaleReferenceError) as caught:
        source.bytes_at(offset, length)
    assert caught.value.errno == ENODEV
    assert kept == b"0123"


def test_close_lets_a_mapping_go(tmp_path: Path) -> None:
    path = tmp_path / "device"
    path.write_bytes(b"x" * 4096)
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    source = BufferSource(mapping)
    with pytest.raises(BufferError):
        mapping.close()
    source.close()
    mapping.close()


def test_terabytes_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "device"
    with path.open("w+b") as file:
        file.truncate(1 << 42)
        source = BufferSource(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    assert source.size_bytes == 1 << 42
    assert source.bytes_at((1 << 42) - 4, 4) == bytes(4)
    source.close()
