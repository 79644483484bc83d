"""Devices of drivers/char/mem.c and random.c beside null: zero, full, random and urandom."""

import os
from errno import ENOSPC, ENOTTY
from typing import Final

from dcss.errors import KernelError
from vmguest.fs.devices import CharacterDevice, NullFile
from vmguest.fs.file import Actor, UserMemory
from vmguest.fs.ioctls import INT
from vmguest.fs.poll import READABLE, WRITABLE

ZERO, FULL, RANDOM, URANDOM = (1, 5), (1, 7), (1, 8), (1, 9)
_PIECE_BYTES: Final = 1 << 16
_ZEROS: Final = bytes(_PIECE_BYTES)
_ENTROPY_BITS: Final = 256  # what Linux tells since 5.18, whatever happens
_RNDGETENTCNT: Final = 0x80045200


class ZeroFile(NullFile):
    """/dev/zero: zeros without an end, and takes everything."""

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Fill the buffer with zeros."""
        for start in range(0, len(buffer), _PIECE_BYTES):
            piece = buffer[start : start + _PIECE_BYTES]
            piece[:] = _ZEROS[: len(piece)]
        return len(buffer)

    def sendfile(self, position: int, count: int, actor: Actor) -> int:  # noqa: ARG002
        """Hand zeros to `actor` until it takes no more."""
        done = 0
        while done < count:
            wanted = min(_PIECE_BYTES, count - done)
            taken = actor(memoryview(_ZEROS)[:wanted])
            done += taken
            if taken < wanted:
                break
        return done


class FullFile(ZeroFile):
    """/dev/full: zeros without an end, and has no room."""

    def write(self, position: int, data: bytes | memoryview) -> int:  # noqa: ARG002
        """Refuse. Raises KernelError(ENOSPC)."""
        raise KernelError(ENOSPC, f"/dev/full has no room for {len(data)} bytes")


class RandomFile(NullFile):
    """/dev/random and urandom: the host's random bytes; what is written makes them no more random."""

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Fill the buffer."""
        buffer[:] = os.urandom(len(buffer))
        return len(buffer)

    def poll(self) -> int:
        """Say that it can be read and written: other than zero and null it can be waited for."""
        return READABLE | WRITABLE

    def ioctl(self, request: int, argument: int, memory: UserMemory) -> int:
        """Tell how much randomness there is (RNDGETENTCNT). Raises KernelError(ENOTTY) for all others."""
        if request != _RNDGETENTCNT:
            raise KernelError(ENOTTY, f"ioctl {request:#x}: no request of /dev/random")
        memory.write(argument, INT.pack(_ENTROPY_BITS))
        return 0


MEMORY_DEVICES: Final = (
    CharacterDevice(b"zero", ZERO, ZeroFile),
    CharacterDevice(b"full", FULL, FullFile),
    CharacterDevice(b"random", RANDOM, RandomFile),
    CharacterDevice(b"urandom", URANDOM, RandomFile),
)
