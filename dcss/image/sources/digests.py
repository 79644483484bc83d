"""Digests of a container image's parts, as the OCI image specification writes them: ALGORITHM:HEX."""

import hashlib
import io
import re
from typing import Any, Final, NamedTuple, Self

from dcss.errors import ImageError
from dcss.host.cancellation import check_cancelled
from dcss.image.sources.archive import Archive
from dcss.image.sources.compression import READ_AHEAD_BYTES

_HEX_DIGITS: Final = {"sha256": 64, "sha512": 128}
_READ_BYTES: Final = 1 << 20


class Digest(NamedTuple):
    """What a part of an image must hash to."""

    algorithm: str
    digits: str

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Read a digest. Raises ImageError that names `where` it stands."""
        algorithm, _, digits = text.partition(":")
        wanted = _HEX_DIGITS.get(algorithm)
        if wanted is None or not re.fullmatch(f"[0-9a-f]{{{wanted}}}", digits):
            known = " or ".join(f"{name}: and {count} hex digits" for name, count in _HEX_DIGITS.items())
            raise ImageError(f"{where}: found {text!r}, wanted {known}")
        return cls(algorithm, digits)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digits}"

    @property
    def blob(self) -> str:
        """Where an image layout keeps what has this digest."""
        return f"blobs/{self.algorithm}/{self.digits}"

    def check(self, content: bytes, name: str) -> None:
        """Raise ImageError where `content`, which messages call `name`, has another digest."""
        self.compare(hashlib.new(self.algorithm, content).hexdigest(), name)

    def check_archive(self, archive: Archive) -> None:
        """Raise ImageError where the bytes of `archive` have another digest."""
        with archive.open() as stream:
            reader = HashingReader(stream, self)
            while reader.read(_READ_BYTES):
                check_cancelled()
            reader.check(archive.name)

    def compare(self, found: str, name: str) -> None:
        """Raise ImageError where the hex digits `found`, of what messages call `name`, are others."""
        if found != self.digits:
            raise ImageError(
                f"{name}: found digest {self.algorithm}:{found}, wanted {self}, as the image says: it is damaged or was"
                " changed; save the image again"
            )


class HashingReader(io.RawIOBase):
    """Passes on what another reader gives, from front to back, and hashes it for `wanted`."""

    def __init__(self, reader: io.BufferedReader, wanted: Digest) -> None:
        self._reader = reader
        self._wanted = wanted
        self._hash = hashlib.new(wanted.algorithm)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes."""
        count = self._reader.readinto1(buffer)
        self._hash.update(memoryview(buffer)[:count])
        return count

    def buffered(self) -> io.BufferedReader:
        """Return a reader of whole lengths."""
        return io.BufferedReader(self, READ_AHEAD_BYTES)

    def check(self, name: str) -> None:
        """Raise ImageError where what was read has another digest; it must have been read to the end."""
        self._wanted.compare(self._hash.hexdigest(), name)
