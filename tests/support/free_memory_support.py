"""Memory that a system takes, without this project's books: of a control group, or by the machine's free memory."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

KIB, MIB = 1 << 10, 1 << 20
GROUPS = Path("/sys/fs/cgroup")
JOIN = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'


def machine_used_bytes() -> int:
    """Return what is neither free nor page cache of files, from /proc/meminfo and the per-CPU lists alone."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    zones = Path("/proc/zoneinfo").read_text().splitlines()
    listed = sum(int(line.split()[1]) for line in zones if line.strip().startswith("count:"))
    free = kib["MemFree"] + kib["Buffers"] + kib["Cached"] - kib["Shmem"]
    return (kib["MemTotal"] - free) * KIB - listed * os.sysconf("SC_PAGE_SIZE")


def _parent_group() -> tuple[Path, str] | None:
    """Return where a control group for memory can be made, and the name of its file of usage."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return GROUPS / "memory" / path.lstrip("/"), "memory.usage_in_bytes"
    if "memory" in _words(GROUPS / "cgroup.subtree_control"):
        return GROUPS, "memory.current"
    return None


def _words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def memory_group_missing() -> str | None:
    """Return why no control group can be made, or None."""
    found = _parent_group()
    if found is None or os.geteuid() != 0 or not os.access(found[0], os.W_OK):
        return "root, and a control group for memory"
    return None


class MemoryGroup:
    """A control group for memory; `prefix` are the words that start a command in it."""

    def __init__(self, path: Path, usage: str) -> None:
        self._usage = path / usage
        self.prefix = ("sh", "-c", JOIN, "sh", str(path))

    def used_bytes(self) -> int:
        """Return what processes in it take: anonymous and shared memory, page tables, slab, stacks, page cache."""
        return int(self._usage.read_text())


@contextlib.contextmanager
def memory_group() -> Iterator[MemoryGroup]:
    """Make a control group; its processes must have ended when the block is left."""
    found = _parent_group()
    assert found is not None
    parent, usage = found
    path = parent / f"dcss-test-{os.getpid()}"
    path.mkdir()
    try:
        yield MemoryGroup(path, usage)
    finally:
        path.rmdir()


UsedBytes = Callable[[], int]
