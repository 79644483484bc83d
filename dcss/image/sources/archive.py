"""Archives as streams of bytes: a span of a host file, a compressed span unpacked, or a slice of either."""

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dcss.ext2.mkfs.copy import skip
from dcss.ext2.mkfs.tree import DataRun, Store, StreamStore
from dcss.host.cancellation import check_cancelled
from dcss.image.sources.compression import HEAD_BYTES, READ_AHEAD_BYTES, method_of, unpacking
from dcss.image.sources.host import HostFile


class Archive(ABC):
    """The bytes of a tar, and access to its members' content."""

    @abstractmethod
    def open(self) -> io.BufferedReader:
        """Return a reader at offset 0. Raises ImageError if the file changed since it was planned."""

    @property
    @abstractmethod
    def seekable(self) -> bool:
        """Whether the reader can seek at no cost."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in messages."""

    @abstractmethod
    def store(self) -> Store:
        """Return the store that content is read from."""

    @abstractmethod
    def run(self, file_offset: int, offset: int, length_bytes: int) -> DataRun:
        """Return the run of a file that lies at `offset` of these bytes."""

    @abstractmethod
    def part(self, name: str, offset: int, length_bytes: int) -> "Archive":
        """Return the member that lies at `offset` as an archive of its own, as it is stored."""

    @abstractmethod
    def length_bytes(self) -> int | None:
        """Return how long it is, or None where only reading it would say."""


@dataclass(frozen=True, slots=True)
class Span(Archive):
    """A part of a host file, read at any offset."""

    file: HostFile
    offset: int
    span_bytes: int
    label: str

    def open(self) -> io.BufferedReader:
        """Return a reader that seeks."""
        return io.BufferedReader(_SpanReader(self.file.open(), self.offset, self.span_bytes), READ_AHEAD_BYTES)

    @property
    def seekable(self) -> bool:
        """A file seeks at no cost."""
        return True

    @property
    def name(self) -> str:
        """The file's path, and the member's."""
        return self.label

    def store(self) -> Store:
        """Return the host file itself."""
        return self.file

    def run(self, file_offset: int, offset: int, length_bytes: int) -> DataRun:
        """Return a run at an offset of the host file."""
        return DataRun(file_offset, self.offset + offset, length_bytes)

    def part(self, name: str, offset: int, length_bytes: int) -> Archive:
        """Return a part of the span."""
        return Span(self.file, self.offset + offset, length_bytes, f"{self.label}: {name}")

    def length_bytes(self) -> int:
        """Return the span's length."""
        return self.span_bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Streamed(Archive, StreamStore):
    """Bytes that can only be read from front to back, by a reader that `opener` makes."""

    label: str
    opener: Callable[[], io.BufferedReader]
    known_bytes: int | None = None

    def open(self) -> io.BufferedReader:
        """Return a reader that cannot seek."""
        return self.opener()

    def open_stream(self) -> io.BufferedReader:
        """Return a reader that cannot seek."""
        return self.opener()

    @property
    def seekable(self) -> bool:
        """Seeking back would mean to start again."""
        return False

    @property
    def name(self) -> str:
        """The file's path, and the member's."""
        return self.label

    def store(self) -> Store:
        """Return itself."""
        return self

    def run(self, file_offset: int, offset: int, length_bytes: int) -> DataRun:
        """Return a run at an offset of the unpacked stream."""
        return DataRun(file_offset, offset, length_bytes)

    def length_bytes(self) -> int | None:
        """Return its length where that is known."""
        return self.known_bytes

    def part(self, name: str, offset: int, length_bytes: int) -> Archive:
        """Return a slice of the stream."""

        def open_slice() -> io.BufferedReader:
            reader = self.opener()
            skip(reader, offset)
            return io.BufferedReader(_SliceReader(reader, length_bytes), READ_AHEAD_BYTES)

        return _Streamed(f"{self.label}: {name}", open_slice, length_bytes)


def unpacked(archive: Archive) -> Archive:
    """Return `archive`, or its unpacked form where its first bytes show that it is compressed."""
    with archive.open() as reader:
        method = method_of(reader.read(HEAD_BYTES), archive.name)
    if method is None:
        return archive
    return _Streamed(archive.name, lambda: unpacking(archive.open(), method, archive.name))


def in_memory(name: str, content: bytes) -> Archive:
    """Return the archive whose bytes are `content`."""
    return _Streamed(name, lambda: io.BufferedReader(io.BytesIO(content)), len(content))


class _SpanReader(io.RawIOBase):
    """A part of a file behind a descriptor, which it closes."""

    def __init__(self, descriptor: int, offset: int, length_bytes: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._length_bytes = length_bytes
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = (0, self._at, self._length_bytes)[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        check_cancelled()
        view = memoryview(buffer)[: max(0, self._length_bytes - self._at)]
        count = os.preadv(self._descriptor, [view], self._offset + self._at)
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class _SliceReader(io.RawIOBase):
    """The next `length_bytes` of another reader, which it closes."""

    def __init__(self, reader: io.BufferedReader, length_bytes: int) -> None:
        self._reader = reader
        self._left_bytes = length_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._reader.readinto(memoryview(buffer)[: self._left_bytes])
        self._left_bytes -= count
        return count

    def close(self) -> None:
        self._reader.close()
        super().close()
