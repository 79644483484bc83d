import mmap
from errno import ENODEV, EROFS
from pathlib import Path

import pytest

from dcss.errors import Ext2FormatError, KernelError, StaleReferenceError
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


def test_a_write_is_seen_at_once_through_the_buffer_and_through_views() -> None:
    buffer = bytearray(b"0123456789")
    source = BufferSource(buffer, writable=True)
    view = source.bytes_at(0, 10)
    source.write(3, b"abc")
    source.write(10, b"")
    source.flush()
    assert (bytes(buffer), view) == (b"012abc6789", b"012abc6789")
    assert view.readonly


@pytest.mark.parametrize(("offset", "data"), [(-1, b"x"), (10, b"x"), (5, b"abcdef"), (11, b"")])
def test_a_write_outside_changes_nothing(offset: int, data: bytes) -> None:
    buffer = bytearray(b"0123456789")
    with pytest.raises(Ext2FormatError, match=rf"write outside the device: found offset {offset}, length {len(data)}"):
        BufferSource(buffer, writable=True).write(offset, data)
    assert buffer == b"0123456789"


def test_what_is_read_only_refuses_writes() -> None:
    buffer = bytearray(10)
    with pytest.raises(KernelError) as refused:
        BufferSource(buffer).write(0, b"x")
    assert refused.value.errno == EROFS
    with pytest.raises(KernelError) as refused:
        BufferSource(bytes(10), writable=True)
    assert refused.value.errno == EROFS


def test_after_close_a_write_is_stale_and_the_buffer_is_free() -> None:
    buffer = bytearray(10)
    source = BufferSource(buffer, writable=True)
    source.close()
    source.close()
    with pytest.raises(StaleReferenceError):
        source.write(0, b"x")
    source.flush()
    buffer.append(0)


def test_a_flush_writes_a_mapped_file_back(tmp_path: Path) -> None:
    path = tmp_path / "device"
    path.write_bytes(bytes(4096))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        source = BufferSource(mapping, writable=True)
        source.write(100, b"written")
        source.flush()
        source.close()
    assert path.read_bytes()[100:107] == b"written"
