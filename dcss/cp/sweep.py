"""Remove what a CP that was killed left behind: shared memory objects and its runtime directory's files."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dcss.cp.lock import PID_FILE, SystemLock
from dcss.errors import SystemBusyError
from dcss.host.mark import end_marked
from dcss.host.paths import is_system_name, runtime_directory
from dcss.host.shm import SHM_DIRECTORY, ObjectName


def sweep(lock: SystemLock) -> tuple[str, ...]:
    """End and remove what a killed CP of the locked system left behind, and return its names."""
    removed = []
    for name, path in _our_objects():
        if name.system == lock.system and _remove_leftover(path):
            removed.append(str(name))
    for path in lock.directory.iterdir():
        if path.name == PID_FILE:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        removed.append(str(path))
    if removed:  # otherwise its CP was not killed
        removed += end_marked(lambda mark: mark.system == lock.system and mark.is_left)
    return tuple(removed)


def remove_left(system: str) -> tuple[str, ...]:
    """Do what `sweep` does, as long as no CP runs the system. Raises SystemBusyError where one does."""
    with SystemLock(system) as lock:
        return sweep(lock)


def sweep_all(only: str | None = None) -> dict[str, tuple[str, ...]]:
    """Sweep every system of this user that no CP runs, or `only` that one; return what was removed, by system.

    Objects are found whose runtime directory is gone too, as that of /run/user/UID is with the user's last session.
    """
    systems = {name.system for name, _ in _our_objects()}
    systems |= {path.name for path in runtime_directory().iterdir()}
    removed: dict[str, tuple[str, ...]] = {}
    for system in sorted(systems):
        if only in {None, system} and is_system_name(system):
            try:
                removed[system] = remove_left(system)
            except SystemBusyError:
                continue
    return {system: names for system, names in removed.items() if names}


def _our_objects() -> Iterator[tuple[ObjectName, Path]]:
    for path in sorted(SHM_DIRECTORY.iterdir()):
        name = ObjectName.parse(path.name)
        try:
            if name is not None and path.lstat().st_uid == os.geteuid():
                yield name, path
        except FileNotFoundError:
            continue


def _remove_leftover(path: Path) -> bool:
    """Remove an object unless a CP holds it: one with another runtime directory may run a system of the same name."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone, or a link: nothing that we left
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(descriptor)
    return True
