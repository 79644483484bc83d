"""Files as processes see them: found by the path that a process has them at, each once."""

import os
import re
import stat
from typing import Final

import numpy as np

from dcss.abi.page import PAGE_SHIFT
from dcss.account.maps import Vma
from dcss.account.pagemap import Pagemap, Pages, is_file, is_present
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import TreeFile
from dcss.image.sources.host import read_node
from dcss.plan.inputs.consumer import GUESTS_OWN, UsedFile

_DELETED: Final = b" (deleted)"
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")
_NO_FILES: Final = (b"/memfd:", b"/dev/", b"/SYSV", b"anon_inode:", b"/[aio]")


class ProcessFiles:
    """Finds the files of processes; one that several use is one node. What cannot be taken is kept for `notes`."""

    def __init__(self) -> None:
        self._replaced: set[str] = set()
        self._unreadable: set[str] = set()
        self._nodes: dict[tuple[int, int], TreeFile | None] = {}

    def mapped_path(self, vma: Vma) -> bytes | None:
        """Return the path of the file that a mapping shows, None where a guest would not have it in a segment."""
        if not vma.inode or vma.path.startswith(_NO_FILES) or (vma.shared and vma.writable):
            return None
        path = _unescaped(vma.path)
        if path.endswith(_DELETED):
            self._replaced.add(os.fsdecode(path.removesuffix(_DELETED)))
            return None
        return path if in_a_guest(path) else None

    def file(self, pid: int, path: bytes) -> UsedFile | None:
        """Return the regular file that a process has at `path`, None where it cannot be taken."""
        inside = b"/proc/%d/root%s" % (pid, path)
        try:
            found = os.stat(inside)  # noqa: PTH116 - a Path holds no bytes
        except OSError as error:
            self._unreadable.add(f"{os.fsdecode(path)} left out: {error.strerror}")
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        here = _identity(path)
        key = found.st_dev, found.st_ino
        if key not in self._nodes:
            self._nodes[key] = self._node(path if here == key else inside, path, found)
        node = self._nodes[key]
        return None if node is None else UsedFile(node, [path], path_on_host=here == key)

    def notes(self) -> list[str]:
        """Return what was left out, and why."""
        replaced = []
        if self._replaced:
            replaced.append(
                f"left out, since replaced after they were mapped (restart what maps them): {min(self._replaced)}"
                + (f" and {len(self._replaced) - 1} more" if len(self._replaced) > 1 else "")
            )
        return replaced + sorted(self._unreadable)

    def _node(self, readable: bytes, path: bytes, found: os.stat_result) -> TreeFile | None:
        try:
            node = read_node(readable, found)
        except ImageError as error:
            self._unreadable.add(f"{os.fsdecode(path)} left out: {error}")
            return None
        assert isinstance(node, TreeFile)
        return node if node.data else None


def in_a_guest(path: bytes) -> bool:
    """Return True if a guest could have a file of this path in a segment: not where it mounts its own."""
    return path.startswith(b"/") and path.split(b"/")[1] not in GUESTS_OWN


def present_pages(vma: Vma, pagemap: Pagemap) -> Pages:
    """Return which pages of the file stand in the process's page table, by their numbers in the file."""
    first_file_page = vma.offset_bytes >> PAGE_SHIFT
    first_page = vma.start >> PAGE_SHIFT
    found = [np.empty(0, np.int64)]
    for run_first, run_pages in pagemap.populated(first_page, vma.pages):
        entries = pagemap.read(run_first, run_pages)
        places = np.flatnonzero(is_present(entries) & is_file(entries))
        found.append(places + (run_first - first_page + first_file_page))
    return np.concatenate(found)


def _identity(path: bytes) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path holds no bytes
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _unescaped(path: bytes) -> bytes:
    """Return a path as it is: maps write a newline as \\012."""
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), path)
