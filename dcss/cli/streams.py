"""The standard streams of a command: what cannot be written is an error that names the stream, not one of the work."""

import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

from dcss.errors import DcssError
from dcss.host.text import ESCAPE_SURROGATES

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_NAMES: Final = {_STDOUT: "stdout", _STDERR: "stderr"}


class OutputError(DcssError):
    """A standard stream cannot be written, because of a full disk for one."""


class ReaderGoneError(OutputError):
    """A standard stream is a pipe that nobody reads any more, as with `| head`."""


class _StandardFile(io.FileIO):
    """The descriptor of stdout or stderr. Writing raises OutputError, never OSError, which could be the work's own.

    What stderr cannot take is lost: nowhere is left to report it.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write as much as the descriptor takes, at least one byte, also where it is set to non-blocking."""
        descriptor = self.fileno()
        while True:
            try:
                written_bytes = super().write(data)
            except BrokenPipeError as error:
                raise ReaderGoneError(f"{_NAMES[descriptor]}: {error.strerror}") from error
            except OSError as error:
                if descriptor == _STDERR:
                    return memoryview(data).nbytes
                raise OutputError(f"{_NAMES[descriptor]}: the output cannot be written: {error.strerror}") from error
            if written_bytes is not None:
                return written_bytes
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def prepare_streams() -> None:
    """Make the standard streams fit for a command's work.

    File names are bytes, which os.fsdecode turned into text: this is undone on output. Streams that a test or an
    embedding program put in place of the standard ones stay.
    """
    _occupy_closed_descriptors()
    if sys.stdin is None:
        sys.stdin = open(_STDIN, encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _opened(_STDOUT, sys.stdout)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _opened(_STDERR, sys.stderr)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What was read as text is undone byte by byte; other surrogates, which no file name has, are escaped.
            stream.reconfigure(errors="surrogateescape" if stream is sys.stdin else ESCAPE_SURROGATES)


def discard_output() -> None:
    """Have what is buffered still, and can be written nowhere, vanish at the end of the process."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    for descriptor, stream in ((_STDOUT, sys.stdout), (_STDERR, sys.stderr)):
        try:
            stream.flush()
        except OutputError:
            os.dup2(null, descriptor)
            with suppress(OutputError):
                stream.flush()
    os.close(null)


def _occupy_closed_descriptors() -> None:
    """Open something at 0, 1 and 2 where they are closed, so that no other file gets these numbers.

    What is opened as stdin and stdout refuses to be read and written, as the closed descriptors would.
    """
    for descriptor, mode in ((_STDIN, os.O_WRONLY), (_STDOUT, os.O_RDONLY), (_STDERR, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)


def _opened(descriptor: int, before: TextIO | None) -> TextIO:
    file = _StandardFile(descriptor)
    line_buffering = descriptor == _STDERR or file.isatty()
    encoding = "utf-8" if before is None else before.encoding
    return io.TextIOWrapper(io.BufferedWriter(file), encoding=encoding, line_buffering=line_buffering)
