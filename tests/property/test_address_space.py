"""An address space against a dictionary of pages, and against what this machine's kernel says is mapped.

Compared after any sequence of map, unmap, protect and store: what each page reads as, the error of a store, frames
taken from real storage, how often files are held, and each page's line in /proc/self/maps.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from errno import EACCES, ENOMEM
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from mm_support import READ_ONLY, RESERVED, WRITABLE, Host, MmStage, StoredPages, host_pages, mm_stage, stamp

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest.mm import AddressSpace
from vmguest.mm_area import PROT_NONE, PROT_READ, PROT_WRITE, BusError, SegmentationFaultError
from vmguest.storage import StorageKind

PAGES = 40  # of user addresses that are looked at
FILES = ("read-only", "writable", "frames", "hole", "anonymous")
FILE_PAGES = 12

places, lengths = st.integers(0, PAGES - 1), st.integers(1, 14)
names = st.sampled_from(FILES)
protections = st.sampled_from([PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE])
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("map"), places, lengths, protections, st.sampled_from(FILES), st.integers(0, 9), st.booleans()
        ),
        st.tuples(st.just("unmap"), places, lengths),
        st.tuples(st.just("protect"), places, lengths, protections),
        st.tuples(st.just("store"), places, st.integers(1, 255)),
    ),
    max_size=25,
)


@dataclass(frozen=True)
class Page:
    """A mapped page of the model; `own` is the first byte of a private copy."""

    file: str
    file_page: int
    protection: int
    shared: bool
    own: int | None = None


class Model:
    """Pages by their place, and the first byte of pages that are shared and were stored into."""

    def __init__(self, stage: MmStage) -> None:
        self.pages: dict[int, Page] = {}
        self.stored: dict[tuple[str, int], int] = {}
        self.inodes = {"read-only": stage.inode(READ_ONLY), "writable": stage.inode(WRITABLE)}

    def map(self, places: range, protection: int, file: str, file_page: int, *, shared: bool) -> int | None:
        for place in places:
            self.pages.pop(place, None)
        if file == "read-only" and shared and protection & PROT_WRITE and file_page < FILE_PAGES:
            return EACCES
        for place in places:
            self.pages[place] = Page(file, file_page + place - places[0], protection, shared)
        return None

    def protect(self, place: int, pages: int, protection: int) -> int | None:
        for page in range(place, place + pages):
            if page not in self.pages:
                return ENOMEM
            self.pages[page] = replace(self.pages[page], protection=protection)
        return None

    def store(self, place: int, value: int) -> type[Exception] | None:
        page = self.pages.get(place)
        if page is None or not page.protection & PROT_WRITE:
            return SegmentationFaultError
        if page.file != "anonymous" and page.own is None and page.file_page >= FILE_PAGES:
            return BusError
        if page.file == "anonymous" or not page.shared:
            self.pages[place] = replace(page, own=value)
        else:
            self.stored[page.file, page.file_page] = value
        return None

    def read(self, place: int) -> int | type[Exception]:
        """The first byte of a page."""
        page = self.pages.get(place)
        if page is None or not page.protection:
            return SegmentationFaultError
        if page.own is not None:
            return page.own
        if page.file == "anonymous":
            return 0
        if page.file_page >= FILE_PAGES:
            return BusError
        if page.file == "hole":
            return 0
        first = {"read-only": READ_ONLY, "writable": WRITABLE, "frames": 0}[page.file]
        return self.stored.get((page.file, page.file_page), stamp(first, page.file_page)[0])

    def host(self, place: int) -> Host:
        """What the host maps there."""
        page = self.pages.get(place)
        in_place = page is None or page.file in {"frames", "anonymous"} or page.own is not None
        if page is None or in_place or not page.protection or page.file_page >= FILE_PAGES:
            return RESERVED
        if page.file == "hole":
            return Host("r--p", 0, 0)
        writable = page.shared and page.protection & PROT_WRITE
        return Host("rw-s" if writable else "r--s", self.inodes[page.file], page.file_page)


def attempt(call: Callable[..., object], *words: object, **named: object) -> int | None:
    try:
        call(*words, **named)
    except KernelError as error:
        return error.errno
    return None


@given(steps=steps)
def test_any_sequence(steps: list[Any]) -> None:
    with mm_stage() as stage:
        mm, model = AddressSpace(stage.machine), Model(stage)
        files: dict[str, StoredPages | None] = {
            "read-only": stage.file(READ_ONLY, FILE_PAGES),
            "writable": stage.file(WRITABLE, FILE_PAGES),
            "frames": stage.frames(FILE_PAGES),
            "hole": StoredPages(0, FILE_PAGES, StorageKind.HOLE),
            "anonymous": None,
        }
        base = stage.machine.reservation.user_area
        free_bytes, user_pages = stage.machine.storage.free_bytes, stage.machine.user_area.free_pages
        for kind, place, *words in steps:
            address = base + place * PAGE_SIZE
            if kind == "map":
                pages, protection, name, file_page, shared = words
                if name == "hole" and protection & PROT_WRITE:
                    shared = False  # this file cannot fill its holes
                errno = attempt(mm.map, files[name], file_page, pages, protection, shared=shared, address=address)
                assert errno == model.map(range(place, place + pages), protection, name, file_page, shared=shared)
            elif kind == "unmap":
                mm.unmap(address, words[0])
                for page in range(place, place + words[0]):
                    model.pages.pop(page, None)
            elif kind == "protect":
                pages, protection = words
                allowed = all(
                    page.file not in {"read-only", "hole"} or not page.shared
                    for page in (model.pages.get(number) for number in range(place, place + pages))
                    if page is not None
                )
                if protection & PROT_WRITE and not allowed:
                    protection = PROT_READ  # what is refused then is in the unit tests
                assert attempt(mm.protect, address, pages, protection) == model.protect(place, pages, protection)
            else:
                expected = model.store(place, words[0])
                try:
                    mm.write(address, bytes(words))
                except (SegmentationFaultError, BusError) as error:
                    assert type(error) is expected
                else:
                    assert expected is None
            check(mm, model, base)
        for name, file in files.items():
            if file is not None:
                assert file.holds == sum(area.file is file for area in mm.areas), name
        own = sum(page.own is not None for page in model.pages.values())
        assert mm.anonymous_pages == own
        assert stage.machine.storage.free_bytes == free_bytes - own * PAGE_SIZE
        mm.unmap_all()
        assert (stage.machine.storage.free_bytes, stage.machine.user_area.free_pages) == (free_bytes, user_pages)
        assert host_pages(base >> PAGE_SHIFT, PAGES) == [RESERVED] * PAGES


def check(mm: AddressSpace, model: Model, base: int) -> None:
    assert host_pages(base >> PAGE_SHIFT, PAGES) == [model.host(place) for place in range(PAGES)]
    for place in range(PAGES):
        try:
            found: int | type[Exception] = mm.read(base + place * PAGE_SIZE, 1)[0]
        except (SegmentationFaultError, BusError) as error:
            found = type(error)
        assert found == model.read(place), place
