"""Copying content into an image: sources that end early, and reads that bring less than was asked for."""

import fcntl
import io
import os
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from errno import EOPNOTSUPP
from pathlib import Path
from time import sleep

import pytest

from dcss.errors import ImageError
from dcss.ext2.mkfs.copy import Copier, ImageWindow, Transfer, copy_files, skip
from dcss.ext2.mkfs.tree import FileStore, StreamStore

ENDED_EARLY = "a compressed archive ended early: it changed, or is cut short; build the image again"


class Stream(StreamStore):
    def __init__(self, content: bytes) -> None:
        self._content = content

    def open_stream(self) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._content))


class File(FileStore):
    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> int:
        return os.open(self._path, os.O_RDONLY)


@pytest.fixture
def image(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def _whole(image: int) -> ImageWindow:
    return ImageWindow(image, 0, 4 << 20)


def test_a_stream_that_ends_before_what_is_wanted_is_an_error() -> None:
    stream = Stream(bytes(3 << 20)).open_stream()
    skip(stream, 3 << 20)
    assert stream.read(1) == b""
    with pytest.raises(ImageError, match=ENDED_EARLY):
        skip(stream, 1)


@pytest.mark.parametrize("size_bytes", [4096, 4097, 5000])
def test_a_compressed_source_that_became_shorter_is_an_error(image: int, size_bytes: int) -> None:
    store = Stream(b"x" * size_bytes)
    wanted = [Transfer(0, store, 0, 4096), Transfer(4096, store, 4100, 4096)]
    with pytest.raises(ImageError, match=ENDED_EARLY):
        Copier(_whole(image), None).copy_stream(store, wanted)


def test_a_file_that_became_shorter_is_an_error(image: int, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x" * 100)
    wanted = [Transfer(0, File(tmp_path / "short"), 0, 101)]
    with pytest.raises(ImageError, match="a source file ended at byte 100 while it was read; build the image again"):
        copy_files(_whole(image), wanted, None)


def test_pieces_of_a_stream_land_where_they_belong_in_any_order(image: int) -> None:
    content = os.urandom(3 << 20)
    store = Stream(content)
    os.pwrite(image, b"head", 2000)
    wanted = [Transfer(2 << 20, store, 1 << 20, 2 << 20), Transfer(4096, store, 100, 1000)]
    done: list[int] = []
    Copier(_whole(image), done.append).copy_stream(store, wanted)
    assert os.pread(image, 4, 2000) == b"head"
    assert os.pread(image, 1000, 4096) == content[100:1100]
    assert os.pread(image, 2 << 20, 2 << 20) == content[1 << 20 :]
    assert sum(done) == (2 << 20) + 1000


LARGE_BYTES = (3 << 20) + 5


@pytest.mark.parametrize("shared", [True, False])
def test_whole_blocks_of_a_large_file_are_shared_or_else_copied(
    image: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    content = os.urandom(LARGE_BYTES)
    (tmp_path / "large").write_bytes(content)
    asked: list[tuple[int, int, int]] = []

    def share(target: int, request: int, argument: bytes) -> int:
        assert (target, request) == (image, 0x4020940D), "wanted FICLONERANGE of include/uapi/linux/fs.h"
        source, *span = struct.unpack("=qQQQ", argument)
        offset, count, at = span
        asked.append((offset, count, at))
        if not shared:
            raise OSError(EOPNOTSUPP, os.strerror(EOPNOTSUPP))
        return os.pwrite(target, os.pread(source, count, offset), at)

    monkeypatch.setattr(fcntl, "ioctl", share)
    file, done = File(tmp_path / "large"), list[int]()
    wanted = [Transfer(8192, file, 0, 3), Transfer(12288, file, 7, LARGE_BYTES - 7), Transfer(8 << 20, file, 0, 4096)]
    copy_files(ImageWindow(image, 4096, 16 << 20), wanted, done.append)
    assert asked == [(7, (3 << 20) - 4096, 8192)]
    assert os.pread(image, 3, 4096) == content[:3]
    assert os.pread(image, LARGE_BYTES - 7, 8192) == content[7:]
    assert os.pread(image, 8192, (8 << 20) - 4096) == content[:4096]
    assert sum(done) == 3 + LARGE_BYTES - 7 + 4096


def test_two_threads_write_in_turn(image: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    (tmp_path / "large").write_bytes(os.urandom(8 << 20))
    writing = threading.Lock()
    plain = os.pwrite

    def write(target: int, content: memoryview, offset: int) -> int:
        assert writing.acquire(blocking=False), "another thread writes meanwhile"
        sleep(0.002)
        writing.release()
        return plain(target, content, offset)

    monkeypatch.setattr(os, "pwrite", write)
    wanted = [Transfer(number << 23, File(tmp_path / "large"), 0, 8 << 20) for number in range(6)]
    copy_files(ImageWindow(image, 0, 48 << 20), wanted, None)
    content = (tmp_path / "large").read_bytes()
    assert all(os.pread(image, 8 << 20, number << 23) == content for number in range(6))


def test_a_large_file_that_became_shorter_is_an_error(image: int, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x" * LARGE_BYTES)
    wanted = [Transfer(0, File(tmp_path / "short"), 0, LARGE_BYTES + 1)]
    message = f"a source file ended at byte {LARGE_BYTES} while it was read; build the image again"
    with pytest.raises(ImageError, match=message):
        copy_files(_whole(image), wanted, None)


class HeldFile(File):
    """A file that is opened once `may_open` is set, and tells so before."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.waits, self.may_open = threading.Event(), threading.Event()

    def open(self) -> int:
        self.waits.set()
        assert self.may_open.wait(60)
        return super().open()


@pytest.mark.parametrize("fails", [False, True])
def test_metadata_is_written_while_files_are_copied(
    image: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    file_bytes = 16 << 20
    (tmp_path / "large").write_bytes(os.urandom(file_bytes))
    first, second = HeldFile(tmp_path / "large"), File(tmp_path / "large")
    before = sys.getswitchinterval()

    def meanwhile() -> None:
        assert first.waits.wait(60), "nothing is copied meanwhile"
        assert not os.fstat(image).st_size, "this thread copies first"
        first.may_open.set()
        if fails:
            raise ImageError("no room")

    wanted = [Transfer(number * file_bytes, first if not number else second, 0, file_bytes) for number in range(4)]
    with pytest.raises(ImageError, match="no room") if fails else nullcontext():
        copy_files(ImageWindow(image, 0, 4 * file_bytes), wanted, None, meanwhile)
    assert sys.getswitchinterval() == before
    if not fails:
        content = (tmp_path / "large").read_bytes()
        assert all(os.pread(image, file_bytes, number * file_bytes) == content for number in range(4))
