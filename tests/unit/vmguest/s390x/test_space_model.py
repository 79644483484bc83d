"""A program's address space against a model, seen by a CPU that remembers translations until it is purged."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from errno import ENOMEM

import pytest
from cp_support import control_program
from guest_support import guest_kernel
from hypothesis import example, given, settings
from hypothesis import strategies as st
from space_model_support import Cell, ModelFile, ModelSpace

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest.fs.namei import unlink
from vmguest.fs.open import O_CREAT, O_RDWR, open_file
from vmguest.kernel import Kernel
from vmguest.mm_area import PROT_EXEC, PROT_READ, PROT_WRITE
from vmguest.s390x.code_pages import CodePages
from vmguest.s390x.page_frames import PageFrames
from vmguest.s390x.page_tables import ADDRESS_BITS, INVALID, PAGES_OF_TABLE, PROTECT
from vmguest.s390x.shared_memory import SharedMemory
from vmguest.s390x.space import FaultError, UserSpace

FIRST, PAGES = 5 * PAGES_OF_TABLE - 6, 12  # across the border of two tables
FILE_PAGES = 6
NUMBER = struct.Struct(">Q")
PROTECTIONS = (
    0,
    PROT_READ,
    PROT_WRITE,
    PROT_READ | PROT_WRITE,
    PROT_READ | PROT_EXEC,
    PROT_READ | PROT_WRITE | PROT_EXEC,
)

pages = st.integers(FIRST, FIRST + PAGES - 1)
counts = st.integers(1, PAGES // 2)
protections = st.sampled_from(PROTECTIONS)
numbers = st.integers(1, (1 << 64) - 1)
kinds = st.sampled_from(["anonymous", "private", "shared", "memory"])
which = st.integers(0, 7)  # a space, of those that there are
STEP = st.one_of(
    st.tuples(st.just("map"), which, pages, counts, protections, kinds, st.integers(0, FILE_PAGES)),
    st.tuples(st.just("unmap"), which, pages, counts),
    st.tuples(st.just("protect"), which, pages, counts, protections),
    st.tuples(st.just("discard"), which, pages, counts),
    st.tuples(st.just("move"), which, pages, counts, pages),
    st.tuples(st.just("fork"), which),
    st.tuples(st.just("release"), which),
    st.tuples(st.just("load"), which, pages),
    st.tuples(st.just("store"), which, pages, numbers),
    st.tuples(st.just("read"), which, pages),
    st.tuples(st.just("write"), which, pages, numbers),
    st.tuples(st.just("file_write"), st.integers(0, FILE_PAGES + 1), numbers),
    st.tuples(st.just("truncate"), st.integers(0, FILE_PAGES + 1)),
)  # fmt: skip

HOLE_THAT_A_CHILD_SAW = [
    ("truncate", 1), ("map", 0, FIRST, 1, PROT_WRITE, "shared", 0),
    ("fork", 0), ("load", 1, FIRST), ("store", 0, FIRST, 1),
]  # fmt: skip


@dataclass
class Seen:
    """An address space, its model, and what the CPU remembers of its tables."""

    space: UserSpace
    model: ModelSpace
    known: dict[int, int] = field(default_factory=dict)

    def access(self, frames: PageFrames, page: int, stored: int | None) -> int | tuple[int, int]:
        """Do what the CPU does: use what it remembers, else the tables; a fault, and then once more."""
        if self.space.stale:
            self.known.clear()
            self.space.stale = False
        for _ in range(2):
            entry = self.known.get(page, INVALID)
            if entry & INVALID or (stored is not None and entry & PROTECT):
                entry = self.known[page] = self.space._tables.get(page)
            if not entry & INVALID and not (stored is not None and entry & PROTECT):
                place = entry & ADDRESS_BITS
                if stored is not None:
                    NUMBER.pack_into(frames.memory, place, stored)
                return int(NUMBER.unpack_from(frames.memory, place)[0])
            fault = self.space.fault(page << PAGE_SHIFT, store=stored is not None)
            if fault is not None:
                assert fault.address == page << PAGE_SHIFT
                return fault.signal, fault.code
        pytest.fail("the fault was answered, but the access is refused again")


class Stage:
    """All of it for one sequence of steps."""

    def __init__(self, kernel: Kernel, frames: PageFrames) -> None:
        self.kernel, self.frames = kernel, frames
        self.file = open_file(kernel.vfs, b"/f", O_RDWR | O_CREAT)
        self.model_file = ModelFile([])
        self.code = CodePages(frames)
        self.seen = [Seen(UserSpace(frames, self.code), ModelSpace())]

    def step(self, name: str, *arguments: int | str) -> None:
        """Do one step in both, and compare."""
        getattr(self, name)(*arguments)

    def _one(self, number: int) -> Seen:
        return self.seen[number % len(self.seen)]

    def map(  # noqa: PLR0917
        self, number: int, page: int, pages: int, protection: int, kind: str, file_page: int
    ) -> None:
        one = self._one(number)
        address = page << PAGE_SHIFT
        if kind == "memory":
            memory = SharedMemory(self.kernel.machine.storage, pages)
            one.space.map(memory, 0, pages, protection, shared=True, address=address)
            memory.close()
            cell = Cell(protection, ModelFile([0] * pages), 0, shared=True)
        else:
            file = None if kind == "anonymous" else self.file
            one.space.map(file, file_page, pages, protection, shared=kind == "shared", address=address)
            cell = Cell(protection, None if file is None else self.model_file, file_page, shared=kind == "shared")
        one.model.map(page, pages, cell)

    def unmap(self, number: int, page: int, pages: int) -> None:
        one = self._one(number)
        one.space.unmap_pages(page, pages)
        one.model.unmap(page, pages)

    def protect(self, number: int, page: int, pages: int, protection: int) -> None:
        one = self._one(number)
        if one.model.protect(page, pages, protection):
            one.space.protect(page, pages, protection)
        else:
            with pytest.raises(KernelError, check=lambda error: error.errno == ENOMEM):
                one.space.protect(page, pages, protection)

    def discard(self, number: int, page: int, pages: int) -> None:
        one = self._one(number)
        one.space.discard(page, pages)
        one.model.discard(page, pages)

    def move(self, number: int, page: int, pages: int, target: int) -> None:
        one = self._one(number)
        area = one.space.areas.find(page)
        if area is None:
            return
        pages = min(pages, area.end - page)
        if not one.space.is_mapped(target, pages):
            one.space.move(page, pages, target)
            one.model.move(page, pages, target)

    def fork(self, number: int) -> None:
        one = self._one(number)
        self.seen.append(Seen(one.space.fork(), one.model.fork()))

    def release(self, number: int) -> None:
        if len(self.seen) > 1:
            self.seen.pop(number % len(self.seen)).space.release()

    def load(self, number: int, page: int) -> None:
        one = self._one(number)
        assert one.access(self.frames, page, None) == one.model.access(page, None)

    def store(self, number: int, page: int, value: int) -> None:
        one = self._one(number)
        assert one.access(self.frames, page, value) == one.model.access(page, value)

    def read(self, number: int, page: int) -> None:
        """Read as a system call does."""
        one = self._one(number)
        assert self._of_call(lambda: NUMBER.unpack(one.space.read(page << PAGE_SHIFT, 8))[0]) == one.model.access(
            page, None
        )

    def write(self, number: int, page: int, value: int) -> None:
        """Store as a system call does."""
        one = self._one(number)

        def stored() -> int:
            one.space.write(page << PAGE_SHIFT, NUMBER.pack(value))
            return value

        assert self._of_call(stored) == one.model.access(page, value)

    @staticmethod
    def _of_call(call: Callable[[], int]) -> int | tuple[int, int]:
        try:
            return call()
        except FaultError as error:
            return error.fault.signal, error.fault.code

    def file_write(self, page: int, value: int) -> None:
        self.file.pwrite(NUMBER.pack(value).ljust(PAGE_SIZE, b"\0"), page * PAGE_SIZE)
        self.model_file.resize(max(len(self.model_file.pages), page + 1))
        self.model_file.pages[page] = value

    def truncate(self, pages: int) -> None:
        self.file.truncate(pages * PAGE_SIZE)
        self.model_file.resize(pages)
        for one in self.seen:
            one.model.file_was_cut(self.model_file)

    def compare_all(self) -> None:
        """Look at every page of every space, and of the file."""
        for number in range(len(self.seen)):
            for page in range(FIRST - 1, FIRST + PAGES + PAGES // 2 + 1):
                self.load(number, page)
        buffer = bytearray(len(self.model_file.pages) * PAGE_SIZE)
        assert self.file.pread(memoryview(buffer), 0) == len(buffer)
        assert [NUMBER.unpack_from(buffer, at)[0] for at in range(0, len(buffer), PAGE_SIZE)] == self.model_file.pages

    def end(self) -> None:
        for one in self.seen:
            one.space.release()
        self.file.close()
        unlink(self.kernel.vfs, b"/f")


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with control_program() as cp, guest_kernel(cp) as made:
        made.mount("", "/", (), "tmpfs")
        yield made


@pytest.fixture(scope="module")
def frames(kernel: Kernel) -> PageFrames:
    return PageFrames(kernel.machine)


def free_pages(kernel: Kernel, frames: PageFrames) -> int:
    return kernel.machine.storage.free_bytes // PAGE_SIZE + frames.table_pages


@example(steps=HOLE_THAT_A_CHILD_SAW)
@given(steps=st.lists(STEP, max_size=40))
@settings(max_examples=max(100, settings().max_examples))
def test_memory_is_what_the_model_says(kernel: Kernel, frames: PageFrames, steps: list[tuple[str, int]]) -> None:
    free_before = free_pages(kernel, frames)
    stage = Stage(kernel, frames)
    try:
        for step in steps:
            stage.step(*step)
        stage.compare_all()
    finally:
        stage.end()
    assert (frames.used_pages, frames._more, free_pages(kernel, frames)) == (0, {}, free_before)
