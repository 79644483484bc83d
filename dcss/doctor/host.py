"""The host that doctor examines. Every source of facts can be replaced, so that tests can describe any host."""

import importlib.metadata
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from dcss.host.kvm import no_kvm_because

State = Literal["ok", "limit", "missing"]
_TOOL_SECONDS = 10
_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of one check: what was found, what it limits and the command that mends it; None if all is well."""

    name: str
    state: State
    found: str
    limits: str | None = None
    mend: str | None = None


class SharedMemorySpace(NamedTuple):
    """The file system behind POSIX shared memory."""

    total_bytes: int
    free_bytes: int
    writable: bool


def _hidden_because() -> str | None:
    from dcss.account.frames import hidden_because

    return hidden_because()


def _no_huge_pages_because() -> str | None:
    from dcss.account.huge import no_huge_pages_because

    return no_huge_pages_because(_SHARED_MEMORY)


def _shared_memory_space(path: Path) -> SharedMemorySpace | None:
    try:
        limits = os.statvfs(path)
    except OSError:
        return None
    writable = os.access(path, os.W_OK | os.X_OK)
    return SharedMemorySpace(limits.f_blocks * limits.f_frsize, limits.f_bavail * limits.f_frsize, writable)


def tool_version(name: str) -> str | None:
    """Return the first line of a program's version output; None where there is no such program.

    The directories that only root's PATH has are searched too.
    """
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        return None
    option = "-V" if name in {"mke2fs", "e2fsck", "debugfs"} else "--version"
    try:
        done = subprocess.run(
            [path, option], capture_output=True, text=True, errors="replace", timeout=_TOOL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} does not start: {error}"
    return next(iter((done.stdout + done.stderr).strip().splitlines()), "of unknown version")


def package_version(name: str) -> str | None:
    """Return the version of an installed Python package, without importing it; None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class DoctorHost:
    """Where doctor finds its facts; the defaults describe this machine."""

    proc: Path = Path("/proc")
    sysfs: Path = Path("/sys")
    page_size_bytes: int = field(default_factory=lambda: os.sysconf("SC_PAGE_SIZE"))
    root: bool = field(default_factory=lambda: os.geteuid() == 0)
    python: tuple[int, int, int] = sys.version_info[:3]
    open_files: tuple[int, int] = field(default_factory=lambda: resource.getrlimit(resource.RLIMIT_NOFILE))
    hidden_because: Callable[[], str | None] = _hidden_because
    shared_memory: Callable[[], SharedMemorySpace | None] = lambda: _shared_memory_space(_SHARED_MEMORY)
    no_huge_pages_because: Callable[[], str | None] = _no_huge_pages_because
    no_kvm_because: Callable[[], str | None] = no_kvm_because
    tool_version: Callable[[str], str | None] = tool_version
    package_version: Callable[[str], str | None] = package_version

    def setting(self, path: str) -> str | None:
        """Return the text of a file below /proc or /sys, such as ``proc/sys/vm/max_map_count``; None without it."""
        top, _, rest = path.partition("/")
        try:
            return ((self.proc if top == "proc" else self.sysfs) / rest).read_text("ascii").strip()
        except OSError:
            return None
