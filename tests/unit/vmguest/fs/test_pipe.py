"""Pipes and FIFOs: bytes in order, ends that go, and what poll(2) and open(2) say of them."""

import os
import select
import stat
from collections import deque
from collections.abc import Callable
from errno import EAGAIN, EBADF, EBUSY, EINVAL, ENOTTY, ENXIO, EPERM, EPIPE, ESPIPE
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program_support import ADDRESS, FakeMemory, errno_of, ioctl, read

from vmguest.credentials import ROOT, Credentials
from vmguest.fs.ioctls import FIONBIO, FIONREAD
from vmguest.fs.namei import Vfs, mknod, unlink
from vmguest.fs.open import (
    O_CLOEXEC,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    FileDescription,
    open_dentry,
    open_file,
)
from vmguest.fs.pipe import CAPACITY_BYTES, MOST_BYTES, PIPE_BUF, Pipe, PipeEnd, fifos_of, make_pipe
from vmguest.fs.poll import POLLERR, POLLHUP, READABLE, WRITABLE

FIFO = b"/tmp/fifo"


@pytest.fixture
def pipe(vfs: Vfs) -> tuple[FileDescription, FileDescription]:
    return make_pipe(vfs)


def make_fifo(vfs: Vfs) -> None:
    fifos_of(vfs)
    mknod(vfs, FIFO, stat.S_IFIFO | 0o644, (0, 0))


def test_a_pipe_is_no_file_with_positions(pipe: tuple[FileDescription, FileDescription]) -> None:
    reading, writing = pipe
    assert stat.S_ISFIFO(reading.dentry.inode.mode)
    assert reading.dentry.inode.number == writing.dentry.inode.number
    assert reading.dentry.path == b"pipe:[%d]" % reading.dentry.inode.number
    buffer = memoryview(bytearray(1))
    refused: list[Callable[[], object]] = [
        lambda: reading.seek(0),
        lambda: reading.pread(buffer, 0),
        lambda: writing.pwrite(b"x", 0),
    ]
    assert [errno_of(call) for call in refused] == [ESPIPE] * 3
    assert errno_of(lambda: writing.read(buffer)) == EBADF
    assert errno_of(lambda: reading.write(b"x")) == EBADF
    assert errno_of(lambda: writing.truncate(0)) == EINVAL
    assert errno_of(writing.fsync) == EINVAL
    assert errno_of(lambda: reading.sendfile(1, 1)) == EINVAL
    assert errno_of(lambda: make_pipe(reading._vfs, O_CLOEXEC)) == EINVAL


def test_each_pipe_has_an_inode_of_its_own(vfs: Vfs) -> None:
    assert make_pipe(vfs)[0].dentry.inode.number != make_pipe(vfs)[0].dentry.inode.number


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.one_of(st.integers(0, 20_000), st.sampled_from([PIPE_BUF, PIPE_BUF + 1, 70_000]))),
        max_size=40,
    )
)
def test_what_is_written_is_read_in_order(vfs: Vfs, steps: list[tuple[bool, int]]) -> None:
    reading, writing = make_pipe(vfs)
    queued: deque[int] = deque()
    counter = 0
    for writes, size_bytes in steps:
        room = CAPACITY_BYTES - len(queued)
        if writes:
            data = bytes((counter + n) % 251 for n in range(size_bytes))
            if size_bytes and (room == 0 or (size_bytes <= PIPE_BUF and room < size_bytes)):
                assert errno_of(lambda data=data: writing.write(data)) == EAGAIN  # type: ignore[misc]
                continue
            taken = writing.write(data)
            assert taken == min(room, size_bytes)
            queued.extend(data[:taken])
            counter += taken
        elif not queued and size_bytes:
            assert errno_of(lambda: read(reading, 1)) == EAGAIN
        else:
            found = read(reading, size_bytes)
            assert found == bytes(queued.popleft() for _ in range(min(size_bytes, len(queued))))
        assert int.from_bytes(ioctl(reading, FIONREAD)[:4]) == len(queued)
        assert bool(reading.poll() & READABLE) == bool(queued)
        assert bool(writing.poll() & WRITABLE) == (CAPACITY_BYTES - len(queued) >= PIPE_BUF)


def kernel_events(descriptor: int) -> int:
    poll = select.poll()
    poll.register(descriptor, 0xFFF)
    return dict(poll.poll(0)).get(descriptor, 0)


def test_ends_that_go_are_seen_as_the_kernel_has_it(vfs: Vfs) -> None:
    for closes_first in ("reading", "writing"):
        ours, theirs = make_pipe(vfs), os.pipe()
        assert ours[1].write(b"left") == os.write(theirs[1], b"left") == 4
        assert [end.poll() for end in ours] == [kernel_events(end) for end in theirs]
        ends = dict(zip(("reading", "writing"), zip(ours, theirs, strict=True), strict=True))
        own, kernels = ends.pop(closes_first)
        own.close()
        os.close(kernels)
        own, kernels = ends.popitem()[1]
        assert own.poll() == kernel_events(kernels)
        if closes_first == "writing":
            assert read(own) == os.read(kernels, 10) == b"left"
            assert read(own) == b""
            assert own.poll() == kernel_events(kernels) == POLLHUP
        else:
            assert own.poll() & POLLERR
            assert errno_of(lambda own=own: own.write(b"x")) == EPIPE  # type: ignore[misc]
            assert own.write(b"") == 0
        own.close()
        os.close(kernels)


def test_a_duplicate_keeps_its_end_open(pipe: tuple[FileDescription, FileDescription]) -> None:
    reading, writing = pipe
    writing.hold().close()
    assert errno_of(lambda: read(reading)) == EAGAIN
    writing.close()
    assert read(reading) == b""


