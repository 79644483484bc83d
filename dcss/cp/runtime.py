"""Where a system keeps its files, the lock that makes one CP of it, and what a killed CP left behind.

Directories follow the XDG base directory specification and are private to the user.
"""

import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from dcss.cp.shm import SHM_DIRECTORY, ObjectName
from dcss.errors import DcssError, SystemBusyError

_SYSTEM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_PID_FILE = "pid"


def check_system_name(system: str) -> str:
    """Return `system`, or raise ValueError: it becomes part of file and object names."""
    if not _SYSTEM_NAME.fullmatch(system):
        raise ValueError(
            f"system name {system!r}: wanted 1 to 64 letters, digits, dots, hyphens and underscores, not led by a sign"
        )
    return system


def runtime_directory() -> Path:
    """Return $XDG_RUNTIME_DIR/dcss, made where it is missing: sockets, locks, logs.

    Where the variable names no directory of this user (as after su), /run/user/UID serves, and where that is missing
    too /tmp/dcss-UID. Raises DcssError where someone else owns or may enter the directory.
    """
    uid = os.geteuid()
    for base in (Path(os.environ.get("XDG_RUNTIME_DIR", "")), Path(f"/run/user/{uid}")):
        if base.is_absolute() and base.is_dir() and base.stat().st_uid == uid:
            return _private_directory(base / "dcss")
    return _private_directory(Path(f"/tmp/dcss-{uid}"))


def state_root() -> Path:
    """Return $XDG_STATE_HOME/dcss, or ~/.local/state/dcss: where the spools are, if there are any."""
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not base.is_absolute():
        base = Path.home() / ".local" / "state"
    return base / "dcss"


def state_directory() -> Path:
    """Return `state_root`, made where it is missing. Raises DcssError where it is not private."""
    root = state_root()
    root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _private_directory(root)


def _private_directory(path: Path) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise DcssError(
            f"{path}: found {stat.filemode(status.st_mode)} of user {status.st_uid}, wanted a directory of user"
            f" {os.geteuid()} that nobody else may enter; remove it or chmod 700 it"
        )
    return path


def lock_directory(path: Path) -> int:
    """Make `path` where it is missing, lock it, and return the descriptor that holds the lock.

    Raises BlockingIOError where another process, or another part of this one, holds it.
    """
    while True:
        try:
            _private_directory(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # a CP that ended removed it between the two
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass  # locked what a CP that ended has removed: once more
        except BlockingIOError:
            os.close(descriptor)
            raise
        os.close(descriptor)


class SystemLock:
    """The right to be the one CP of `system`, held by flock until `release` or the end of the process.

    `directory` is the system's own in the runtime directory. Raises SystemBusyError, naming the process that holds it,
    and DcssError where the directory cannot be written.
    """

    def __init__(self, system: str) -> None:
        self.system = check_system_name(system)
        self.directory = runtime_directory() / system
        try:
            self._descriptor = lock_directory(self.directory)
        except BlockingIOError:
            raise SystemBusyError(self._busy()) from None
        self.keep: tuple[str, ...] = ()
        try:
            (self.directory / _PID_FILE).write_text(f"{os.getpid()}\n", encoding="ascii")
        except OSError as error:
            self.release()
            raise DcssError(f"system {system}: {self.directory} cannot be written: {error.strerror}") from error

    def _busy(self) -> str:
        # The lock says that a CP lives; the file only says which, and is read for the message alone.
        try:
            process = (self.directory / _PID_FILE).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            process = "unknown"
        return f"system {self.system}: its CP already runs (process {process or 'unknown'}); take it down first"

    def release(self) -> None:
        """Remove the system's runtime directory and give up the lock. May be called twice.

        The files that `keep` names stay, for people to read, and the directory with them, until the next start.
        """
        if self._descriptor >= 0:
            if self.keep:
                _remove_all_but({*self.keep, _PID_FILE}, self.directory)
            else:
                shutil.rmtree(self.directory, ignore_errors=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _remove_all_but(names: set[str], directory: Path) -> None:
    for path in directory.iterdir():
        if path.name not in names:
            path.unlink(missing_ok=True)


def sweep(lock: SystemLock) -> tuple[str, ...]:
    """Remove what a killed CP of the locked system left behind, and return its names."""
    removed = []
    for name, path in _our_objects():
        if name.system == lock.system and _remove_leftover(path):
            removed.append(str(name))
    for path in lock.directory.iterdir():
        if path.name == _PID_FILE:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        removed.append(str(path))
    return tuple(removed)


def sweep_all(only: str | None = None) -> dict[str, tuple[str, ...]]:
    """Sweep every system of this user that no CP runs, or `only` that one; return what was removed, by system.

    Objects are found whose runtime directory is gone too, as that of /run/user/UID is with the user's last session.
    """
    systems = {name.system for name, _ in _our_objects()}
    systems |= {path.name for path in runtime_directory().iterdir()}
    removed: dict[str, tuple[str, ...]] = {}
    for system in sorted(systems):
        if only in {None, system} and _SYSTEM_NAME.fullmatch(system):
            try:
                with SystemLock(system) as lock:
                    removed[system] = sweep(lock)
            except SystemBusyError:
                continue
    return {system: names for system, names in removed.items() if names}


def _our_objects() -> Iterator[tuple[ObjectName, Path]]:
    for path in SHM_DIRECTORY.iterdir():
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
