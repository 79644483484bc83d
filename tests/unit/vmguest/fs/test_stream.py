"""A program's standard streams: fed by the host and read to their end, or handed to the host."""

import stat
from collections.abc import Callable
from errno import EACCES, EAGAIN, EPIPE
from typing import NoReturn

from program_support import errno_of, read

from dcss.errors import KernelError
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_RDONLY, O_RDWR, O_WRONLY, open_dentry
from vmguest.fs.poll import POLLHUP, POLLIN, WRITABLE
from vmguest.fs.stream import InputFile, OutputFile, open_stream


def test_input_waits_until_it_is_fed_and_then_for_its_end(vfs: Vfs) -> None:
    source = InputFile()
    opened = open_stream(vfs, source, O_RDONLY)
    assert stat.S_ISFIFO(opened.dentry.inode.mode)
    assert not opened.open_pending
    assert errno_of(lambda: read(opened)) == EAGAIN
    assert opened.poll() == 0
    source.feed(b"some ")
    source.feed(b"words" * 20_000)
    assert opened.poll() & POLLIN
    assert read(opened, 7) == b"some wo"
    assert source.waiting_bytes == 99_998
    source.end()
    assert len(read(opened)) == 99_998
    assert read(opened) == b""
    assert opened.poll() == POLLHUP
    opened.close()


def test_input_may_have_ended_before_anybody_opens_it(vfs: Vfs) -> None:
    source = InputFile()
    source.feed(b"all")
    source.end()
    opened = open_stream(vfs, source, O_RDONLY)
    again = open_dentry(vfs, opened.dentry, O_RDONLY)  # as by cat /dev/stdin
    assert not opened.open_pending
    assert not again.open_pending
    assert read(again) == b"all"
    assert read(opened) == b""


def test_output_goes_to_its_sink(vfs: Vfs) -> None:
    heard: list[bytes] = []
    opened = open_stream(vfs, OutputFile(heard.append), O_WRONLY)
    assert opened.write(memoryview(b"one")) == 3
    assert opened.write(b"") == 0
    assert opened.write(b"two") == 3
    assert heard == [b"one", b"two"]
    assert opened.poll() == WRITABLE


def test_output_waits_while_its_sink_has_no_room(vfs: Vfs) -> None:
    heard: list[bytes] = []
    opened = open_stream(vfs, OutputFile(heard.append, lambda: not heard), O_WRONLY)
    opened.write(b"one")
    assert opened.poll() == 0
    assert errno_of(lambda: opened.write(b"two")) == EAGAIN
    heard.clear()
    assert opened.write(b"two") == 3


def test_a_sink_that_nobody_reads_any_more_is_a_broken_pipe(vfs: Vfs) -> None:
    def gone(_data: bytes) -> NoReturn:
        raise KernelError(EPIPE, "gone")

    assert errno_of(lambda: open_stream(vfs, OutputFile(gone), O_WRONLY).write(b"x")) == EPIPE


def test_streams_can_be_opened_once_more_while_they_are_open(vfs: Vfs) -> None:
    heard: list[bytes] = []
    output, source = OutputFile(heard.append), InputFile()
    written, given = open_stream(vfs, output, O_WRONLY), open_stream(vfs, source, O_RDONLY)
    again = open_dentry(vfs, written.dentry, O_WRONLY)
    again.write(b"x")
    assert heard == [b"x"]
    refused: list[Callable[[], object]] = [
        lambda: open_dentry(vfs, written.dentry, O_RDONLY),
        lambda: open_dentry(vfs, written.dentry, O_RDWR),
    ]
    assert [errno_of(call) for call in refused] == [EACCES, EACCES]
    with open_dentry(vfs, given.dentry, O_RDONLY) as other:
        source.feed(b"shared")
        assert read(other, 3) == b"sha"
    assert read(given) == b"red"
    for each in (written, again, given):
        each.close()
    source.end()
    assert vfs.fifos is not None
    assert not vfs.fifos._in_use  # type: ignore[attr-defined]
