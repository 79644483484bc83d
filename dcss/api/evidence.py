"""What `verify` wrote as evidence, read and computed again without a running system."""

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from dcss.documents import read_object
from dcss.errors import ConfigError
from dcss.results import Claim, VerifyResult

_GZIP_MAGIC = b"\x1f\x8b"


class Evidence:
    """An evidence file: `dcss verify --evidence FILE` or `System.verify(FILE)` wrote it, compressed or not.

    docs/measurement.md describes its records.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def records(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the records one after the other, or those of one kind: their `record` says what they are.

        Raises ConfigError where the file cannot be read, or is none.
        """
        try:
            with self._open() as lines:
                for number, line in enumerate(lines, 1):
                    record = self._record(line, number)
                    if kind in {None, record["record"]}:
                        yield record
        except (OSError, EOFError, zlib.error) as error:
            found = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"{self.path}: found {found}, wanted a file that dcss verify --evidence wrote") from error

    def rows(self, kind: str = "claim") -> list[dict[str, Any]]:
        """Return the records of one kind as rows."""
        return [{name: value for name, value in record.items() if name != "record"} for record in self.records(kind)]

    def recorded(self) -> VerifyResult:
        """Return the verdict that was recorded, without its list of files. Raises ConfigError as `records` does."""
        claims, head, verdict = [], {}, {}
        for record in self.records():
            match record["record"]:
                case "system":
                    head = record
                case "claim":
                    claims.append(Claim(record["claim"], record["holds"], record["detail"], record["applies"]))
                case "verdict":
                    verdict = record
        if not head or not verdict:
            raise ConfigError(f"{self.path}: found no verdict at its end, wanted a complete evidence file")
        limits = tuple(verdict["limits"])
        return VerifyResult(head["system"], verdict["verdict"], head["evidence"], tuple(claims), (), limits)

    def recompute(self) -> VerifyResult:
        """Compute the verdict again from frames, counts and copies, and return it, whatever it is.

        The claims one-frame-per-page, no-hidden-copies and books-close are judged anew; `limits` names those that are
        as recorded. Raises ConfigError as `records` does.
        """
        from dcss.verify.recompute import recompute

        try:
            return recompute(self.records())
        except (KeyError, IndexError, TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{self.path}: found a record without {error}, wanted an evidence file") from error

    def _open(self) -> BinaryIO | gzip.GzipFile:
        file = self.path.open("rb")
        if file.read(2) != _GZIP_MAGIC:
            file.seek(0)
            return file
        file.close()
        return gzip.GzipFile(self.path)

    def _record(self, line: bytes, number: int) -> dict[str, Any]:
        record = read_object(line, "record")
        if record is None:
            raise ConfigError(f"{self.path}:{number}: found {line[:40]!r}, wanted a record of evidence")
        return record

    def __repr__(self) -> str:
        return f"<dcss.Evidence {self.path}>"
