"""Directories for what a command builds; those of commands that were killed go with the next command."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree

from dcss.host.paths import cache_directory, private_directory


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Make an empty directory on the disk of the cache, and remove it with what is in it."""
    root = private_directory(private_directory(cache_directory() / "fleet") / "scratch")
    turn = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)  # no directory is seen between its making and its lock
        for path in root.iterdir():
            _remove_abandoned(path)
        made = Path(tempfile.mkdtemp(dir=root))
        lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        os.close(turn)
    try:
        yield made
    finally:
        rmtree(made, ignore_errors=True)
        os.close(lock)


def _remove_abandoned(path: Path) -> None:
    """Remove a directory whose lock nobody holds: its process has ended."""
    with suppress(FileNotFoundError):
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            rmtree(path, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
