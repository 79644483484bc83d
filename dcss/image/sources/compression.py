"""Unpack gzip, bzip2, xz and zstd streams, of one frame or of several, in memory that does not grow with them.

Python's own file objects take garbage after a frame for the end, or what is cut short for all there is.
"""

import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from dcss.errors import ImageError
from dcss.host.cancellation import check_cancelled

READ_AHEAD_BYTES: Final = 1 << 16
HEAD_BYTES: Final = 8  # what a compression is recognized by
_XZ_MEMORY_BYTES: Final = 256 << 20  # xz -9 takes 65 MiB


class Method(NamedTuple):
    """A compression: how a frame begins, and what unpacks one."""

    name: str
    magics: tuple[bytes, ...]
    begin: Callable[[], "_Frame"]


class _Frame(Protocol):
    """What unpacks one frame, as bz2.BZ2Decompressor and others have it."""

    @property
    def needs_input(self) -> bool: ...

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _GzipFrame:
    """One member of a gzip file; zlib's own object keeps input that it could not use yet."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """The member has ended, and its checksum was right."""
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        """What follows the member."""
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Unpack up to `max_length` bytes."""
        content = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        self.needs_input = not self._inflate.unconsumed_tail and len(content) < max_length
        return content


def _bzip2_frame() -> _Frame:
    import bz2

    return bz2.BZ2Decompressor()


def _xz_frame() -> _Frame:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_BYTES)


def _zstd_frame() -> _Frame:
    frame: _Frame = _zstd().ZstdDecompressor()
    return frame


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # Python 3.14
    except ImportError:
        from backports import zstd  # type: ignore[no-redef, unused-ignore]
    return zstd


_OTHER_ERRORS: Final = ("LZMAError", "ZstdError")  # by name: their modules are imported when they are used
_SKIPPABLE: Final = tuple(bytes((0x50 + number, 0x2A, 0x4D, 0x18)) for number in range(16))
_METHODS: Final = (
    Method("gzip", (b"\x1f\x8b",), _GzipFrame),
    Method("bzip2", (b"BZh",), _bzip2_frame),
    Method("xz", (b"\xfd7zXZ\0",), _xz_frame),
    Method("zstd", (b"\x28\xb5\x2f\xfd", *_SKIPPABLE), _zstd_frame),
)
_UNSUPPORTED: Final = {
    b"\x1f\x9d": "compress (uncompress)",
    b"\x04\x22\x4d\x18": "lz4 (lz4 -d)",
    b"LZIP": "lzip (lzip -d)",
    b"\x89LZO\0": "lzop (lzop -d)",
    b"]\0\0": "lzma (unlzma)",
    b"PK\x03\x04": "zip (unzip)",
    b"7z\xbc\xaf": "7z (7z x)",
}


def method_of(head: bytes, name: str) -> Method | None:
    """Return the compression that the first bytes show, or None. Raises ImageError for one that is not supported."""
    for method in _METHODS:
        if head.startswith(method.magics):
            return method
    for magic, found in _UNSUPPORTED.items():
        if head.startswith(magic):
            raise ImageError(
                f"{name}: found compression {found.partition(' ')[0]}, wanted none, gzip, bzip2, xz or zstd: unpack it "
                f"first {found.partition(' ')[2]}"
            )
    return None


def unpacking(packed: io.BufferedReader, method: Method, name: str) -> io.BufferedReader:
    """Return a reader of what `packed`, which it closes, holds; damage raises an ImageError that has `name`."""
    return io.BufferedReader(_Unpacker(packed, method, name), READ_AHEAD_BYTES)


def unpacked_at(content: bytes, least_bytes: int, most_bytes: int) -> Iterator[bytes]:
    """Yield what is packed anywhere in `content`, each frame that is whole and unpacks to so many bytes."""
    for method in _METHODS:
        for magic in method.magics[:1]:
            place = content.find(magic)
            while place >= 0:
                frame = method.begin()
                try:
                    unpacked = frame.decompress(content[place:], most_bytes)
                except Exception as error:
                    if not isinstance(error, OSError | zlib.error) and type(error).__name__ not in _OTHER_ERRORS:
                        raise
                else:
                    if frame.eof and len(unpacked) >= least_bytes:
                        yield unpacked
                place = content.find(magic, place + 1)


class _Unpacker(io.RawIOBase):
    def __init__(self, packed: io.BufferedReader, method: Method, name: str) -> None:
        self._packed = packed
        self._method = method
        self._name = name
        self._frame: _Frame | None = method.begin()
        self._held = b""  # read, not yet used

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        check_cancelled()
        try:
            while self._frame is not None:
                content = self._frame.decompress(self._input(self._frame), len(buffer))
                if self._frame.eof:
                    self._held = self._frame.unused_data
                    self._frame = self._next_frame()
                if content:
                    buffer[: len(content)] = content
                    return len(content)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise self._damaged(str(error)) from error
        except Exception as error:
            if type(error).__name__ not in _OTHER_ERRORS:
                raise
            raise self._damaged(str(error)) from error
        return 0

    def _input(self, frame: _Frame) -> bytes:
        if not frame.needs_input:
            return b""
        content, self._held = self._held or self._packed.read1(READ_AHEAD_BYTES), b""
        if not content:
            raise self._damaged("it ends early: it is cut short")
        return content

    def _next_frame(self) -> _Frame | None:
        """Return what unpacks the next frame, or None at the end, which zeros may pad."""
        while not (rest := self._held.lstrip(b"\0")):
            self._held = self._packed.read1(READ_AHEAD_BYTES)
            if not self._held:
                return None
        while len(rest) < HEAD_BYTES and (more := self._packed.read1(READ_AHEAD_BYTES)):
            rest += more
        self._held = rest
        if not rest.startswith(self._method.magics):
            raise self._damaged(f"found {rest[:HEAD_BYTES]!r} after its end, wanted nothing or one more stream")
        return self._method.begin()

    def _damaged(self, what: str) -> ImageError:
        return ImageError(f"{self._name} is damaged: {self._method.name} says: {what}")

    def close(self) -> None:
        self._packed.close()
        super().close()
