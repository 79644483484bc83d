"""What crosses a guest's console: SEQPACKET packets, one kind each, none as long as 64 KiB.

    guest -> host   V verdict   O, E what a command wrote to stdout, stderr   X its exit status   B books
                    M how files of what was mounted at boot are reached, before the verdict
                    S how it was started, before the verdict, where it could be cloned: clone, or full and why
                    T where its start went, before the verdict, where it was asked for: dcss.abi.timings
    host -> guest   exec NUL-separated words   books   cancel

A guest that is in its `run:` list does not listen: it answers after its verdict, one request after the other. It looks
for `cancel` where a command can be left without harm: before each command of a line, and before each piece of output.
"""

import os
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

PACKET_BYTES = (1 << 16) - 1
OUTPUT_BYTES = 60 << 10  # of one O or E packet: whole pages, so that a file's pages are sent as they lie

VERDICT, STDOUT, STDERR, STATUS, COUNTERS, ACCESS, START, TIMINGS = b"V", b"O", b"E", b"X", b"B", b"M", b"S", b"T"
EXEC_REQUEST = b"exec\0"
COUNTERS_REQUEST = b"books\0"
PAGE_CACHE = "page-cache"
CANCEL_REQUEST = b"cancel\0"  # end the command that runs; nothing happens where it has ended

EXIT_STATUS = Struct("<i")
_NOT_COUNTED = (1 << 64) - 1  # of pages in place, in a packet: the guest cannot see these
_COUNTERS = Struct("<QQQQQQ")
_VERDICT = Struct("<idQQQQQQ")


class Counters(NamedTuple):
    """What a guest instantiated, in bytes, by its own count; and how often its kernel failed (`oopses`).

    `module_bytes` are the kernel and modules that it loaded; `in_place_bytes` are distinct pages of segments that only
    the page tables of its programs have, which the host does not see; None where the guest cannot see them either.
    """

    page_cache_bytes: int
    buffer_bytes: int
    anonymous_bytes: int
    module_bytes: int = 0
    in_place_bytes: int | None = 0
    oopses: int = 0

    def pack(self) -> bytes:
        """Return the books as the data of one B packet."""
        return _COUNTERS.pack(*self._replace(in_place_bytes=_packed(self.in_place_bytes)))

    @classmethod
    def unpack(cls, data: bytes) -> "Counters":
        """Read what `pack` made. Raises ValueError where a guest sent anything else."""
        if len(data) != _COUNTERS.size:
            raise ValueError(f"counters: found {len(data)} bytes, wanted {_COUNTERS.size}")
        found = cls._make(_COUNTERS.unpack(data))
        return found._replace(in_place_bytes=_unpacked(found.in_place_bytes))


def _packed(in_place_bytes: int | None) -> int:
    return _NOT_COUNTED if in_place_bytes is None else in_place_bytes


def _unpacked(number: int | None) -> int | None:
    return None if number == _NOT_COUNTED else number


class FileAccess(NamedTuple):
    """How file bytes of one mount are reached: xip, dax, page-cache, ramdisk or mtd; `wanted` is what was asked for."""

    device: str
    at: str
    wanted: str
    mode: str


def pack_access(mounts: Sequence[FileAccess]) -> bytes:
    """Return the data of one M packet; mounts that find no room in it are left out."""
    words = [os.fsencode(word) for mount in mounts for word in mount]
    while len(packet := b"\0".join(words)) > OUTPUT_BYTES:
        del words[-len(FileAccess._fields) :]
    return packet


def unpack_access(data: bytes) -> tuple[FileAccess, ...]:
    """Read what `pack_access` made. Raises ValueError where a guest sent anything else."""
    words = [os.fsdecode(word) for word in data.split(b"\0")] if data else []
    fields = len(FileAccess._fields)
    if len(words) % fields:
        raise ValueError(f"mounts: found {len(words)} words, wanted {fields} for each")
    return tuple(FileAccess(*words[index : index + fields]) for index in range(0, len(words), fields))


class Start(NamedTuple):
    """How a guest was started: as a clone of another one of its entry, or by a boot in full, and why so."""

    cloned: bool
    reason: str = ""

    def pack(self) -> bytes:
        """Return the data of one S packet."""
        return (b"clone" if self.cloned else b"full") + b"\0" + self.reason.encode()[:OUTPUT_BYTES]

    @classmethod
    def unpack(cls, data: bytes) -> "Start":
        """Read what `pack` made. Raises ValueError where a guest sent anything else."""
        how, nul, reason = data.partition(b"\0")
        if not nul or how not in {b"clone", b"full"}:
            raise ValueError(f"start: found {data[:20]!r}, wanted clone or full, and a NUL")
        return cls(how == b"clone", reason.decode(errors="replace"))


class Verdict(NamedTuple):
    """What a guest says when its `run:` list has ended; all of it is the guest's word, and none of it is proof."""

    exit_status: int
    seconds: float
    page_cache_bytes: int
    buffer_bytes: int
    anonymous_bytes: int
    module_bytes: int = 0
    in_place_bytes: int | None = 0
    oopses: int = 0
    message: str = ""

    def pack(self) -> bytes:
        """Return the verdict as the data of one V packet: numbers, then the message."""
        message = self.message.encode(errors="surrogateescape")
        numbers = self._replace(in_place_bytes=_packed(self.in_place_bytes))[:-1]
        return _VERDICT.pack(*numbers) + message[: OUTPUT_BYTES - _VERDICT.size]

    @staticmethod
    def pack_idle(seconds: float) -> bytes:
        """Return what `pack` makes of a guest's whose list ended well and that counts nothing."""
        return _VERDICT.pack(0, seconds, *Counters(0, 0, 0))

    @classmethod
    def unpack(cls, data: bytes) -> "Verdict":
        """Read what `pack` made. Raises ValueError where a guest sent anything else."""
        if len(data) < _VERDICT.size:
            raise ValueError(f"verdict: found {len(data)} bytes, wanted at least {_VERDICT.size}")
        numbers = _VERDICT.unpack_from(data)
        message = data[_VERDICT.size :].decode(errors="replace")
        found = cls._make((*numbers, message))
        return found._replace(in_place_bytes=_unpacked(found.in_place_bytes))

    @property
    def counters(self) -> Counters:
        """The books as they were when the list had ended."""
        return Counters._make(self[2:-1])


def pack_exec(words: Sequence[bytes]) -> bytes:
    """Return the packet that asks for a command. Raises ValueError: no word, a NUL in one, or too long a packet."""
    if not words or any(b"\0" in word for word in words):
        raise ValueError(f"command {list(words)}: wanted at least one word, and no NUL in any")
    packet = EXEC_REQUEST + b"\0".join(words)
    if len(packet) > PACKET_BYTES:
        raise ValueError(f"command of {len(packet)} bytes: wanted at most {PACKET_BYTES}")
    return packet


def unpack_exec(packet: bytes) -> list[bytes]:
    """Return the words of a packet that `pack_exec` made."""
    return packet[len(EXEC_REQUEST) :].split(b"\0")
