"""Running processes as consumers: the files that they map, and what of these they have touched.

Touched is what stands in the page table: the kernel maps some pages around the one that was asked for. `Referenced` of
smaps counts what the processor has used since that mark was last cleared.
"""

import os
import re
import stat
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.maps import Vma
from dcss.account.pagemap import Pagemap, Pages, is_file, is_present
from dcss.account.smaps import MappingFields, read_smaps
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import TreeFile
from dcss.image.sources.host import read_node
from dcss.inspect.processes import NamedProcess, NamedProcesses
from dcss.plan.inputs.consumer import GUESTS_OWN, Consumer, UsedFile, data_bytes

_DELETED: Final = b" (deleted)"
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")
_NO_FILES: Final = (b"/memfd:", b"/dev/", b"/SYSV", b"anon_inode:", b"/[aio]")


def process_consumers(pids: Iterable[int], notes: list[str]) -> list[Consumer]:
    """Return a consumer for each process; what cannot be taken into an image is added to `notes`.

    Raises ConfigError for an id that is no process, MeasurementDeniedError where the kernel does not show the mappings
    to this user, LaunchError where a process ended while it was looked at.
    """
    with NamedProcesses(pids) as processes:
        reader = _Reader()
        consumers = [reader.read(process) for process in processes.all]
        processes.check_alive()
    if reader.replaced:
        notes.append(
            f"left out, since replaced after they were mapped (restart what maps them): {min(reader.replaced)}"
            + (f" and {len(reader.replaced) - 1} more" if len(reader.replaced) > 1 else "")
        )
    notes += sorted(reader.unreadable)
    return consumers


class _Reader:
    """Reads processes one by one; a file that several map is one node."""

    def __init__(self) -> None:
        self.replaced: set[str] = set()
        self.unreadable: set[str] = set()
        self._nodes: dict[tuple[int, int], TreeFile | None] = {}

    def read(self, process: NamedProcess) -> Consumer:
        by_path: dict[bytes, list[MappingFields]] = {}
        for mapping in read_smaps(process.pid):
            if self._is_wanted(mapping.vma):
                by_path.setdefault(_unescaped(mapping.vma.path), []).append(mapping)
        used: dict[TreeFile, UsedFile] = {}
        with Pagemap(process.pid) as pagemap:
            for path, mappings in sorted(by_path.items()):
                file = self._file(process.pid, path)
                if file is None:
                    continue
                known = used.setdefault(file.node, file)
                if known is not file:
                    known.paths += file.paths
                _add_touched(known, mappings, pagemap)
        return Consumer(process.name, "process", process.label, list(used.values()))

    def _is_wanted(self, vma: Vma) -> bool:
        if not vma.inode or vma.path.startswith(_NO_FILES) or (vma.shared and vma.writable):
            return False
        if vma.path.endswith(_DELETED):
            self.replaced.add(os.fsdecode(vma.path.removesuffix(_DELETED)))
            return False
        return vma.path.startswith(b"/") and vma.path.split(b"/")[1] not in GUESTS_OWN

    def _file(self, pid: int, path: bytes) -> UsedFile | None:
        inside = b"/proc/%d/root%s" % (pid, path)
        try:
            found = os.stat(inside)  # noqa: PTH116 - a Path holds no bytes
        except OSError as error:
            self.unreadable.add(f"{os.fsdecode(path)} left out: {error.strerror}")
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        here = _identity(path)
        key = found.st_dev, found.st_ino
        if key not in self._nodes:
            self._nodes[key] = self._node(path if here == key else inside, path, found)
        node = self._nodes[key]
        return None if node is None else UsedFile(node, [path], path_on_host=here == key)

    def _node(self, readable: bytes, path: bytes, found: os.stat_result) -> TreeFile | None:
        try:
            node = read_node(readable, found)
        except ImageError as error:
            self.unreadable.add(f"{os.fsdecode(path)} left out: {error}")
            return None
        assert isinstance(node, TreeFile)
        return node if node.data else None


def _identity(path: bytes) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path holds no bytes
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _unescaped(path: bytes) -> bytes:
    """Return a path as it is: maps write a newline as \\012."""
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), path)


def _add_touched(file: UsedFile, mappings: Sequence[MappingFields], pagemap: Pagemap) -> None:
    pages = [_present_pages(mapping.vma, pagemap) for mapping in mappings]
    touched_bytes = len(np.unique(np.concatenate(pages))) * PAGE_SIZE
    limit_bytes = data_bytes(file.node)
    file.touched_bytes = min((file.touched_bytes or 0) + touched_bytes, limit_bytes)
    referenced_bytes = sum(mapping.fields_bytes.get("Referenced", 0) for mapping in mappings)
    file.referenced_bytes = min((file.referenced_bytes or 0) + referenced_bytes, file.touched_bytes)


def _present_pages(vma: Vma, pagemap: Pagemap) -> Pages:
    """Return which pages of the file stand in the process's page table, by their numbers in the file."""
    first_file_page = vma.offset_bytes >> PAGE_SHIFT
    first_page = vma.start >> PAGE_SHIFT
    found = [np.empty(0, np.int64)]
    for run_first, run_pages in pagemap.populated(first_page, vma.pages):
        entries = pagemap.read(run_first, run_pages)
        places = np.flatnonzero(is_present(entries) & is_file(entries))
        found.append(places + (run_first - first_page + first_file_page))
    return np.concatenate(found)
