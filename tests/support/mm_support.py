"""A machine without CP for tests of address spaces: segments of every kind attached, pages stamped with their place."""

import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from guest_support import reservation

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.maps import Vma, parse_maps
from vmguest import hostmem
from vmguest.fs.file import FileMappings
from vmguest.machine import AttachedStorage, VirtualMachine
from vmguest.storage import StorageKind, StorageRun

SEGMENT_PAGES = 2048
STORAGE_BYTES = 1 << 20
READ_ONLY, WRITABLE, EXCLUSIVE = 0x20000, 0x30000, 0x40000  # where segments lie, in pages


class StoredPages:
    """A file whose pages lie one behind the other in storage, from a page frame on; as long as is asked for.

    `holds` counts the areas that keep it open.
    """

    def __init__(self, page_frame: int, pages: int = 1 << 30, kind: StorageKind = StorageKind.SEGMENT) -> None:
        self.page_frame = page_frame
        self.pages = pages
        self.kind = kind
        self.holds = 0
        self.mappings = FileMappings()

    def translate(self, first_page: int, pages: int, *, for_write: bool = False) -> Iterator[StorageRun]:
        within = min(pages, self.pages - first_page)
        if within > 0:
            yield StorageRun(first_page, self.page_frame + first_page, within, self.kind)

    def check_mapping(self, *, shared_writable: bool) -> None:
        pass

    def stored_into(self) -> None:
        pass

    def hold(self) -> Self:
        self.holds += 1
        return self

    def close(self) -> None:
        self.holds -= 1


class SparsePages(StoredPages):
    """A file whose first pages lie in storage, and whose other ones are a hole."""

    def __init__(self, page_frame: int, pages: int, *, data_pages: int) -> None:
        super().__init__(page_frame, pages)
        self.data_pages = data_pages

    def translate(self, first_page: int, pages: int, *, for_write: bool = False) -> Iterator[StorageRun]:
        end = min(first_page + pages, self.pages)
        if first_page < self.data_pages:
            yield StorageRun(
                first_page, self.page_frame + first_page, min(end, self.data_pages) - first_page, self.kind
            )
        hole = max(first_page, self.data_pages)
        if hole < end:
            yield StorageRun(hole, 0, end - hole, StorageKind.HOLE)


class FragmentedPages(StoredPages):
    """A file of several runs, each given as its first page frame and its pages."""

    def __init__(self, runs: Sequence[tuple[int, int]]) -> None:
        super().__init__(runs[0][0], sum(pages for _, pages in runs))
        self.runs = runs

    def translate(self, first_page: int, pages: int, *, for_write: bool = False) -> Iterator[StorageRun]:
        at, end = 0, min(first_page + pages, self.pages)
        for frame, count in self.runs:
            low, high = max(at, first_page), min(at + count, end)
            if low < high:
                yield StorageRun(low, frame + low - at, high - low, self.kind)
            at += count


class Host(NamedTuple):
    """What the host has mapped at a page: permissions, and where of which file."""

    permissions: str
    inode: int
    file_page: int


RESERVED = Host("---p", 0, 0)


class MmStage:
    """A machine with three attached segments, and a run of real storage that stands for a file's frames."""

    def __init__(self, machine: VirtualMachine, descriptors: dict[int, int]) -> None:
        self.machine = machine
        self.descriptors = descriptors
        self.frame = machine.storage.allocate(16)
        for page in range(16):
            hostmem.view(machine.storage.address(self.frame + page), PAGE_SIZE)[:] = stamp(0, page)

    def file(self, first: int, pages: int = SEGMENT_PAGES) -> StoredPages:
        """A file that is the pages of a segment."""
        return StoredPages(first, pages)

    def frames(self, pages: int = 16) -> StoredPages:
        """A file in real storage, as the page cache and tmpfs have them."""
        return StoredPages(self.frame, pages, StorageKind.REAL)

    def inode(self, first: int) -> int:
        return os.fstat(self.descriptors[first]).st_ino

    def object_bytes(self, first: int, page: int, size_bytes: int) -> bytes:
        return os.pread(self.descriptors[first], size_bytes, page * PAGE_SIZE)


def stamp(first: int, page: int) -> bytes:
    """The content of a segment's page."""
    return b"%08x%08x" % (first, page) * (PAGE_SIZE // 16)


@contextmanager
def mm_stage(slot: int = 2) -> Iterator[MmStage]:
    """Yield a stage at addresses of its own."""
    place = reservation(slot)
    with ExitStack() as stack:
        port, other = socket.socketpair()
        stack.enter_context(port)
        stack.enter_context(other)
        stack.callback(hostmem.unmap, place.window, place.window_bytes)
        stack.callback(hostmem.unmap, place.user_area, place.user_area_bytes)
        machine = VirtualMachine(place, STORAGE_BYTES, port)
        descriptors = {}
        for first in (READ_ONLY, WRITABLE, EXCLUSIVE):
            descriptors[first] = descriptor = os.memfd_create("segment")
            os.truncate(descriptor, SEGMENT_PAGES * PAGE_SIZE)
            for page in (*range(80), SEGMENT_PAGES - 1):
                os.pwrite(descriptor, stamp(first, page), page * PAGE_SIZE)
            exclusive = first == EXCLUSIVE
            writable = first != READ_ONLY
            machine.attach(AttachedStorage(first, SEGMENT_PAGES, descriptor, 0, private=exclusive, writable=writable))
            stack.callback(os.close, descriptor)
        yield MmStage(machine, descriptors)


_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ (\d+)")


def host_pages(first: int, pages: int) -> list[Host]:
    """Return what /proc/self/maps says of pages."""
    found = dict.fromkeys(range(first, first + pages), Host("none", 0, 0))
    for line in Path("/proc/self/maps").read_text().splitlines():
        match = _LINE.match(line)
        assert match is not None
        start, end, offset = (int(match[i], 16) >> PAGE_SHIFT for i in (1, 2, 4))
        for page in range(max(start, first), min(end, first + pages)):
            inode = int(match[5])
            found[page] = Host(match[3], inode, offset + page - start if inode else 0)
    return list(found.values())


def user_mappings(stage: MmStage, first: int) -> list[Vma]:
    """Return the host's mappings of a segment at user addresses."""
    place, inode = stage.machine.reservation, stage.inode(first)
    user_area = range(place.user_area, place.user_area + place.user_area_bytes)
    return [
        vma for vma in parse_maps(Path("/proc/self/maps").read_bytes()) if vma.inode == inode and vma.start in user_area
    ]
