"""`dcss exec --gdb`: a private socket for gdb, and what passes between it and the program."""

import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Self

import click

from dcss.abi.programs import DEBUG, ProgramEvent
from dcss.host.paths import runtime_directory
from dcss.rpc.client import Speaker
from dcss.rpc.protocol import Output, event_line

_READ_BYTES = 1 << 14
_ANSWER_SECONDS = 60  # for so long gdb waits for each answer
_DETACH = b"$D#44"  # gdb's packet


class GdbSpeaker:
    """Speaks to a program for gdb, and for `other` too if there is one; see dcss.rpc.client.Speaker.

    Its socket is in a directory that only this user may enter. One gdb connects; when it goes, the program goes on.
    """

    def __init__(self, other: Speaker | None) -> None:
        self._other = other
        self._directory = Path(tempfile.mkdtemp(prefix="gdb-", dir=runtime_directory()))
        self.path = self._directory / "socket"
        self._listener: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        assert self._listener is not None
        self._listener.bind(str(self.path))
        self._listener.listen(1)
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, self._connection):
            if each is not None:
                each.close()
        with suppress(FileNotFoundError):
            self.path.unlink()
        self._directory.rmdir()

    def announce(self) -> None:
        """Tell the user how to connect gdb."""
        # Without the program's file gdb cannot know the byte order, and takes that of this machine. By itself it waits
        # 2 s for an answer and then asks again, and takes each answer for that of the question after it.
        settings = ("set endian big", f"set remotetimeout {_ANSWER_SECONDS}", f"target remote {self.path}")
        words = " ".join(f"-ex {quote(each)}" for each in settings)
        click.echo(f"waiting for gdb: gdb-multiarch {words}", err=True)

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors that have something to say when they can be read."""
        ours = [each.fileno() for each in (self._listener, self._connection) if each is not None]
        return [*ours, *(() if self._other is None else self._other.descriptors())]

    def read(self, descriptor: int) -> bytes:
        """Read one of them; return what is to be sent."""
        if self._listener is not None and descriptor == self._listener.fileno():
            self._connection, _ = self._listener.accept()
            self._listener.close()
            self._listener = None
            return b""
        if self._connection is not None and descriptor == self._connection.fileno():
            try:
                data = self._connection.recv(_READ_BYTES)
            except ConnectionError:
                data = b""
            if not data:
                self._connection.close()
                self._connection = None
            return event_line(ProgramEvent(DEBUG, data or _DETACH))
        assert self._other is not None, "nothing else has a descriptor"
        return self._other.read(descriptor)

    def taken(self, size_bytes: int) -> None:
        """Note that the program has read so many bytes of its standard input."""
        if self._other is not None:
            self._other.taken(size_bytes)

    def wrap(self, show: Callable[[Output], None]) -> Callable[[Output], None]:
        """Return what takes all outputs: gdb gets its own, `show` the others."""

        def take(output: Output) -> None:
            if output.stream != "gdb":
                show(output)
            elif self._connection is not None:
                with suppress(ConnectionError):  # it has gone, which is noticed when it is read
                    self._connection.sendall(output.data)

        return take
