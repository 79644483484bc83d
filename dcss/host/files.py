"""Files that are whole after a crash at any instant: written under another name, synced, renamed."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

FaultPoint = Callable[[str], None]  # called after each step, with its name; a test kills the process there
NEW_SUFFIX = ".new"


def no_fault(step: str) -> None:
    """Do nothing: the fault point of every run that is not a crash test."""


def sync_directory(directory: Path) -> None:
    """Bring the names in `directory` to stable storage."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, write: Callable[[int], object], fault: FaultPoint) -> None:
    """Create or replace `path` with what `write(descriptor)` writes. On any failure `path` is as it was."""
    new = path.with_name(path.name + NEW_SUFFIX)
    kind = path.suffix[1:]
    try:
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            fault(f"{kind} created")
            write(descriptor)
            fault(f"{kind} written")
            os.fsync(descriptor)
            fault(f"{kind} synced")
        finally:
            os.close(descriptor)
        new.rename(path)
        fault(f"{kind} renamed")
        sync_directory(path.parent)
        fault(f"{kind} in place")
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, in as many calls as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def remove_durably(path: Path, fault: FaultPoint) -> None:
    """Remove `path` if it exists."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        fault(f"{path.suffix[1:]} removed")
        sync_directory(path.parent)


def set_aside(path: Path, directory: Path) -> Path:
    """Move `path` into `directory` under a name that nothing there has, and return it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    taken = {entry.name for entry in directory.iterdir()}
    number = next(number for number in range(1, len(taken) + 2) if f"{path.name}.{number}" not in taken)
    target = directory / f"{path.name}.{number}"
    path.rename(target)
    sync_directory(directory)
    sync_directory(path.parent)
    return target
