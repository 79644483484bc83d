"""A control group for memory: what the kernel charges the processes of one system, whatever else the machine does.

Both versions of control groups do. Version 1 has the controller `memory` in a hierarchy of its own.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
JOIN = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'


class MemoryGroup:
    """A control group; `prefix` are the words that start a command in it."""

    def __init__(self, path: Path, usage: str) -> None:
        self._usage = path / usage
        self.prefix = ("sh", "-c", JOIN, "sh", str(path))

    def used_bytes(self) -> int:
        """Return what its processes take: anonymous and shared memory, page tables, slab, stacks, page cache."""
        return int(self._usage.read_text())


def no_memory_group_because() -> str | None:
    """Return why no control group for memory can be made, or None."""
    found = _parent()
    if found is None or os.geteuid() != 0 or not os.access(found[0], os.W_OK):
        return "needs root, and a control group for memory that this process may divide"
    return None


@contextlib.contextmanager
def memory_group() -> Iterator[MemoryGroup]:
    """Make a control group; its processes must have ended when the block is left."""
    found = _parent()
    if found is None:
        raise RuntimeError("found no control group for memory")
    parent, usage = found
    path = Path(tempfile.mkdtemp(dir=parent, prefix="dcss-bench-"))
    try:
        yield MemoryGroup(path, usage)
    finally:
        path.rmdir()


def _parent() -> tuple[Path, str] | None:
    """Return where a control group for memory can be made, and the name of its file of usage."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return GROUPS / "memory" / path.lstrip("/"), "memory.usage_in_bytes"
    controllers_file = GROUPS / "cgroup.subtree_control"
    if controllers_file.exists() and "memory" in controllers_file.read_text().split():
        return GROUPS, "memory.current"
    return None
