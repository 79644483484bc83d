"""Where a system keeps its files. Directories follow the XDG base directory specification, private to the user."""

import os
import re
import stat
from pathlib import Path

from dcss.errors import DcssError

_SYSTEM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def is_system_name(system: str) -> bool:
    """Return True if `system` may be part of file and object names."""
    return _SYSTEM_NAME.fullmatch(system) is not None


def check_system_name(system: str) -> str:
    """Return `system`, or raise ValueError: it becomes part of file and object names."""
    if not is_system_name(system):
        raise ValueError(
            f"system name {system!r}: wanted 1 to 64 letters, digits, dots, hyphens and underscores, not led by a sign"
        )
    return system


def runtime_directory() -> Path:
    """Return $XDG_RUNTIME_DIR/dcss, made if it is missing: sockets, locks, logs.

    If the variable names no directory of this user (as after su), /run/user/UID is used, and if that is missing too,
    /tmp/dcss-UID. Raises DcssError if someone else owns or may enter the directory.
    """
    uid = os.geteuid()
    for base in (Path(os.environ.get("XDG_RUNTIME_DIR", "")), Path(f"/run/user/{uid}")):
        if base.is_absolute() and base.is_dir() and base.stat().st_uid == uid:
            return private_directory(base / "dcss")
    return private_directory(Path(f"/tmp/dcss-{uid}"))


def state_root() -> Path:
    """Return $XDG_STATE_HOME/dcss, or ~/.local/state/dcss: where the spools are, if there are any."""
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not base.is_absolute():
        base = Path.home() / ".local" / "state"
    return base / "dcss"


def state_directory() -> Path:
    """Return `state_root`, made if it is missing. Raises DcssError if it is not private."""
    root = state_root()
    root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return private_directory(root)


def cache_directory() -> Path:
    """Return $XDG_CACHE_HOME/dcss, or ~/.cache/dcss, made if it is missing. Raises DcssError if it is not private."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        base = Path.home() / ".cache"
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    return private_directory(base / "dcss")


def private_directory(path: Path) -> Path:
    """Return the directory at `path`, created if missing. Raises DcssError if it is not private to this user."""
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise DcssError(
            f"{path}: found {stat.filemode(status.st_mode)} of user {status.st_uid}, wanted a directory of user"
            f" {os.geteuid()} that nobody else may enter; remove it or chmod 700 it"
        )
    return path
