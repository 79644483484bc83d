"""The output of a sweep: JSON Lines, to which each row is added when it is found, and from which a sweep goes on."""

import fcntl
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from dcss.documents import JsonObject, read_object
from dcss.errors import ConfigError
from dcss.host.files import open_regular, write_all, write_durably


class RowFile:
    """The rows of a file that is open for this process alone."""

    def __init__(self, descriptor: int, rows: list[JsonObject]) -> None:
        self._descriptor = descriptor
        self._rows = rows

    def by_digest(self) -> dict[str, JsonObject]:
        """Return the rows, by what they are of."""
        return {str(row["digest"]): row for row in self._rows}

    def add(self, row: JsonObject) -> None:
        """Add a row, so that it is there whatever happens next."""
        write_all(self._descriptor, (json.dumps(row, allow_nan=False) + "\n").encode())
        os.fsync(self._descriptor)
        self._rows.append(row)


@contextmanager
def opened_rows(path: Path, forget: Collection[str] = ()) -> Iterator[RowFile]:
    """Open an output, which may be new; rows whose `outcome` is one to forget are taken out of it.

    A row that was not written to its end, since the machine or the process ended, is cut off. Raises ConfigError where
    another sweep writes the file, or it holds something else.
    """
    descriptor = _open(path)
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        rows = [_row(path, number, line) for number, line in enumerate(whole.splitlines(), 1)]
        kept = [row for row in rows if row.get("outcome") not in forget]
        if len(kept) < len(rows):
            text = "".join(json.dumps(row) + "\n" for row in kept).encode()
            write_durably(path, lambda new: write_all(new, text), mode=0o666)
            os.close(descriptor)
            descriptor = _open(path)
        elif len(whole) < len(content):
            os.ftruncate(descriptor, len(whole))
        yield RowFile(descriptor, kept)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666))
        descriptor = open_regular(path, writable=True)
    except OSError as error:
        raise ConfigError(f"--output: found {error.strerror} at {path}, wanted a file to write rows to") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(
            f"--output: found {path}, which another sweep is writing, wanted a file of its own, or that sweep ended"
        ) from error
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor


def _row(path: Path, number: int, line: bytes) -> JsonObject:
    row = read_object(line, "digest")
    if row is None:
        raise ConfigError(f"--output: {path}:{number}: found no row of a sweep, wanted a file that dcss sweep wrote")
    return row