def test_requests_of_a_pipe(pipe: tuple[FileDescription, FileDescription]) -> None:
    reading, _ = pipe
    ioctl(reading, FIONBIO, b"\0\0\0\1")
    assert reading.flags & O_NONBLOCK
    ioctl(reading, FIONBIO, b"\0\0\0\0")
    assert not reading.flags & O_NONBLOCK
    assert errno_of(lambda: reading.ioctl(0x5401, ADDRESS, FakeMemory())) == ENOTTY


def test_a_fifo_is_a_pipe_with_a_name(vfs: Vfs) -> None:
    make_fifo(vfs)
    reading = open_file(vfs, FIFO, O_RDONLY)
    assert reading.open_pending
    writing = open_file(vfs, FIFO, O_WRONLY)
    assert not reading.open_pending
    assert not writing.open_pending
    unlink(vfs, FIFO)
    assert writing.write(b"through") == 7
    writing.close()
    assert read(reading) == b"through"
    assert read(reading) == b""
    reading.close()
    make_fifo(vfs)
    with open_file(vfs, FIFO, O_RDWR) as both:
        assert not both.open_pending
        assert errno_of(lambda: read(both)) == EAGAIN
        both.write(b"x")
        assert read(both) == b"x"


def test_an_open_that_waited_ends_though_the_other_side_has_gone_again(vfs: Vfs) -> None:
    make_fifo(vfs)
    writing = open_file(vfs, FIFO, O_WRONLY)
    assert writing.open_pending
    open_file(vfs, FIFO, O_RDONLY).close()
    assert not writing.open_pending
    assert errno_of(lambda: writing.write(b"x")) == EPIPE


def test_opening_a_fifo_without_waiting_is_as_the_kernel_has_it(vfs: Vfs, tmp_path: Path) -> None:
    theirs = tmp_path / "fifo"
    os.mkfifo(theirs)
    make_fifo(vfs)
    assert errno_of(lambda: open_file(vfs, FIFO, O_WRONLY | O_NONBLOCK)) == ENXIO
    own, kernels = open_file(vfs, FIFO, O_RDONLY | O_NONBLOCK), os.open(theirs, os.O_RDONLY | os.O_NONBLOCK)
    assert not own.open_pending
    assert read(own) == os.read(kernels, 1) == b""
    assert own.poll() == kernel_events(kernels) == 0
    open_file(vfs, FIFO, O_WRONLY | O_NONBLOCK).close()
    os.close(os.open(theirs, os.O_WRONLY | os.O_NONBLOCK))
    assert own.poll() == kernel_events(kernels) == POLLHUP
    os.close(kernels)
    own.close()


def test_what_was_left_in_a_fifo_is_gone_with_its_last_open(vfs: Vfs) -> None:
    make_fifo(vfs)
    with open_file(vfs, FIFO, O_RDWR) as both:
        both.write(b"lost")
    with open_file(vfs, FIFO, O_RDWR) as both:
        assert errno_of(lambda: read(both)) == EAGAIN


def test_a_pipe_can_be_opened_once_more_by_its_place(pipe: tuple[FileDescription, FileDescription], vfs: Vfs) -> None:
    reading, writing = pipe
    other = open_dentry(vfs, writing.dentry, O_WRONLY)
    assert not other.open_pending
    other.write(b"both")
    writing.close()
    assert read(reading) == b"both"
    assert errno_of(lambda: read(reading)) == EAGAIN
    other.close()
    assert read(reading) == b""


def test_an_open_of_a_pipe_by_its_place_never_waits(vfs: Vfs) -> None:
    reading, writing = make_pipe(vfs)
    writing.write(b"left")
    writing.close()
    with open_dentry(vfs, reading.dentry, O_RDONLY) as other:  # as cat <(echo left) in a shell
        assert not other.open_pending
        assert other.poll() == READABLE | POLLHUP
        assert (read(other), read(other)) == (b"left", b"")
    place = reading.dentry
    kept = open_dentry(vfs, place, O_WRONLY | O_NONBLOCK)
    reading.close()
    assert not open_dentry(vfs, place, O_WRONLY | O_NONBLOCK).open_pending
    assert errno_of(lambda: kept.write(b"x")) == EPIPE


def pipe_of(end: FileDescription) -> Pipe:
    assert isinstance(end.file, PipeEnd)
    return end.file.pipe


def test_a_pipe_takes_another_size(vfs: Vfs, pipe: tuple[FileDescription, FileDescription]) -> None:
    pipes, found = fifos_of(vfs), pipe_of(pipe[0])
    assert pipes.resize(found, 5000, ROOT) == found.capacity_bytes == 2 * PIPE_BUF
    assert pipe[1].write(bytes(PIPE_BUF + 1)) == PIPE_BUF + 1
    assert errno_of(lambda: pipes.resize(found, 0, ROOT)) == EBUSY
    assert errno_of(lambda: pipes.resize(found, (1 << 31) + 1, ROOT)) == EINVAL
    assert errno_of(lambda: pipes.resize(found, 2 << 20, Credentials(uid=7))) == EPERM
    assert errno_of(lambda: pipes.resize(found, 2 * MOST_BYTES, ROOT)) == EPERM
    assert pipes.resize(found, MOST_BYTES, ROOT) == MOST_BYTES  # of all pipes
    assert pipe_of(make_pipe(vfs)[0]).capacity_bytes == PIPE_BUF
    for end in pipe:
        end.close()
    assert pipe_of(make_pipe(vfs)[0]).capacity_bytes == CAPACITY_BYTES
