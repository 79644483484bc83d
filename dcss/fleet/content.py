"""The content of a segment, named by its digest: described in chunks, so that a transfer can be checked and resumed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a content, by which it is checked when it arrives: where it begins, and the SHA-256 of its bytes."""

    content: str
    content_bytes: int
    start: int
    digest: str


@dataclass(frozen=True, slots=True)
class Content:
    """The SHA-256 of each chunk of some bytes, in hex; `digest` is the SHA-256 of these together, and names the whole.

    So each byte is digested once, and what has arrived is known by its chunks.
    """

    digest: str
    size_bytes: int
    chunks: tuple[str, ...]
    chunk_bytes: int = CHUNK_BYTES

    def extent(self, index: int) -> tuple[int, int]:
        """Return where a chunk begins, and its bytes."""
        start = index * self.chunk_bytes
        return start, min(self.chunk_bytes, self.size_bytes - start)

    def chunk(self, index: int) -> Chunk:
        """Return what a host needs to know of one chunk."""
        return Chunk(self.digest, self.size_bytes, self.extent(index)[0], self.chunks[index])


def describe_content(path: Path, chunk_bytes: int = CHUNK_BYTES) -> Content:
    """Return the description of a file's content. Raises OSError."""
    chunks, size_bytes = [], 0
    with path.open("rb", buffering=0) as stream:
        for data in _chunks(stream.fileno(), chunk_bytes):
            chunks.append(sha256(data).hexdigest())
            size_bytes += len(data)
    whole = sha256(f"{size_bytes} {chunk_bytes} {' '.join(chunks)}".encode())
    return Content(whole.hexdigest(), size_bytes, tuple(chunks), chunk_bytes)


def read_chunk(path: Path, content: Content, index: int) -> bytes:
    """Return one chunk of a file. Raises OSError."""
    start, size_bytes = content.extent(index)
    with path.open("rb", buffering=0) as stream:
        return read_exactly(stream.fileno(), start, size_bytes)


def read_exactly(descriptor: int, start: int, size_bytes: int) -> bytes:
    """Return so many bytes from an offset, fewer where the file ends before."""
    parts = []
    while size_bytes and (part := os.pread(descriptor, size_bytes, start)):
        parts.append(part)
        start += len(part)
        size_bytes -= len(part)
    return b"".join(parts)


def _chunks(descriptor: int, chunk_bytes: int) -> Iterator[bytes]:
    start = 0
    while data := read_exactly(descriptor, start, chunk_bytes):
        yield data
        start += len(data)
