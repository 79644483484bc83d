"""Copying content into an image: sources that end early, and reads that bring less than was asked for."""

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from errno import ENOSYS, EXDEV
from pathlib import Path

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


@pytest.mark.parametrize("refused_after", [0, 1, 99], ids=["at once", "after a part", "never"])
@pytest.mark.parametrize("reason", [EXDEV, ENOSYS, 0])
def test_what_the_kernel_does_not_copy_is_read_and_written(
    image: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused_after: int, reason: int
) -> None:
    content = os.urandom(LARGE_BYTES)
    (tmp_path / "large").write_bytes(content)
    calls = 0
    plain = os.copy_file_range

    def copy_some(source: int, target: int, count: int, offset: int, at: int) -> int:
        nonlocal calls
        calls += 1
        if calls <= refused_after:
            return plain(source, target, count, offset, at)
        if reason:
            raise OSError(reason, os.strerror(reason))
        return 0  # as for files that have no pages, in /proc for one

    monkeypatch.setattr(os, "copy_file_range", copy_some)
    file, done = File(tmp_path / "large"), list[int]()
    wanted = [Transfer(8192, file, 0, 3), Transfer(12288, file, 7, LARGE_BYTES - 7), Transfer(8 << 20, file, 0, 4096)]
    copy_files(ImageWindow(image, 4096, 16 << 20), wanted, done.append)
    assert calls
    assert os.pread(image, 3, 4096) == content[:3]
    assert os.pread(image, LARGE_BYTES - 7, 8192) == content[7:]
    assert os.pread(image, 8192, (8 << 20) - 4096) == content[:4096]
    assert sum(done) == 3 + LARGE_BYTES - 7 + 4096


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
    half_bytes = 16 << 20
    (tmp_path / "large").write_bytes(os.urandom(half_bytes))
    first, second = File(tmp_path / "large"), HeldFile(tmp_path / "large")
    before = sys.getswitchinterval()

    def meanwhile() -> None:
        assert second.waits.wait(60), "nothing is copied meanwhile"
        assert not os.fstat(image).st_size, "this thread copies first"
        second.may_open.set()
        if fails:
            raise ImageError("no room")

    less_bytes = half_bytes - (1 << 20)
    wanted = [Transfer(0, first, 0, less_bytes), Transfer(half_bytes, second, 0, half_bytes)]
    with pytest.raises(ImageError, match="no room") if fails else nullcontext():
        copy_files(ImageWindow(image, 0, 2 * half_bytes), wanted, None, meanwhile)
    assert sys.getswitchinterval() == before
    if not fails:
        content = (tmp_path / "large").read_bytes()
        assert os.pread(image, less_bytes, 0) == content[:less_bytes]
        assert os.pread(image, half_bytes, half_bytes) == content
