"""Calls on open files beside read and write: readv, writev, sendfile, and requests that are done in any order."""

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence
from errno import EBADF, EINVAL, ENXIO
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from needs_support import needs
from tree_support import make_tree, mke2fs

from dcss.errors import KernelError
from vmguest.fs.aio import AioContext, AioRequest
from vmguest.fs.open import O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_WRONLY, FileDescription, open_file
from vmguest.kernel import Kernel

pytestmark = needs("mke2fs")
TEXT = bytes(range(256)) * 100


@pytest.fixture(params=["rw,xip", "rw"])
def kernel(request: pytest.FixtureRequest, control_program: BlockingCp, tmp_path: Path) -> Iterator[Kernel]:
    make_tree(tmp_path / "tree")
    image = mke2fs(tmp_path / "tree", tmp_path / "image")
    control_program.publish(definition("RW", "30000-307FF SW"), fill_with(image))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("RW")
        kernel.mount("dcssblk0", "/", tuple(request.param.split(",")))
        yield kernel


@pytest.fixture
def file(kernel: Kernel) -> Iterator[FileDescription]:
    with open_file(kernel.vfs, b"/file", O_RDWR | O_CREAT) as opened:
        opened.write(TEXT)
        opened.seek(0)
        yield opened


def test_fsync_writes_to_the_device_where_there_is_one(
    file: FileDescription, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = file.dentry.mount.file_system.writer
    assert writer is not None
    synced: list[object] = []

    def sync(self: object) -> None:
        synced.append(self)

    monkeypatch.setattr(type(writer), "sync", sync)
    file.fsync()
    assert synced == [writer]
    with open_file(kernel.vfs, b"/dev/null") as null:
        null.fsync()


def test_vectors_are_filled_and_written_in_turn(file: FileDescription) -> None:
    assert file.writev([b"one", b"", memoryview(b"two")]) == 6
    file.seek(0)
    parts = [memoryview(bytearray(size)) for size in (2, 0, 3, 30_000)]
    assert file.readv(parts) == len(TEXT)
    assert b"".join(parts)[: len(TEXT)] == b"onetwo" + TEXT[6:]
    assert file.position == len(TEXT)


def test_sendfile_to_a_file_a_pipe_and_a_socket(file: FileDescription, tmp_path: Path) -> None:
    with (tmp_path / "copy").open("wb") as copy:
        assert file.sendfile(copy.fileno(), 1 << 20) == len(TEXT)
    assert (tmp_path / "copy").read_bytes() == TEXT
    assert file.position == len(TEXT)
    file.seek(100)
    reading, writing = os.pipe()
    assert file.sendfile(writing, 50) == 50
    assert os.read(reading, 1000) == TEXT[100:150]
    os.close(reading)
    os.close(writing)
    one, other = socket.socketpair()
    with one, other:
        assert file.sendfile(one.fileno(), 1000) == 1000
        assert other.recv(2000) == TEXT[150:1150]
    assert file.position == 1150


def test_sendfile_reads_a_file_and_leaves_the_times_of_a_device(
    file: FileDescription, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[object] = []
    monkeypatch.setattr("vmguest.fs.open.touch_atime", touched.append)
    with open("/dev/null", "wb") as sink, open_file(kernel.vfs, b"/dev/dcssblk0") as device:
        file.sendfile(sink.fileno(), 10)
        device.sendfile(sink.fileno(), 10)
    assert touched == [file.dentry]


def test_sendfile_stops_where_a_pipe_is_full(file: FileDescription) -> None:
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        room = os.write(writing, bytes(1 << 20))
        assert os.read(reading, 8192)
        sent = file.sendfile(writing, len(TEXT))
        assert 0 < sent <= 8192
        assert file.position == sent
        assert file.sendfile(writing, 1) in {0, 1}
        assert room >= 8192
    finally:
        os.close(reading)
        os.close(writing)


def test_requests_are_done_in_the_order_that_is_asked_for(file: FileDescription) -> None:
    def last_first(waiting: Sequence[AioRequest]) -> AioRequest:
        return waiting[-1]

    for order, wanted in ((None, b"third"), (last_first, b"first")):
        context = AioContext(order)
        for text in (b"first", b"other", b"third"):
            context.write(file, 10, text)
        assert len(context) == 3
        buffer = memoryview(bytearray(5))
        read = AioContext().read(file, 10, buffer)
        assert [request.result for request in context.complete()] == [5, 5, 5]
        assert len(context) == 0
        read.perform()
        assert bytes(buffer) == wanted


def test_a_request_can_be_awaited(file: FileDescription) -> None:
    async def copy() -> tuple[int, bytes]:
        context = AioContext(lambda waiting: waiting[-1])
        buffer = memoryview(bytearray(4))
        before = context.read(file, 0, buffer)
        written = context.write(file, 0, b"new!")
        return await before + await written, bytes(buffer)

    assert asyncio.run(copy()) == (8, b"new!")  # the write was done first


def test_what_a_request_is_refused_is_its_result(file: FileDescription, kernel: Kernel) -> None:
    context = AioContext()
    with open_file(kernel.vfs, b"/file", O_WRONLY) as only_written:
        request = context.read(only_written, 0, memoryview(bytearray(1)))
    assert only_written.dentry.mount.users == 2  # the request keeps it open
    (done,) = context.complete()
    assert done is request
    assert request.error is not None
    assert request.error.errno == EBADF
    with pytest.raises(KernelError):
        asyncio.run(_awaited(request))
    with pytest.raises(KernelError) as caught:
        context.write(file, -1, b"")
    assert caught.value.errno == EINVAL


async def _awaited(request: AioRequest) -> int:
    return await request


def test_positions_of_calls_that_name_one_stay(file: FileDescription, kernel: Kernel) -> None:
    assert file.pwrite(b"here", 20) == 4
    buffer = memoryview(bytearray(4))
    assert file.pread(buffer, 20) == 4
    assert bytes(buffer) == b"here"
    assert file.position == 0
    with open_file(kernel.vfs, b"/file", O_WRONLY | O_APPEND) as appending:
        appending.pwrite(b"end", 0)
    with open_file(kernel.vfs, b"/file", O_RDONLY) as reading:
        assert reading.file.size_bytes == len(TEXT) + 3


def test_seek_takes_all_of_a_file_for_data(file: FileDescription) -> None:
    end = len(TEXT)
    assert [file.seek(place, os.SEEK_DATA) for place in (0, 7, end - 1)] == [0, 7, end - 1]
    assert [file.seek(place, os.SEEK_HOLE) for place in (0, 7, end - 1)] == [end, end, end]
    assert [file.seek(-7, os.SEEK_END), file.seek(3, os.SEEK_CUR), file.seek(end + 9)] == [end - 7, end - 4, end + 9]
    for offset, whence, errno in (
        (end, os.SEEK_DATA, ENXIO),
        (-1, os.SEEK_HOLE, ENXIO),
        (-1, 0, EINVAL),
        (0, 9, EINVAL),
    ):
        with pytest.raises(KernelError) as caught:
            file.seek(offset, whence)
        assert caught.value.errno == errno
    assert file.position == end + 9
