"""Segments that a host has received, by digest: whole files, and parts of what is still on its way.

The cache has a bound. What has not been used for longest goes first; what the fleet asks for now stays.
"""

import errno
import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from dcss.errors import DcssError
from dcss.fleet.content import Chunk, Content, describe_content, read_exactly
from dcss.host.files import write_all
from dcss.host.paths import private_directory

DEFAULT_MAX_BYTES: Final = 8 << 30
_PART: Final = ".part"


class TransferError(DcssError):
    """What arrived is not what was announced."""


class SegmentCache:
    """The files in one directory, by their digests; several processes may use it at once."""

    def __init__(self, directory: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = private_directory(directory)
        self._max_bytes = max_bytes

    def find(self, digest: str) -> Path | None:
        """Return the file with this content, and note that it was used; None if it is not here, or not all of it."""
        path = self.directory / digest
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def missing(self, content: Content) -> list[int]:
        """Return which chunks have not arrived: none if the content is here. Those that did are checked again."""
        if self.find(content.digest) is not None:
            return []
        with self._part(content.digest, content.size_bytes) as descriptor:
            wanted = enumerate(content.chunks)
            return [index for index, digest in wanted if _digest_at(descriptor, *content.extent(index)) != digest]

    def store(self, chunk: Chunk, data: bytes) -> None:
        """Keep a chunk that arrived. Raises TransferError where it is not the one that was announced."""
        if sha256(data).hexdigest() != chunk.digest:
            raise TransferError(
                f"segment {chunk.content[:12]}: {len(data)} bytes from {chunk.start} of {chunk.content_bytes} arrived"
                " with another content than announced; start the command again to send them again"
            )
        with self._part(chunk.content, chunk.content_bytes) as descriptor:
            os.lseek(descriptor, chunk.start, os.SEEK_SET)
            write_all(descriptor, data)

    def finish(self, content: Content, keep: Collection[str] = ()) -> Path:
        """Give the content its name when all of it is here, and make room. Raises TransferError where it is damaged."""
        path = self.directory / content.digest
        if self.find(content.digest) is None:
            part = path.with_suffix(_PART)
            with self._part(content.digest, content.size_bytes) as descriptor:
                found = describe_content(part, content.chunk_bytes)
                if found.digest != content.digest:
                    lacking = sum(a != b for a, b in zip(found.chunks, content.chunks, strict=True))
                    raise TransferError(f"segment {content.digest[:12]}: {lacking} of its chunks have not arrived")
                os.fsync(descriptor)
                os.fchmod(descriptor, 0o400)
                part.rename(path)
        self._make_room({content.digest, *keep})
        return path

    def _make_room(self, keep: Collection[str]) -> None:
        """Remove what was used longest ago until the rest is within the bound."""
        files = []
        for path in self.directory.iterdir():
            with suppress(FileNotFoundError):
                status = path.stat()
                files.append((status.st_mtime_ns, path, status.st_blocks * 512))
        total_bytes = sum(size_bytes for _, _, size_bytes in files)
        for _, path, size_bytes in sorted(files):
            if total_bytes <= self._max_bytes:
                return
            if path.name.removesuffix(_PART) not in keep:
                path.unlink(missing_ok=True)
                total_bytes -= size_bytes

    @contextmanager
    def _part(self, digest: str, size_bytes: int) -> Iterator[int]:
        """Open what has arrived of a content, for this process alone; what has not reads as zeros."""
        path = (self.directory / digest).with_suffix(_PART)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size != size_bytes:
                os.ftruncate(descriptor, size_bytes)
            yield descriptor
        finally:
            os.close(descriptor)


def _digest_at(descriptor: int, start: int, size_bytes: int) -> str:
    """Return the digest of a part of a file; one to which nothing was written yet is not read."""
    try:
        is_hole = os.lseek(descriptor, start, os.SEEK_DATA) >= start + size_bytes
    except OSError as error:
        if error.errno != errno.ENXIO:  # no data up to the file's end
            raise
        is_hole = True
    return _digest_of_zeros(size_bytes) if is_hole else sha256(read_exactly(descriptor, start, size_bytes)).hexdigest()


@cache
def _digest_of_zeros(size_bytes: int) -> str:
    return sha256(bytes(size_bytes)).hexdigest()
