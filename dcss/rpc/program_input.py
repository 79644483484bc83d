"""What a client says to its program: the bytes of its standard input, as fast as the program takes them."""

import os
from collections.abc import Sequence

from dcss.abi.programs import INPUT, INPUT_END, WINDOW_BYTES, ProgramEvent
from dcss.rpc.protocol import event_line

READ_BYTES = 1 << 15


class ProgramInput:
    """What can be read from `descriptor`, nothing where that is None; see dcss.rpc.client.Speaker.

    No more is read than the program takes: what it leaves is left to who reads the same terminal or file next.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._input = descriptor
        self._room_bytes = WINDOW_BYTES

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors that have something to say when they can be read."""
        return [] if self._input is None or not self._room_bytes else [self._input]

    def read(self, descriptor: int) -> bytes:
        """Read one of them; return what is to be sent."""
        try:
            data = os.read(descriptor, min(READ_BYTES, self._room_bytes))
        except OSError:  # the terminal has gone
            data = b""
        if not data:
            self._input = None
            return event_line(ProgramEvent(INPUT_END))
        self._room_bytes -= len(data)
        return event_line(ProgramEvent(INPUT, data))

    def taken(self, size_bytes: int) -> None:
        """Note that the program has read so many bytes of its standard input."""
        self._room_bytes += size_bytes
